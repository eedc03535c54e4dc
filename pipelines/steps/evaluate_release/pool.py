"""pool: documents that people are asked to judge, as a CSV that `ingest --qrels` reads back."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import InputError, NothingToDo
from pipelines.logs import log
from pipelines.settings import settings
from pipelines.store.artifacts import Artifact, load, load_exactly
from pipelines.store.journal import Journal
from pipelines.store.objects import Store, open_store
from pipelines.store.releases import resolve

if TYPE_CHECKING:
    from pipelines.corpus.documents import Document

VERSION = 1


class PoolParams(Params):
    file: str = Field(description="CSV file to write; one that is there is never written over")
    release: str = Field("champion", description="Release whose results are judged: champion, challenger or an id")
    second: str = Field("", description="Another release of the same corpus whose results join, such as challenger")
    queries: str = Field(
        "corpus", description="corpus (what people gave), exposures (what they asked most), or a file of lines"
    )
    most_queries: int = Field(50, ge=1, le=100_000, description="How many queries")
    depth: int = Field(10, ge=1, le=1000, description="Documents taken of each ranking")
    verdict: str = Field("", description="Verdict that can't compare: the documents it names, most informative first")
    judged: bool = Field(False, description="Also the pairs that are judged already")


class PoolResult(Result):
    file: str
    corpus: str
    release: str
    second: str
    queries: int
    pairs: int
    """Rows of the file, each a grade to fill in."""
    judged_before: int
    """Pairs of the pool that have a judgment and were left out."""


def pool(params: PoolParams) -> PoolResult:
    """Write a CSV of documents to judge: for each query the best of a release, of BM25 and of a second release, in no order."""
    from pipelines.collections import POOL, write_safe_csv
    from pipelines.gates.pool import human_qrels, pool_queries
    from pipelines.gates.pool_file import CELL
    from pipelines.wording import clipped

    store = open_store()
    path = _free_path(params.file)
    if params.verdict:
        return _of_verdict(store, params.verdict, path)
    journal = Journal(store)
    releases = [resolve(journal, name) for name in (params.release, params.second) if name]
    corpus = _one_corpus(store, releases)
    judged = human_qrels(corpus)
    events = settings().events_folder
    texts = pool_queries(params.queries, corpus, judged, params.most_queries, events)
    documents, pools = _pools(store, releases, texts, params.depth)
    pairs = [(query, documents[document]) for query, ids in pools.items() for document in ids]
    unjudged = [(query, document) for query, document in pairs if params.judged or document.id not in judged.get(query, {})]
    if not unjudged:
        raise NothingToDo(f"all {len(pairs):,} pairs of {len(texts):,} queries are judged: raise --most-queries or --depth")
    rows = (
        (query, texts[query], document.id, document.title, clipped(document.text, CELL), "") for query, document in unjudged
    )
    write_safe_csv(path, POOL, rows)
    log().info(f"fill in the column grade (0: not relevant), then: ingest … --qrels {path}", pairs=len(unjudged))
    return PoolResult(
        file=str(path),
        corpus=corpus.id,
        release=releases[0].id,
        second=releases[1].id if releases[1:] else "",
        queries=len({query for query, _ in unjudged}),
        pairs=len(unjudged),
        judged_before=len(pairs) - len(unjudged),
    )


def _of_verdict(store: Store, name: str, path: Path) -> PoolResult:
    """Write the pool of a verdict, as it is stored."""
    import csv

    from pipelines.gates.pool_file import POOL_FILE

    verdict = load(store, "verdict", name)
    if POOL_FILE not in verdict.manifest.files:
        given = f"--verdict {verdict.id}: {verdict.facts['sentence']}"
        raise InputError(given, "a verdict with a rule that is not comparable", "leave out --verdict to pool rankings")
    body = verdict.path(POOL_FILE).read_bytes()
    with path.open("xb") as file:
        file.write(body)
    rows = list(csv.DictReader(body.decode("utf-8-sig").splitlines(keepends=True)))
    log().info(f"fill in the column grade (0: not relevant), then: ingest … --qrels {path}", pairs=len(rows))
    said = verdict.json("verdict.json")
    return PoolResult(
        file=str(path),
        corpus=said["corpus"],
        release=said["release"],
        second=said["champion"],
        queries=len({row["query_id"] for row in rows}),
        pairs=len(rows),
        judged_before=0,
    )


def _free_path(file: str) -> Path:
    from pipelines.collections import file_exists_error

    path = Path(file)
    if path.exists() or path.is_symlink():
        raise file_exists_error(path)
    if "://" in file or not path.parent.is_dir():
        raise InputError(f"--file {file}", "a file in a folder that exists", "create the folder, or pass another path")
    return path


def _one_corpus(store: Store, releases: list[Artifact]) -> Artifact:
    first, *others = [release.inputs["corpus"] for release in releases]
    if others not in ([], [first]):
        given = f"release {releases[1].id} of corpus {others[0]}"
        raise InputError(
            given, f"a release of corpus {first}, as {releases[0].id} is", "refresh that corpus with the other's encoder"
        )
    return load_exactly(store, "corpus", first)


def _pools(
    store: Store, releases: list[Artifact], texts: dict[str, str], depth: int
) -> "tuple[Mapping[str, Document], dict[str, list[str]]]":
    from pipelines.gates.pool import pool_documents
    from pipelines.retrieval.lexical import bm25_run
    from pipelines.retrieval.release import load_release

    loaded = [load_release(store, release.id) for release in releases]
    documents = loaded[0].documents
    rankings = [dict(zip(texts, release.search(list(texts.values()), depth), strict=True)) for release in loaded]
    rankings.append(bm25_run({document.id: document.text for document in documents.values()}, texts, depth))
    return documents, {query: pool_documents(query, [ranking[query] for ranking in rankings]) for query in texts}
