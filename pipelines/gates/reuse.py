"""How often the same test queries have judged: each look at them costs some of what their error rates promise.

A harmful challenger passes by chance at a stated rate, so queries that judge many challengers pass some, and what is tried
until it passes is fitted to them (A. Blum and M. Hardt, "The Ladder: a reliable leaderboard for machine learning competitions",
ICML 2015). Beyond a stated number of challengers a person is asked, or fresh queries are needed.
"""

from pipelines.gates.evidence import Evidence, verdict_of
from pipelines.gates.gate_file import FRESH_QUERIES, GateFile, Rule
from pipelines.gates.rules import why_not_run
from pipelines.gates.verdict import RuleVerdict


def judge(gate_file: GateFile, evidence: Evidence) -> list[RuleVerdict]:
    """A row that says how many challengers these queries have judged; none where nothing is compared."""
    main = gate_file.main
    if evidence.champion is None or why_not_run(evidence.evaluation, main.measure):
        return []
    rule = Rule(name=FRESH_QUERIES, comparison="champion", measure=main.measure, on_undecided=main.on_undecided)
    challengers = evidence.judged_before + 1
    passes = challengers * (1 - main.level) / 2
    reason = (
        f"challenger {challengers:,} of at most {gate_file.most_challengers:,} that these queries judge;"
        f" if all were worse by the margin, {passes:.2g} would have passed by chance"
    )
    if challengers <= gate_file.most_challengers:
        return [verdict_of(rule, "passed", reason, n=challengers)]
    return [verdict_of(rule, "undecided", reason, n=challengers, next="judge fresh queries, or let a person decide")]
