"""perturb: the judged queries as other people type them: typos, casing, word order, dropped words, paraphrases."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.logs import log
from pipelines.store.artifacts import Artifact, load, load_exactly, produce
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe

if TYPE_CHECKING:
    from pipelines.evaluation.perturbations import Made

VERSION = 1


class PerturbParams(Params):
    evaluation: str = Field(description="Evaluation whose queries are perturbed")
    perturbations: list[str] = Field(
        [],
        description="Some of typo, casing, word_order, dropped_word, synonym, back_translation; empty: all",
    )
    gate_file: str = Field(
        "",
        description="Those that the perturbed rules of this gate file name, and none where it has no such rule; empty: by name",
    )
    copies: int = Field(1, ge=1, le=20, description="Copies of a query for each perturbation, at most")
    seed: int = Field(0, ge=0, description="Another seed gives other copies")
    least_meaning: float = Field(0.7, ge=0, le=1, description="Similarity to its query from which a paraphrase is kept")


class PerturbResult(Result):
    perturbations: str
    """Empty: the gate file has no perturbed rule."""
    queries: int
    """Queries that have a copy under some perturbation."""
    copies: int
    not_run: list[str]
    """The perturbations that could not be made; the log says why."""
    found: bool


def perturb(params: PerturbParams) -> PerturbResult:
    """Make copies of an evaluation's queries as other people type them; equal seed and sources give equal bytes."""
    from pipelines.evaluation.perturbations import PERTURBATIONS
    from pipelines.evaluation.record import Evaluation
    from pipelines.evaluation.word_sources import installed_sources

    store = open_store()
    evaluation = Evaluation(load(store, "evaluation", params.evaluation))
    names = _names(params)
    if not names:
        return PerturbResult(perturbations="", queries=0, copies=0, not_run=[], found=True)
    needed = list(dict.fromkeys(source for name in names for source in PERTURBATIONS[name].sources))
    sources = dict(installed_sources(needed))
    versions = {name: getattr(source, "version", "absent") for name, source in sources.items()}
    semantic = {
        **params.recipe_params({"evaluation", "gate_file"}),
        "perturbations": list(names),
        "sources": versions,
        "split": evaluation.split,
        "no_relevant": evaluation.summary["no_relevant"]["rule"],
    }
    corpus = load_exactly(store, "corpus", evaluation.summary["corpus"])
    recipe = Recipe(kind="perturbations", step="perturb", version=VERSION, inputs={"corpus": corpus.id}, params=semantic)
    made = produce(store, recipe, lambda folder: _perturb(evaluation, corpus, names, sources, params, folder))
    for name, perturbation in made.facts["perturbations"].items():
        log().info("perturbed", perturbation=name, **perturbation)
    return PerturbResult(
        perturbations=made.id,
        queries=made.facts["queries"],
        copies=sum(one["copies"] for one in made.facts["perturbations"].values()),
        not_run=[name for name, one in made.facts["perturbations"].items() if one["status"] == "not run"],
        found=made.found,
    )


def _names(params: PerturbParams) -> tuple[str, ...]:
    from pipelines.evaluation.perturbations import PERTURBATIONS, check_names
    from pipelines.gates.gate_file import read_gate_file

    if not params.gate_file:
        return check_names(params.perturbations or list(PERTURBATIONS))
    asked = {name for rule in read_gate_file(params.gate_file).rules for name in rule.perturbations}
    return tuple(name for name in PERTURBATIONS if name in asked)


def _perturb(
    evaluation: Any, corpus: Artifact, names: tuple[str, ...], sources: dict[str, Any], params: PerturbParams, folder: Path
) -> dict[str, Any]:
    from pipelines.evaluation.perturbations import perturb_queries
    from pipelines.evaluation.qrels import judged_topics

    topics = judged_topics(corpus, evaluation.split, evaluation.summary["no_relevant"]["rule"])
    made = {
        name: perturb_queries(topics.queries, name, params.copies, params.seed, params.least_meaning, sources) for name in names
    }
    with (folder / "perturbed.jsonl").open("w", encoding="utf-8") as file:
        for perturbation in made.values():
            file.writelines(json.dumps(vars(copy), ensure_ascii=False) + "\n" for copy in perturbation.copies)
    return {
        "queries_digest": topics.digest,
        "queries": len({copy.query for perturbation in made.values() for copy in perturbation.copies}),
        "judge": getattr(sources.get("judge"), "version", ""),
        "perturbations": {name: _facts(perturbation) for name, perturbation in made.items()},
    }


def _facts(made: "Made") -> dict[str, Any]:
    return {
        "status": made.status,
        "reason": made.reason,
        "queries": made.queries,
        "copies": len(made.copies),
        "not_applicable": made.not_applicable,
        "filtered": made.filtered,
    }
