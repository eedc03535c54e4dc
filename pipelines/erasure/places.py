"""Every place that is searched for somebody, as one list: a place that is added here is searched, erased from and certified.

What no process of this project reaches is listed beside it, so that a certificate says what was not searched.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

from pipelines.corpus.event_log import COLUMNS, shipped_files
from pipelines.erasure.logs import (
    Change,
    acts_change,
    changed,
    changed_in_store,
    clicks_change,
    exposures_change,
    files_of,
    requests_of,
    rewrite,
    rewrite_in_store,
)
from pipelines.erasure.rules import RULES, holders
from pipelines.erasure.subject import Subject, readable
from pipelines.features.online import open_online
from pipelines.projections import mlflow_content
from pipelines.settings import settings
from pipelines.store import gc
from pipelines.store.artifacts import Artifact
from pipelines.store.objects import Store
from pipelines.store.recipes import blob_path

EMPTIED = f"{gc.TRASH}/0"
"""Where what is erased lies until it is deleted."""
NOT_SEARCHED = (
    "sources that are ingested: they are yours; rows of erased ids are left out when they are read again",
    "backups and exported bundles: replay erasures after a restore (`erase` without a subject)",
    "Airflow's database and task logs, which keep what a form was given: docs/privacy.md says how they are cleaned",
    "caches of other machines and pods, and what a server has in memory until it starts anew",
    "files that somebody had a step write elsewhere, such as pools, scores and pages",
    "versions that a bucket keeps of deleted objects: a lifecycle rule of the bucket ends them",
    "a feature store of another machine, or one that RATCHET_FEATURE_ONLINE does not name any more",
    "tables that dbt or others write for feature views: write them again without it, then start materialize_features",
    "logs of servers on other machines that are not shipped yet, unless --events names their folders: erase again afterwards",
)
"""What a certificate names as not searched."""


@dataclass(frozen=True)
class Search:
    """One search for a subject, at one moment."""

    store: Store
    subject: Subject
    corpora: frozenset[str]
    """Ids of the corpora that have rows of it."""
    folders: list[Path]
    """Folders of servers' logs."""
    gone: frozenset[str] = frozenset()
    """Ids of artifacts that held it and are deleted."""
    in_use: frozenset[str] = frozenset()
    """Ids of artifacts that serve until their successors do: they are found, and stay."""
    cache: Path = field(default_factory=lambda: settings().home / "cache")
    pages: Path = field(default_factory=lambda: settings().home / "reports")
    """Copies of reports that the demo has a browser open."""

    @cached_property
    def artifacts(self) -> dict[str, Artifact]:
        """All of the store, by id."""
        return gc.artifacts(self.store)

    @cached_property
    def holders(self) -> dict[str, Artifact]:
        """Those that hold the subject, by id."""
        return holders(self.artifacts, self.subject, self.corpora, self.gone)

    @cached_property
    def requests(self) -> set[str]:
        """The user's requests, as exposures name them: of the moment when they are first asked for."""
        return requests_of(self.store, self.folders, self.subject)

    def holds(self, body: bytes) -> bool:
        """Whether some bytes, read as text, hold the subject."""
        return self.subject.found_in(readable(body))


@dataclass(frozen=True)
class Place:
    """A place: how it is searched, and how the subject is erased from it. Both may be done again."""

    name: str
    find: Callable[[Search], list[str]]
    """What holds the subject, in words without its name."""
    erase: Callable[[Search], None]
    last: bool = False
    """Erased after all others, because it says what to look for in them."""
    whole: bool = False
    """Found whole, whoever is looked for, so that what is there need not be of the subject."""


def _of_kind(kind: str, search: Search) -> list[str]:
    return sorted(name for name, artifact in search.holders.items() if artifact.kind == kind)


def _retire(kind: str, search: Search) -> None:
    for name in _of_kind(kind, search):
        if name not in search.in_use:
            retire(search.store, search.artifacts, name)


def _retire_corpora(search: Search) -> None:
    """As other kinds, but the trash was emptied before."""
    _retire("corpus", search)
    empty_trash(search.store)


def retire(store: Store, artifacts: dict[str, Artifact], name: str) -> None:
    """Move an artifact and the files that no other names to the trash: its manifest first, so that none names what is gone.

    There they lie until `empty_trash` has looked whether a commit names them meanwhile; also after a kill in between.
    """
    artifact = artifacts.pop(name)
    path = f"{artifact.kind}/{name}/manifest.json"
    store.move(path, f"{EMPTIED}/{path}")
    _move_files(store, {blob_path(entry) for entry in artifact.manifest.files.values()}, artifacts)


def _move_files(store: Store, blobs: set[str], artifacts: Mapping[str, Artifact]) -> None:
    named = {blob_path(entry) for artifact in artifacts.values() for entry in artifact.manifest.files.values()}
    for blob in sorted(blobs - named):
        store.move(blob, f"{EMPTIED}/{blob}")


def empty_trash(store: Store) -> None:
    """Delete all that `gc` and erasures moved to the trash, and the files that only manifests there name.

    As `gc` does, files are moved first, and those that a commit names meanwhile are moved back; see there.
    """
    trashed = [entry.path for entry in store.listed(f"{gc.TRASH}/")]
    if not trashed:
        return
    gc.put_back(store)
    manifests = [path for path in trashed if path.endswith("manifest.json")]
    _move_files(store, {blob for path in manifests for blob in gc.files_of(_read(store, path))}, gc.artifacts(store))
    emptied = sorted((entry.path for entry in store.listed(f"{gc.TRASH}/")), key=lambda path: path.endswith("manifest.json"))
    gc.put_back(store)
    for path in emptied:  # nothing that was moved there since: whoever moved it has yet to look who names it
        store.delete(path)


def _in_folder(folder: str, search: Search) -> list[str]:
    return [entry.path for entry in search.store.listed(f"{folder}/") if search.holds(_read(search.store, entry.path))]


def _read(store: Store, path: str) -> bytes:
    try:
        return store.read(path)
    except FileNotFoundError:  # its writer has deleted it
        return b""


def _delete(folder: str, search: Search) -> None:
    for path in _in_folder(folder, search):
        search.store.delete(path)


def _trashed(search: Search) -> list[str]:
    return [entry.path for entry in search.store.listed(f"{gc.TRASH}/")]


def _checkpoints(search: Search) -> list[str]:
    """Checkpoints of shards, which are vectors: where a document is erased, all of them."""
    if search.subject.kind == "user":
        return _in_folder("checkpoints", search)
    return [entry.path for entry in search.store.listed("checkpoints/")]


def _delete_checkpoints(search: Search) -> None:
    for path in _checkpoints(search):
        search.store.delete(path)


def _cached(search: Search) -> list[str]:
    """Files of buckets and of bundles on this machine that no artifact names which stays."""
    named = {
        entry.sha256
        for name, artifact in search.artifacts.items()
        if name not in search.holders
        for entry in artifact.manifest.files.values()
    }
    blobs = [path for path in (search.cache / "blobs").glob("*") if path.name not in named]
    bundles = [path for path in (search.cache / "bundles").glob("*") if not _only(path, named)]
    return sorted(str(path.relative_to(search.cache)) for path in (*blobs, *bundles))


def _only(bundle: Path, named: set[str]) -> bool:
    return {path.name for path in (bundle / "blobs").glob("*")} <= named


def _delete_cached(search: Search) -> None:
    import shutil

    for name in _cached(search):
        path = search.cache / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _pages(search: Search) -> list[str]:
    return sorted(path.name for path in search.pages.glob("*") if path.is_file() and search.holds(path.read_bytes()))


def _delete_pages(search: Search) -> None:
    for name in _pages(search):
        (search.pages / name).unlink(missing_ok=True)


def _change(name: str, search: Search) -> Change:
    """What is left of a line of a log."""
    if name == "exposures":
        return exposures_change(search.subject)
    if name == "audit":
        return acts_change(search.subject)
    return clicks_change(search.subject, search.requests)


def _find_in_log(name: str, search: Search) -> list[str]:
    change = _change(name, search)
    counts = [changed(path, change) for folder in search.folders for path in files_of(folder, name)]
    counts += [changed_in_store(search.store, path, change) for path in _shipped(name, search)]
    return [f"{count} lines" for count in counts if count]


def _rewrite_log(name: str, search: Search) -> None:
    change = _change(name, search)
    for path in (path for folder in search.folders for path in files_of(folder, name)):
        rewrite(path, change)
    for shipped in _shipped(name, search):
        rewrite_in_store(search.store, shipped, change)


def _shipped(name: str, search: Search) -> list[str]:
    return shipped_files(search.store, name) if name in COLUMNS else []


def _entities(search: Search) -> list[str]:
    count = open_online().holding(search.holds)
    return [f"{count} entities"] if count else []


def _kept(_search: Search) -> None:
    """Nothing: the journal and the log of keys are never changed. What is found there is certified as left."""


LOGS = {
    "clicks": "click log",
    "conversions": "conversion log",
    "exposures": "exposure log",
    "audit": "audit log of the server",
}
"""Clicks and conversions first: only exposures say whose they are."""
PLACES: tuple[Place, ...] = (
    *(Place(title, partial(_find_in_log, name), partial(_rewrite_log, name)) for name, title in LOGS.items()),
    Place("MLflow", lambda s: mlflow_content.found(s.store, s.holds), lambda s: mlflow_content.erase(s.store, s.holds)),
    *(Place(f"artifacts: {kind}", partial(_of_kind, kind), partial(_retire, kind)) for kind in RULES if kind != "corpus"),
    Place("artifacts: corpus", partial(_of_kind, "corpus"), _retire_corpora, last=True),
    Place("feature store", _entities, lambda s: open_online().erase(s.holds)),
    Place("trash", _trashed, lambda s: empty_trash(s.store), whole=True),
    Place("checkpoints of shards", _checkpoints, _delete_checkpoints, whole=True),
    *(Place(title, partial(_in_folder, name), partial(_delete, name)) for name, title in (
        ("results", "results of tasks"), ("lineage", "lineage events"), ("recipes", "recipes of what gc took away"))),
    Place("cache of this machine", _cached, _delete_cached, whole=True),
    Place("pages of the demo", _pages, _delete_pages),
    Place("journal", partial(_in_folder, "journal"), _kept),
    Place("log of keys", partial(_in_folder, "access"), _kept),
)  # fmt: skip
"""Every place, in the order of erasing."""
Findings = Mapping[str, list[str]]
"""What was found, by the place's name."""


def search_all(search: Search) -> dict[str, list[str]]:
    """What holds the subject, in every place."""
    return {place.name: place.find(search) for place in PLACES}


def is_somewhere(search: Search, found: Findings) -> bool:
    """Whether something that was found is of the subject; what is found whole has to be read for that."""
    if any(found[place.name] for place in PLACES if not place.whole):
        return True
    stored = (_read(search.store, path) for path in (*_trashed(search), *_checkpoints(search)))
    cached = (path.read_bytes() for name in _cached(search) for path in _files(search.cache / name))
    return any(search.holds(body) for bodies in (stored, cached) for body in bodies)


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]


def erase_all(search: Search, last: bool) -> None:
    """Erase the subject from every place, and at `last` from those that tell what to look for, too; what is in use stays."""
    for place in sorted(PLACES, key=lambda place: place.last):
        if last or not place.last:
            place.erase(search)
