"""All rules of a gate file judge a release: each by its own comparison, all together by one stated rule.

A release passes if it passes every rule that blocks. Otherwise the outcome is the worst of theirs: rejected, not run, not
comparable, undecided, in this order.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from pipelines.errors import InputError
from pipelines.evaluation.comparison import baseline_warnings, judged_warnings, measure_table, paired, query_differences
from pipelines.gates import (
    absolute,
    anchor,
    baseline,
    champion,
    exposure,
    latency,
    off_policy,
    perturbed,
    reuse,
    segments,
)  # fmt: skip
from pipelines.gates.evidence import Evidence, verdict_of
from pipelines.gates.gate_file import Comparison, GateFile, Rule
from pipelines.gates.rules import MARGIN_OPTION
from pipelines.gates.verdict import WORST_FIRST, RuleVerdict, Verdict, WorstQuery
from pipelines.gates.waivers import RULE
from pipelines.statistics.power import margin_that_holds

WORST_QUERIES = 10
JUDGES: Mapping[Comparison, Callable[[Rule, Evidence], RuleVerdict]] = {
    "champion": champion.judge,
    "anchor": anchor.judge,
    "baseline": baseline.judge,
    "absolute": absolute.judge,
    "latency": latency.judge,
    "logs": off_policy.judge,
    "perturbed": perturbed.judge,
    "segments": segments.judge,
    "exposure": exposure.judge,
}
"""Who judges a comparison."""
ARMED: frozenset[Comparison] = frozenset({"champion", "anchor", "latency", "perturbed", "segments", "exposure"})
"""Comparisons with a margin, which may hold up a release that is equal."""


class VerdictDetails(NamedTuple):
    """A verdict with the tables of its report; both are empty where nothing was compared."""

    verdict: Verdict
    measures: list[dict[str, Any]]
    """See `measure_table`."""
    queries: list[dict[str, Any]]
    """See `query_differences`."""


def judge(gate_file: GateFile, evidence: Evidence, changed: Collection[str]) -> VerdictDetails:
    """The verdict of all rules that apply to a release.

    Args:
        gate_file: the rules.
        evidence: what they judge by.
        changed: the parts in which the release differs from the champion.

    Raises:
        InputError: the evaluations can't be paired, or the margin of the main rule is too small for their queries.
    """
    rules = [rule for rule in gate_file.rules if rule == gate_file.main or rule.applies(changed)]
    armed = evidence_with_power(gate_file, rules, evidence)
    verdicts = [_judged(rule, armed, rule == gate_file.main) for rule in rules]
    is_champion = evidence.evaluation.release == evidence.serving  # it is not judged, so that nothing is set aside
    waived = set() if is_champion else {waiver.subject for waiver in evidence.waivers}
    verdicts = [
        verdict.model_copy(update={"waived": RULE + verdict.name in waived})
        for verdict in [*verdicts, *reuse.judge(gate_file, evidence)]
    ]
    main = next(verdict for verdict in verdicts if verdict.name == gate_file.main.name)
    deciding = deciding_rule(verdicts, main)
    evaluation, other = evidence.evaluation, evidence.champion if main.difference is not None else None
    measures = measure_table(evaluation, other, gate_file.main.level) if other else []
    queries = query_differences(evaluation, other, main.measure) if other else []
    held = margin_that_holds(paired(evaluation, other, main.measure), gate_file.main.level, armed.power) if other else None
    judged = judged_warnings(measures, main.measure) if other else []
    verdict = Verdict(
        outcome=deciding.outcome,
        sentence=deciding.sentence,
        release=evaluation.release,
        champion=evidence.champion.release if evidence.champion else evidence.serving,
        evaluation=evaluation.id,
        baseline=other.id if other else "",
        measure=main.measure,
        difference=main.difference,
        low=main.low,
        high=main.high,
        margin=gate_file.main.margin,
        margin_that_holds=held,
        confidence=gate_file.main.level,
        power=armed.power,
        queries=len(evaluation.rows),
        still_needed=main.still_needed,
        worst_queries=[
            WorstQuery(query=row["query"], text=row["text"], difference=row["difference"])
            for row in queries[:WORST_QUERIES]
            if row["difference"] < 0
        ],
        asks=main.outcome != "not run" and asks(verdicts, deciding),
        warnings=[*judged, *baseline_warnings(evaluation.summary, main.measure)],
        gate_file=gate_file.name,
        rules=verdicts,
        waivers=[waiver.sentence for waiver in evidence.waivers],
        **evaluation.query_set,
    )
    return VerdictDetails(verdict, measures, queries)


def evidence_with_power(gate_file: GateFile, rules: Sequence[Rule], evidence: Evidence) -> Evidence:
    """The evidence with the power of each rule, at which an equal release passes all of them with that of the file."""
    champion = evidence.champion.release if evidence.champion else ""
    anchored = evidence.anchor_release not in ("", champion, evidence.evaluation.release)
    tests = sum(
        rule.severity == "blocks" and rule.comparison in ARMED and (rule.comparison != "anchor" or anchored) for rule in rules
    )
    return replace(evidence, power=round(1 - (1 - gate_file.power) / max(1, tests), 6))


def deciding_rule(verdicts: Sequence[RuleVerdict], main: RuleVerdict) -> RuleVerdict:
    """The first blocking rule with the worst outcome of all that block; where none does, the main rule, which then passes."""
    if blocking := [verdict for verdict in verdicts if verdict.blocks]:
        return min(blocking, key=lambda verdict: WORST_FIRST.index(verdict.outcome))
    if main.outcome == "passed":
        return main
    sentence = f"passed: a waiver sets the rule {main.name} aside ({main.sentence})"
    return main.model_copy(update={"outcome": "passed", "sentence": sentence})


def asks(verdicts: Sequence[RuleVerdict], deciding: RuleVerdict) -> bool:
    """Whether a person is asked: nothing was rejected, and no rule that holds the release up says that it stays."""
    blocking = [verdict for verdict in verdicts if verdict.blocks]
    return deciding.outcome not in ("passed", "rejected") and all(verdict.on_undecided == "ask" for verdict in blocking)


def _judged(rule: Rule, evidence: Evidence, is_main: bool) -> RuleVerdict:
    try:
        return JUDGES[rule.comparison](rule, evidence)
    except InputError as error:
        if is_main:  # whoever asked for it must correct it
            raise
        return verdict_of(
            rule,
            "not run",
            f"{error.given}; expected {error.expected}",
            next=error.next_action.replace(MARGIN_OPTION, "raise its margin in the gate file to"),
        )
