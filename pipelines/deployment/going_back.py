"""Going back to a release that was champion before: one entry, then the wait until the server follows."""

from pipelines.deployment.readiness import wait_until
from pipelines.errors import InputError
from pipelines.logs import log
from pipelines.retrieval.release import stored_parts
from pipelines.store.journal import Entry, Journal, Routing


def go_back(journal: Journal, to: str, why: str, who: str) -> Entry:
    """Go back to `to`, empty: to the champion before; the entry.

    Raises:
        InputError: there is no such release that served before, or it is not whole.
        TryAgain: somebody else wrote the journal's next entry.
    """
    release = _target(journal, to)
    entry = journal.append("rollback", release, why or "no reason given", Routing(champion=release), None, who)
    log().warning("rolled back", release=release, entry=entry.n, left=entry.from_, why=entry.why)
    return entry


def _target(journal: Journal, to: str) -> str:
    others = sorted(set(journal.champions()) - {journal.routing.champion})
    release = to or journal.previous_champion()
    if release not in others:
        raise InputError(
            f"release {to}" if to else f"champion {journal.routing.champion or 'none'} and none before it",
            "a release that was champion before and is not now",
            f"pass --to, one of {', '.join(others)}" if others else "deploy a second release first",
        )
    stored_parts(journal.store, release)
    return release


def warn_superseded(journal: Journal, entry: Entry) -> None:
    """Log that others have routed since an earlier try wrote its entry."""
    last = journal.deployment()
    assert last is not None
    log().warning("rolled back before, routed on since", release=entry.to, entry=entry.n, now=last.to, by=last.n)


def wait_for_server(entry: Entry, wait_s: float) -> None:
    """Wait until each server serves the entry's release.

    Raises:
        InputError: one tells why it can't.
        TryAgain: one is silent, or still loading.
    """
    follows, answer, waited_s = wait_until(lambda server: server.champion == entry.to, wait_s)
    if not follows:
        serving = f"{answer.champion or 'nothing'} after {waited_s:.0f} s ({answer.problem or 'no problem told'})"
        raise answer.failure(
            f"{answer.name} that serves {serving}",
            f"release {entry.to}, which entry {entry.n} routes to",
            f"look at the server's log, then run `rollback --to {entry.to}`",
        )
