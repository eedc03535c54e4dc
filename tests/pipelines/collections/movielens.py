"""Interactions for tests: ml-100k out of the wheel that carries it, and a small seeded set that is laid out like it."""

import csv
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from pipelines.collections.next_item import next_items, split_facts
from pipelines.corpus.documents import Document, Interaction, Qrel, Query, write_rows
from pipelines.store.artifacts import produce
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe
from tests.conftest import PROJECT
from tests.sharing import locked

WHEEL = "recbole==1.2.1"
INSIDE = "recbole/dataset_example/ml-100k/"
GENRES = ["Comedy", "Drama", "Western", "Horror", "Musical", "Thriller"]
Choice = tuple[str, str, int, float]
"""user, document, time, value"""


@pytest.fixture(scope="session")
def ml_100k(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of ml-100k's files; skips with the reason where the registry can't be reached."""
    folder, packed_in = tmp_path_factory.mktemp("ml-100k"), PROJECT / "build" / "wheels"
    with locked(packed_in / ".lock"):  # kept between runs: one download is enough
        if not list(packed_in.glob("recbole-*.whl")):
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--dest", str(packed_in), WHEEL]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
            if done.returncode:
                pytest.skip(f"{WHEEL}, whose wheel holds ml-100k, could not be downloaded: {done.stderr.strip()[-200:]}")
    with ZipFile(next(packed_in.glob("recbole-*.whl"))) as wheel:
        for name in ("inter", "item", "user"):
            with wheel.open(f"{INSIDE}ml-100k.{name}") as packed, (folder / f"ml-100k.{name}").open("wb") as file:
                shutil.copyfileobj(packed, file)
    return folder


def staged(documents: Iterable[Document], choices: Iterable[Choice], path: str = ":memory:") -> sqlite3.Connection:
    """A staging database as `next_items` reads it."""
    db = sqlite3.connect(path, isolation_level=None)
    db.executescript("""
        CREATE TABLE documents (id TEXT PRIMARY KEY, text TEXT, title TEXT, segment TEXT);
        CREATE TABLE interactions (user TEXT, document TEXT, time INTEGER, value REAL);
        BEGIN
    """)
    db.executemany(
        "INSERT INTO documents VALUES (?, ?, ?, ?)", ((one.id, one.text, one.title, one.segment) for one in documents)
    )
    db.executemany("INSERT INTO interactions VALUES (?, ?, ?, ?)", choices)
    return db


def films(folder: Path) -> Iterator[Document]:
    """The films of ml-100k: title and genres are the text."""
    for row in rows_of(folder / "ml-100k.item"):
        title, genres = row["movie_title:token_seq"], row["class:token_seq"]
        yield Document(id=row["item_id:token"], text=f"{title}. {genres}", title=title, segment=genres.split(" ")[0])


def ratings(folder: Path) -> Iterator[Choice]:
    """The ratings of ml-100k."""
    for row in rows_of(folder / "ml-100k.inter"):
        yield row["user_id:token"], row["item_id:token"], int(float(row["timestamp:float"])), float(row["rating:float"])


def rows_of(path: Path) -> Iterator[dict[str, str]]:
    """The rows of an atomic file: tabs, no quotes."""
    with path.open(encoding="utf-8") as file:
        yield from csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)


def small_films(count: int = 120) -> list[Document]:
    """Films of six genres, twenty of each."""
    genres = [GENRES[number % len(GENRES)] for number in range(count)]
    return [
        Document(id=f"m{number:03}", text=f"{genre} film number {number}", title=f"{genre} {number}", segment=genre)
        for number, genre in enumerate(genres)
    ]


def numbered_films() -> list[Document]:
    """The small films with texts that say nothing of a genre: only users' choices tell."""
    return [film.model_copy(update={"text": f"film number {film.id}", "title": film.id}) for film in small_films()]


def small_ratings(users: int = 60, seed: int = 7) -> list[Choice]:
    """Ratings of users of whom each keeps to one genre, and who come and go over 1,000 days."""
    chance = random.Random(seed)
    found = []
    for user in range(users):
        time, genre = chance.randrange(0, 600) * 86_400, user % len(GENRES)
        for _ in range(chance.randrange(2, 30)):
            film = genre + len(GENRES) * chance.randrange(20) if chance.random() < 0.8 else chance.randrange(120)
            found.append((f"u{user:02}", f"m{film:03}", time, float(chance.randint(1, 5))))
            time += chance.randrange(40) * 86_400
    return found


def corpus_of_choices(
    documents: list[Document], choices: list[Choice], more: tuple[tuple[Query, list[Qrel]], ...] = (), **rule: Any
) -> str:
    """A corpus artifact of interactions, with the queries that are made of them, and `more`."""
    db = staged(documents, choices)
    made, facts = [*next_items(db, **rule), *more], split_facts(db, **rule)
    kept = {one.id for one in documents}

    def build(folder: Path) -> dict[str, Any]:
        write_rows(folder / "documents.jsonl", sorted(documents, key=lambda one: one.id))
        write_rows(folder / "queries.jsonl", [query for query, _ in made])
        (folder / "qrels.txt").write_text("".join(qrel.line() + "\n" for _, qrels in made for qrel in qrels))
        write_rows(folder / "interactions.jsonl", (
            Interaction(user=user, document=document, time=time, value=value)
            for user, document, time, value in sorted(choices) if document in kept
        ))  # fmt: skip
        counts = {"documents": len(documents), "queries": len(made), "judgments": sum(len(qrels) for _, qrels in made)}
        return counts | facts

    content = repr((documents, sorted(choices), more, sorted(rule.items())))
    recipe = Recipe(kind="corpus", step="ingest", version=1, inputs={"content": content}, params={})
    return produce(open_store(), recipe, build).id


def before(choices: Iterable[Choice], cutoff: int) -> dict[str, set[str]]:
    """By user all documents before a time: the slow, plain way to say what was seen."""
    earlier = sorted(one for one in choices if one[2] < cutoff)
    return {user: {row[1] for row in rows} for user, rows in groupby(earlier, key=lambda row: row[0])}
