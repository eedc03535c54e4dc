"""The MLflow run of a promoted release: params, measures with intervals, rules, data sets, reports, plots, and the model."""

import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from pipelines.projections.release_card import card_recipe, named_in, read_stated
from pipelines.retrieval import pyfunc
from pipelines.store.artifacts import Artifact, find
from pipelines.store.journal import Entry

MODEL = "release"
"""The folder of the run that is the model."""
LONGEST_PARAM = 500
"""Characters of a value that MLflow shows as a whole."""


def tag(measure: str) -> str:
    """A measure's name as a key of an MLflow tag or metric.

    >>> tag("nDCG@10"), tag("nDCG(judged_only=True)@10")
    ('nDCG_at_10', 'nDCG_judged_only_True_at_10')
    """
    return re.sub(r"[^A-Za-z0-9]+", "_", measure.replace("@", "_at_"))


def record_run(client: Any, run: str, release: Artifact, verdict: Artifact | None) -> None:
    """Write params, metrics and data sets of a release into a run."""
    from mlflow.entities import Metric, Param

    at = int(1000 * datetime.fromisoformat(str(release.manifest.provenance["at"])).timestamp())
    named = named_in(verdict)
    evaluation = find(release.store, "evaluation", named) if named else None
    metrics = [Metric(name, value, at, 0) for name, value in {**_measures(evaluation), **_rules(verdict)}.items()]
    params = [Param(name, value[:LONGEST_PARAM]) for name, value in _params(release, verdict)]
    client.log_batch(run, metrics=metrics[:1000], params=params)
    client.log_inputs(run, list(_datasets(release, evaluation)))


def _params(release: Artifact, verdict: Artifact | None) -> Iterator[tuple[str, str]]:
    """What a release was made from and how, each under the part's name."""
    for name, part in release.inputs.items():
        artifact = find(release.store, name, part) if part else None
        yield name, part
        for key, value in (artifact.manifest.recipe.params if artifact else {}).items():
            if value not in ("", None, []):
                yield f"{name}.{key}", str(value)
    for key, value in release.manifest.recipe.params.items():
        yield f"release.{key}", json.dumps(value) if isinstance(value, dict | list) else str(value)
    if verdict and "verdict.json" in verdict.manifest.files:
        body = verdict.json("verdict.json")
        yield "verdict", verdict.id
        yield from (
            (f"verdict.{key}", str(body[key])) for key in ("outcome", "champion", "gate_file", "split") if body.get(key)
        )


def _measures(evaluation: Artifact | None) -> dict[str, float]:
    """Each measure's mean, and its interval as `_low` and `_high`; those by synthetic queries are called so."""
    facts = evaluation.facts if evaluation else {}
    kind = "synthetic_" if facts.get("synthetic") else ""
    return {
        f"{kind}{tag(name)}{ending}": float(value[key])
        for name, value in facts.get("measures", {}).items()
        for key, ending in (("mean", ""), ("low", "_low"), ("high", "_high"))
        if value.get(key) is not None
    }


def _rules(verdict: Artifact | None) -> dict[str, float]:
    """What each rule judged: `rule/NAME/difference`, its bounds, its margin, and 1 where it passed."""
    body = verdict.json("verdict.json") if verdict and "verdict.json" in verdict.manifest.files else {}
    found: dict[str, float] = {}
    for rule in body.get("rules", []):
        name = f"rule/{re.sub(r'[^A-Za-z0-9_ .-]+', '_', rule['name'])}"
        found[f"{name}/passed"] = float(rule["outcome"] == "passed")
        found |= {
            f"{name}/{key}": float(rule[key]) for key in ("difference", "low", "high", "margin") if rule.get(key) is not None
        }
    return found


def _datasets(release: Artifact, evaluation: Artifact | None) -> Iterator[Any]:
    """The corpus that the release was made from, and the judgments that it was measured by, each by its digest."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    corpus = find(release.store, "corpus", release.inputs.get("corpus", ""))
    sets = [("corpus", corpus, corpus.id, "training")] if corpus else []
    if evaluation and evaluation.facts.get("queries_digest"):
        sets.append(("judgments", evaluation, str(evaluation.facts["queries_digest"]), "evaluation"))
    for name, artifact, digest, context in sets:
        counts = {key: fact for key, fact in artifact.facts.items() if isinstance(fact, int | float | str)}
        source = json.dumps({"uri": artifact.uri})
        yield DatasetInput(
            Dataset(name, digest, "ratchet", source, profile=json.dumps(counts)),
            [InputTag("mlflow.data.context", context)],
        )


def write_model(folder: Path, release: Artifact | None, verdict: Artifact | None, entry: Entry) -> None:
    """Write a version's folder: the model of the pyfunc flavour, card, verdict and evaluation with their reports and plots.

    Where the release is no longer in the store, only what the journal says.
    """
    (folder / "journal_entry.json").write_text(entry.model_dump_json(by_alias=True, indent=1), encoding="utf-8")
    if release is None:
        return
    _save_pyfunc(folder, release)
    named = named_in(verdict)
    evaluation = find(release.store, "evaluation", named) if named else None
    recipe = card_recipe(release.id, verdict.id if verdict else "", read_stated())
    card = find(release.store, "report", recipe.id)
    _copy(release, ("release.json",), folder)
    _copy(verdict, ("verdict.md",), folder)
    _copy(card, ("card.md",), folder)
    for name, artifact in (("verdict", verdict), ("evaluation", evaluation), ("card", card)):
        _copy(artifact, ("report.html",), folder / "reports", f"{name}.html")
    _copy(card, tuple(name for name in (card.manifest.files if card else {}) if name.endswith(".svg")), folder / "plots")
    _copy(evaluation, ("measures.json",), folder)


def _copy(artifact: Artifact | None, names: tuple[str, ...], folder: Path, target: str = "") -> None:
    """Copy those of the files that an artifact has."""
    for name in names:
        if artifact and name in artifact.manifest.files:
            folder.mkdir(exist_ok=True)
            (folder / (target or name)).write_bytes(artifact.path(name).read_bytes())


def _save_pyfunc(folder: Path, release: Artifact) -> None:
    """Write MLmodel and what it names: the store and the release, no code and no pickle."""
    from mlflow.models import Model, ModelSignature
    from mlflow.pyfunc import add_to_model
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    store = release.store
    named = {"store": store.uri, "s3_endpoint": store.endpoint, "release": release.id}
    (folder / pyfunc.FILE).write_text(json.dumps(named, indent=1), encoding="utf-8")
    answers = [("string", "query"), ("long", "rank"), ("string", "document"), ("string", "title"), ("double", "score")]
    model = Model(
        signature=ModelSignature(
            inputs=Schema([ColSpec("string")]),  # without a name a list is taken as well as a table
            outputs=Schema([ColSpec(kind, name) for kind, name in answers]),
            params=ParamSchema([ParamSpec("k", "long", pyfunc.K)]),
        )
    )
    add_to_model(model, loader_module=pyfunc.__name__, data=pyfunc.FILE)
    model.save(str(folder / "MLmodel"))
    (folder / "requirements.txt").write_text("ratchet[steps,cpu]\n", encoding="utf-8")
