"""The journal as lines for an auditor: each line names the stored entry by its sha256, and the line before it by its seal.

The last line, the end, counts the entries. Whoever keeps its seal elsewhere can tell any later change, also of the last entries
and of a file that was sealed anew. From lines with pseudonyms the entries' own hashes can't be computed, the seals can.
"""

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pipelines.errors import InputError
from pipelines.masking import masked
from pipelines.store.artifacts import Artifact, committed, load_exactly
from pipelines.store.journal import GENESIS, Journal
from pipelines.store.objects import Store
from pipelines.store.recipes import canonical, digest

FIELDS = ("n", "at", "who", "why", "action", "from", "to", "verdict", "routing", "dag", "dag_run", "parent", "sha256", "seal")
ENDING = ("entries", "pseudonyms", "seal")
FILE = "audit.jsonl"
"""Of the report that `audit` stores."""


def export(journal: Journal, hashes: list[str], rename: Callable[[str], str] | None = None) -> str:
    """The journal as JSON lines, with an end.

    Args:
        journal: that was read as a whole.
        hashes: the sha256 of each stored entry.
        rename: gives the pseudonym of a name; none: names stay.
    """
    lines: list[dict[str, Any]] = []
    before = GENESIS
    names = {entry.who for entry in journal.entries} if rename else set()
    for entry, stored in zip(journal.entries, hashes, strict=True):
        line = entry.model_dump(mode="json", by_alias=True, exclude={"attempt"})
        if rename:
            line |= {"who": rename(entry.who), "why": _without(names, entry.why, rename)}
        lines.append(_sealed(line | {"sha256": stored}, before))
        before = lines[-1]["seal"]
    lines.append(_sealed({"entries": len(lines), "pseudonyms": rename is not None}, before))
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def _sealed(line: dict[str, Any], before: str) -> dict[str, Any]:
    return line | {"seal": digest(before.encode() + canonical(line))}


def _without(names: Iterable[str], text: str, rename: Callable[[str], str]) -> str:
    """A reason with pseudonyms in place of the names of those who act, and without other personal data."""
    for name in sorted(names, key=len, reverse=True):
        text = re.sub(rf"\b{re.escape(name)}\b", rename(name), text)
    return masked(text)


def read_export(text: str, name: str) -> list[dict[str, Any]]:
    """The entries of an export, checked to be as they were exported.

    Args:
        text: the file's content.
        name: what messages call it.

    Raises:
        InputError: a line was changed, added or removed; the message names the first one.
    """
    before, lines = GENESIS, [line for line in text.split("\n") if line]
    entries: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        fields = _fields(line)
        seal = fields.pop("seal", None)
        last = number == len(lines)
        expected = ENDING if last else FIELDS
        if set(fields) | {"seal"} != set(expected) or (not last and fields["n"] != number):
            raise _differs(name, number, "is no entry that follows the one before" if not last else "is no end")
        if seal != digest(before.encode() + canonical(fields)):
            raise _differs(name, number, "does not have the seal that its content and the line before give")
        if not last and entries and fields["parent"] != entries[-1]["sha256"]:
            raise _differs(name, number, "does not follow the entry before")
        if last and fields["entries"] != number - 1:
            raise _differs(name, number, f"counts {fields['entries']} entries and follows {number - 1}")
        before = str(seal)
        entries += [] if last else [fields]
    if not lines:
        raise _differs(name, 1, "is missing")
    return entries


def _fields(line: str) -> dict[str, Any]:
    try:
        fields = json.loads(line)
        canonical(fields)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _differs(name: str, number: int, what: str) -> InputError:
    return InputError(
        f"{name}, whose line {number} {what}",
        "the file as `audit` wrote it",
        "export it again, and find who changed it",
    )


def seal_of(text: str) -> str:
    """The seal of an export's end, by which an auditor knows it again."""
    return str(_fields(text.rstrip("\n").rpartition("\n")[2]).get("seal", ""))


def check_extends(hashes: list[str], earlier: list[dict[str, Any]], name: str) -> None:
    """Check that the journal still begins with the entries of an earlier export.

    Args:
        hashes: the sha256 of each stored entry of today.
        earlier: the entries of the export.
        name: what messages call it.

    Raises:
        InputError: an entry was changed or removed since; the message names the first one.
    """
    for entry, stored in zip(earlier, [*hashes, *[""] * len(earlier)], strict=False):
        if entry["sha256"] != stored:
            what = "is another now" if stored else "is missing now"
            raise InputError(
                f"journal entry {entry['n']} ({entry['action']} to {entry['to']} by {entry['who']}, {entry['at']}),"
                f" which {what}, by {name}",
                "the journal as it was exported, with what was written since behind it",
                "find who changed it, and restore the entry from a backup; what it routes now is not what was decided",
            )


def stored_hashes(journal: Journal) -> list[str]:
    """The sha256 of each stored entry: each names that of the one before it, and the last one's is the tip."""
    return [*(entry.parent for entry in journal.entries[1:]), *([journal.tip] if journal.entries else [])]


def stored_exports(store: Store) -> dict[str, list[dict[str, Any]]]:
    """The entries of every export that `audit` stored, oldest first, by what messages call it.

    Raises:
        InputError: an export was changed.
    """
    reports = (load_exactly(store, "report", name) for name in committed(store, "report"))
    audits = sorted((report for report in reports if report.manifest.recipe.step == "audit"), key=_age)
    names = {f"audit {audit.id} of {audit.manifest.provenance['at']}": audit for audit in audits}
    return {name: read_export(audit.text(FILE), name) for name, audit in names.items()}


def _age(audit: Artifact) -> tuple[str, str]:
    return str(audit.manifest.provenance["at"]), audit.id


def read_export_file(option: str, file: str, seal: str = "") -> tuple[list[dict[str, Any]], str]:
    """The entries of an export that a user names, and its seal.

    Args:
        option: by which it is named, for the message.
        file: its path.
        seal: that `audit` told when it was exported; empty: a file that was sealed anew is not found.

    Raises:
        InputError: it can't be read, it was changed, or it has another seal.
    """
    try:
        text = Path(file).expanduser().read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"{option} {file}", f"a file that `audit` wrote ({error})", "correct the path") from None
    entries, sealed = read_export(text, file), seal_of(text)
    if seal not in ("", sealed):
        raise InputError(f"{file} with the seal {sealed}", f"--seal {seal}", "ask for the file as it was exported")
    return entries, sealed
