"""take_snapshot: a day's documents, queries and searches as sums and a sample, by which days are compared."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pipelines.contract import Params, Result, Tuning
from pipelines.errors import InputError
from pipelines.logs import log
from pipelines.settings import install_command, missing_packages, settings
from pipelines.store.artifacts import Artifact, load, load_exactly, produce
from pipelines.store.journal import Journal
from pipelines.store.objects import Store, open_store
from pipelines.store.recipes import Recipe
from pipelines.store.releases import resolve

if TYPE_CHECKING:
    from pipelines.drift.searches import OpenLog
    from pipelines.drift.snapshot import Table

VERSION = 5
SEARCHES = 10
"""Searches in the sample for each document in it: they are not encoded, and those of a user are alike."""


class TakeSnapshotParams(Params):
    corpus: str = Field("", description="Corpus id of the day's documents; its queries are compared where no log is named")
    release: str = Field(
        "", description="Release that makes vectors and tokens and ranks the judged queries: champion, or an id"
    )
    encoder: str = Field("", description="Encoder id, in place of a release; neither: no vectors, no tokens")
    variant: str = Field("onnx-fp32", description="Variant of this encoder")
    log: str = Field(
        "", description="The day's searches: server, or a file or folder of CSV, JSONL, Parquet, local or s3://; empty: none"
    )
    unit: str = Field("", description="Column of the log with the user or session; empty: guessed by its name")
    text: str = Field("", description="Column of the log with the query's text; empty: guessed by its name")
    outcome: str = Field("", description="Column of the log that is 1 where it was clicked, else 0; empty: guessed by its name")
    column: list[str] = Field([], description="Columns of the log that are compared; empty: those with few different values")
    day: str = Field("", description="The day, such as 2026-01-31; empty: yesterday (UTC), the last that is over")
    series: str = Field("", description="Name of the days that belong together; empty: this snapshot stands alone")
    sample: int = Field(2000, ge=50, le=50_000, description="Documents, and queries, that are measured")
    seed: int = Field(0, ge=0, description="Of the sample")


class TakeSnapshotTuning(Tuning):
    batch_tokens: int = Field(2048, ge=1, description="Tokens of a batch that is encoded")
    memory: str = Field("", pattern=r"^(\d+(MB|GB))?$", description="What DuckDB may hold, such as 2GB; empty: 96 MB a core")


class TakeSnapshotResult(Result):
    snapshot: str
    day: str
    release: str
    rows: dict[str, int]
    """Rows by table."""
    found: bool


def take_snapshot(params: TakeSnapshotParams, tuning: TakeSnapshotTuning) -> TakeSnapshotResult:
    """Measure a day: vectors, tokens, columns, clicks; the same day measured again is found."""
    from pipelines.drift.days import day_of
    from pipelines.drift.searches import Reading, open_log

    if not params.corpus and not params.log:
        raise InputError("neither --corpus nor --log", "documents or searches of a day", "pass one of them, or both")
    if params.log and (missing := missing_packages("experiments")):
        given = f"--log without {' and '.join(missing)}"
        raise InputError(given, "the packages of the extra experiments", f"run `{install_command('experiments')}`")
    store, day = open_store(), day_of(params.day)
    corpus = load(store, "corpus", params.corpus) if params.corpus else None
    encoder, variant, release = _encoder(store, params)
    with TemporaryDirectory(prefix="ratchet-snapshot-") as scratch:
        named = Reading(params.unit, params.text, params.outcome, tuple(params.column))
        events = settings().events_folder
        opened = open_log(params.log, events, day, named, Path(scratch), tuning.memory) if params.log else None
        inputs = {"corpus": corpus.id if corpus else "", "encoder": encoder.id if encoder else ""}
        inputs |= {"log": opened.digest() if opened else ""}
        semantic = params.model_dump(include={"series", "sample", "seed", "unit", "text", "outcome", "column"})
        semantic |= {"day": day, "variant": variant, "release": release.id if release else ""}
        inputs = {name: value for name, value in inputs.items() if value}
        recipe = Recipe(kind="snapshot", step="take_snapshot", version=VERSION, inputs=inputs, params=semantic)
        facts = {
            "day": day,
            "series": params.series,
            "release": semantic["release"],
            "encoder": f"{encoder.id} {variant}" if encoder else "",
        }
        facts |= {"corpus": inputs.get("corpus", "")}
        try:
            made = produce(
                store, recipe, lambda folder: facts | _build(folder, params, tuning, corpus, release, encoder, variant, opened)
            )
        finally:
            if opened:
                opened.db.close()
    return TakeSnapshotResult(
        snapshot=made.id, day=day, release=made.facts["release"], rows=made.facts["rows"], found=made.found
    )


def _encoder(store: Store, params: TakeSnapshotParams) -> tuple[Artifact | None, str, Artifact | None]:
    """The encoder, its variant for documents, and the release that has it."""
    if params.release:
        release = resolve(Journal(store), params.release)
        card = release.json("release.json")
        return load_exactly(store, "encoder", card["encoder"]), card["document_variant"], release
    return (load(store, "encoder", params.encoder), params.variant, None) if params.encoder else (None, "", None)


def _build(
    folder: Path, params: TakeSnapshotParams, tuning: TakeSnapshotTuning, corpus: Artifact | None, release: Artifact | None,
    encoder: Artifact | None, variant: str, opened: "OpenLog | None",
) -> dict[str, Any]:  # fmt: skip
    from pipelines.drift import measuring
    from pipelines.drift.probes import probe_table
    from pipelines.drift.ratings import agreement, rating_table
    from pipelines.drift.searches import queries_of, search_table
    from pipelines.drift.snapshot import write_snapshot
    from pipelines.models.encoder import load_encoder

    loaded = load_encoder(encoder, variant) if encoder else None
    asked = (params.sample, params.seed)
    tables: dict[str, Table | None] = {}
    if corpus:
        embedded = measuring.embeddings_of(corpus, encoder.id, variant) if encoder else None
        tables["documents"] = measuring.document_table(corpus, loaded, embedded, *asked, tuning.batch_tokens)
    if opened:
        tables["searches"] = search_table(opened, SEARCHES * params.sample, params.seed)
        texts = queries_of(opened, *asked)
        tables["log_queries"] = measuring.text_table(texts.rows, texts, loaded, tuning.batch_tokens) if texts.rows else None
    elif corpus:  # distinct queries of a corpus and the searches of a day are two populations, which are never one table
        tables["queries"] = measuring.query_table(corpus, loaded, *asked, tuning.batch_tokens)
    if corpus and release:
        tables["probes"] = probe_table(release, corpus, *asked, tuning.batch_tokens)
    if corpus and (rated := rating_table(corpus, *asked)):
        tables["ratings"] = rated
    made = {name: table for name, table in tables.items() if table}
    write_snapshot(folder, made)
    for name, table in made.items():
        log().info("snapshot measured", table=name, rows=table.sketch.rows, sampling=table.sampling)
    notes = [*(opened.notes if opened else []), *(f"No {name} that day." for name, table in tables.items() if not table)]
    notes += [agreement(corpus)] if corpus else []
    sampling = {name: table.sampling for name, table in made.items()}
    return {"rows": {name: table.sketch.rows for name, table in made.items()}, "sampling": sampling, "notes": notes}
