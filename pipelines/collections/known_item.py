"""Known-item queries: what a person might type who looks for one certain document. Synthetic, and good for a smoke test only.

A search that does not find a document by its own title is broken; one that does may still be a poor search (Azzopardi, de
Rijke and Balog, "Building simulated queries for known-item topics", SIGIR 2007). So nothing is promoted by them.
"""

import hashlib
import sqlite3
from collections.abc import Iterator

from pipelines.corpus.text_rules import query_too_long

WORDS = 12
"""Of a document without a title, so many first words are the query."""


def known_items(db: sqlite3.Connection, most: int) -> Iterator[tuple[str, str]]:
    """Pairs of query and document id, chosen by the hash of the document's id; a query that two documents give
    is left out, and so is one that is longer than the server takes.

    The query is the held-out text where documents have one, else the title, else the text's first words.

    Args:
        db: the staging file, with `documents` filled.
        most: how many.
    """
    db.create_function("hashed", 1, lambda one: hashlib.sha256(one.encode()).hexdigest(), deterministic=True)
    asked_for = "coalesce(nullif(known, ''), nullif(title, ''), text)"
    rows = db.execute(f"SELECT id, {asked_for} FROM documents ORDER BY hashed(id) LIMIT ?", (2 * most,)).fetchall()  # noqa: S608
    asked = [(" ".join(text.split()[:WORDS]), document) for document, text in rows]
    times: dict[str, int] = {}
    for query, _ in asked:
        times[query.lower()] = times.get(query.lower(), 0) + 1
    yield from [pair for pair in asked if times[pair[0].lower()] == 1 and not query_too_long(pair[0])][:most]
