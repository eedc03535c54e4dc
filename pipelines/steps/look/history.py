"""history: what was promoted, deployed and rolled back, by whom and why."""

from datetime import UTC, datetime

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.logs import log
from pipelines.store.journal import Entry, Journal, moment
from pipelines.store.objects import open_store
from pipelines.store.releases import anchor_id

VERSION = 1


class HistoryParams(Params):
    limit: int = Field(20, ge=1, le=100000, description="Entries to show, the youngest last")
    at: str = Field("", description="A time such as 2026-11-23T14:00 (UTC unless it says otherwise); empty: now")


class HistoryResult(Result):
    champion: str
    challenger: str
    anchor: str
    """Today's: the last champion that was better than the one before it beyond chance, or the first."""
    entry: int
    entries: list[str]
    sentence: str
    """Which release serves, who made it champion, when and why; and which answers users or ranks searches beside it."""


def history(params: HistoryParams) -> HistoryResult:
    """Show the journal, and which release serves now or served at a time."""
    now = Journal(open_store())
    journal = now.at(moment("--at", params.at)) if params.at else now
    for entry in now.behind():
        log().warning("the clock of a writer was behind: by its number the entry follows", entry=entry.n, at=entry.at)
    entries = journal.entries[-params.limit :]
    _print_table(entries)
    return HistoryResult(
        champion=journal.routing.champion or "",
        challenger=journal.routing.challenger or "",
        anchor=anchor_id(now),
        entry=len(journal.entries),
        entries=[_line(entry) for entry in entries],
        sentence=_sentence(journal, params.at),
    )


def _sentence(journal: Journal, at: str) -> str:
    when = f"at {at}" if at else "now"
    deployment = journal.deployment()
    if deployment is None:
        return f"{when} no release serves: none had been deployed"
    verdict = f", on verdict {deployment.verdict}" if deployment.verdict else ""
    return (
        f"{when} release {deployment.to} serves since {deployment.at} (entry {deployment.n}, {deployment.action} by"
        f" {deployment.who}{verdict}): {deployment.why}{_beside(journal)}"
    )


def _beside(journal: Journal) -> str:
    routing, told = journal.routing, ""
    if (split := routing.split) and split.share:
        told += f"; release {routing.challenger} answers {split.share:.4g} of the users ({split.name})"
    if routing.shadow:
        told += f"; release {routing.challenger} ranks {routing.shadow:.4g} of the searches unseen"
    return told


def _line(entry: Entry) -> str:
    return f"{entry.n} {entry.at} {entry.action} {entry.from_ or 'none'} -> {entry.to} by {entry.who}: {entry.why}"


def _minute(at: str) -> str:
    return f"{datetime.fromisoformat(at).astimezone(UTC):%Y-%m-%dT%H:%MZ}"


def _print_table(entries: list[Entry]) -> None:
    """Print the entries as a table on stderr."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, padding=0)
    for heading in ("entry", "at", "action", "release"):
        table.add_column(heading, no_wrap=True)
    table.add_column("who", no_wrap=True, max_width=12)  # the rest of a narrow terminal is for the reason
    table.add_column("why", overflow="fold")
    for entry in entries:
        subject = entry.to if entry.toggle else entry.to[:8]
        table.add_row(*map(Text, (str(entry.n), _minute(entry.at), entry.action, subject, entry.who, entry.why)))
    Console(stderr=True).print(table)
