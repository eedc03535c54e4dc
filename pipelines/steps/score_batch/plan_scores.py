"""plan_scores: a file of queries is read, checked and cut into shards, and the release that answers is fixed."""

from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import Field

from pipelines.contract import Params, Result, Tuning
from pipelines.store.artifacts import Artifact, produce
from pipelines.store.journal import Journal
from pipelines.store.objects import Store, open_store
from pipelines.store.recipes import Recipe, digest_file
from pipelines.store.releases import resolve

VERSION = 1
SHARD_QUERIES = 50_000
MOST_SHARDS = 1000


class PlanScoresParams(Params):
    source: str = Field(
        description="File of queries or users: CSV, JSONL, JSON, Parquet or TREC topics, local or s3://bucket/key"
    )
    release: str = Field("", description="Release: champion, challenger, an id or its first digits; empty: the champion")
    column: list[str] = Field([], description="FIELD=COLUMN where the guess is wrong; fields: id, text, history")
    max_bad_fraction: float = Field(
        0.01, ge=0, le=1, description="Part of the rows that may be bad; above it nothing is scored"
    )


class PlanScoresTuning(Tuning):
    shards: int = Field(0, ge=0, le=MOST_SHARDS, description="Shards of equal size; 0: one for each 50,000 queries")


class PlanScoresResult(Result):
    queries: str
    release: str
    shards: list[str]
    """Ranges of rows."""
    rows: int
    distinct: int
    repeated: int
    bad_rows: int
    found: bool


def plan_scores(params: PlanScoresParams, tuning: PlanScoresTuning) -> PlanScoresResult:
    """Read a file of queries, each once, and cut it into shards for a release to rank."""
    from pipelines.retrieval.scores import shards_of

    store = open_store()
    release = resolve(Journal(store), params.release or "champion")
    with TemporaryDirectory(prefix="ratchet-queries-") as scratch:
        queries = _read_queries(store, params, Path(scratch))
    distinct = queries.facts["distinct"]
    count = tuning.shards or min(MOST_SHARDS, -(-distinct // SHARD_QUERIES))
    counts = {name: queries.facts[name] for name in ("rows", "distinct", "repeated", "bad_rows")}
    return PlanScoresResult(
        queries=queries.id, release=release.id, shards=shards_of(distinct, count), found=queries.found, **counts
    )


def _read_queries(store: Store, params: PlanScoresParams, scratch: Path) -> Artifact:
    from pipelines.collections import read_asked

    written = scratch / "written"
    written.mkdir()
    counted = read_asked(params.source, params.column, params.max_bad_fraction, scratch, written)
    inputs = {"queries": counted.digest, "quarantine.csv": digest_file(written / "quarantine.csv")}
    facts = {"rows": counted.rows, "distinct": counted.queries, "repeated": counted.repeated, "bad_rows": counted.bad}

    def build(folder: Path) -> dict[str, int]:
        for file in written.iterdir():
            file.rename(folder / file.name)
        return facts

    recipe = Recipe(kind="queries", step="plan_scores", version=VERSION, inputs=inputs, params={"rows": counted.rows})
    return produce(store, recipe, build)
