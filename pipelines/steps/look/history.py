"""history: what was promoted, deployed and rolled back, by whom and why."""

from datetime import UTC, datetime

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import InputError
from pipelines.store.journal import Entry, Journal
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


def history(params: HistoryParams) -> HistoryResult:
    """Show the journal, and which release serves now or served at a time."""
    journal = Journal(open_store())
    entries = _until(journal.entries, params.at)
    _print_table(entries[-params.limit :])
    last = entries[-1] if entries else None
    return HistoryResult(
        champion=(last and last.routing.champion) or "",
        challenger=(last and last.routing.challenger) or "",
        anchor=anchor_id(journal),
        entry=last.n if last else 0,
        entries=[_line(entry) for entry in entries[-params.limit :]],
    )


def _until(entries: list[Entry], at: str) -> list[Entry]:
    """The entries that had been written at a time."""
    if not at:
        return entries
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        raise InputError(f"--at {at}", "a time in ISO form", "pass for example --at 2026-11-23T14:00") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return [entry for entry in entries if datetime.fromisoformat(entry.at) <= moment]


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
        table.add_row(*map(Text, (str(entry.n), _minute(entry.at), entry.action, entry.to[:8], entry.who, entry.why)))
    Console(stderr=True).print(table)
