"""The gate's rule: from the paired differences of two evaluations to a verdict.

A non-inferiority test on the interval of challenger − champion: rejected if it lies below 0, else passed if it lies above
−margin, else undecided (G. Piaggio et al., "Reporting of noninferiority and equivalence randomized trials", JAMA 308, 2012).
The margin must be one that the queries can detect: see `pipelines.statistics.power`.
"""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from pipelines.errors import InputError
from pipelines.evaluation.qrels import EvaluatedSplit
from pipelines.evaluation.record import Evaluation
from pipelines.gates.verdict import Outcome
from pipelines.statistics.intervals import Interval, interval
from pipelines.statistics.power import margin_that_holds, queries_needed
from pipelines.wording import signed

MARGIN_OPTION = "pass --margin"
"""What to do about a margin that is too small: right for the main rule, whose margin the option replaces."""
SPLIT_QUERIES = {"test": "queries", "train": "train queries", "all": "train and test queries"}
"""How a sentence names the queries of a split. Train queries say nothing of queries that the encoder has not seen."""


class NonInferiority(BaseModel):
    """By which measure, margin, confidence and power two releases are compared: options that the step `gate` declares."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    measure: str
    margin: float
    """The loss of the mean that counts as none."""
    confidence: float
    """Of the two-sided interval of the mean difference."""
    power: float
    """The probability with which an equal challenger must pass."""


def decide(differences: Sequence[float], rule: NonInferiority) -> tuple[Outcome, Interval, int]:
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


def check_margin(differences: Sequence[float], rule: NonInferiority) -> None:
    """Refuse a margin at which an equal challenger would not pass with the rule's power.

    Raises:
        InputError: the margin is too small; names the least margin that holds.
    """
    holds = margin_that_holds(differences, rule.confidence, rule.power)
    if holds is not None and holds <= rule.margin:
        return
    expected, next_action = "two judged queries or more", "judge more queries"
    if holds is not None and float(rounded_up(holds)) < 1:
        least = rounded_up(holds)
        expected, next_action = f"{least} or more, which would hold", f"{MARGIN_OPTION} {least}, or judge more queries"
    elif holds is not None:  # no measure can fall by more than 1
        expected = "queries that can detect a margin below 1"
    raise InputError(
        f"margin {rule.margin:g} on {rule.measure} over {len(differences):,} queries, too small to detect"
        f" with power {rule.power:g}",
        expected,
        next_action,
    )


def rounded_up(margin: float) -> str:
    """The margin rounded up to four digits, so that the printed margin holds too.

    >>> rounded_up(0.02163)
    '0.0217'
    """
    return f"{-(-margin * 10_000 // 1) / 10_000:.4f}"


def queries_missing(difference: Interval, rule: NonInferiority) -> int:
    """About how many more queries would decide, for passing or for rejecting, if mean and spread stay as they are."""
    assert difference.mean is not None
    assert difference.sd is not None
    distances = [distance for distance in (difference.mean + rule.margin, -difference.mean) if distance > 0]
    needed = min(queries_needed(distance, difference.sd, rule.confidence, rule.power) for distance in distances)
    return max(1, needed - difference.n)


def sentence_of(
    outcome: Outcome, difference: Interval, missing: int, rule: NonInferiority, against: str, split: EvaluatedSplit = "test"
) -> str:
    """The verdict in one sentence.

    >>> rule = NonInferiority(measure="nDCG@10", margin=0.02, confidence=0.95, power=0.8)
    >>> sentence_of("rejected", Interval(1309, -0.0312, -0.05, -0.01, 0.3), 0, rule, "champion 778c589b")
    'rejected: nDCG@10 −0.031 [−0.050, −0.010] against champion 778c589b, over 1,309 queries'
    """
    ends = {
        "rejected": "",
        "passed": f", margin {rule.margin:g}",
        "undecided": f", margin {rule.margin:g}; about {missing:,} more queries would decide",
    }
    return f"{outcome}: {estimated(difference, rule.measure, against, split)}{ends[outcome]}"


def estimated(difference: Interval, measure: str, against: str, split: EvaluatedSplit) -> str:
    """A difference with its interval, to what, and over how many queries.

    >>> estimated(Interval(1309, -0.0312, -0.05, -0.01, 0.3), "nDCG@10", "BM25", "test")
    'nDCG@10 −0.031 [−0.050, −0.010] against BM25, over 1,309 queries'
    """
    bounds = f"[{signed(difference.low)}, {signed(difference.high)}]"
    return f"{measure} {signed(difference.mean)} {bounds} against {against}, over {difference.n:,} {SPLIT_QUERIES[split]}"


def figures_of(difference: Interval) -> dict[str, Any]:
    """The figures of a difference as the verdict of a rule has them."""
    return {"difference": difference.mean, "low": difference.low, "high": difference.high, "n": difference.n}


def why_not_run(evaluation: Evaluation, measure: str) -> str:
    """Why a gate can't judge a release; empty: people's judgments measure it. Synthetic queries are no judgments."""
    synthetic = evaluation.summary["synthetic"]
    if evaluation.rows and not synthetic:
        return ""
    if not synthetic:
        return _why_nothing_measured(evaluation)
    mean = interval(evaluation.values(measure), least=0).mean
    return f"no judgments; {measure} {mean:.3f} on {synthetic:,} synthetic known-item queries is a smoke test only"


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
