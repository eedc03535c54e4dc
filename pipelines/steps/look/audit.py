"""audit: the journal with names and reasons for an auditor, checked against every audit before."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import InputError
from pipelines.logs import log
from pipelines.settings import settings
from pipelines.store.artifacts import produce
from pipelines.store.journal import Journal
from pipelines.store.objects import Store, open_store
from pipelines.store.recipes import Recipe

VERSION = 1


class AuditParams(Params):
    pseudonyms: bool = Field(
        False, description="For people outside: pseudonyms in place of names, by the keys of RATCHET_USER_KEYS_FILE"
    )
    against: str = Field("", description="Export of before, kept elsewhere, that the journal must begin with")
    to: str = Field("", description="File that receives the export, too; empty: it stays in the store")


class AuditResult(Result):
    report: str
    entries: int
    seal: str
    """Of the export's end. Kept elsewhere, it tells any later change: `verify_audit --seal`."""
    audits: int
    """Earlier exports that the journal still begins with."""
    note: str


def audit(params: AuditParams) -> AuditResult:
    """Export the journal, and find entries that were removed or altered since an earlier export."""
    from pipelines.store.audit import FILE, seal_of, stored_hashes

    store = open_store()
    journal = Journal(store)
    hashes = stored_hashes(journal)
    audits = _check_earlier(store, hashes, params.against)
    key, rename = _renaming() if params.pseudonyms else ("", None)
    semantic = {"entries": len(hashes), "tip": journal.tip, "pseudonyms": key}
    recipe = Recipe(kind="report", step="audit", version=VERSION, inputs={}, params=semantic)
    report = produce(store, recipe, lambda folder: _write(journal, hashes, rename, audits, folder))
    text = report.text(FILE)
    if params.to:
        Path(params.to).expanduser().write_text(text, encoding="utf-8")
    note = f"AUDITED: {len(hashes)} entries; none was altered or removed since {audits} earlier exports"
    log().info(note, report=report.id)
    return AuditResult(report=report.id, entries=len(hashes), seal=seal_of(text), audits=audits, note=note)


def _check_earlier(store: Store, hashes: list[str], against: str) -> int:
    """Compare the journal with every export of before; how many there are.

    Raises:
        InputError: an entry was altered or removed since, or an export can't be read.
    """
    from pipelines.store.audit import check_extends, read_export_file, stored_exports

    exports = stored_exports(store)
    if against:
        exports[f"--against {against}"] = read_export_file("--against", against)[0]
    for name, earlier in exports.items():
        check_extends(hashes, earlier, name)
    return len(exports)


def _renaming() -> tuple[str, Callable[[str], str]]:
    """The id of the newest key of pseudonyms, and what gives a name's pseudonym."""
    from pipelines.access.pseudonyms import UserKeys

    file = settings().user_keys_file
    keys = UserKeys(file) if file else None
    if keys is None or not keys.valid():
        raise InputError(
            "--pseudonyms true without a key that is valid",
            "RATCHET_USER_KEYS_FILE, with a key that has not expired",
            "make one with `python -m images.serve users rotate`",
        )
    return keys.valid()[-1].id, keys.pseudonym


def _write(
    journal: Journal, hashes: list[str], rename: Callable[[str], str] | None, audits: int, folder: Path
) -> dict[str, Any]:
    from pipelines.reports.audit import write_audit_report
    from pipelines.store.audit import FILE, export, read_export

    text = export(journal, hashes, rename)
    (folder / FILE).write_text(text, encoding="utf-8")
    write_audit_report(folder, read_export(text, FILE), audits, rename is not None)
    return {"entries": len(hashes)}
