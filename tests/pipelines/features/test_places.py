"""Where features are, as settings say it: the same place for Feast and for who reads beside it, or one message."""

import json

import pytest
from feast.infra.online_stores.redis import RedisOnlineStore

from pipelines.__main__ import main
from pipelines.errors import InputError
from pipelines.features.feast import feature_store
from pipelines.features.online import open_online
from tests.conftest import call
from tests.pipelines.features.conftest import choices, corpus_of, materialized

REGISTRY = "postgresql+psycopg2://ann:hush-hush@127.0.0.1:1/x"


def told_to_feast() -> dict[str, object]:
    """What Feast's Redis store connects to by the connection string that it gets."""
    from pipelines.features import feast
    from pipelines.settings import settings

    (place, *others), options = RedisOnlineStore._parse_connection_string(feast._online(settings())["connection_string"])
    assert not others
    return {"host": place["host"], "port": int(place["port"]), "ssl": False, "password": None, **options}


def read_beside() -> dict[str, object]:
    pool = open_online().client.connection_pool
    given = {name: pool.connection_kwargs[name] for name in ("host", "port", "db", "password")}
    return {**given, "ssl": pool.connection_class.__name__ == "SSLConnection"}


@pytest.mark.parametrize(
    ("address", "host", "port", "db", "encrypted"),
    [
        ("valkey://127.0.0.1:6379", "127.0.0.1", 6379, 0, False),
        ("redis://127.0.0.1:6379", "127.0.0.1", 6379, 0, False),
        ("redis://valkey:6380/3", "valkey", 6380, 3, False),
        ("valkey://valkey", "valkey", 6379, 0, False),
        ("valkeys://cache.example:6381/1", "cache.example", 6381, 1, True),
        ("rediss://redis-1.example", "redis-1.example", 6379, 0, True),
    ],
)
def test_feast_and_who_reads_beside_it_go_to_the_same_place(home, monkeypatch, address, host, port, db, encrypted):
    monkeypatch.setenv("RATCHET_FEATURE_ONLINE", "valkey")
    monkeypatch.setenv("RATCHET_VALKEY_URL", address)
    expected = {"host": host, "port": port, "db": db, "ssl": encrypted, "password": None}
    assert told_to_feast() == read_beside() == expected


@pytest.mark.parametrize("password", ["of-a-test", "a,b", "a=b,db=7", "1e5", "007", "null", "true", '"quoted"', "ü\\u002c {}"])
def test_a_password_arrives_as_it_is(home, monkeypatch, password):
    monkeypatch.setenv("RATCHET_FEATURE_ONLINE", "valkey")
    monkeypatch.setenv("RATCHET_VALKEY_URL", "valkey://127.0.0.1:1/2")
    monkeypatch.setenv("RATCHET_VALKEY_PASSWORD", password)
    assert told_to_feast() == read_beside() == {"host": "127.0.0.1", "port": 1, "db": 2, "ssl": False, "password": password}


@pytest.mark.parametrize(
    "address",
    [
        "valkey:6379",
        "127.0.0.1:6379",
        "valkey",
        "valkey://",
        "http://127.0.0.1:6379",
        "valkey://127.0.0.1:port",
        "valkey://127.0.0.1:6379/first",
        "valkey://127.0.0.1:6379/0?db=1",
        "valkey://[::1]:6379",
        "valkey://one,two:6379",
        "valkey://[",
    ],
)
def test_an_address_that_can_not_be_one_is_refused(home, monkeypatch, address):
    monkeypatch.setenv("RATCHET_FEATURE_ONLINE", "valkey")
    monkeypatch.setenv("RATCHET_VALKEY_URL", address)
    for opened in (feature_store, open_online):
        with pytest.raises(
            InputError, match=r"given RATCHET_VALKEY_URL='.*' for features; expected .* valkey://127"
        ) as refused:
            opened()
        assert address in str(refused.value)


@pytest.mark.parametrize(
    "address",
    [
        "hush-hush",
        "mysql://ann:hush-hush@h/x",
        "postgresql://ann:hush-hush@h/x",
        "sqlite:///hush-hush",
        "postgresql+psycopg://ann:p@hush-hush@127.0.0.1:1/x",
    ],
)
def test_a_registry_that_is_no_postgresql_with_its_driver_is_refused(home, monkeypatch, capfd, address):
    monkeypatch.setenv("RATCHET_FEATURE_REGISTRY", address)
    assert main(["plan_features", "--end", "2023-12-20"]) == 2
    out, err = capfd.readouterr()
    assert "given RATCHET_FEATURE_REGISTRY, not shown here" in err
    assert "postgresql+psycopg://user:password@host:5432/name" in err
    assert not [one for one in ("Traceback", "hush-hush") if one in out + err]


@pytest.mark.parametrize("address", ["postgresql+nosuch://ann:hush-hush@h/x", "postgresql+psycopg2://ann:hush-hush@h:port/x"])
def test_a_registry_that_can_not_be_opened_is_refused(home, monkeypatch, capfd, address):
    corpus = corpus_of([])
    monkeypatch.setenv("RATCHET_FEATURE_REGISTRY", address)
    assert main(["materialize_view", "document_attributes", corpus, "--end", "2023-12-20", "--history", "1"]) == 2
    out, err = capfd.readouterr()
    assert "://…, not shown whole, which SQLAlchemy can't open; expected an address such as postgresql+psycopg://" in err
    assert not [one for one in ("Traceback", "hush-hush") if one in out + err]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "no RATCHET_FEATURE_REGISTRY and RATCHET_FEATURE_ONLINE=sqlite in a pod"),
        ({"FEATURE_REGISTRY": REGISTRY}, "given RATCHET_FEATURE_ONLINE=sqlite in a pod"),
        ({"FEATURE_ONLINE": "valkey", "VALKEY_URL": "valkey://127.0.0.1:1"}, "given no RATCHET_FEATURE_REGISTRY in a pod"),
    ],
)
def test_files_that_end_with_a_pod_hold_no_features(home, monkeypatch, settings, said):
    corpus = corpus_of(choices())
    for name, value in {"POD": "materialize-view-1", **settings}.items():
        monkeypatch.setenv(f"RATCHET_{name}", value)
    with pytest.raises(InputError, match=said):
        call("plan_features", corpus=corpus, end="2023-12-20")
    with pytest.raises(InputError, match=said):
        materialized(corpus)
    assert not (home / "feast").exists()


def test_what_feast_s_command_line_reads_is_whole_and_its_owner_s(home):
    path = home / "feast" / "feature_store.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("of before")
    path.chmod(0o644)
    with path.open() as open_before:
        feature_store()
        assert open_before.read() == "of before", "who reads it while it is written has one or the other"
    assert json.loads(path.read_text())["project"] == "ratchet"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir() if one.name.startswith(".")] == []
