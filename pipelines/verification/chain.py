"""The journal's chain, replayed as an audit does, and what can be derived of its last entry, which no later one names.

Each entry is held by the sha256 in the one behind it. The last one is held by what it names: who moves a release writes the
routes before and after, and a verdict, and these follow from the other entries and from what is stored. Its time, its name and
its reason follow from nothing, and neither does that none was cut off behind it: only an export that `audit` wrote shows that.
"""

from collections.abc import Mapping
from typing import Any

from pipelines.errors import CorruptArtifact
from pipelines.store.artifacts import Artifact
from pipelines.store.audit import check_extends, export, read_export
from pipelines.store.closure import ID, gone_recipe, located
from pipelines.store.erasures import CERTIFICATE, Erasures
from pipelines.store.journal import ROUTES, Entry, Journal, entry_path
from pipelines.store.recipes import digest

Exports = Mapping[str, list[dict[str, Any]]]
"""The entries of exports that `audit` wrote, by what messages call them."""


def check_chain(journal: Journal, release: str, exports: Exports) -> str:
    """Whether no entry was changed, added or removed, as far as that can be seen; a sentence that says how far.

    Args:
        journal: that was read as a whole.
        release: whose entries the sentence names.
        exports: that the journal must begin with; of a bundle's, which may be older, those that it has.

    Raises:
        InputError: an entry is another than an export has, or follows from nothing.
    """
    store = journal.store
    there = [name for name in store.names("journal/") if name.endswith(".json")]
    if len(there) != len(journal.entries):
        raise CorruptArtifact(
            f"{len(there)} entries in {store.uri}/journal, of which {len(journal.entries)} follow each other",
            "one for each number",
            "find who removed entries, or restore them",
        )
    hashes = [digest(store.read(entry_path(entry.n))) for entry in journal.entries]
    read_export(export(journal, hashes), f"{store.uri}/journal")
    for name, earlier in exports.items():
        check_extends(hashes, earlier[: len(hashes)] if store.bundled else earlier, name)
    if journal.entries:
        _check_last(journal)
    of_release = [f"{entry.action} in entry {entry.n} by {entry.who}" for entry in journal.entries if entry.to == release]
    told = ", ".join(of_release) or "none is of this release"
    return f"{len(there)} entries, each with the sha256 of the one before; {told}; {_unseen(len(there), exports)}"


def _unseen(entries: int, exports: Exports) -> str:
    """What a change of would not be seen, in words."""
    held = max(map(len, exports.values()), default=0)
    exported = f"the first {min(held, entries)} are as in {len(exports)} export(s) of `audit`" if exports else ""
    if held >= entries:
        more = f"with {held - entries} more: this bundle is older" if held > entries else "which end here, too"
        return f"{exported}, {more}"
    return (
        f"{exported}{'; ' if exported else ''}the routes and the verdict of the last one follow from the others; not seen"
        " without an audit of it (--audit FILE): another time, name or reason of the last one, and entries cut off behind it"
    )


def _check_last(journal: Journal) -> None:
    """Whether the last entry's routes and verdict follow from the entries before and from what is stored."""
    entry, before = journal.entries[-1], journal.until(len(journal.entries) - 1)
    routes, role = before.routing, ROUTES[entry.action]
    if entry.from_ != (routes.challenger if role == "challenger" else routes.champion):
        raise _differs(entry, f"says that it leaves {entry.from_}", f"the {role} that the entries before leave")
    now = entry.routing
    routed = {"challenger": now.challenger, "champion": now.champion, "share": now.challenger}.get(role, entry.to)
    if routed != entry.to:
        raise _differs(entry, f"routes to {routed}", "the release that it is to")
    if role == "challenger" and entry.routing.champion != routes.champion:
        raise _differs(entry, f"makes {entry.routing.champion} champion", f"{routes.champion}, as before")
    if entry.action == "rollback" and entry.to not in before.champions():
        raise _differs(entry, "goes back to what never was champion", "a champion before")
    if entry.action == "deploy":
        _check_promoted(entry, before.latest("promote", to=entry.to))
    if role in ("challenger", "champion"):
        _check_named(journal, entry, "release", entry.to)
    if entry.verdict:
        _check_named(journal, entry, "verdict", entry.verdict)


def _check_promoted(entry: Entry, promotion: Entry | None) -> None:
    if promotion is None:
        raise _differs(entry, f"deploys {entry.to}", "a release that an entry before promoted")
    if promotion.verdict != entry.verdict:
        expected = f"{promotion.verdict}, on which entry {promotion.n} promoted it"
        raise _differs(entry, f"names verdict {entry.verdict}", expected)


def _check_named(journal: Journal, entry: Entry, role: str, name: str) -> None:
    """Whether what the last entry names is, or was, in the store, and is about what the entry is to."""
    store = journal.store
    artifact = located(store, role, name) if ID.fullmatch(name) else None
    if artifact is None:
        erased = name in {*Erasures(journal).retired(), *journal.erased_releases}
        gone = erased or (ID.fullmatch(name) and gone_recipe(store, name))
        if not (gone or store.bundled):  # a bundle has the evidence of its own release alone
            raise _differs(entry, f"names {role} {name}", f"one that is in {store.uri}")
    about = _about(artifact) if artifact and role == "verdict" else ""
    if about not in ("", entry.to):
        raise _differs(entry, f"names {role} {name}, which is about {about}", f"one about {entry.to}")


def _about(evidence: Artifact) -> str:
    """What an entry that names this evidence is to; empty: that can't be told."""
    if evidence.kind == "verdict":
        return evidence.inputs.get("release", "")
    return str(evidence.json(CERTIFICATE)["subject"]) if CERTIFICATE in evidence.manifest.files else ""


def _differs(entry: Entry, what: str, expected: str) -> CorruptArtifact:
    return CorruptArtifact(
        f"journal entry {entry.n}, the last one, which {what}",
        expected,
        "find who changed it, and restore the entry from a backup",
    )
