"""One tick of a deployment by evidence: a look, and what is done about it. The journal has it all: a kill is made good."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pipelines.deployment.canary import (
    PASSED,
    SIGNALS,
    Canary,
    Look,
    canary_name,
    canary_of,
    check_not_harmful,
    check_possible,
    last_canary,
    look,
    passed,
    told_end,
)
from pipelines.deployment.counts import ServerCounts, counted_since, read_counts, restarts_of
from pipelines.deployment.guardrails import HOUR, limit_findings
from pipelines.deployment.probing import probe_overlap
from pipelines.deployment.readiness import wait_until_followed, wait_until_warm
from pipelines.deployment.signals import missing_signals, refusal, signals_from, signals_since
from pipelines.deployment.stages import SHADOW, Plan
from pipelines.errors import InputError, StepError
from pipelines.logs import log
from pipelines.settings import settings
from pipelines.store.artifacts import Artifact, load_exactly
from pipelines.store.journal import Entry, Journal, Split

Outcome = Literal["waits", "widened", "asks", "passed", "rolled back", "stopped"]


@dataclass(frozen=True)
class Terms:
    """What a deployment by evidence keeps to."""

    plan: Plan
    without: Sequence[str] = ()
    """Guardrails that are left out."""
    signal_minutes: float = 10.0
    """Since servers count with the challenger in memory, in which each guardrail's signal must arrive."""
    why: str = ""
    who: str = ""
    wait_s: float = 60.0
    check: Callable[[Artifact], None] | None = None
    """Refuses a release that may not have users, such as one whose features are not online."""
    only_back: bool = False
    """Whether harm alone is acted on: nothing begins, and nobody more gets the challenger, while a person is asked."""

    def __post_init__(self) -> None:
        if unknown := sorted({*self.without} - {*SIGNALS}):
            raise InputError(f"--without {', '.join(unknown)}", f"some of {', '.join(SIGNALS)}", "correct it")


@dataclass(frozen=True)
class Tick:
    """What a tick saw and did."""

    outcome: Outcome
    sentence: str
    release: str
    canary: Canary | None = None
    """As it was before; none: it has not begun."""
    look: Look | None = None


def tick(journal: Journal, release: str, terms: Terms) -> Tick:
    """Look once, and act on it.

    Args:
        journal: of the store, read now.
        release: whose deployment is meant; empty: the challenger's.
        terms: what it keeps to.

    Raises:
        InputError: it can't begin, or another release is the challenger; nothing was changed.
        TryAgain: the store or the server does not answer, or somebody else wrote to the journal; what was written stays.
    """
    running = canary_of(journal)
    if running is None:
        return _ended(journal, release, terms.only_back) or _begin(journal, release, terms)
    _check_release(journal, release)
    _take_over(journal, running, terms.who)
    seen = look(journal, running, terms.plan, terms.without, lambda: _probed(journal, terms.without))
    (log().warning if seen.broken else log().info)(seen.sentence, decision=seen.decision, share=running.split.share)
    stage = running.number(terms.plan)
    if seen.decision == "roll back":
        _write(journal, running.split.name, None, seen.sentence, terms)
        return Tick("rolled back", seen.sentence, running.challenger, running, seen)
    if seen.decision != "next" or terms.only_back:
        asks = seen.decision == "ask" and not terms.only_back
        return Tick("asks" if asks else "waits", seen.sentence, running.challenger, running, seen)
    if stage + 1 == len(terms.plan.shares):
        if passed(journal) is None:
            journal.append("stage", running.challenger, PASSED + seen.sentence, journal.routing, None, terms.who)
        return Tick("passed", seen.sentence, running.challenger, running, seen)
    if stage == SHADOW and terms.check:  # what held when it was first ranked unseen may not by now
        terms.check(load_exactly(journal.store, "release", running.challenger))
    _write(journal, running.split.name, terms.plan.shares[stage + 1], seen.sentence, terms)
    return Tick("widened", seen.sentence, running.challenger, running, seen)


def _check_release(journal: Journal, release: str) -> None:
    challenger = journal.routing.challenger
    if release and release != challenger:
        raise InputError(
            f"release {release} while {challenger or 'none'} is the challenger",
            "the challenger",
            "leave --release out; a deployment that runs is ended by `split --share 0`",
        )


def _ended(journal: Journal, release: str, by_anyone: bool) -> Tick | None:
    """How the deployment ended that an earlier try of this dag run was at, or the last of all; None: none ended."""
    own, last = journal.resumed("stage"), last_canary(journal)
    if last is None or (release and release != last.challenger):
        return None
    if not by_anyone and (own is None or own.n < last.begun.n):
        return None
    end = journal.entries[last.last]
    deployed = end.action == "deploy" and end.to == last.challenger
    outcome: Outcome = "passed" if deployed else "rolled back" if end.action == "stage" else "stopped"
    return Tick(outcome, told_end(journal, last), last.challenger, last)


def _take_over(journal: Journal, running: Canary, who: str) -> None:
    """Write down that this dag run looks from now on, if another began it: so it knows when that one ended, and begins none.

    Raises:
        TryAgain: somebody else wrote the next entry.
    """
    own = journal.resumed("stage")
    if settings().dag_run and (own is None or own.n < running.begun.n):
        why = f"{running.split.name} goes on: this dag run looks from now on"
        journal.append("stage", running.challenger, why, journal.routing, None, who)


def _begin(journal: Journal, release: str, terms: Terms) -> Tick:
    """Let the challenger rank unseen, or give it its first users, once each guardrail's signal arrives; or wait for it."""
    if terms.only_back:
        return Tick("stopped", "no deployment by evidence runs", release)
    check_possible(journal)
    check_not_harmful(journal)
    _check_release(journal, release)
    challenger = str(journal.routing.challenger)
    waited_s = wait_until_warm(challenger, terms.wait_s)
    since, now = signals_since(journal), time.time()
    counted = read_counts(journal.store, range(since.n, len(journal.entries) + 1))
    read = counted_since(counted, now - 60 * HOUR)
    _check_stays_up(read, challenger, terms.without)
    missing = missing_signals(read, terms.without)
    if "overlap" not in missing and (unanswered := _probed(journal, terms.without)[1]):
        missing["overlap"] = f"probe queries are not answered ({unanswered})"
    if missing:
        promoted = datetime.fromisoformat(since.at).timestamp()
        if now - signals_from(counted, promoted, now, bool(waited_s)) >= 60 * terms.signal_minutes:
            raise refusal(missing)
        sentence = f"waits for a signal of {', '.join(missing)}"
        log().info(sentence, missing=missing)
        return Tick("waits", sentence, challenger)
    if terms.check:
        terms.check(load_exactly(journal.store, "release", challenger))
    left_out = f", without {', '.join(terms.without)}" if terms.without else ""
    sentence = f"each guardrail's signal arrives{left_out}"
    _write(journal, canary_name(journal), 0.0 if terms.plan.shadow else terms.plan.shares[0], sentence, terms)
    return Tick("widened", sentence, challenger, canary_of(journal))


def _check_stays_up(read: Sequence[ServerCounts], challenger: str, without: Sequence[str]) -> None:
    """Check that servers did not end again and again since they hold the challenger: probe queries may end them, too.

    Raises:
        InputError: they did.
    """
    restarts = next(finding for finding in limit_findings(restarts_of(read, 0.0), 0) if finding.name == "restarts")
    if restarts.broken and restarts.name not in without:
        raise InputError(
            f"release {challenger}, since whose promotion servers end: {restarts.sentence}",
            "servers that stay up with it in memory, before any user has it",
            "read the server's log; promote another release",
        )


def _probed(journal: Journal, without: Sequence[str]) -> tuple[float | None, str]:
    """The overlap of the rankings of probe queries, or why it is not known; neither where it is left out.

    Whatever is wrong with them, such as a key that is no longer valid, keeps no look from finding harm by the counts.
    """
    if "overlap" in without:
        return None, ""
    champion, challenger = str(journal.routing.champion), str(journal.routing.challenger)
    try:
        return probe_overlap(journal.store, champion, challenger), ""
    except StepError as error:
        log().warning("probe queries were not answered", problem=str(error))
        return None, error.given


def _write(journal: Journal, name: str, share: float | None, sentence: str, terms: Terms) -> Entry:
    """Change the challenger's share, 0: it ranks unseen, none: take all users from it; and wait until the server follows.

    Raises:
        TryAgain: somebody else wrote the next entry, or the server does not follow in time; the entry stays.
    """
    split = None if share is None else Split(name=name, share=share)
    done = f"stage {share:.4g} of {name}" if share else f"rolled back: {name} ends" if share is None else f"shadow of {name}"
    why = "; ".join(filter(None, (f"{done}: {sentence}", terms.why)))
    routing = journal.routing.model_copy(update={"split": split, "shadow": terms.plan.shadow if share == 0 else None})
    entry = journal.append("stage", str(routing.challenger), why, routing, None, terms.who)
    log().info(done, entry=entry.n)
    wait_until_followed(entry.n, terms.wait_s)
    return entry
