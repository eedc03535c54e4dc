"""The gate's rule: from the paired differences of two evaluations to a verdict.

A non-inferiority test on the interval of challenger − champion: rejected if it lies below 0, else passed if it lies above
−margin, else undecided (G. Piaggio et al., "Reporting of noninferiority and equivalence randomized trials", JAMA 308, 2012).
The margin must be one that the queries can detect: see `pipelines.statistics.power`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from pipelines.errors import InputError
from pipelines.evaluation.comparison import (
    baseline_warnings,
    check_comparable,
    judged_warnings,
    measure_table,
    paired,
    query_differences,
)
from pipelines.evaluation.qrels import EvaluatedSplit
from pipelines.evaluation.record import Evaluation
from pipelines.gates.verdict import Outcome, Verdict, WorstQuery
from pipelines.statistics.intervals import Interval, interval
from pipelines.statistics.power import margin_that_holds, queries_needed
from pipelines.wording import signed

WORST_QUERIES = 10
SPLIT_QUERIES = {"test": "queries", "train": "train queries", "all": "train and test queries"}
"""How a sentence names the queries of a split. Train queries say nothing of queries that the encoder has not seen."""


class Rule(BaseModel):
    """The measure that decides, and by which margin, confidence and power: options that the step `gate` declares."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    measure: str
    margin: float
    """The loss of the mean that counts as none."""
    confidence: float
    """Of the two-sided interval of the mean difference."""
    power: float
    """The probability with which an equal challenger must pass."""


class VerdictDetails(NamedTuple):
    """A verdict with the tables of its report; both are empty where nothing was compared."""

    verdict: Verdict
    measures: list[dict[str, Any]]
    """See `measure_table`."""
    queries: list[dict[str, Any]]
    """See `query_differences`."""


def decide(differences: Sequence[float], rule: Rule) -> tuple[Outcome, Interval, int]:
    """The outcome for the differences of each query, challenger − champion.

    A significantly worse challenger is rejected, even within the margin, and a significantly better one passes: neither needs a
    margin. Otherwise the margin decides, so the queries must be able to detect it.

    Returns:
        The outcome, the interval of the mean difference, and about how many more queries would decide; 0 unless undecided.

    Raises:
        InputError: the margin is smaller than what the queries can detect; names the least margin that holds.
    """
    difference = interval(differences, rule.confidence)
    if difference.high is not None and difference.high < 0:
        return "rejected", difference, 0
    if difference.low is not None and difference.low > 0:
        return "passed", difference, 0
    check_margin(differences, rule)
    assert difference.low is not None  # two queries at least, or no margin would hold
    if difference.low > -rule.margin:
        return "passed", difference, 0
    return "undecided", difference, queries_missing(difference, rule)


def check_margin(differences: Sequence[float], rule: Rule) -> None:
    """Refuse a margin at which an equal challenger would not pass with the rule's power.

    Raises:
        InputError: the margin is too small; names the least margin that holds.
    """
    holds = margin_that_holds(differences, rule.confidence, rule.power)
    if holds is not None and holds <= rule.margin:
        return
    expected, next_action = "two judged queries or more", "judge more queries"
    if holds is not None and float(_rounded_up(holds)) < 1:
        least = _rounded_up(holds)
        expected, next_action = f"{least} or more, which would hold", f"pass --margin {least}, or judge more queries"
    elif holds is not None:  # no measure can fall by more than 1
        expected = "queries that can detect a margin below 1"
    raise InputError(
        f"margin {rule.margin:g} on {rule.measure} over {len(differences):,} queries, too small to detect"
        f" with power {rule.power:g}",
        expected,
        next_action,
    )


def _rounded_up(margin: float) -> str:
    """The margin rounded up to four digits, so that the printed margin holds too.

    >>> _rounded_up(0.02163)
    '0.0217'
    """
    return f"{-(-margin * 10_000 // 1) / 10_000:.4f}"


def queries_missing(difference: Interval, rule: Rule) -> int:
    """About how many more queries would decide, for passing or for rejecting, if mean and spread stay as they are."""
    assert difference.mean is not None
    assert difference.sd is not None
    distances = [distance for distance in (difference.mean + rule.margin, -difference.mean) if distance > 0]
    needed = min(queries_needed(distance, difference.sd, rule.confidence, rule.power) for distance in distances)
    return max(1, needed - difference.n)


def sentence_of(
    outcome: Outcome, difference: Interval, missing: int, rule: Rule, against: str, split: EvaluatedSplit = "test"
) -> str:
    """The verdict in one sentence.

    >>> rule = Rule(measure="nDCG@10", margin=0.02, confidence=0.95, power=0.8)
    >>> sentence_of("rejected", Interval(1309, -0.0312, -0.05, -0.01, 0.3), 0, rule, "champion 778c589b")
    'rejected: nDCG@10 −0.031 [−0.050, −0.010] against champion 778c589b, over 1,309 queries'
    """
    assert difference.mean is not None
    assert difference.low is not None
    assert difference.high is not None
    estimate = f"{rule.measure} {signed(difference.mean)} [{signed(difference.low)}, {signed(difference.high)}]"
    ends = {
        "rejected": "",
        "passed": f", margin {rule.margin:g}",
        "undecided": f", margin {rule.margin:g}; about {missing:,} more queries would decide",
    }
    return f"{outcome}: {estimate} against {against}, over {difference.n:,} {SPLIT_QUERIES[split]}{ends[outcome]}"


def judge_pair(challenger: Evaluation, champion: Evaluation, serving: str, rule: Rule) -> VerdictDetails:
    """The verdict on a challenger beside another evaluation of the same queries, mostly the champion's.

    Args:
        challenger: the evaluation that is judged.
        champion: the evaluation that it is compared with.
        serving: id of the release that serves; a comparison with another release is named as such.
        rule: what decides.

    Raises:
        InputError: the evaluations can't be paired, or the margin is too small for their queries.
    """
    check_comparable(challenger, champion)
    if reason := _why_not_run(challenger, rule):
        return _not_run(challenger, champion.release, rule, reason)
    differences = paired(challenger, champion, rule.measure)
    outcome, difference, missing = decide(differences, rule)
    against = f"{'champion' if champion.release == serving else 'release'} {champion.release[:8]}"
    measures = measure_table(challenger, champion, rule.confidence)
    queries = query_differences(challenger, champion, rule.measure)
    verdict = Verdict(
        outcome=outcome,
        sentence=sentence_of(outcome, difference, missing, rule, against, challenger.split),
        release=challenger.release,
        champion=champion.release,
        evaluation=challenger.id,
        baseline=champion.id,
        difference=difference.mean,
        low=difference.low,
        high=difference.high,
        margin_that_holds=margin_that_holds(differences, rule.confidence, rule.power),
        queries=difference.n,
        still_needed=missing,
        worst_queries=[
            WorstQuery(query=row["query"], text=row["text"], difference=row["difference"])
            for row in queries[:WORST_QUERIES]
            if row["difference"] < 0
        ],
        warnings=[*judged_warnings(measures, rule.measure), *baseline_warnings(challenger.summary, rule.measure)],
        **challenger.query_set,
        **rule.model_dump(),
    )
    return VerdictDetails(verdict, measures, queries)


def judge_alone(evaluation: Evaluation, serving: str, rule: Rule) -> VerdictDetails:
    """The verdict without a comparison: the first release passes; the release that serves is not judged.

    Args:
        evaluation: of the release.
        serving: id of the release that serves, the same one, or empty if none does.
        rule: its measure and confidence are reported.
    """
    if serving:
        return _not_run(evaluation, serving, rule, f"release {evaluation.release[:8]} is the champion already")
    if reason := _why_not_run(evaluation, rule):
        return _not_run(evaluation, "", rule, reason)
    mean = interval(evaluation.values(rule.measure), rule.confidence, least=0)
    bounds = f" [{mean.low:.3f}, {mean.high:.3f}]" if mean.bounded else ""
    sentence = f"passed: no champion yet; {rule.measure} {mean.mean:.3f}{bounds}"
    sentence += f" over {mean.n:,} {SPLIT_QUERIES[evaluation.split]}"
    if warnings := baseline_warnings(evaluation.summary, rule.measure):
        sentence += "; " + warnings[0].rstrip(".")
    return VerdictDetails(_uncompared_verdict("passed", sentence, evaluation, "", rule), [], [])


def _why_not_run(evaluation: Evaluation, rule: Rule) -> str:
    """Why a gate can't judge the release; empty: people's judgments measure it. Synthetic queries are no judgments."""
    synthetic = evaluation.summary["synthetic"]
    if evaluation.rows and not synthetic:
        return ""
    if not synthetic:
        return _why_nothing_measured(evaluation)
    mean = interval(evaluation.values(rule.measure), rule.confidence, least=0).mean
    return f"no judgments; {rule.measure} {mean:.3f} on {synthetic:,} synthetic known-item queries is a smoke test only"


def _why_nothing_measured(evaluation: Evaluation) -> str:
    """Why no query could be measured: there are no judgments, or none that this evaluation could use."""
    asked = SPLIT_QUERIES["train" if evaluation.split == "train" else "all"] if evaluation.split != "test" else "test queries"
    if judged := evaluation.summary["no_relevant"]["queries"]:
        return f"none of the {judged:,} judged {asked} has a relevant document"
    if others := evaluation.summary.get("of_other_split", 0):
        other = "test" if evaluation.split == "train" else "train"
        all_asked = "" if evaluation.split == "train" else "; `ingest --held-out true` makes all queries test queries"
        return f"no judgments of {asked} ({others:,} {other} {'query is' if others == 1 else 'queries are'} judged){all_asked}"
    return "no judgments" + ("" if evaluation.split == "test" else f" of {asked}")


def _not_run(evaluation: Evaluation, champion: str, rule: Rule, reason: str) -> VerdictDetails:
    return VerdictDetails(_uncompared_verdict("not run", f"not run: {reason}", evaluation, champion, rule), [], [])


def _uncompared_verdict(outcome: Outcome, sentence: str, evaluation: Evaluation, champion: str, rule: Rule) -> Verdict:
    return Verdict(
        outcome=outcome,
        sentence=sentence,
        release=evaluation.release,
        champion=champion,
        evaluation=evaluation.id,
        queries=len(evaluation.rows),
        warnings=baseline_warnings(evaluation.summary, rule.measure),
        **evaluation.query_set,
        **rule.model_dump(),
    )
