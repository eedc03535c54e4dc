"""Scores of batch scoring: the ranked documents of many queries, as Parquet. Each row names the release.

Columns: query_id, query, rank (from 1), document, score (float32), release. A query without results (no text, and a history
of documents that the release does not have) has one row with null rank, document and score.
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
    """The Arrow schema of scores."""
    import pyarrow

    text = pyarrow.string()
    return pyarrow.schema(
        [
            ("query_id", text),
            ("query", text),
            ("rank", pyarrow.int32()),
            ("document", text),
            ("score", pyarrow.float32()),
            ("release", text),
        ]
    )


def shards_of(queries: int, count: int) -> list[str]:
    """Ranges of rows, `first-end` (end exclusive), of equal size ± 1; at most one for each query.

    >>> shards_of(10, 3), shards_of(1, 3)
    (['0-3', '3-6', '6-10'], ['0-1'])
    """
    count = min(count, queries)
    bounds = [number * queries // count for number in range(count + 1)]
    return [f"{first}-{end}" for first, end in pairwise(bounds)]


def range_of(shard: str, queries: int) -> tuple[int, int]:
    """The first row of a shard and its exclusive end.

    Raises:
        InputError: the shard is not within the queries.
    """
    first, end = map(int, shard.split("-"))
    if not first < end <= queries:
        raise InputError(f"shard {shard}", f"rows within 0-{queries}", "pass a shard that plan_scores gave")
    return first, end


def read_queries(queries: Artifact, first: int, end: int, size: int) -> Iterator[list[Query]]:
    """The queries of rows `first` up to `end`, at most `size` at once; row groups outside are not read."""
    for batch in _read_rows(queries.path("queries.parquet"), None, first, end, size):
        yield [
            Query.model_construct(id=row["query_id"], text=row["query"], split="test", history=tuple(row["history"]))
            for row in batch.to_pylist()
        ]


def _read_rows(path: Path, columns: list[str] | None, first: int, end: int, size: int) -> Iterator[Any]:
    """Record batches of some columns of a Parquet file, rows `first` up to `end`."""
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        groups, start, before = [], None, 0
        for number in range(file.metadata.num_row_groups):
            rows = file.metadata.row_group(number).num_rows
            if before < end and before + rows > first:
                groups.append(number)
                start = before if start is None else start
            before += rows
        position = start or 0
        for batch in file.iter_batches(size, row_groups=groups, columns=columns, use_threads=False):
            low, high = max(first - position, 0), min(end - position, len(batch))
            position += len(batch)
            if low < high:
                yield batch.slice(low, high - low)


def write_scores(path: Path, release: Release, batches: Iterator[list[Query]], total: int, k: int, batch_tokens: int) -> int:
    """Rank queries batch by batch into a Parquet file; returns how many have results.

    Args:
        path: the file to write.
        release: what ranks.
        batches: the queries.
        total: their number, for the progress.
        k: documents for each query.
        batch_tokens: tokens of queries in one batch of the encoder.
    """
    import pyarrow.parquet

    answered = 0
    with pyarrow.parquet.ParquetWriter(path, schema(), compression="zstd") as writer:
        for queries in progress(batches, total, "queries", len):
            answerable = [query for query in queries if query.text or release.known(query.history)]
            ranked = dict(zip([query.id for query in answerable], release.rank(answerable, k, {}, batch_tokens), strict=True))
            answered += len(answerable)
            writer.write_table(_table(queries, [ranked.get(query.id, []) for query in queries], release.id))
    return answered


def _table(queries: Sequence[Query], rankings: Sequence[list[tuple[str, float]]], release: str) -> Any:
    import pyarrow

    rows = [
        (query.id, query.text, rank, document, score, release)
        for query, ranking in zip(queries, rankings, strict=True)
        for rank, (document, score) in (enumerate(ranking, 1) if ranking else [(None, (None, None))])
    ]
    return pyarrow.Table.from_arrays(
        [pyarrow.array(column, field.type) for column, field in zip(zip(*rows, strict=True), schema(), strict=True)],
        schema=schema(),
    )


def check_part(part: Path, queries: Artifact, first: int, end: int, release: str) -> None:
    """Integrity check of a part: the queries of rows `first` up to `end` exactly once each, in their order.

    Raises:
        CorruptArtifact: a query is missing, repeated or unknown, ranks don't count from 1, or another release is named.
    """
    import pyarrow.parquet

    expected_ids = _query_ids(queries.path("queries.parquet"), first, end)
    last, expected_rank = "", 0
    with pyarrow.parquet.ParquetFile(part) as file:
        for batch in file.iter_batches(10_000, columns=["query_id", "rank", "release"], use_threads=False):
            for query, rank, ranked_by in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                if query != last or rank is None:
                    last, expected_rank = query, 0
                    expected = next(expected_ids, None)
                    if query != expected:
                        raise _corrupt_part(part, f"query {query}", f"query {expected}")
                expected_rank += 1
                if rank not in (None, expected_rank) or ranked_by != release:
                    raise _corrupt_part(
                        part,
                        f"rank {rank} of query {query} by release {ranked_by}",
                        f"rank {expected_rank} by release {release}",
                    )
    missing = next(expected_ids, None)
    if missing is not None:
        raise _corrupt_part(part, "no row", f"query {missing}")


def _query_ids(path: Path, first: int, end: int) -> Iterator[str]:
    for batch in _read_rows(path, ["query_id"], first, end, 10_000):
        yield from batch.column(0).to_pylist()


def _corrupt_part(part: Path, given: str, expected: str) -> CorruptArtifact:
    return CorruptArtifact(f"{part.name} with {given}", f"{expected}, each query exactly once", "score this shard again")


def check_output(output: str) -> None:
    """Check, before any work, that one Parquet file can be written to `output`; empty: nothing is to be written.

    Raises:
        InputError: it does not end in .parquet, or its folder does not exist.
    """
    if not output:
        return
    if not output.endswith(".parquet"):
        raise InputError(f"--output {output!r}", "a path or s3://bucket/key that ends in .parquet", "pass one")
    if not output.startswith("s3://") and not local_path(output).parent.is_dir():
        raise InputError(f"--output {output!r} in a folder that is not there", "a folder that exists", "create it")


def write_output(scores: Artifact, output: str) -> None:
    """Write all parts as one Parquet file to a path or an s3:// URI, atomically."""
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
