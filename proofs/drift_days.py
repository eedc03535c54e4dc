"""Quiet days and planted drifts of a real catalogue, for `proofs.drift`.

The base is measured once: the titles of electronics (../shared/data/chorus, or ELECTRONICS=FOLDER; icons where absent) and
queries made of them, by MiniLM. A day draws 2,000 documents and 5,000 queries from it, so its sketches are sums over rows of
the base. Quiet days vary as days do: shares of suppliers, of query topics and of countries have a weekly season of ±15 %, a
relative spread of 10 % with autocorrelation 0.3, and on top a Dirichlet of concentration 2,000; users come again with their own
country, device, topics and readiness to click; the click rate and the latency of a day have a spread of their own.
"""

import json
import os
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.corpus.icons import read_icons
from pipelines.drift.judging import OUTCOMES
from pipelines.drift.permutation import concatenated
from pipelines.drift.rows import Rows, column_of, sketch
from pipelines.drift.snapshot import Snapshot
from pipelines.drift.texts import measure
from pipelines.evaluation.word_sources import Unavailable, installed_translator
from pipelines.models.encoder import Encoder
from tests.conftest import PROJECT

ELECTRONICS = Path(os.environ.get("ELECTRONICS", PROJECT.parent / "shared/data/chorus"))
DOCUMENTS, QUERIES = 2000, 5000
BASE, TOPICS, USERS = 5000, 40, 4000
TRANSLATED = 200
COUNTRIES = {"DE": 0.3, "FR": 0.2, "NL": 0.15, "UK": 0.12, "ES": 0.09, "IT": 0.08, "PL": 0.06}
LOST = "PL"
SEASON, SPREAD, CORRELATION, CONCENTRATION = 0.15, 0.10, 0.3, 2000.0


@dataclass(frozen=True)
class Base:
    """Measured rows from which days are drawn, and what planted drifts draw from."""

    documents: Rows
    translated: Rows
    broken: Rows
    """The documents with the tokens of a tokenizer that lost its lower-casing."""
    queries: Rows
    long: Rows
    """The queries, each twice as long."""
    topics: Any
    """Of each query, (queries,)."""


def texts() -> tuple[list[str], list[dict[str, str]]]:
    """Titles and columns of the catalogue."""
    if ELECTRONICS.exists():
        products: list[dict[str, Any]] = []
        for part in sorted(ELECTRONICS.glob("*.json.zip")):
            with zipfile.ZipFile(part) as packed:
                products += json.loads(packed.read(packed.namelist()[0]))
        chosen = np.random.default_rng(0).permutation(len(products))[:BASE]
        kept = [products[row] for row in chosen]
        return [row["title"] for row in kept], [{"supplier": row["supplier"], "price": str(row["price"])} for row in kept]
    documents, _, _ = read_icons(None, "label")
    return [one.title for one in documents], [{"supplier": one.segment, "price": str(20 + len(one.id))} for one in documents]


def base_of(encoder: Encoder, cache: Path) -> Base:
    """Measure the base.

    Args:
        encoder: MiniLM.
        cache: a folder that keeps vectors and translations between runs.
    """
    titles, fields = texts()
    random = np.random.default_rng(1)
    words = [" ".join(title.split()[:3]) for title in titles]
    asked = list(dict.fromkeys(words))[:2000]
    longer = [f"{one} {other}" for one, other in zip(asked, random.permutation(asked), strict=True)]
    other = _translated(titles[:TRANSLATED], cache / "translated.json")
    columns = {name: [row[name] for row in fields] for name in ("supplier", "price")}
    some = {name: values[:TRANSLATED] for name, values in columns.items()}
    ids = [str(number) for number in range(len(titles))]
    tokenizer = encoder.tokenizer

    def vectors(name: str, given: list[str], role: Any) -> Any:
        path = cache / f"{name}.npy"
        if not path.exists():
            np.save(path, encoder.encode(given, role))
        return np.load(path)

    documents = measure(titles, ids, columns, tokenizer, vectors("documents", titles, "document"), "document")
    translated = measure(other, ids[:TRANSLATED], some, tokenizer, vectors("translated", other, "document"), "document")
    queries = measure(asked, ids[: len(asked)], {}, tokenizer, vectors("queries", asked, "query"), "query")
    long = measure(longer, ids[: len(asked)], {}, tokenizer, vectors("long", longer, "query"), "query")
    broken = measure(titles, ids, columns, _without_normalizer(tokenizer), None, "document")
    broken = replace(broken, features=documents.features)
    return Base(documents, translated, broken, queries, long, np.arange(len(asked)) % TOPICS)


def _translated(titles: list[str], path: Path) -> list[str]:
    """The titles in Portuguese, kept between runs."""
    if not path.exists():
        try:
            translator = installed_translator().translator
        except Unavailable as reason:
            raise SystemExit(f"no other language to plant: {reason}") from None
        path.write_text(json.dumps([str(translator.translate(title, "en-pt")) or title for title in titles]))
    found: list[str] = json.loads(path.read_text())
    return found


def _without_normalizer(tokenizer: Any) -> Any:
    """A copy of a tokenizer that no longer lowers letters, so that words with capitals are unknown."""
    from tokenizers import Tokenizer, normalizers

    broken = Tokenizer.from_str(tokenizer.to_str())
    broken.normalizer = normalizers.Sequence([])
    return broken


class Calendar:
    """Day after day, each with its own shares and rates; by a seed."""

    def __init__(self, base: Base, seed: int) -> None:
        self.base, self.random, self.number = base, np.random.default_rng(seed), 0
        supplier = base.documents.columns["supplier"]
        self.by_supplier = [np.flatnonzero(supplier.codes == code) for code in range(len(supplier.values))]
        usual = np.bincount(supplier.codes, minlength=len(supplier.values)) / len(base.documents)
        self.usual = {"supplier": usual, "topic": _zipf(TOPICS), "country": np.array(list(COUNTRIES.values()))}
        self.noise = {name: np.zeros(len(shares)) for name, shares in self.usual.items()}
        self.phase = {name: self.random.uniform(0, 2 * np.pi, len(shares)) for name, shares in self.usual.items()}
        self.level = {"clicked": 0.0, "latency": 0.0}
        self.country = self.random.choice(len(COUNTRIES), USERS, p=self.usual["country"])
        self.device = self.random.choice(3, USERS, p=[0.5, 0.4, 0.1])
        self.clicks = self.random.beta(3, 9, USERS)
        self.likes = self.random.integers(0, TOPICS, (USERS, 4))

    def _next(self) -> dict[str, Any]:
        """The shares of the next day."""
        shares = {}
        for name, usual in self.usual.items():
            fresh = self.random.normal(0, SPREAD * np.sqrt(1 - CORRELATION**2), len(usual))
            self.noise[name] = CORRELATION * self.noise[name] + fresh
            season = SEASON * np.sin(2 * np.pi * self.number / 7 + self.phase[name])
            weights = usual * np.exp(self.noise[name] + season)
            shares[name] = self.random.dirichlet(CONCENTRATION * weights / weights.sum() + 1e-9)
        for name, spread in (("clicked", 0.05), ("latency", 0.05)):
            fresh = self.random.normal(0, spread * np.sqrt(1 - CORRELATION**2))
            self.level[name] = CORRELATION * self.level[name] + fresh
        self.number += 1
        return shares

    def day(self, planted: str = "", share: float = 0.05) -> dict[str, Rows]:
        """The rows of the next day, with a planted drift; `share`: of the documents in another language."""
        shares = self._next()
        documents = self._documents(shares["supplier"], planted, share)
        queries, searches = self._queries(shares, planted)
        return {"documents": documents, "queries": queries, "searches": searches}

    def _documents(self, shares: Any, planted: str, share: float) -> Rows:
        random, base = self.random, self.base
        counts = random.multinomial(DOCUMENTS, shares)
        rows = np.concatenate([
            random.choice(members, count) for members, count in zip(self.by_supplier, counts, strict=True) if count
        ])  # fmt: skip
        source = base.broken if planted == "broken_tokenizer" else base.documents
        drawn = source.take(rows)
        if planted == "other_language":
            changed = random.random(DOCUMENTS) < share
            foreign = base.translated.take(random.integers(0, TRANSLATED, int(changed.sum())))
            return concatenated(drawn.take(np.flatnonzero(~changed)), foreign)
        if planted == "price_band":  # a quarter of the documents cost twice as much: two bands further
            return _recoded(drawn, "price", random.random(DOCUMENTS) < 0.25, _doubled)
        if planted == "new_category":
            return _recoded(drawn, "supplier", random.random(DOCUMENTS) < 0.02, lambda _: "Nova")
        return drawn

    def _queries(self, shares: dict[str, Any], planted: str) -> tuple[Rows, Rows]:
        random, base = self.random, self.base
        weights = shares["country"][self.country] / self.usual["country"][self.country]
        users = random.choice(USERS, QUERIES // 3, p=weights / weights.sum())  # who comes, some several times
        asking = np.sort(random.choice(users, QUERIES))
        own = random.random(QUERIES) < 0.5
        topic = np.where(
            own, self.likes[asking, random.integers(0, 4, QUERIES)], random.choice(TOPICS, QUERIES, p=shares["topic"])
        )
        each = len(base.queries) // TOPICS
        rows = topic + TOPICS * (random.zipf(1.5, QUERIES) % each)
        kept = self.country[asking] != list(COUNTRIES).index(LOST) if planted == "lost_segment" else np.ones(QUERIES, bool)
        asking, rows = asking[kept], rows[kept]
        odds = np.log(self.clicks[asking] / (1 - self.clicks[asking])) + self.level["clicked"]
        clicked = (random.random(len(rows)) < 1 / (1 + np.exp(-odds))).astype(float)
        empty = (random.random(len(rows)) < 0.03).astype(float)
        latency = np.exp(random.normal(3 + self.level["latency"], 0.4, len(rows)))
        texts = (base.long if planted == "long_queries" else base.queries).take(rows)
        countries, devices = list(COUNTRIES), ["desktop", "phone", "tablet"]
        columns = {
            "country": column_of(countries[code] for code in self.country[asking]),
            "device": column_of(devices[code] for code in self.device[asking]),
        }
        numbers = {"clicked": clicked, "without results": empty, "latency_ms": latency}
        return replace(texts, units=asking), Rows(asking, columns, numbers)


def _zipf(count: int) -> Any:
    weights = 1 / np.arange(1, count + 1) ** 0.7
    return weights / weights.sum()


def _recoded(rows: Rows, name: str, changed: Any, value: Any) -> Rows:
    column = rows.columns[name]
    given = [column.values[code] for code in column.codes]
    said = [value(one) if change else one for one, change in zip(given, changed, strict=True)]
    return replace(rows, columns={**rows.columns, name: column_of(said)})


def _doubled(band: str) -> str:
    """The band two further: bands are half a doubling wide."""
    low, _, high = band.partition(" to ")
    return f"{2 * float(low):.2g} to {2 * float(high):.2g}" if high else band


def snapshot(tables: dict[str, Rows], number: int, encoder: str = "MiniLM onnx-fp32") -> Snapshot:
    """The snapshot of a day."""
    day = np.datetime64("2020-01-01") + number
    return Snapshot(f"day {number}", str(day), encoder, {name: sketch(rows, OUTCOMES) for name, rows in tables.items()})
