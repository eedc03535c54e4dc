"""The gate: what the paired difference to the champion says about a challenger."""

from collections.abc import Sequence
from typing import Any

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

WORST = 10
ASKED = {"test": "queries", "train": "train queries", "all": "train and test queries"}
"""How a sentence names the queries of a split; only those of test say how well a release does on queries it has not seen."""


class Rule(BaseModel):
    """How a gate is armed. The step `gate` declares what each option means, its bounds and its default."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    measure: str
    margin: float
    confidence: float
    power: float


def decide(differences: Sequence[float], rule: Rule) -> tuple[Outcome, Interval, int]:
    """The outcome for paired per-query differences, challenger − champion; their interval; how many queries are missing.

    A challenger that is significantly worse is rejected, even within the margin, and one that is significantly better
    passes: for neither a margin is needed. Else the margin decides, so it must be one that these queries can detect.

    Raises:
        InputError: the margin is smaller than what the queries can detect; names the margin that would hold.
    """
    found = interval(differences, rule.confidence)
    if found.high is not None and found.high < 0:
        return "rejected", found, 0
    if found.low is not None and found.low > 0:
        return "passed", found, 0
    check_armed(differences, rule)
    assert found.low is not None  # two queries at least, or it could not have been armed
    if found.low > -rule.margin:
        return "passed", found, 0
    return "undecided", found, still_needed(found, rule)


def check_armed(differences: Sequence[float], rule: Rule) -> None:
    """Refuse a margin at which an equal challenger would not pass with the stated power.

    Raises:
        InputError: the margin is too small.
    """
    holds = margin_that_holds(differences, rule.confidence, rule.power)
    if holds is not None and holds <= rule.margin:
        return
    expected, next_action = "two judged queries or more", "judge more queries"
    if holds is not None and float(_up(holds)) < 1:
        expected, next_action = f"{_up(holds)} or more, which would hold", f"pass --margin {_up(holds)}, or judge more queries"
    elif holds is not None:  # a measure can't fall by 1 or more, so a margin of 1 asks nothing
        expected = "queries that can detect a margin below 1"
    raise InputError(
        f"margin {rule.margin:g} on {rule.measure} over {len(differences):,} queries, too small to detect"
        f" with power {rule.power:g}",
        expected,
        next_action,
    )


def _up(margin: float) -> str:
    """The margin rounded up to four digits, so that what is printed holds.

    >>> _up(0.02163)
    '0.0217'
    """
    return f"{-(-margin * 10_000 // 1) / 10_000:.4f}"


def still_needed(found: Interval, rule: Rule) -> int:
    """About how many more queries would decide, if the difference stays as it is seen: for passing or for rejecting."""
    assert found.mean is not None
    assert found.sd is not None
    distances = [distance for distance in (found.mean + rule.margin, -found.mean) if distance > 0]
    needed = min(queries_needed(distance, found.sd, rule.confidence, rule.power) for distance in distances)
    return max(1, needed - found.n)


def sentence_of(
    outcome: Outcome, found: Interval, missing: int, rule: Rule, against: str, split: EvaluatedSplit = "test"
) -> str:
    """One sentence for people.

    >>> rule = Rule(measure="nDCG@10", margin=0.02, confidence=0.95, power=0.8)
    >>> sentence_of("rejected", Interval(1309, -0.0312, -0.05, -0.01, 0.3), 0, rule, "champion 778c589b")
    'rejected: nDCG@10 −0.031 [−0.050, −0.010] against champion 778c589b, over 1,309 queries'
    """
    assert found.mean is not None
    assert found.low is not None
    assert found.high is not None
    seen = f"{rule.measure} {signed(found.mean)} [{signed(found.low)}, {signed(found.high)}]"
    ends = {
        "rejected": "",
        "passed": f", margin {rule.margin:g}",
        "undecided": f", margin {rule.margin:g}; about {missing:,} more queries would decide",
    }
    return f"{outcome}: {seen} against {against}, over {found.n:,} {ASKED[split]}{ends[outcome]}"


Judged = tuple[Verdict, list[dict[str, Any]], list[dict[str, Any]]]
"""A verdict, the table of measures, and each query's difference, worst first."""


def judge_pair(ours: Evaluation, theirs: Evaluation, champion: str, rule: Rule) -> Judged:
    """The verdict on a challenger beside its baseline.

    Raises:
        InputError: the two can't be paired, or the margin is too small for them.
    """
    check_comparable(ours, theirs)
    if unmeasured := _unmeasured(ours, rule):
        return _not_run(ours, theirs.release, rule, unmeasured)
    outcome, found, missing = decide(differences := paired(ours, theirs, rule.measure), rule)
    against = f"{'champion' if theirs.release == champion else 'release'} {theirs.release[:8]}"
    table, queries = measure_table(ours, theirs, rule.confidence), query_differences(ours, theirs, rule.measure)
    verdict = Verdict(
        outcome=outcome, sentence=sentence_of(outcome, found, missing, rule, against, ours.split), release=ours.release,
        champion=theirs.release, evaluation=ours.id, baseline=theirs.id, difference=found.mean, low=found.low, high=found.high,
        margin_that_holds=margin_that_holds(differences, rule.confidence, rule.power), queries=found.n, still_needed=missing,
        worst_queries=[_worst(row) for row in queries[:WORST] if row["difference"] < 0],
        warnings=[*judged_warnings(table, rule.measure), *baseline_warnings(ours.summary, rule.measure)],
        **ours.asked, **rule.model_dump(),
    )  # fmt: skip
    return verdict, table, queries


def judge_alone(ours: Evaluation, champion: str, rule: Rule) -> Judged:
    """The verdict where there is nothing to compare with: the first release passes, the champion itself is not judged."""
    if champion:
        return _not_run(ours, champion, rule, f"release {ours.release[:8]} is the champion already")
    if unmeasured := _unmeasured(ours, rule):
        return _not_run(ours, "", rule, unmeasured)
    found = interval(ours.values(rule.measure), rule.confidence, least=0)
    bounds = f" [{found.low:.3f}, {found.high:.3f}]" if found.bounded else ""
    sentence = f"passed: no champion yet; {rule.measure} {found.mean:.3f}{bounds} over {found.n:,} {ASKED[ours.split]}"
    sentence += "; " + beaten[0].rstrip(".") if (beaten := baseline_warnings(ours.summary, rule.measure)) else ""
    return _alone("passed", sentence, ours, "", rule), [], []


def _unmeasured(ours: Evaluation, rule: Rule) -> str:
    """Why nothing is known of the quality; empty: people's judgments say it. Synthetic queries are no judgments."""
    synthetic = ours.summary["synthetic"]
    if ours.rows and not synthetic:
        return ""
    if not synthetic:
        return "no judgments" + ("" if ours.split == "test" else f" of {ASKED[ours.split]}")
    found = interval(ours.values(rule.measure), rule.confidence, least=0)
    return f"no judgments; {rule.measure} {found.mean:.3f} on {synthetic:,} synthetic known-item queries is a smoke test only"


def _not_run(ours: Evaluation, champion: str, rule: Rule, reason: str) -> Judged:
    return _alone("not run", f"not run: {reason}", ours, champion, rule), [], []


def _alone(outcome: Outcome, sentence: str, ours: Evaluation, champion: str, rule: Rule) -> Verdict:
    return Verdict(
        outcome=outcome, sentence=sentence, release=ours.release, champion=champion, evaluation=ours.id,
        queries=len(ours.rows), warnings=baseline_warnings(ours.summary, rule.measure), **ours.asked, **rule.model_dump(),
    )  # fmt: skip


def _worst(row: dict[str, Any]) -> WorstQuery:
    return WorstQuery(query=row["query"], text=row["text"], difference=row["difference"])
