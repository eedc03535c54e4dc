"""A small corpus of documents that users met and chose over some weeks, and the online stores that features may be in."""

import random
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from redis import Redis
from sqlalchemy import create_engine, text

from pipelines.corpus.documents import Document, Interaction, User
from tests.conftest import call
from tests.corpora import write_corpus
from tests.services import postgres, valkey

DAY, BEGINNING = 86_400, 1_700_006_400
"""Midnight of 2023-11-15 (UTC)."""
END, START = "2023-12-20", "2023-12-19"
DOCUMENTS = [f"d{number:02}" for number in range(12)]


def choices(seed: int = 1, users: int = 9, days: int = 40) -> list[Interaction]:
    """Interactions at any second of some weeks, also at midnights; d11 is never met."""
    chance = random.Random(seed)
    met = [
        Interaction(
            user=f"u{chance.randrange(users)}", document=chance.choice(DOCUMENTS[:-1]), value=float(chance.randint(1, 5)),
            time=BEGINNING + chance.choice([chance.randrange(days * DAY), DAY * chance.randrange(days)]),
        )
        for _ in range(300)
    ]  # fmt: skip
    return sorted(met, key=lambda one: (one.user, one.time, one.document))


def corpus_of(interactions: list[Interaction]) -> str:
    documents = [Document(id=name, text=f"text of {name}", segment=name[-1]) for name in DOCUMENTS]
    return write_corpus(documents, interactions=interactions, users=[User(id="u0", fields={"town": "Ulm", "age": "7"})])


def materialized(corpus: str, view: str = "document_interactions", start: str = START, end: str = END, **options):
    return call("materialize_view", view=view, corpus=corpus, start=start, end=end, **{"history": 3, **options})


@pytest.fixture(scope="session")
def servers():
    """A Valkey with a password, and a PostgreSQL: outside of pytest's folder, which other sessions close to its account."""
    with TemporaryDirectory(prefix="ratchet-features-") as name:
        folder = Path(name)
        with valkey(folder / "valkey", password="of-a-test") as url, postgres(folder / "postgres") as registry:
            yield url, registry


@pytest.fixture(params=["sqlite", pytest.param("valkey", marks=pytest.mark.services)])
def online(request, monkeypatch):
    """Each kind of stores: a file for all; Valkey for values with PostgreSQL for the registry."""
    if request.param == "sqlite":
        yield "sqlite"
        return
    url, registry = request.getfixturevalue("servers")
    monkeypatch.setenv("RATCHET_VALKEY_URL", url)
    monkeypatch.setenv("RATCHET_VALKEY_PASSWORD", "of-a-test")
    monkeypatch.setenv("RATCHET_FEATURE_ONLINE", "valkey")
    monkeypatch.setenv("RATCHET_FEATURE_REGISTRY", registry)
    yield "valkey"
    Redis.from_url(url.replace("valkey", "redis", 1), password="of-a-test").flushall()
    engine = create_engine(registry)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE; CREATE SCHEMA public"))
    engine.dispose()
