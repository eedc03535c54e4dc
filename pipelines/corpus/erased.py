"""The rows of a corpus without a person or a document: what a successor keeps, and what `ingest` reads again.

Of a user go the fields, the interactions and the queries that are their history. Of a document go the document, its judgments
and interactions, its place in histories, and synthetic queries, which were made of its words. Other queries stay.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from pipelines.corpus.documents import HISTORY_TITLES, Query, named
from pipelines.store.erasures import SubjectKind

Erased = Callable[[SubjectKind, str], bool]
FACTS = {
    "documents.jsonl": "documents",
    "queries.jsonl": "queries",
    "qrels.txt": "judgments",
    "interactions.jsonl": "interactions",
}
"""The fact of a corpus that counts the rows of a file."""


def leave_out(folder: Path, erased: Erased) -> tuple[int, dict[str, int]]:
    """Write the files of a corpus anew, in place, without what was erased.

    Args:
        folder: with the files of one corpus.
        erased: whether a user or a document was erased.

    Returns:
        How many rows went or were changed, and how many each file has now, by the fact that counts them.
    """
    rows = _Rows(folder, erased)
    counts: dict[str, int] = {}
    removed: Counter[str] = Counter()
    for name in ("documents.jsonl", "queries.jsonl", "qrels.txt", "interactions.jsonl", "users.jsonl"):
        path = folder / name
        if not path.is_file():
            continue
        with path.open(encoding="utf-8") as file, (folder / f".{name}").open("w", encoding="utf-8", newline="") as kept:
            for line in file:
                left = rows.left(name, line)
                removed[name] += left != line
                counts[name] = counts.get(name, 0) + bool(left)
                kept.write(left)
        (folder / f".{name}").replace(path)
    return removed.total(), {FACTS[name]: count for name, count in counts.items() if name in FACTS}


class _Rows:
    """What is left of each row: documents come first, since their titles name histories, and queries before judgments."""

    def __init__(self, folder: Path, erased: Erased) -> None:
        self.folder, self.erased = folder, erased
        self.gone: set[str] = set()
        """Queries that go, and their judgments with them."""
        self.made_of: dict[str, bool] = {}
        """By judged query: whether all its judged documents were erased."""
        with (folder / "qrels.txt").open(encoding="utf-8") as file:
            for line in file:
                query, _, document, _ = line.split(" ")
                self.made_of[query] = self.made_of.get(query, True) and erased("document", document)

    def left(self, name: str, line: str) -> str:
        """The line, another one, or nothing."""
        if name == "qrels.txt":
            return self._judgment(line)
        row = json.loads(line)
        if name == "documents.jsonl":
            return "" if self.erased("document", row["id"]) else line
        if name == "queries.jsonl":
            return self._query(row, line)
        if name == "interactions.jsonl":
            return "" if self.erased("user", row["user"]) or self.erased("document", row["document"]) else line
        return "" if self.erased("user", row["id"]) else line

    def _judgment(self, line: str) -> str:
        query, _, document, _ = line.split(" ")
        return "" if query in self.gone or self.erased("document", document) else line

    def _query(self, row: dict[str, Any], line: str) -> str:
        history = row.get("history", [])
        kept = self._kept(history)
        made_of_it = row.get("synthetic") and self.made_of.get(row["id"])
        if made_of_it or (history and (not kept or self.erased("user", row["id"]))):
            self.gone.add(row["id"])
            return ""
        if len(kept) == len(history):
            return line
        text = " · ".join(self._names.get(document, document) for document in kept[-HISTORY_TITLES:])
        return Query(**{**row, "history": kept, "text": text}).model_dump_json(exclude_defaults=True) + "\n"

    def _kept(self, history: list[str]) -> list[str]:
        return [document for document in history if not self.erased("document", document)]

    @cached_property
    def _names(self) -> dict[str, str]:
        """How the documents are named that name a history which changes. Read once, since all histories may change."""
        wanted: set[str] = set()
        for row in self._read("queries.jsonl"):
            history = row.get("history", [])
            kept = self._kept(history)
            if len(kept) < len(history):
                wanted.update(kept[-HISTORY_TITLES:])
        rows = (row for row in self._read("documents.jsonl") if row["id"] in wanted)
        return {row["id"]: named(row.get("title", ""), row["text"]) or row["id"] for row in rows}

    def _read(self, name: str) -> Iterator[dict[str, Any]]:
        with (self.folder / name).open(encoding="utf-8") as file:
            yield from map(json.loads, file)
