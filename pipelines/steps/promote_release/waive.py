"""waive: a person lets a release pass that the rules could not decide on, or sets a rule aside, for a time."""

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import InputError
from pipelines.logs import log
from pipelines.settings import settings
from pipelines.store.artifacts import load
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store

VERSION = 1


class WaiveParams(Params):
    verdict: str = Field("", description="Verdict that could not decide; it may be promoted then")
    rule: str = Field("", description="Or the name of a rule of the gate file, which blocks nothing meanwhile")
    why: str = Field("", description="Reason for the journal; needed")
    who: str = Field("", description="Name for the journal; empty: RATCHET_USER")
    until: str = Field("", description="Last day on which it holds, such as 2026-12-31; empty: 30 days from today")


class WaiveResult(Result):
    entry: int
    verdict: str
    """The verdict, as it was passed; empty for a rule."""
    rule: str
    until: str
    note: str


def waive(params: WaiveParams) -> WaiveResult:
    """Write a waiver into the journal: who, why, until when; reports show it until it ends."""
    from pipelines.gates.gate_file import check_rule_name
    from pipelines.gates.verdict import read_summary
    from pipelines.gates.waivers import RULE, Waiver, check_signed, check_waivable, last_day, timed

    if bool(params.verdict) == bool(params.rule):
        raise InputError("both --verdict and --rule, or neither", "one of them", "pass --verdict ID, or --rule NAME")
    if params.rule:
        check_rule_name(params.rule)
    check_signed(Waiver(params.who or settings().user, params.why))
    until = last_day(params.until)
    store = open_store()
    journal = Journal(store)
    subject, verdict, what = RULE + params.rule, None, RULE + params.rule
    if params.verdict:
        verdict = load(store, "verdict", params.verdict)
        said = read_summary(verdict)
        check_waivable(verdict.id, said)
        subject, what = said.release, said.sentence
    entry = journal.resumed("waive", subject) or journal.append(
        "waive", subject, timed(what, until, params.why), verdict=verdict.id if verdict else None, who=params.who
    )
    log().info("waived", subject=subject, entry=entry.n, why=entry.why)
    return WaiveResult(
        entry=entry.n,
        verdict=verdict.id if verdict else "",
        rule=params.rule,
        until=str(until),
        note=f"WAIVED by {entry.who} until {until}: {params.why}",
    )
