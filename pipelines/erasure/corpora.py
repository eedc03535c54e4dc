"""The corpora of a store that have rows of a subject, its words in them, and the successor of one of them."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pipelines
from pipelines.corpus.erased import Erased, leave_out
from pipelines.erasure.subject import Subject, beginning, ordinary_words, readable
from pipelines.errors import InputError
from pipelines.store.artifacts import Artifact, committed, load_exactly, produce
from pipelines.store.erasures import Erasures, SubjectKind
from pipelines.store.objects import Store
from pipelines.store.recipes import Recipe, digest_file

TEXTS = ("documents.jsonl", "queries.jsonl")
PACKAGE = Path(pipelines.__file__).parent


@dataclass(frozen=True)
class InCorpora:
    """A subject with its words, and the ids of the corpora that have rows of it."""

    subject: Subject
    ids: frozenset[str]


def found_in_corpora(store: Store, subject: Subject) -> InCorpora:
    """Look through every corpus, row by row."""

    def erased(kind: SubjectKind, name: str) -> bool:
        return (kind, name) == (subject.kind, subject.id)

    corpora = [load_exactly(store, "corpus", name) for name in committed(store, "corpus")]
    ids: set[str] = set()
    texts: set[str] = set()
    for corpus in corpora:
        with TemporaryDirectory(prefix="ratchet-erase-") as scratch:
            rows, _ = _without(corpus, Path(scratch), erased)
        if rows:
            ids.add(corpus.id)
            texts |= _texts(corpus, subject)
    words = {*subject.names, *texts}
    ordinary = frozenset(word for word in words if word.isdigit())  # as sizes and measures are
    ordinary |= ordinary_words(words - ordinary, _own_words())
    for corpus in corpora:  # again, since a word may be one of others in any of them
        with TemporaryDirectory(prefix="ratchet-erase-") as scratch:
            _without(corpus, Path(scratch), erased)
            others = " ".join(readable((Path(scratch) / file).read_bytes()) for file in TEXTS)
        ordinary |= ordinary_words(words - ordinary, others)
    return InCorpora(replace(subject, texts=tuple(sorted(texts)), ordinary=ordinary), frozenset(ids))


def _own_words() -> str:
    """What this project says in its reports."""
    return " ".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))


def _without(corpus: Artifact, folder: Path, erased: Erased) -> tuple[int, dict[str, int]]:
    """Write the files of a corpus into a folder, without what was erased; see `leave_out`."""
    for name in corpus.manifest.files:
        shutil.copyfile(corpus.path(name), folder / name)
    return leave_out(folder, erased)


def _texts(corpus: Artifact, subject: Subject) -> set[str]:
    """What a document is called and how its text begins, as other files repeat it."""
    if subject.kind == "user":
        return set()
    with corpus.path("documents.jsonl").open(encoding="utf-8") as file:
        rows = (row for line in file if (row := json.loads(line))["id"] == subject.id)
        told = {text for row in rows for text in (" ".join(row.get("title", "").split()), beginning(row["text"])) if text}
        return told | {readable(text.encode()) for text in told}  # with entities, other files have it without


def successor(corpus: Artifact, erased: Erased) -> Artifact:
    """The corpus without anybody who was erased, under the id that `ingest` gives what it would read without them.

    Raises:
        InputError: no document would be left.
    """
    with TemporaryDirectory(prefix="ratchet-erase-") as scratch:
        folder = Path(scratch)
        _, counts = _without(corpus, folder, erased)
        if not counts["documents"]:
            raise InputError(f"corpus {corpus.id}, of which no document would be left", "other documents", "ingest some first")
        recipe = corpus.manifest.recipe
        inputs = {path.name: digest_file(path) for path in sorted(folder.iterdir())}
        facts = {**corpus.facts, **{name: count for name, count in counts.items() if name in corpus.facts}}
        recipe = Recipe(kind="corpus", step=recipe.step, version=recipe.version, inputs=inputs, params=recipe.params)
        return produce(corpus.store, recipe, _moved(folder, facts))


def _moved(files: Path, facts: dict[str, object]) -> Callable[[Path], dict[str, object]]:
    def build(folder: Path) -> dict[str, object]:
        for path in files.iterdir():
            shutil.copyfile(path, folder / path.name)
        return facts

    return build


def subjects_of(store: Store, erasures: Erasures) -> set[tuple[SubjectKind, str]]:
    """Erased users and documents that a corpus has again, or still, by their ids, which the journal does not tell."""
    found: set[tuple[SubjectKind, str]] = set()

    def erased(kind: SubjectKind, name: str) -> bool:
        if erasures.erased(kind, name):
            found.add((kind, name))
        return False

    for name in committed(store, "corpus") if erasures.subjects else ():
        with TemporaryDirectory(prefix="ratchet-erase-") as scratch:
            _without(load_exactly(store, "corpus", name), Path(scratch), erased)
    return found
