"""What is online is what Feast put there, also read without it; late data corrects it, and an earlier day never does."""

import sqlite3
import subprocess
import sys
from datetime import datetime, timedelta
from urllib.request import urlopen

import pytest

from pipelines.errors import InputError, TryAgain
from pipelines.features import feast
from pipelines.features import online as reading
from pipelines.features.feast import feature_store, registry_lock
from pipelines.features.online import murmur3, open_online, read_features
from pipelines.settings import environment
from tests.conftest import call
from tests.pipelines.features.conftest import DOCUMENTS, END, choices, corpus_of, materialized
from tests.services import BIN, answers, free_ports, running

FEATURES = ["shown_30d", "chosen_30d", "ctr_30d", "ctr_7d"]
AT = datetime.fromisoformat(f"{END}T00:00:00+00:00")


def read(ids=DOCUMENTS, at=AT, days=3):
    return read_features(open_online(), "document_interactions", "document_id", FEATURES, ids, at, timedelta(days=days))


def asked_by_feast():
    rows = [{"document_id": name} for name in [*DOCUMENTS, "nobody"]]
    answer = feature_store().get_online_features([f"document_interactions:{name}" for name in FEATURES], rows).to_dict()
    return [{name: answer[name][place] for name in FEATURES} for place in range(len(rows))]


def parity(made, **options):
    return call("check_parity", features=[one.features for one in made], end=END, **options)


def test_the_whole_way_on_both_kinds_of_stores(home, online):
    """Materialize, agree, correct by late data, keep a later day, find planted differences, fill an emptied store."""
    corpus = corpus_of(choices())
    made = [materialized(corpus, view) for view in ("document_attributes", "document_interactions", "user_activity")]
    assert read([*DOCUMENTS, "nobody"]) == [*asked_by_feast()[:-1], None]
    assert all(read()), "each document has values"
    checked = parity(made, release="0a1b2c3d")
    assert (checked.values, checked.entities, checked.service) == (12 * 2 + 12 * 4 + 9 * 3, 33, "release_0a1b2c3d")
    assert [service.name for service in feature_store().list_feature_services()] == ["release_0a1b2c3d"]

    late = corpus_of(sorted([*choices(), *choices(seed=2)], key=lambda one: (one.user, one.time, one.document)))
    before, corrected = read(), materialized(late)
    assert read() != before, "the same moment, but more is known of it"
    assert parity([corrected]).entities == 12

    earlier = materialized(late, start="2023-12-09", end="2023-12-10")
    assert (earlier.online, earlier.rows > 0) == ("", True)
    assert parity([corrected]).entities == 12, "a backfill leaves the online store as it is"

    change(online, "d03")
    with pytest.raises(
        InputError, match=r"parity: 1 of 48 values differ; document_interactions of d03: ctr_7d is 0\.125 online"
    ):
        parity([corrected])
    empty(online)
    with pytest.raises(InputError, match="48 of 48 values differ"):
        parity([corrected])
    materialized(late)
    assert parity([corrected]).entities == 12


def change(online: str, document: str) -> None:
    """Another value than Feast wrote: 0.125."""
    value = bytes.fromhex("29000000000000c03f")
    if online == "sqlite":
        with sqlite3.connect(open_online().path) as db:
            key = reading.entity_key("document_id", document)
            found = db.execute(
                "UPDATE ratchet_document_interactions SET value = ? WHERE entity_key = ? AND feature_name = 'ctr_7d'",
                (value, key),
            )
            assert found.rowcount == 1
        return
    field = murmur3(b"document_interactions:ctr_7d").to_bytes(4, "little")
    assert open_online().client.hset(reading.entity_key("document_id", document) + b"ratchet", field, value) == 0


def empty(online: str) -> None:
    if online == "sqlite":
        with sqlite3.connect(open_online().path) as db:
            db.execute("DELETE FROM ratchet_document_interactions")
    else:
        open_online().client.flushall()


def test_values_are_read_without_feast(home):
    materialized(corpus_of(choices()))
    code = (
        "import sys; from datetime import *; from pipelines.features.online import *;"
        "row = read_features(open_online(), 'document_interactions', 'document_id', ['shown_30d'], ['d00'],"
        f" datetime.fromisoformat('{END}T00:00:00+00:00'), timedelta(days=3));"
        "print(row, 'feast' in sys.modules, 'pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment({}), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"[{{'shown_30d': {read(['d00'])[0]['shown_30d']}}}] False False"


def test_a_value_older_than_the_view_s_ttl_is_nothing(home):
    materialized(corpus_of(choices()))
    assert read(["d00"], AT + timedelta(days=3))[0] is not None
    assert read(["d00"], AT + timedelta(days=3, seconds=1)) == [None]


def test_changed_features_are_refused_while_a_release_reads_them(home, monkeypatch):
    from dataclasses import replace

    from pipelines.features import views

    corpus = corpus_of(choices())
    made = materialized(corpus)
    view = views.declared_view("document_interactions")
    fewer = replace(view, features={name: kind for name, kind in view.features.items() if name != "ctr_7d"})
    fewer = replace(fewer, sql=f"SELECT * EXCLUDE (ctr_7d) FROM ({view.sql})")
    parity([made], release="0a1b")
    monkeypatch.setattr(views, "declared_view", lambda name: fewer)
    with pytest.raises(InputError, match=r"release_0a1b read; next: declare the changed view under another name"):
        materialized(corpus)
    assert all(read()), "what was online stays"


def test_a_locked_registry_is_tried_again(home, online, monkeypatch):
    corpus = corpus_of(choices())
    monkeypatch.setattr(feast, "LOCKED_WITHIN_S", 0.3)
    with registry_lock(), pytest.raises(TryAgain, match=r"somebody has locked for 0\.3 s"):
        materialized(corpus)
    assert materialized(corpus).online, "whoever held it gave it back"


def test_a_store_that_is_down_is_tried_again(home, monkeypatch):
    corpus = corpus_of(choices())
    monkeypatch.setenv("RATCHET_VALKEY_URL", "valkey://127.0.0.1:1")
    monkeypatch.setenv("RATCHET_FEATURE_ONLINE", "valkey")
    with pytest.raises(TryAgain, match="the online store of the feature store: ConnectionError"):
        materialized(corpus)
    with pytest.raises(TryAgain, match="Valkey"):
        read()
    monkeypatch.setenv("RATCHET_FEATURE_REGISTRY", "postgresql+psycopg2://ann:hush-hush@127.0.0.1:1/x")
    with pytest.raises(TryAgain, match="the registry") as refused:
        materialized(corpus)
    assert "hush-hush" not in str(refused.value)
    monkeypatch.delenv("RATCHET_VALKEY_URL")
    with pytest.raises(InputError, match="without RATCHET_VALKEY_URL"):
        materialized(corpus)


def test_whoever_is_erased_is_online_no_more(home, online):
    materialized(corpus_of(choices()), "document_attributes")
    materialized(corpus_of(choices()), "user_activity")
    store = open_online()

    def holds(body: bytes) -> bool:
        return body in (b'{"user_id": "u3"}', b'{"document_id": "d03"}')

    assert store.holding(holds) == 2
    store.erase(holds)
    assert store.holding(holds) == 0
    left = store.rows("user_activity", "user_id", ["u3", "u4"], ["shown_30d"])
    assert (left[0], left[1] is not None) == (None, True)


@pytest.mark.services
def test_feast_s_own_page_shows_the_views(home, tmp_path):
    parity([materialized(corpus_of(choices()))], release="0a1b")
    assert (home / "feast/feature_store.yaml").stat().st_mode & 0o777 == 0o600
    (port,) = free_ports(1)
    address = f"http://127.0.0.1:{port}"
    command = [str(BIN / "feast"), "--chdir", str(home / "feast"), "ui", "--host", "127.0.0.1", "--port", str(port)]
    with running(command, tmp_path / "page", lambda: answers(address)):
        with urlopen(f"{address}/", timeout=20) as page:
            assert b'<div id="root">' in page.read()
        with urlopen(f"{address}/api/v1/feature_views?project=ratchet", timeout=20) as said:
            assert b"document_interactions" in said.read()
