"""commit_scores: shards become scores, if every query of the file is in exactly one of them."""

from pathlib import Path
from shutil import copyfile
from typing import Any

from pydantic import Field

from pipelines.contract import Params, Result, Tuning
from pipelines.errors import InputError
from pipelines.store.artifacts import Artifact, load, produce
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe

VERSION = 1


class CommitScoresParams(Params):
    queries: str = Field(description="Id of the queries, as plan_scores gives it")
    release: str = Field(description="Release id")
    shards: list[str] = Field(description="Shard ids, in any order")
    k: int = Field(10, ge=1, le=1000, description="Documents for each query")


class CommitScoresTuning(Tuning):
    output: str = Field("", description="Also write them as one Parquet file: a path, or s3://bucket/key; empty: not")


class CommitScoresResult(Result):
    scores: str
    release: str
    queries: int
    answered: int
    output: str
    found: bool


def commit_scores(params: CommitScoresParams, tuning: CommitScoresTuning) -> CommitScoresResult:
    """Commit scores, all at once, after checking that no query is missing, doubled or ranked by another release."""
    from pipelines.retrieval.scores import check_output, write_output

    store = open_store()
    check_output(tuning.output)
    queries, release = load(store, "queries", params.queries), load(store, "release", params.release)
    inputs = {"queries": queries.id, "release": release.id}
    parts = sorted((load(store, "shard", shard) for shard in params.shards), key=_range)
    _check_complete(queries, inputs, params.k, parts)
    recipe = Recipe(kind="scores", step="commit_scores", version=VERSION, inputs=inputs, params={"k": params.k})
    scores = produce(store, recipe, lambda folder: _gather(queries, release.id, parts, folder))
    if tuning.output:
        write_output(scores, tuning.output)
    counts = {name: scores.facts[name] for name in ("queries", "answered")}
    return CommitScoresResult(scores=scores.id, release=release.id, output=tuning.output, found=scores.found, **counts)


def _range(part: Artifact) -> tuple[int, int]:
    first, _, end = str(part.manifest.recipe.params.get("rows", "")).partition("-")
    if not end:
        raise InputError(f"shard {part.id}, which holds vectors", "shards of score_shard", "pass what score_shard gave")
    return int(first), int(end)


def _check_complete(queries: Artifact, inputs: dict[str, str], k: int, parts: list[Artifact]) -> None:
    """Refuse shards that don't cover the queries exactly once, or are by another release or number of documents."""
    for part in parts:
        if (part.inputs, part.manifest.recipe.params["k"]) != (inputs, k):
            raise InputError(
                f"shard {part.id} of queries {part.inputs['queries']} by release {part.inputs['release']}",
                f"queries {inputs['queries']} by release {inputs['release']}, {k} documents each",
                "score that shard again",
            )
    ranges, place = list(map(_range, parts)), 0
    for first, end in [*ranges, (queries.facts["distinct"],) * 2]:
        if first != place:
            raise InputError(
                f"rows {min(first, place)}-{max(first, place)} {'in no shard' if first > place else 'in two shards'}",
                f"each of {queries.facts['distinct']:,} queries in exactly one",
                "pass every shard that plan_scores gave, once",
            )
        place = end


def _gather(queries: Artifact, release: str, parts: list[Artifact], folder: Path) -> dict[str, Any]:
    """The shards' files as parts; equal content lies in the store once."""
    from pipelines.retrieval.scores import PART, check_part

    for number, part in enumerate(parts):
        file = part.path("scores.parquet")
        check_part(file, queries, *_range(part), release)
        copyfile(file, folder / PART.format(number))
    return {"queries": queries.facts["distinct"], "answered": sum(part.facts["answered"] for part in parts)}
