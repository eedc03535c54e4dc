"""A pool: the documents that people are asked to judge for each query.

Nobody can judge every document for every query. So the best few of several rankings are pooled and judged, and what is
in no pool counts as not relevant (Spärck Jones and van Rijsbergen, "Report on the need for and provision of an ideal
information retrieval test collection", 1975; so done at TREC since 1992). A pool favours the rankings it was made from:
what only a later ranking finds is unjudged (Zobel, SIGIR 1998). That bias is smaller the deeper the pool and the more unlike
the rankings, which is why BM25 always takes part, and it is seen in Judged@10. Who found a document must not be seen by who
judges it, so a query's documents come in the order of a hash.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from pydantic import ValidationError

from pipelines.corpus.documents import Query, qrels, queries, query_id
from pipelines.corpus.exposure import Exposure
from pipelines.errors import InputError
from pipelines.logs import log
from pipelines.store.artifacts import Artifact
from pipelines.store.recipes import digest

Judged = Mapping[str, Mapping[str, int]]
LONGEST_QUERY = 1000
"""Characters of a query; a longer line is none."""


def people_judged(corpus: Artifact) -> Judged:
    """The judgments of a corpus without those of synthetic queries, which nobody gave."""
    synthetic = {query.id for query in queries(corpus) if query.synthetic}
    return {query: grades for query, grades in qrels(corpus).items() if query not in synthetic}


def asked_queries(source: str, corpus: Artifact, judged: Judged, most: int, exposures: Path) -> dict[str, str]:
    """The text by id of the queries whose results are to be judged.

    Args:
        source: `corpus` (what people gave), `exposures` (what they asked most), or a file with a query a line.
        corpus: whose queries, or whose ids for the same texts.
        judged: grades by query and document.
        most: how many queries.
        exposures: the log of searches.

    Raises:
        InputError: there are none, or they can't be read.
    """
    known = queries(corpus)
    if source == "corpus":
        chosen = given_queries(known, judged, most)
    elif source == "exposures":
        chosen = named_queries(asked_most(exposures, most), known)
    else:
        chosen = named_queries(listed_queries(Path(source), most), known)
    if not chosen:
        given = f"--queries {source}, where nobody's query is"
        raise InputError(given, "at least one query", "pass --queries exposures, or a file with a query a line")
    return chosen


def given_queries(known: Iterable[Query], judged: Judged, most: int) -> dict[str, str]:
    """The text by id of the queries that people gave, those with the fewest judgments first, else in the order of a hash."""
    typed = [query for query in known if not query.synthetic and not query.history]
    order = sorted(typed, key=lambda query: (len(judged.get(query.id, ())), digest(query.id.encode())))
    return {query.id: query.text for query in order[:most]}


def named_queries(texts: Iterable[str], known: Iterable[Query]) -> dict[str, str]:
    """Texts by query id: the id that the corpus has for the text, else one made of it; each text once."""
    ids = {query.text: query.id for query in known if not query.synthetic}
    return {ids.get(text) or query_id(text): text for text in texts}


def asked_most(exposures: Path, most: int) -> list[str]:
    """What was asked most often, by the exposure log; blanks don't make another query.

    Raises:
        InputError: there is no log.
    """
    if not exposures.is_file():
        raise InputError(
            f"--queries exposures, and no {exposures}", "a log of searches", "search on the page first, or set RATCHET_EVENTS"
        )
    with closing(sqlite3.connect("", isolation_level=None)) as db:  # a file of its own that goes when it is closed
        db.execute("CREATE TABLE asked (query TEXT PRIMARY KEY, times INTEGER) WITHOUT ROWID")
        db.execute("BEGIN")
        count = "INSERT INTO asked VALUES (?, 1) ON CONFLICT (query) DO UPDATE SET times = times + 1"
        db.executemany(count, ((query,) for query in _asked(exposures)))
        rows = db.execute("SELECT query FROM asked ORDER BY times DESC, query LIMIT ?", (most,))
        return [query for (query,) in rows]


def _asked(exposures: Path) -> Iterator[str]:
    unread = 0
    with exposures.open("rb") as file:
        for line in file:
            try:
                query = " ".join(Exposure.model_validate_json(line).query.split())
            except ValidationError:  # a line that was cut off when the server was killed
                unread += 1
                continue
            if query:
                yield query
    if unread:
        log().warning("lines of the log that are no exposure", lines=unread, file=str(exposures))


def listed_queries(path: Path, most: int) -> list[str]:
    """The queries of a file, one a line, each once.

    Raises:
        InputError: it can't be read, or has a line that is no query.
    """
    found: dict[str, None] = {}
    try:
        with path.open(encoding="utf-8-sig") as file:
            while len(found) < most and (line := file.readline(LONGEST_QUERY + 2)):
                if len(line.rstrip("\n")) > LONGEST_QUERY:
                    raise InputError(
                        f"{path}: {line[:40]!r}…", f"queries of at most {LONGEST_QUERY:,} characters", "one a line"
                    )
                if query := " ".join(line.split()):
                    found[query] = None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise InputError(
            f"--queries {path} ({reason})", "corpus, exposures, or a text file with a query a line", "correct it"
        ) from None
    return list(found)


def pooled(query: str, rankings: Iterable[Sequence[tuple[str, float]]]) -> list[str]:
    """The documents of several rankings of a query, in an order that does not tell who found them.

    >>> pooled("q1", [[("a", 0.9), ("b", 0.5)], [("b", 7.1), ("c", 2.0)]])
    ['a', 'b', 'c']
    """
    found = {document for ranking in rankings for document, _ in ranking}
    return sorted(found, key=lambda document: digest(f"{query} {document}".encode()))
