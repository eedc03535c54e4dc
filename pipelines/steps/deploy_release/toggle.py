"""toggle: change something of the search server at once, without a release, or take the last change back."""

from typing import Literal

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.deployment.toggles import parsed
from pipelines.errors import InputError, NothingToDo
from pipelines.logs import log
from pipelines.store.journal import Journal, Toggle
from pipelines.store.objects import open_store

VERSION = 1
DEFAULT = "default"
"""As the servers' settings have it."""


class ToggleParams(Params):
    name: Literal["rerank", "rerank_ms", "k"] = Field(
        "rerank",
        description="rerank: whether releases rerank; rerank_ms: milliseconds of a search in which to; k: results where a"
        " search does not say how many",
    )
    value: str = Field("", description="Its value, such as off or 20; default: as the servers' settings have it")
    undo: bool = Field(False, description="Take its last change back, in place of a value")
    why: str = Field("", description="Reason for the journal")
    who: str = Field("", description="Name for the journal; empty: RATCHET_USER, else the account's")
    wait_s: float = Field(60, ge=0, le=3600, description="Seconds to wait for the server to follow")


class ToggleResult(Result):
    name: str
    value: str
    """What holds now; default: as the servers' settings have it."""
    before: str
    entry: int
    waited_s: float
    note: str


def toggle(params: ToggleParams) -> ToggleResult:
    """Write a toggle into the journal, which every server follows within two seconds, and wait for it."""
    from pipelines.deployment.readiness import wait_until_followed

    journal = Journal(open_store())
    entry = journal.resumed("toggle")
    if entry is None:
        wanted = _wanted(journal, params)
        to = f"{params.name}={_told(wanted.value)}"
        entry = journal.append("toggle", to, params.why or "no reason given", None, None, params.who, wanted)
    assert entry.toggle is not None
    name, before = entry.toggle.name, journal.until(entry.n - 1).toggles.get(entry.toggle.name)
    waited_s = wait_until_followed(entry.n, params.wait_s, f"`toggle --name {name} --undo true` takes it back")
    value = _told(entry.toggle.value)
    log().info("toggled", toggle=name, value=value, before=_told(before), entry=entry.n)
    note = f"TOGGLE: {name} is {value}, before {_told(before)}"
    return ToggleResult(name=name, value=value, before=_told(before), entry=entry.n, waited_s=waited_s, note=note)


def _wanted(journal: Journal, params: ToggleParams) -> Toggle:
    """The toggle that is asked for.

    Raises:
        InputError: neither a value nor undo, or both; the value is none for it.
        NothingToDo: it is so already, or was never changed.
    """
    if params.undo == bool(params.value):
        given = "--value together with --undo" if params.undo else "neither --value nor --undo"
        raise InputError(given, "one of both", "pass for example --value off")
    now = journal.toggles.get(params.name)
    if params.undo:
        changes = [entry.n for entry in journal.entries if entry.toggle and entry.toggle.name == params.name]
        if not changes:
            raise NothingToDo(f"{params.name} was never toggled")
        return Toggle(name=params.name, value=journal.until(changes[-1] - 1).toggles.get(params.name))
    value = None if params.value == DEFAULT else parsed(params.name, params.value)
    if value == now:
        raise NothingToDo(f"{params.name} is already {_told(now)}")
    return Toggle(name=params.name, value=value)


def _told(value: bool | int | float | None) -> str:
    """A value as a person writes it.

    >>> _told(False), _told(50.0), _told(None)
    ('off', '50', 'default')
    """
    if value is None:
        return DEFAULT
    return ("on" if value else "off") if isinstance(value, bool) else f"{value:g}"
