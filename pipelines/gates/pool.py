"""Pooling: the documents that people are asked to judge for each query.

The first documents of several rankings are pooled and judged; documents in no pool count as not relevant (K. Spärck Jones and
C. J. van Rijsbergen, "Report on the need for and provision of an 'ideal' information retrieval test collection", 1975; TREC
since 1992). A pool favours the rankings it was made from, since what only a later ranking finds is unjudged (J. Zobel, "How
reliable are the results of large-scale information retrieval experiments?", SIGIR 1998). The bias is smaller for deeper pools
and for rankings that differ more, so BM25 always takes part; Judged@10 shows it. Assessors must not see which ranking found a
document, so the documents of a query are in the order of a hash.
"""

import math
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import ValidationError

from pipelines.corpus.documents import Query, qrels, queries, query_id
from pipelines.corpus.event_log import log_files, require_log
from pipelines.corpus.exposure import Exposure
from pipelines.corpus.text_rules import LONGEST_QUERY
from pipelines.errors import InputError
from pipelines.logs import log
from pipelines.retrieval.run import Run
from pipelines.store.artifacts import Artifact
from pipelines.store.objects import Store
from pipelines.store.recipes import digest

Qrels = Mapping[str, Mapping[str, int]]
"""Query id to document id to grade."""


def human_qrels(corpus: Artifact) -> Qrels:
    """The judgments of a corpus without those of synthetic queries, which were made by a rule."""
    synthetic = {query.id for query in queries(corpus) if query.synthetic}
    return {query: grades for query, grades in qrels(corpus).items() if query not in synthetic}


def pool_queries(source: str, corpus: Artifact, judged: Qrels, most: int, events: Path) -> dict[str, str]:
    """The queries whose documents are to be judged: text by query id.

    Args:
        source: `corpus` (its queries by people), `exposures` (the most frequent logged queries), or a file with a query a line.
        corpus: whose queries, or whose ids for the same texts.
        judged: the judgments so far.
        most: how many queries at most.
        events: the folder of the exposure log; what was shipped from there counts, too.

    Raises:
        InputError: there are none, or they can't be read.
    """
    of_corpus = queries(corpus)
    if source == "corpus":
        texts = least_judged_queries(of_corpus, judged, most)
    elif source == "exposures":
        texts = by_query_id(most_frequent_queries(corpus.store, events, most), of_corpus)
    else:
        texts = by_query_id(queries_of_file(Path(source), most), of_corpus)
    if not texts:
        given = f"--queries {source}, which has no query by a person"
        raise InputError(given, "at least one query", "pass --queries exposures, or a file with a query a line")
    return texts


def least_judged_queries(of_corpus: Iterable[Query], judged: Qrels, most: int) -> dict[str, str]:
    """The text by id of the text queries by people: the least judged first, equally judged ones in the order of a hash."""
    by_people = [query for query in of_corpus if not query.synthetic and not query.history]
    order = sorted(by_people, key=lambda query: (len(judged.get(query.id, ())), digest(query.id.encode())))
    return {query.id: query.text for query in order[:most]}


def by_query_id(texts: Iterable[str], of_corpus: Iterable[Query]) -> dict[str, str]:
    """Texts by query id: the corpus's id for the text, else one derived from it. Equal texts are one query."""
    ids = {query.text: query.id for query in of_corpus if not query.synthetic}
    return {ids.get(text) or query_id(text): text for text in texts}


def most_frequent_queries(store: Store, events: Path, most: int) -> list[str]:
    """The query texts that people searched most in the exposure log, white space collapsed; those of equal rank by alphabet.

    Raises:
        InputError: there is no log.
    """
    require_log(store, events, "search on the server's page first")
    with (
        TemporaryDirectory() as scratch,
        closing(sqlite3.connect("", isolation_level=None)) as db,  # a temporary file, deleted when it is closed
    ):
        db.execute("CREATE TABLE logged (query TEXT PRIMARY KEY, times INTEGER) WITHOUT ROWID")
        db.execute("BEGIN")
        count = "INSERT INTO logged VALUES (?, 1) ON CONFLICT (query) DO UPDATE SET times = times + 1"
        logged = log_files(store, events, "exposures", Path(scratch)).as_lines(Path(scratch))
        db.executemany(count, ((query,) for path in logged for query in _logged_queries(path)))
        rows = db.execute("SELECT query FROM logged ORDER BY times DESC, query LIMIT ?", (most,))
        return [query for (query,) in rows]


def _logged_queries(exposures: Path) -> Iterator[str]:
    invalid = 0
    with exposures.open("rb") as file:
        for line in file:
            try:
                exposure = Exposure.model_validate_json(line)
            except ValidationError:  # truncated when the server was killed
                invalid += 1
                continue
            query = " ".join(exposure.query.split())
            if query and exposure.traffic == "live":
                yield query
    if invalid:
        log().warning("lines of the log that are no exposure", lines=invalid, file=str(exposures))


def queries_of_file(path: Path, most: int) -> list[str]:
    """The first distinct queries of a text file with a query a line, white space collapsed.

    Raises:
        InputError: the file can't be read as UTF-8, or a line is longer than LONGEST_QUERY.
    """
    texts: dict[str, None] = {}
    try:
        with path.open(encoding="utf-8-sig") as file:
            while len(texts) < most and (line := file.readline(LONGEST_QUERY + 2)):
                if len(line.rstrip("\n")) > LONGEST_QUERY:
                    raise InputError(f"{path}: {line[:40]!r}…", f"queries of at most {LONGEST_QUERY} characters", "one a line")
                if query := " ".join(line.split()):
                    texts[query] = None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise InputError(
            f"--queries {path} ({reason})", "corpus, exposures, or a text file with a query a line", "correct it"
        ) from None
    return list(texts)


def pool_documents(query: str, rankings: Iterable[Sequence[tuple[str, float]]]) -> list[str]:
    """The documents of several rankings of a query id, in an order that does not depend on the rankings.

    >>> pool_documents("q1", [[("a", 0.9), ("b", 0.5)], [("b", 7.1), ("c", 2.0)]])
    ['a', 'b', 'c']
    """
    pooled = {document for ranking in rankings for document, _ in ranking}
    return sorted(pooled, key=lambda document: digest(f"{query} {document}".encode()))


def informative_pairs(release: Run, others: Iterable[Run], judged: Qrels, depth: int = 10) -> list[tuple[str, str]]:
    """The unjudged pairs of query and document that can change a comparison most, most informative first.

    A document counts in nDCG by 1 / log2(1 + rank). What it can change is the difference of that between two rankings, so a
    document that both rank alike says nothing. The order does not tell which of them found it.

    Args:
        release: the rankings that are judged.
        others: those of the champion and of the baselines.
        judged: the judgments so far.
        depth: documents taken of each ranking.

    >>> informative_pairs({"q": [("a", 3), ("b", 2)]}, [{"q": [("a", 3), ("c", 2), ("b", 1)]}], {"q": {"d": 1}})
    [('q', 'c'), ('q', 'b')]
    """
    weights: dict[tuple[str, str], float] = {}
    for other in others:
        for query in release.keys() | other.keys():
            gains = [_gains(run.get(query, []), depth) for run in (release, other)]
            for document in gains[0].keys() | gains[1].keys():
                weight = abs(gains[0].get(document, 0.0) - gains[1].get(document, 0.0))
                if weight > 0 and document not in judged.get(query, {}):
                    weights[query, document] = max(weight, weights.get((query, document), 0.0))
    return sorted(weights, key=lambda pair: (-round(weights[pair], 6), digest(" ".join(pair).encode())))


def _gains(ranking: Sequence[tuple[str, float]], depth: int) -> dict[str, float]:
    return {document: 1 / math.log2(1 + rank) for rank, (document, _) in enumerate(ranking[:depth], 1)}
