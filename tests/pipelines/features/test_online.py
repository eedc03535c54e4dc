"""What is online is what Feast put there, also read without it; late data corrects it, and an earlier day never does."""

import json
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import datetime, timedelta
from urllib.request import urlopen

import pytest
from sqlalchemy import create_engine, text

from pipelines.erasure.subject import Subject, readable
from pipelines.errors import InputError, TryAgain
from pipelines.features import feast
from pipelines.features import online as reading
from pipelines.features.feast import feature_store, registry_lock
from pipelines.features.online import SqliteOnline, entity_key, murmur3, open_online, read_features
from pipelines.settings import environment
from pipelines.store.artifacts import load
from pipelines.store.objects import open_store
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


def differing(error) -> list[list[str]]:
    """The rows of the report that the error of a parity names: view, entity, feature, offline, online."""
    (report,) = re.findall(r"\(report (\w+)\)", str(error.value))
    return load(open_store(), "report", report).json("report.json")["tables"][1]["rows"]


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
    said = rf"{made[1].features} of .*document_interactions, while features {corrected.features} went online last.* run mater"
    with pytest.raises(InputError, match=said):
        parity([made[1]], release="0a1b2c3d")
    assert parity([corrected]).entities == 12

    earlier = materialized(late, start="2023-12-09", end="2023-12-10")
    assert (earlier.online, earlier.rows > 0) == ("", True)
    assert parity([corrected]).entities == 12, "a backfill leaves the online store as it is"

    before_change = read(["d03"])[0]["ctr_7d"]
    change(online, "d03")
    with pytest.raises(
        InputError, match=r"parity: 1 of 48 values differ: 1 of document_interactions\.ctr_7d \(report"
    ) as refused:
        parity([corrected])
    (row,) = differing(refused)
    assert (row[:3], row[4]) == (["document_interactions", "d03", "ctr_7d"], "0.125")
    assert float(row[3]) == before_change
    empty(online)
    with pytest.raises(InputError, match="48 of 48 values differ"):
        parity([corrected])
    materialized(late)
    assert parity([corrected]).entities == 12


def services() -> dict[str, tuple[list[str], dict[str, str]]]:
    """By name, the views and the tags of each feature service."""
    return {
        one.name: ([projection.name for projection in one.feature_view_projections], one.tags)
        for one in feature_store().list_feature_services()
    }


def test_a_parity_of_fewer_views_leaves_the_others_in_the_service(home):
    corpus, later = corpus_of(choices()), "2023-12-21"
    names = ["document_attributes", "document_interactions", "user_activity"]
    parity([materialized(corpus, name) for name in names], release="0a1b")
    one = materialized(corpus, "user_activity", end=later)
    call("check_parity", features=[one.features], end=later, release="0a1b")
    views, tags = services()["release_0a1b"]
    assert sorted(views) == names
    assert {name: tags[f"parity {name}"][:10] for name in names} == {**dict.fromkeys(names, END), "user_activity": later}
    assert len(tags) == 3


def test_rows_of_a_declaration_that_was_changed_are_not_compared(home, monkeypatch):
    from dataclasses import replace

    from pipelines.features import views

    made = materialized(corpus_of(choices()))
    view = views.declared_view("document_interactions")
    monkeypatch.setattr(views, "declared_view", lambda name: replace(view, sql=f"SELECT * FROM ({view.sql})"))
    with pytest.raises(
        InputError, match=rf"{made.features} of .*made before its declaration was changed.* run materialize_view"
    ):
        parity([made], release="0a1b")
    assert services() == {}


def test_the_message_of_a_difference_names_nobody(home):
    """It goes into task logs; whoever may read the report finds the rows there."""
    made = materialized(corpus_of(choices()), "user_activity")
    with sqlite3.connect(open_online().path) as db:
        found = db.execute("DELETE FROM ratchet_user_activity WHERE entity_key = ?", (reading.entity_key("user_id", "u0"),))
        assert found.rowcount == 3
    with pytest.raises(InputError, match=r"3 of 27 values differ: 1 of user_activity\.segment, 1 of") as refused:
        parity([made])
    rows = differing(refused)
    assert {row[1] for row in rows} == {"u0"}
    held = {"u0", *(row[3] for row in rows if not row[3].isdecimal())}
    assert "age=7, town=Ulm" in held
    assert not [one for one in held if one in str(refused.value)]
    facts = load(open_store(), "report", re.findall(r"\(report (\w+)\)", str(refused.value))[0]).facts
    assert "Ulm" not in str(facts)


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


@pytest.mark.services
def test_who_holds_the_registry_in_postgresql_is_in_no_transaction(home, servers, monkeypatch):
    """A server may end a transaction that is idle, and the lock with it."""
    monkeypatch.setenv("RATCHET_FEATURE_REGISTRY", servers[1])
    engine = create_engine(servers[1])
    states = text("SELECT state FROM pg_stat_activity WHERE query LIKE '%pg_try_advisory_lock%' AND pid <> pg_backend_pid()")
    with registry_lock(), engine.connect() as connection:
        assert connection.execute(states).scalars().all() == ["idle"]
    engine.dispose()


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


@pytest.mark.parametrize("length", [40, 50, 70, 100, 300])
def test_whoever_begins_a_text_is_found_whatever_its_length(tmp_path, length):
    """The byte of the length is (, 2, F or d, of which all but the first would be taken for a part of the word."""
    path = tmp_path / "online.db"
    text_ = "Oakchair 7 of Ann".ljust(length, ".").encode()
    lengths = bytes([length]) if length < 128 else bytes([length & 0x7F | 0x80, length >> 7])
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE ratchet_shelf (entity_key BLOB, value BLOB)")
        values = [b"\x12" + lengths + text_, b"\x12\x045031", b"\x20\x07", b"\x08\x01", b""]
        rows = [(entity_key("user_id", f"u{number}"), value) for number, value in enumerate(values)]
        db.executemany("INSERT INTO ratchet_shelf VALUES (?, ?)", rows)
        db.commit()
    store = SqliteOnline(path, "ratchet")
    for name in ("Oakchair", "5031"):
        subject = Subject("user", name, ordinary=frozenset({"5031"}))
        assert store.holding(lambda body, subject=subject: subject.found_in(readable(body))) == 1


def test_who_is_erased_in_one_environment_stays_in_another_whose_name_begins_or_ends_alike(home, online, monkeypatch):
    names = ["", "blue", "bluegreen", "my-ratchet"]
    stores = {name: {"store": (home / name).as_uri()} for name in names if name}
    monkeypatch.setenv("RATCHET_ENVIRONMENTS", json.dumps(stores))

    def rows(environment: str) -> list:
        monkeypatch.setenv("RATCHET_ENVIRONMENT", environment)
        return open_online().rows("user_activity", "user_id", ["u3"], ["shown_30d"])

    for name in names:
        monkeypatch.setenv("RATCHET_ENVIRONMENT", name)
        materialized(corpus_of(choices()), "user_activity", history=1)
    for place, name in enumerate(names):
        assert rows(name) != [None]
        assert open_online().holding(lambda body: body == b'{"user_id": "u3"}') == 1
        open_online().erase(lambda body: body == b'{"user_id": "u3"}')
        assert [rows(one) == [None] for one in names] == [other <= place for other in range(len(names))]


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
