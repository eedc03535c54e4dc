"""What promote, deploy and rollback find in the journal when they start, and what each does about it.

Airflow runs a task again after a failure, and people start steps twice, so a step may find its entry written already. The entry
is its own if an earlier try of the same dag run wrote it (`Journal.resumed`). It is in effect while nothing has changed since
what it routed: a promotion while its release is the challenger, a deployment or a rollback while its release is the champion.

| case         | the journal has                     | promote           | deploy                        | rollback            |
|--------------|-------------------------------------|-------------------|-------------------------------|---------------------|
| `new`        | no entry that does this             | checks, writes    | waits until the server has it | checks, writes,     |
|              |                                     |                   | in memory, writes, waits;     | waits               |
|              |                                     |                   | goes back without an answer   |                     |
| `resumed`    | its own entry, in effect            | returns it,       | waits; goes back without an   | waits               |
|              |                                     | `changed`         | answer                        |                     |
| `superseded` | its own entry, not in effect        | returns it,       | fails                         | warns, returns it   |
|              |                                     | `changed`         |                               |                     |
| `in effect`  | another run's entry, in effect      | returns it        | waits; never goes back        | waits               |

"Waits" is for the search server to serve what the entry routes; "goes back" is a rollback to the champion before.
"""

from typing import Literal, NamedTuple

from pipelines.store.journal import Entry, Journal

Case = Literal["new", "resumed", "superseded", "in effect"]


class Start(NamedTuple):
    """How a step starts: its case, and the entry that is there already; no entry only if the case is `new`."""

    case: Case
    entry: Entry | None = None


def promotion_start(journal: Journal, release: str, verdict: str, again: bool = False) -> Start:
    """How `promote` starts. A champion counts as promoted, by the entry that made it champion.

    With `again`, a promotion after which the guardrails of a deployment found harm is no longer in effect.
    """
    from pipelines.deployment.canary import found_harmful

    own = journal.resumed("promote", release)
    if release == journal.routing.champion:
        return Start("in effect", journal.deployment())
    latest = journal.latest("promote", to=release)
    stands = release == journal.routing.challenger and not (again and found_harmful(journal))
    if latest and stands and latest.verdict == verdict:
        return Start("resumed" if own == latest else "in effect", latest)
    return Start("superseded", own) if own else Start("new")


def deployment_start(journal: Journal, release: str) -> Start:
    """How `deploy` starts; an empty release is whichever the challenger is, or was for an earlier try."""
    if own := journal.resumed("deploy", release):
        return _own(journal, own)
    if release and release == journal.routing.champion:
        return Start("in effect", journal.deployment())
    return Start("new")


def rollback_start(journal: Journal, release: str) -> Start:
    """How `rollback` starts; an empty release is the champion before. A rollback that named it and came last is in effect."""
    if own := journal.resumed("rollback", release):
        return _own(journal, own)
    last = journal.last_routing()
    if release and last and last.action == "rollback" and last.to == release:
        return Start("in effect", last)
    return Start("new")


def _own(journal: Journal, own: Entry) -> Start:
    return Start("resumed" if journal.deployment() == own else "superseded", own)
