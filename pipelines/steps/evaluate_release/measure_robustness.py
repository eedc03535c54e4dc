"""measure_robustness: a release, and the champion, rank the judged queries as other people type them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.logs import log
from pipelines.store.artifacts import Artifact, load, load_exactly, produce
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe

if TYPE_CHECKING:
    from pipelines.evaluation.record import Evaluation
    from pipelines.evaluation.robustness import Perturbations

VERSION = 1


class MeasureRobustnessParams(Params):
    evaluation: str = Field(description="Evaluation id of the challenger")
    perturbations: str = Field(
        "", description="Perturbed queries, as perturb made them of the same evaluation; empty: nothing is measured"
    )
    baseline: str = Field("", description="Evaluation id of the champion on the same queries; empty: there is none")


class MeasureRobustnessResult(Result):
    robustness: str
    """Empty: no perturbed queries were given."""
    other_robustness: str
    """Of what it is compared with; empty: there is none."""
    release: str
    worst: str
    """The perturbation by which nDCG@10 drops most; empty: none was made."""
    change: float | None
    """The mean change of nDCG@10 under it, with its interval."""
    low: float | None
    high: float | None
    found: bool


def measure_robustness(params: MeasureRobustnessParams) -> MeasureRobustnessResult:
    """Rank perturbed queries with a release and with the champion; what ranked them before is found."""
    from pipelines.evaluation.record import Evaluation
    from pipelines.evaluation.robustness import Perturbations, check_copies, drops, read_robustness

    store = open_store()
    if not params.perturbations:
        evaluated = load(store, "evaluation", params.evaluation).inputs["release"]
        nothing = {"robustness": "", "other_robustness": "", "worst": "", "change": None, "low": None, "high": None}
        return MeasureRobustnessResult(**nothing, release=evaluated, found=True)
    perturbations = Perturbations(load(store, "perturbations", params.perturbations))
    evaluations = [Evaluation(load(store, "evaluation", name)) for name in (params.evaluation, params.baseline) if name]
    for evaluation in evaluations:
        check_copies(perturbations, evaluation)
    measured = [_robustness(evaluation, perturbations) for evaluation in evaluations]
    all_drops = drops(read_robustness(measured[0]), None, "nDCG@10", 0.95)
    worst = min(all_drops, key=lambda drop: drop.change.mean or 0, default=None)
    log().info("measured robustness", release=evaluations[0].release, worst=worst.perturbation if worst else "none")
    return MeasureRobustnessResult(
        robustness=measured[0].id,
        other_robustness=measured[1].id if measured[1:] else "",
        release=evaluations[0].release,
        worst=worst.perturbation if worst else "",
        change=worst.change.mean if worst else None,
        low=worst.change.low if worst else None,
        high=worst.change.high if worst else None,
        found=all(artifact.found for artifact in measured),
    )


def _robustness(evaluation: "Evaluation", perturbations: "Perturbations") -> Artifact:
    inputs = {"release": evaluation.release, "evaluation": evaluation.id, "perturbations": perturbations.id}
    recipe = Recipe(kind="robustness", step="measure_robustness", version=VERSION, inputs=inputs, params={})
    return produce(evaluation.artifact.store, recipe, lambda folder: _measure(evaluation, perturbations, folder))


def _measure(evaluation: "Evaluation", perturbations: "Perturbations", folder: Path) -> dict[str, Any]:
    from pipelines.evaluation.qrels import judged_topics, own_documents
    from pipelines.evaluation.robustness import check_judge, measured_robustness, rank_copies, write_rows
    from pipelines.reports.robustness import write_robustness_report
    from pipelines.retrieval.release import load_release

    store, rule = evaluation.artifact.store, evaluation.summary["no_relevant"]["rule"]
    corpus = load_exactly(store, "corpus", evaluation.summary["corpus"])
    topics, own = judged_topics(corpus, evaluation.split, rule), own_documents(corpus, evaluation.split, rule)
    release = load_release(store, evaluation.release)
    check_judge(perturbations, release.id, release.encoder.card.fingerprint.weights)
    copies = perturbations.copies()
    after = rank_copies(release, copies, topics, evaluation.summary["depth"], own)
    robustness = measured_robustness(evaluation, perturbations, copies, after)
    write_rows(folder, robustness)
    write_robustness_report(folder, robustness)
    return {"perturbations": dict(perturbations.status), "copies": len(copies)}
