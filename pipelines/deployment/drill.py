"""A rollback drill: the champion before serves for a moment, timed, and the champion comes back.

It is a real rollback: two journal entries, `rollback` and `deploy`, say so. A try that is told to stop between them brings the
champion back first. One that is killed there is finished by the next one of its dag run, which finds its own entry.
"""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from pipelines.deployment.going_back import go_back
from pipelines.deployment.live import answering_release, seconds_until_served
from pipelines.errors import InputError, NothingToDo, StepError, TryAgain
from pipelines.settings import settings
from pipelines.sigterm import defer_sigterm
from pipelines.store.journal import Entry, Journal, Routing

WHY = "drill: the champion comes back in a moment"
LIMITS = {"serving_s": 1.0, "rollback_s": 10.0, "projections_s": 60.0}
"""Seconds until live queries are answered by the champion before, after the entry and after the drill was asked for; and until
MLflow shows the journal."""


@dataclass(frozen=True)
class Drill:
    """What a drill saw. None: it was not reached, or there is no MLflow."""

    at: str
    release: str
    previous: str
    entry: int
    serving_s: float | None
    rollback_s: float | None
    back_s: float | None
    projections_s: float | None
    problem: str

    @property
    def passed(self) -> bool:
        """Whether everything was reached in time."""
        return not self.problem


def check_possible(journal: Journal, query: str) -> None:
    """Check that a drill would disturb nobody, and that the server answers.

    Raises:
        NothingToDo: there is no champion before, or a challenger waits, which a rollback would drop.
        InputError, TryAgain: the server does not answer with the champion.
    """
    if journal.previous_champion() is None:
        raise NothingToDo("there is no champion before this one: a drill has nothing to go back to")
    if journal.routing.challenger:
        raise NothingToDo(f"challenger {journal.routing.challenger} waits: a rollback would drop it")
    serving = answering_release(query)
    if serving != journal.routing.champion:
        raise InputError(
            f"server that answers with release {serving}", f"the champion {journal.routing.champion}", "look at `/readyz` first"
        )


def drill(
    journal: Journal, query: str, why: str, who: str, wait_s: float, triggered: float, shown: Callable[[Journal], bool]
) -> Drill:
    """Go back, time it by live queries, and bring the champion back in any case.

    Args:
        journal: of the store, read now.
        query: what live queries ask.
        why: a reason besides that it is a drill.
        who: who acts; empty: the settings'.
        wait_s: seconds after which a server that does not follow counts as failed.
        triggered: when the drill was asked for, in seconds since 1970.
        shown: brings MLflow in line with the journal, and says whether it shows it.
    """
    entry = journal.resumed("rollback")
    if entry is None:
        check_possible(journal, query)
        entry = go_back(journal, "", f"{WHY}: {why}" if why else WHY, who)
    serving, problem = None, ""
    if journal.deployment() == entry:
        written = time.time()
        with defer_sigterm(signal.SIGINT) as stop_requested:  # who is told to stop brings the champion back first
            try:
                serving = seconds_until_served(entry.to, query, wait_s, stop_requested)
            except StepError as error:
                problem = str(error)
            finally:
                bring_back(journal, entry, who)
        rollback_s = round(written - triggered + serving, 3) if serving is not None else None
    else:
        rollback_s, problem = None, "interrupted before its times were taken"
    back, back_s, projections = journal.deployment(), None, None
    if back is not None and back.to == entry.from_:
        began = time.time()
        try:
            back_s = seconds_until_served(back.to, query, wait_s)
        except StepError as error:
            problem = problem or str(error)
        projections = round(time.time() - began, 3) if settings().mlflow_uri and shown(journal) else None
    elif back is not None:
        problem = problem or f"{back.who} made {back.to} champion meanwhile, by entry {back.n}"
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    times = {"serving_s": serving, "rollback_s": rollback_s, "projections_s": projections}
    problem = problem or _late(times, back_s)
    return Drill(at, entry.from_ or "", entry.to, entry.n, serving, rollback_s, back_s, projections, problem)


def bring_back(journal: Journal, entry: Entry, who: str) -> None:
    """Make the release that a drill left champion again, whatever others write meanwhile, unless they made one champion.

    Raises:
        TryAgain: the store does not answer.
    """
    assert entry.from_ is not None
    promotion = journal.latest("promote", to=entry.from_)
    verdict = promotion.verdict if promotion else None
    while journal.deployment() == entry:
        challenger = journal.routing.challenger  # of a promotion since the drill's entry, which had none
        routing = Routing(champion=entry.from_, challenger=challenger if challenger != entry.from_ else None)
        try:
            journal.append("deploy", entry.from_, f"drill of entry {entry.n} is over", routing, verdict, who)
        except TryAgain:
            if not journal.refresh():
                raise


def _late(times: dict[str, float | None], back_s: float | None) -> str:
    """What was not reached in time, in words."""
    missed = []
    for name, limit in LIMITS.items():
        seconds = times[name]
        if seconds is None and (name != "projections_s" or settings().mlflow_uri):
            missed.append(f"{name} was not reached")
        elif seconds is not None and seconds > limit:
            missed.append(f"{name} {seconds:g} is over {limit:g}")
    if back_s is None:
        missed.append("the champion does not answer again")
    return "; ".join(missed)
