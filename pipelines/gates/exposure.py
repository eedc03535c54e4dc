"""The rule `comparison: exposure`: what is shown is not more concentrated on few providers than under the champion.

The margin is the rise of the Gini coefficient that counts as none. The first release is shown beside the first baseline and
passes: nobody says which of the two shares the attention as it should be.
"""

from pipelines.errors import InputError
from pipelines.evaluation.exposure import ExposureComparison, compare_exposure
from pipelines.evaluation.record import baseline_names
from pipelines.gates.evidence import Evidence, verdict_of
from pipelines.gates.gate_file import Rule
from pipelines.gates.rules import rounded_up
from pipelines.gates.segments import reference_name
from pipelines.gates.verdict import Outcome, RuleVerdict
from pipelines.retrieval.run import read_run
from pipelines.wording import signed, value


def exposure_comparison(rule: Rule, evidence: Evidence) -> ExposureComparison:
    """The exposure by the release and by its reference.

    Raises:
        InputError: the documents have no such field, or fewer than two providers.
    """
    evaluation, champion = evidence.evaluation, evidence.champion
    documents = (champion.documents() if champion is not None else {}) | evaluation.documents()
    baseline = f"{baseline_names(evaluation.summary)[0].lower()}.trec"
    artifact, file = (evaluation.artifact, baseline) if champion is None else (champion.artifact, "run.trec")
    return compare_exposure(evaluation, read_run(artifact.path(file)), documents, rule.by, rule.level)


def judge(rule: Rule, evidence: Evidence) -> RuleVerdict:
    """Passed: the rise is below the margin for sure. Rejected: it is above the margin for sure. Else undecided.

    Raises:
        InputError: the documents have no such field, or the margin is too small for the queries.
    """
    verdict_rule = rule.model_copy(update={"measure": f"Gini by {rule.by}"})
    if not evidence.evaluation.rows:
        return verdict_of(verdict_rule, "not run", "no judged queries", next="judge queries")
    compared = exposure_comparison(rule, evidence)
    outcome = _outcome(rule, evidence.power, compared) if evidence.champion is not None else "passed"
    gained, lost = compared.shares[-1], compared.shares[0]
    first = "" if evidence.champion is not None else "no champion yet; "
    reason = (
        f"{first}Gini by {rule.by} {value(compared.reference)} to {value(compared.release)}, {signed(compared.rise)}"
        f" [{signed(compared.low)}, {signed(compared.high)}] against {reference_name(evidence)}; {gained.provider} has"
        f" {gained.release:.1%} of the exposure, it had {gained.reference:.1%}; {lost.provider} {lost.release:.1%}, it had"
        f" {lost.reference:.1%}"
    )
    figures = {"difference": compared.rise, "low": compared.low, "high": compared.high}
    return verdict_of(verdict_rule, outcome, reason, margin=rule.margin, n=compared.queries, **figures)


def _outcome(rule: Rule, power: float, compared: ExposureComparison) -> Outcome:
    if compared.low > rule.margin:
        return "rejected"
    if compared.high <= 0:
        return "passed"
    from scipy.special import ndtri

    error = (compared.high - compared.low) / (2 * float(ndtri((1 + rule.level) / 2)))
    holds = error * float(ndtri((1 + rule.level) / 2) + ndtri(power))
    if holds > rule.margin:
        least = rounded_up(holds)
        raise InputError(
            f"margin {rule.margin:g} on the Gini coefficient over {compared.queries:,} queries, too small to detect",
            f"{least} or more, which would hold",
            f"raise the margin to {least}, or judge more queries",
        )
    return "passed" if compared.high < rule.margin else "undecided"
