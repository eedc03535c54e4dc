"""Loading: the files of a corpus and the exposure logs, read line by line into the staging file.

Nothing is refused here: a line that is not a row is counted with its number and the reason.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pipelines.errors import InputError
from pipelines.quality.rows import CORPUS_FILES, EVENT_FILES, RowReader, UnreadableRow, json_row, time_or_null
from pipelines.quality.staging import FileTally, StagingFile
from pipelines.quality.tables import TABLES
from pipelines.store.artifacts import Artifact
from pipelines.wording import printable

LONGEST = 32 * 1024 * 1024
"""Bytes of a line at most: a text of a million characters fits."""


def load_corpus(staged: StagingFile, corpus: Artifact, previous: Artifact | None) -> None:
    """Load the files of a corpus, resolve its references and compare its volume with that of `previous`."""
    for name, (take, split) in CORPUS_FILES.items():
        if name in corpus.manifest.files:
            path = corpus.path(name)
            _load(staged, path, name, path.stat().st_size, take, split)
    _fill_references(staged)
    _add_corpus_row(staged, corpus, previous)


def load_events(staged: StagingFile, folder: Path, sizes: Mapping[str, int]) -> None:
    """Load the exposure logs, each up to its size in `sizes`, since the server may append to it."""
    for name, size in sizes.items():
        _load(staged, folder / name, name, size, EVENT_FILES[name], json_row)
    _create_indexes(staged, "exposures", "shown")
    exists = "CASE WHEN EXISTS (SELECT 1 FROM {table} t WHERE {on}) THEN 1 ELSE 0 END"
    exposed = exists.format(table="exposures", on="t.request_id = clicks.request_id")
    same = "t.request_id = clicks.request_id AND t.position = clicks.position AND t.document = clicks.document"
    shown = exists.format(table="shown", on=same)
    staged.db.execute(f"UPDATE clicks SET known_exposure = {exposed}, was_shown = {shown}")  # noqa: S608
    if staged.scalar("SELECT count(*) FROM documents"):
        known = exists.format(table="documents", on="t.id = shown.document")
        staged.db.execute(f"UPDATE shown SET known_document = {known}")  # noqa: S608


def event_sizes(folder: Path) -> dict[str, int]:
    """The current sizes in bytes of the exposure logs in a folder.

    Raises:
        InputError: there is no exposures.jsonl.
    """
    sizes = {name: (folder / name).stat().st_size for name in EVENT_FILES if (folder / name).is_file()}
    if "exposures.jsonl" not in sizes:
        raise InputError(
            f"--exposures {printable(folder, 200)} without exposures.jsonl",
            "the folder that the server writes to",
            "correct it, set RATCHET_EVENTS, or leave --exposures out",
        )
    return sizes


def digest_events(folder: Path, sizes: Mapping[str, int]) -> str:
    """The first 20 hexadecimal digits of the logs' sha256, each up to its size."""
    sha256 = hashlib.sha256()
    for name, size in sizes.items():
        sha256.update(f"{name} {size}\n".encode())
        with (folder / name).open("rb") as file:
            left = size
            while left > 0 and (chunk := file.read(min(left, 1 << 20))):
                sha256.update(chunk)
                left -= len(chunk)
    return sha256.hexdigest()[:20]


def lines_of(path: Path, tally: FileTally, size: int) -> Iterator[tuple[int, bytes]]:
    """The numbered lines in the first `size` bytes of a file; lines longer than LONGEST count as invalid."""
    with path.open("rb") as file:
        while size > 0 and (line := file.readline(min(LONGEST, size))):
            tally.lines += 1
            size -= len(line)
            if not line.endswith(b"\n") and size > 0:
                size -= _skip_line(file, size)
                tally.refuse(tally.lines, "too long")
                continue
            tally.cut_off = not line.endswith(b"\n")
            if line.strip():
                yield tally.lines, line


def _skip_line(file: Any, size: int) -> int:
    """Read to the end of the line, at most `size` bytes; returns how many."""
    read = 0
    while read < size and (rest := file.readline(min(LONGEST, size - read))):
        read += len(rest)
        if rest.endswith(b"\n"):
            break
    return read


def _load(staged: StagingFile, path: Path, name: str, size: int, take: RowReader, split: Callable[[bytes], Any]) -> None:
    tally = FileTally(name)
    for number, line in lines_of(path, tally, size):
        try:
            for table, row in list(take(staged, number, split(line))):
                staged.add(table, row)
        except UnreadableRow as error:
            tally.refuse(number, str(error))
    share = tally.bad / tally.lines if tally.lines else 0.0
    staged.add("files", (name, tally.lines, tally.bad, share, int(tally.cut_off)))
    staged.files.append(tally)
    staged.flush()


def _create_indexes(staged: StagingFile, *tables: str) -> None:
    staged.flush()
    for table in tables:
        for column in TABLES[table].index:
            staged.db.execute(f"CREATE INDEX {table}_{column} ON {table} ({column})")


def _fill_references(staged: StagingFile) -> None:
    """Fill the columns that tell whether a reference exists, and how many rows refer to a row."""
    _create_indexes(staged, "documents", "queries", "qrels", "interactions", "users")
    exists = "(SELECT count(*) > 0 FROM {} t WHERE t.id = {})"
    updates = [
        f"UPDATE qrels SET known_query = {exists.format('queries', 'qrels.query')},"  # noqa: S608
        f" known_document = {exists.format('documents', 'qrels.document')}",
        "UPDATE queries SET judgments = (SELECT count(*) FROM qrels WHERE query = queries.id),"
        " relevant = (SELECT count(*) FROM qrels WHERE query = queries.id AND grade > 0)",
        "UPDATE documents SET judgments = (SELECT count(*) FROM qrels WHERE document = documents.id)",
        "UPDATE users SET interactions = (SELECT count(*) FROM interactions WHERE user = users.id)",
        f"UPDATE interactions SET known_document = {exists.format('documents', 'interactions.document')}",  # noqa: S608
    ]
    if staged.scalar("SELECT count(*) FROM users"):
        updates.append(f"UPDATE interactions SET known_user = {exists.format('users', 'interactions.user')}")  # noqa: S608
    for update in updates:
        staged.db.execute(update)


def _add_corpus_row(staged: StagingFile, corpus: Artifact, previous: Artifact | None) -> None:
    """Add the row of table `corpus`; its language is filled in later."""
    counts = {table: staged.scalar(f"SELECT count(*) FROM {table}") for table in COUNTED}  # noqa: S608
    before = {} if previous is None else {table: previous.facts.get(name) for table, name in COUNTED.items()}
    ratios = [counts[table] / before[table] if before.get(table) else None for table in ("documents", "queries", "qrels")]
    duplicates = "SELECT count(*) AS n FROM documents WHERE content IS NOT NULL GROUP BY content HAVING n > 1"
    duplicated = staged.scalar(f"SELECT coalesce(sum(n), 0) FROM ({duplicates})")  # noqa: S608
    judged = staged.scalar("SELECT count(*) FROM queries WHERE judgments > 0")
    staged.add(
        "corpus",
        (
            *counts.values(),
            *ratios,
            duplicated / counts["documents"] if counts["documents"] else None,
            judged / counts["queries"] if counts["queries"] else None,
            None,
            None,
            staged.days_old(time_or_null(corpus.manifest.provenance.get("at"))),
        ),
    )
    staged.flush()


COUNTED: Mapping[str, str] = {
    "documents": "documents", "queries": "queries", "qrels": "judgments", "interactions": "interactions", "users": "users"
}  # fmt: skip
"""By table whose rows are counted: the name of the count in a corpus's manifest."""
