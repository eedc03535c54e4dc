"""Whether the signal of each guardrail arrives: before a deployment by evidence starts, and while it runs."""

from collections.abc import Mapping, Sequence

from pipelines.deployment.counts import ServerCounts, counts_of
from pipelines.deployment.guardrails import CHAMPION, HOUR, QUANTILES
from pipelines.errors import InputError
from pipelines.settings import settings
from pipelines.store.journal import Entry, Journal


def missing_signals(read: Sequence[ServerCounts], without: Sequence[str]) -> dict[str, str]:
    """By guardrail, why its signal does not arrive; empty: all do, but those left out.

    Args:
        read: what servers counted of late, since the challenger is in memory or the stage began.
        without: guardrails that are left out.
    """
    counts, _ = counts_of(read)
    searched = float(counts.searches[..., CHAMPION].sum())
    ranked = float(counts.latency[..., CHAMPION, :].sum())
    nothing = "no server wrote counts: is one running that may write the store?"
    unknown = "no search of a known user arrived: send `user` with each search"
    why: dict[str, str] = {}
    for name in ("errors", "p99", "p50", "empty"):
        if not searched:
            why[name] = unknown if read else nothing
        elif name in QUANTILES and not ranked:
            why[name] = "no search was ranked, all were answered by what is kept: see RATCHET_CACHE"
    if not counts.clicked[..., CHAMPION].any():
        why["clicks"] = "no click arrived: tell of clicks by /v1/clicks"
    if not any(minute.memory_mb for counted in read for minute in counted.minutes):
        why["memory"] = "no server tells its memory" if read else nothing
    if not read:
        why["restarts"] = nothing
    if not settings().server_url:
        why |= dict.fromkeys(("readiness", "overlap"), "there is no server to ask: set RATCHET_SERVER_URL")
    return {name: reason for name, reason in why.items() if name not in without}


def signals_since(journal: Journal) -> Entry:
    """The entry since which the champion and the challenger are the present ones and nothing split them.

    A new promotion is a new try: what servers did under an earlier one of the same release says nothing of it.
    """
    since = journal.entries[-1]
    for entry in reversed(journal.entries):
        if entry.routing.roles != journal.routing.roles or entry.routing.split:
            break
        since = entry
        if entry.action == "promote":
            break
    return since


def signals_from(counted: Sequence[ServerCounts], promoted: float, now: float, warm_now: bool) -> float:
    """Since when signals can arrive, in seconds since 1970: servers count once they have the challenger in memory.

    A first minute that is an hour old is not the first: servers keep no more.
    """
    starts = [(minute.minute * of.interval_s, of.interval_s) for of in counted for minute in of.minutes]
    if not starts:
        return now if warm_now else promoted
    first, interval_s = min(starts)
    return min(now, max(promoted, first)) if now - first < (HOUR - 5) * interval_s else promoted


def told_missing(missing: Mapping[str, str]) -> str:
    """Missing signals in words: those of one reason together.

    >>> told_missing({"p99": "no searches", "p50": "no searches", "clicks": "no click"})
    'p99, p50: no searches; clicks: no click'
    """
    reasons: dict[str, list[str]] = {}
    for name, reason in missing.items():
        reasons.setdefault(reason, []).append(name)
    return "; ".join(f"{', '.join(names)}: {reason}" for reason, names in reasons.items())


def refusal(missing: Mapping[str, str]) -> InputError:
    """The error for signals that do not arrive."""
    return InputError(
        f"guardrails without a signal: {told_missing(missing)}",
        "a signal of each guardrail before users get the challenger",
        "mend it, or leave a guardrail out by --without NAME",
    )
