"""Scores: the ranked documents of many queries, as Parquet. Each row names the release that ranked.

Columns: query_id, query, rank (from 1), document, score (float32), release. A query to which the release knows no answer (a
history of documents that it does not have, and no words) has one row with an empty rank, document and score.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipelines.corpus.documents import Query
from pipelines.errors import CorruptArtifact, InputError
from pipelines.logs import progress
from pipelines.retrieval.release import Release
from pipelines.store.artifacts import Artifact
from pipelines.store.bucket import upload
from pipelines.store.locations import local_path

PART = "part-{:05}.parquet"


def schema() -> Any:
    """The columns of scores."""
    import pyarrow

    text = pyarrow.string()
    return pyarrow.schema(
        [("query_id", text), ("query", text), ("rank", pyarrow.int32()), ("document", text), ("score", pyarrow.float32()),
         ("release", text)]
    )  # fmt: skip


def shards_of(queries: int, count: int) -> list[str]:
    """Ranges of rows, `first-end`, as equal as they can be; never an empty one.

    >>> shards_of(10, 3), shards_of(1, 3)
    (['0-3', '3-6', '6-10'], ['0-1'])
    """
    count = min(count, queries)
    bounds = [number * queries // count for number in range(count + 1)]
    return [f"{first}-{end}" for first, end in pairwise(bounds)]


def range_of(shard: str, queries: int) -> tuple[int, int]:
    """The first row of a shard and the one behind its last.

    Raises:
        InputError: no such rows.
    """
    first, end = map(int, shard.split("-"))
    if not first < end <= queries:
        raise InputError(f"shard {shard}", f"rows within 0-{queries}", "pass a shard that plan_scores gave")
    return first, end


def read_queries(asked: Artifact, first: int, end: int, size: int) -> Iterator[list[Query]]:
    """The queries from row `first` up to `end`, at most `size` at once; row groups before them are not read."""
    for rows in _columns(asked.path("queries.parquet"), None, first, end, size):
        yield [
            Query.model_construct(id=one["query_id"], text=one["query"], split="test", history=tuple(one["history"]))
            for one in rows.to_pylist()
        ]


def _columns(path: Path, names: list[str] | None, first: int, end: int, size: int) -> Iterator[Any]:
    """Batches of some columns of a Parquet file, rows `first` up to `end`."""
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        groups, start, before = [], None, 0
        for number in range(file.metadata.num_row_groups):
            rows = file.metadata.row_group(number).num_rows
            if before < end and before + rows > first:
                groups.append(number)
                start = before if start is None else start
            before += rows
        place = start or 0
        for batch in file.iter_batches(size, row_groups=groups, columns=names, use_threads=False):
            low, high = max(first - place, 0), min(end - place, len(batch))
            place += len(batch)
            if low < high:
                yield batch.slice(low, high - low)


def write_scores(path: Path, release: Release, batches: Iterator[list[Query]], total: int, k: int, batch_tokens: int) -> int:
    """Rank the queries batch by batch into a Parquet file; how many have an answer."""
    import pyarrow.parquet

    answered = 0
    with pyarrow.parquet.ParquetWriter(path, schema(), compression="zstd") as writer:
        for queries in progress(batches, total, "queries", len):
            asked = [query for query in queries if query.text or release.known(query.history)]
            found = dict(zip([query.id for query in asked], release.rank(asked, k, {}, batch_tokens), strict=True))
            answered += len(asked)
            writer.write_table(_table(queries, [found.get(query.id, []) for query in queries], release.id))
    return answered


def _table(queries: Sequence[Query], found: Sequence[list[tuple[str, float]]], release: str) -> Any:
    import pyarrow

    rows = [
        (query.id, query.text, rank, document, score, release)
        for query, ranking in zip(queries, found, strict=True)
        for rank, (document, score) in (enumerate(ranking, 1) if ranking else [(None, (None, None))])
    ]
    return pyarrow.Table.from_arrays(
        [pyarrow.array(column, field.type) for column, field in zip(zip(*rows, strict=True), schema(), strict=True)],
        schema=schema(),
    )


def check_part(part: Path, asked: Artifact, first: int, end: int, release: str) -> None:
    """Refuse a part in which the queries from `first` up to `end` don't stand exactly once each, in their order.

    Raises:
        CorruptArtifact: a query is missing, doubled or not asked for, ranks don't count from 1, or another release is named.
    """
    import pyarrow.parquet

    wanted = (one for rows in _columns(asked.path("queries.parquet"), ["query_id"], first, end, 10_000) for one in _ids(rows))
    last, rank = "", 0
    with pyarrow.parquet.ParquetFile(part) as file:
        for rows in file.iter_batches(10_000, columns=["query_id", "rank", "release"], use_threads=False):
            for query, place, by in zip(*(column.to_pylist() for column in rows.columns), strict=True):
                if query != last or place is None:
                    last, rank = query, 0
                    expected = next(wanted, None)
                    if query != expected:
                        raise _law(part, f"query {query}", f"query {expected}")
                rank += 1
                if place not in (None, rank) or by != release:
                    raise _law(part, f"rank {place} of query {query} by release {by}", f"rank {rank} by release {release}")
    missing = next(wanted, None)
    if missing is not None:
        raise _law(part, "no row", f"query {missing}")


def _ids(rows: Any) -> list[str]:
    found: list[str] = rows.column(0).to_pylist()
    return found


def _law(part: Path, given: str, expected: str) -> CorruptArtifact:
    return CorruptArtifact(f"{part.name} with {given}", f"{expected}, each query exactly once", "score this shard again")


def check_output(output: str) -> None:
    """Refuse a place where one Parquet file can't be written, before any work.

    Raises:
        InputError: no path ending in .parquet, or a folder that is not there.
    """
    if not output:
        return
    if not output.endswith(".parquet"):
        raise InputError(f"--output {output!r}", "a path or s3://bucket/key that ends in .parquet", "pass one")
    if not output.startswith("s3://") and not local_path(output).parent.is_dir():
        raise InputError(f"--output {output!r} in a folder that is not there", "a folder that exists", "create it")


def write_output(scores: Artifact, output: str) -> None:
    """Write all parts as one Parquet file, which appears whole or not at all."""
    import pyarrow.parquet

    target = None if output.startswith("s3://") else local_path(output)
    with TemporaryDirectory(prefix=".ratchet-scores-", dir=target.parent if target else None) as folder:
        file = Path(folder) / "scores.parquet"
        with pyarrow.parquet.ParquetWriter(file, schema(), compression="zstd") as writer:
            for name in sorted(scores.manifest.files):
                with pyarrow.parquet.ParquetFile(scores.path(name)) as part:
                    for batch in part.iter_batches(65_536, use_threads=False):
                        writer.write_batch(batch)
        if target:
            file.replace(target)
        else:
            upload(file, output)
