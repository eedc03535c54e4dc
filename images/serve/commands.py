"""`python -m images.serve keys …` and `… users …`: who may call, what a key did, and the keys of users' pseudonyms.

Each prints one JSON object on stdout. They write to the store that the settings name, so they need an account that may.
"""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from images.serve.audit import FILE
from pipelines.access import pseudonyms
from pipelines.access.keys import DEFAULT_DAYS, Key, KeyEntry, KeyLog
from pipelines.corpus.event_log import log_files
from pipelines.errors import InputError, StepError
from pipelines.settings import settings
from pipelines.store.objects import Store, open_store

GRACE_MINUTES = 60.0
MOST_ACTS = 1000
WHY = click.option("--why", default="by hand", show_default=True, help="The reason that people read.")
DAYS = click.option("--days", type=float, default=DEFAULT_DAYS, show_default=True, help="Days until it expires, at most 400.")


@click.group(context_settings={"max_content_width": 100})
def group() -> None:
    """Without a command: start the search server."""


@group.group()
def keys() -> None:
    """API keys: make, rotate, expire, revoke, list; and what a key did."""


@keys.command()
@click.option("--owner", required=True, help="The person or program that gets it.")
@click.option("--scopes", required=True, help="What it may do: some of search,embed,events,admin,metrics.")
@DAYS
@WHY
def make(owner: str, scopes: str, days: float, why: str) -> None:
    """Make a key and print it, once: only its hash is kept."""
    words = [word.strip() for word in scopes.split(",") if word.strip()]
    key, text = KeyLog(open_store()).make(owner, words, days, why)
    _print({"key": text, **_shown(key)})


@keys.command()
@click.argument("key_id")
@DAYS
@click.option("--grace-minutes", type=float, default=GRACE_MINUTES, show_default=True, help="Minutes that the old key lasts.")
@WHY
def rotate(key_id: str, days: float, grace_minutes: float, why: str) -> None:
    """Make a key in place of another, with its owner and scopes, and print it, once."""
    if not grace_minutes >= 0:  # nor NaN
        raise InputError(f"--grace-minutes {grace_minutes:g}", "0 or more", "pass 0 to end the old key now")
    log = KeyLog(open_store())
    key, text = log.rotate(key_id, days, 60 * grace_minutes, why)
    _print({"key": text, **_shown(key), "replaces": _shown(log.keys[key_id])})


@keys.command()
@click.argument("key_id")
@click.option("--in-hours", type=float, required=True, help="Hours from now.")
@WHY
def expire(key_id: str, in_hours: float, why: str) -> None:
    """Let a key end at a time, at the latest when it would end anyway."""
    if not in_hours >= 0:  # nor NaN
        raise InputError(f"--in-hours {in_hours:g}", "0 or more", "use `keys revoke` to end a key now")
    _print(_shown(KeyLog(open_store()).expire(key_id, 3600 * in_hours, why)))


@keys.command()
@click.argument("key_id")
@WHY
def revoke(key_id: str, why: str) -> None:
    """Lock out a key: every replica refuses it within about a second."""
    _print(_shown(KeyLog(open_store()).revoke(key_id, why)))


@keys.command(name="list")
@click.option("--all", "everything", is_flag=True, help="Also keys that have ended.")
def list_keys(everything: bool) -> None:
    """The keys, without their secrets, which nobody has."""
    now = time.time()
    found = [key for key in KeyLog(open_store()).keys.values() if everything or not key.problem(now)]
    _print({"keys": [_shown(key) for key in found]})


@keys.command()
@click.argument("key_id")
@click.option(
    "--events", multiple=True, type=click.Path(path_type=Path), help="Folders of servers' logs; default: this machine's."
)
def history(key_id: str, events: tuple[Path, ...]) -> None:
    """What a key did: its entries in the log of keys, its acts as admin, refusals, its searches, clicks and conversions."""
    current = settings()
    folders = events or (current.events_folder,)
    store = open_store()
    log = KeyLog(store)
    entries = [entry for entry in log.entries if key_id in (entry.key, entry.replaces)]
    acts = [line for folder in folders for line in _lines(folder / FILE, key_id)]
    _print(
        {
            **_shown(log.known(key_id)),
            "changes": [_change(entry) for entry in entries],
            "acts": sorted(acts, key=lambda act: str(act["at"]))[-MOST_ACTS:],
            "searches": _logged(store, folders, "exposures", key_id),
            "clicks": _logged(store, folders, "clicks", key_id),
            "conversions": _logged(store, folders, "conversions", key_id),
            "logs": [str(folder) for folder in folders],
        }
    )


@group.group()
def users() -> None:
    """The keys of users' pseudonyms, in the file RATCHET_USER_KEYS_FILE."""


@users.command(name="rotate")
@click.option("--keep-days", type=float, default=400, show_default=True, help="Days for which its pseudonyms can be told.")
def rotate_user_key(keep_days: float) -> None:
    """Make the key of all pseudonyms from now on; keys that have expired are deleted."""
    made = pseudonyms.rotate(_user_keys_file(), keep_days)
    _print({"id": made.id, "expires": _moment(made.expires), "file": str(_user_keys_file())})


@users.command(name="pseudonyms")
@click.argument("user")
def show_pseudonyms(user: str) -> None:
    """The pseudonyms of a user in the logs, by the id of the key that made them."""
    _print({"pseudonyms": pseudonyms.UserKeys(_user_keys_file()).pseudonyms(user)})


def run(arguments: list[str]) -> int:
    """Run a command and return its exit code; a user's mistake is one line on stderr."""
    try:
        group.main(arguments, prog_name="python -m images.serve", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return 1
    except StepError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    return 0


def _user_keys_file() -> Path:
    path = settings().user_keys_file
    if path is None:
        raise InputError("no RATCHET_USER_KEYS_FILE", "the file of the keys of pseudonyms", "set it, for the servers, too")
    return path


def _shown(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "owner": key.owner,
        "scopes": sorted(key.scopes),
        "made": _moment(key.made),
        "made_by": key.made_by,
        "expires": _moment(key.expires),
        "state": (key.problem(time.time()) or "is valid").removeprefix("is ").removeprefix("was ").removeprefix("has "),
    }


def _change(entry: KeyEntry) -> dict[str, Any]:
    return {"at": _moment(entry.at), "act": entry.act, "who": entry.who, "why": entry.why}


def _lines(path: Path, key_id: str) -> Iterator[dict[str, Any]]:
    """The lines of a log by this key, or by a browser that it signed in; a line that is cut off is left out."""
    if not path.is_file():
        return
    callers = (key_id, f"{key_id}/page")
    with path.open("rb") as file:
        for line in file:
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict) and row.get("caller") in callers:
                yield row


def _logged(store: Store, folders: Sequence[Path], name: str, key_id: str) -> dict[str, Any]:
    """How many lines of a log are by a key; what was shipped counts once, whichever folder it came from."""
    with TemporaryDirectory() as scratch:
        logged = [log_files(store, folder, name, Path(scratch)) for folder in folders]
        paths = {path for files in logged for path in files.lines} | set(logged[0].as_lines(Path(scratch)))
        return _count(line for path in paths for line in _lines(path, key_id))


def _count(lines: Iterator[dict[str, Any]]) -> dict[str, Any]:
    moments = [str(line["at"]) for line in lines]
    return {"count": len(moments), "first": min(moments, default=None), "last": max(moments, default=None)}


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _print(result: dict[str, Any]) -> None:
    print(json.dumps(result, indent=1, ensure_ascii=False))
