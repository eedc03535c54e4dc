"""Logs that are closed, shipped and read: each line once, whoever is killed in between."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from images.serve.exposure_log import ExposureLog, append_line
from pipelines.corpus import event_log
from pipelines.corpus.event_log import close, closed_files, is_logged, log_files, ship, shipped_files
from pipelines.corpus.exposure import Click, Conversion, Exposure, FailedSearch, ShadowSearch, ShownDocument
from pipelines.errors import InputError, TryAgain
from pipelines.store.objects import Store, open_store
from tests.conftest import PROJECT

AT = datetime(2026, 11, 29, 23, 59, 58, 123456, tzinfo=UTC)


def exposure(number, **fields):
    shown = ShownDocument(document=f"caf\u00e9 {number}", position=1, score=0.1, propensity=1)
    told = {"request_id": f"r{number}", "at": AT, "user": "hidden", "query": 'a "quoted"\u2028 word', "results": (shown,)}
    return Exposure(**{"release": "one", "policy": "champion", "entry": 1, **told, **fields})


EXPOSURES = [
    exposure(0),
    exposure(1, results=(), latency_ms=0.125, segment={"country": "DE", "size, it's": "a=b"}, reranked=3, caller="k/page"),
    exposure(2, query="", history=("a", "b'"), exclude=("c",), kind="similar", filter=("brand=x",)),
    exposure(3, query="", kind="recommendation", experiment="split-7", variant="challenger", policy="challenger"),
    exposure(4, at=AT.replace(microsecond=0)),
]
CLICKS = [Click(request_id="r0", document="caf\u00e9 0", position=1, at=AT, caller="k")]
CONVERSIONS = [
    Conversion(request_id="r0", document="caf\u00e9 0", value=49.9, at=AT),
    Conversion(request_id="r0", document="b", at=AT),
]


FAILURES = [
    FailedSearch(
        at=AT,
        kind="search",
        release="two",
        policy="challenger",
        entry=2,
        reason="failed",
        error="E",
        latency_ms=1.5,
        caller="k",
    )
]
SHADOW = [
    ShadowSearch(
        request_id="r0", at=AT, entry=2, champion="one", challenger="two", champion_ms=1.0, challenger_ms=2.0,
        champion_results=10, challenger_results=0, overlap=None,
    )
]  # fmt: skip


@pytest.fixture
def folder(home):
    """Logs as a server writes them, the last line cut off."""
    log = ExposureLog(home / "events")
    log.log_exposures(EXPOSURES)
    for name, events in (("clicks", CLICKS), ("conversions", CONVERSIONS), ("failures", FAILURES), ("shadow", SHADOW)):
        for event in events:
            append_line(home / f"events/{name}.jsonl", event.model_dump_json().encode())
    with (home / "events/exposures.jsonl").open("a") as file:
        file.write('{"request_id": "cut o')
    return home / "events"


def read(folder, name, kind, scratch, store=None):
    """The events of a log by all its files, and how many rows its relation has."""
    import duckdb

    files = log_files(store or open_store(), folder, name, scratch)
    lines = [line for path in files.as_lines(scratch) for line in path.read_text().split("\n") if line.endswith("}")]
    rows = duckdb.sql(f'SELECT count("at") FROM {files.relation("at")}').fetchall()[0][0]
    assert rows == len(lines)
    return [kind.model_validate_json(line) for line in lines]


def everything(folder, scratch):
    kinds = {
        "exposures": Exposure, "clicks": Click, "conversions": Conversion, "failures": FailedSearch, "shadow": ShadowSearch,
    }  # fmt: skip
    assert kinds.keys() == event_log.COLUMNS.keys()
    assert all(kind.model_fields.keys() == event_log.COLUMNS[name].keys() for name, kind in kinds.items())
    return {name: read(folder, name, kind, scratch / name) for name, kind in kinds.items()}


def test_what_is_shipped_says_what_was_written(folder, tmp_path):
    written = {"exposures": EXPOSURES, "clicks": CLICKS, "conversions": CONVERSIONS, "failures": FAILURES, "shadow": SHADOW}
    assert everything(folder, tmp_path / "0") == written, "before"
    first = ship(open_store(), folder)
    assert (first.shipped, first.deleted) == (5, 0)
    assert everything(folder, tmp_path / "1") == written, "in both places"
    second = ship(open_store(), folder)
    assert (second.shipped, second.deleted) == (0, 5)
    assert list(folder.iterdir()) == []
    assert everything(folder, tmp_path / "2") == written, "in the store alone"
    assert ship(open_store(), folder) == event_log.Round(0, 0)
    (path,) = shipped_files(open_store(), "clicks")
    assert path.split("/")[2] == f"{datetime.now(UTC):%Y-%m-%d}"


def test_lines_of_before_a_column_was_written(home, tmp_path):
    shown = [{"document": "a", "position": 1, "score": 0.5, "propensity": 1.0}]
    line = {"request_id": "r", "at": "2026-01-05T08:00:00Z", "user": "", "query": "q", "release": "one", "policy": "champion"}
    (home / "events").mkdir(parents=True)
    (home / "events/exposures.jsonl").write_text(json.dumps({**line, "entry": 1, "results": shown}) + "\n")
    (before,) = read(home / "events", "exposures", Exposure, tmp_path / "0")
    ship(open_store(), home / "events")
    assert read(home / "events", "exposures", Exposure, tmp_path / "1") == [before]
    assert (before.kind, before.segment, before.history, before.caller) == ("search", {}, (), "")


KILLED = """
import os, sys
from pathlib import Path
import duckdb
from pipelines.corpus.event_log import ship
from pipelines.store.objects import Store, open_store
from images.serve.exposure_log import append_line
left = 0
def counted(call):
    def run(*args, **kwargs):
        tick()
        done = call(*args, **kwargs)
        tick()
        return done
    return run
def tick():
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), 9)
Path.unlink, Path.rename, Store.create = counted(Path.unlink), counted(Path.rename), counted(Store.create)
folder, line = Path(sys.argv[1]), sys.argv[2]
for point in range(100):
    append_line(folder / "exposures.jsonl", line.replace("NUMBER", str(point)).encode())
    child = os.fork()
    if not child:
        left = point
        ship(open_store(), folder)
        ship(open_store(), folder)
        os._exit(0)
    if not os.waitpid(child, 0)[1]:
        break
print(point)
"""


def test_killed_anywhere_it_neither_loses_nor_doubles_a_line(folder, tmp_path):
    """SIGKILL before and after each rename, put and deletion; a server writes on in between."""
    line = exposure("NUMBER").model_dump_json()
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-c", KILLED, str(folder), line]
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=True)
    kills = int(done.stdout)
    assert kills >= 12, "two files at least are renamed, put and deleted"
    found = sorted(event.request_id for event in read(folder, "exposures", Exposure, tmp_path))
    assert found == sorted([*(event.request_id for event in EXPOSURES), *(f"r{number}" for number in range(kills + 1))])


def test_a_file_that_is_full_or_of_a_day_before_is_closed(home, tmp_path):
    log = ExposureLog(home / "events", file_bytes=1000)
    path = home / "events/exposures.jsonl"
    for number in range(4):
        log.log_exposures([exposure(number)])
    assert [len(file.read_bytes().splitlines()) for file in closed_files(home / "events")] == [3]
    assert log.latest_queries(1) == [EXPOSURES[0].query]
    closed = close(path)
    assert log.latest_queries(1) == [EXPOSURES[0].query], "where nothing was written since, of the file before"
    log.log_exposures([exposure(6, query="sun")])
    assert log.latest_queries(2) == ["sun", EXPOSURES[0].query], "where little was written since, of the file before, too"
    close(path)
    log.log_exposures([exposure(4)])
    yesterday = (datetime.now(UTC) - timedelta(days=1)).timestamp()
    os.utime(path, (yesterday, yesterday))
    log.log_exposures([exposure(5)])
    assert len(path.read_bytes().splitlines()) == 1
    names = [file.name for file in closed_files(home / "events", "exposures")]
    assert names[0].startswith(f"exposures-{datetime.fromtimestamp(yesterday, UTC):%Y%m%d}T"), "by its last line"
    assert closed.name in names
    assert len(read(home / "events", "exposures", Exposure, tmp_path)) == 7


def test_writers_lose_no_line_to_a_closing(tmp_path):
    """Two processes write while a third one closes the file again and again."""
    script = (
        "import sys\nfrom pathlib import Path\nfrom images.serve.exposure_log import append_line\n"
        'for number in range(2000): append_line(Path(sys.argv[1]), b\'{"line": "%s-%d"}\' % (sys.argv[2].encode(), number))'
    )
    path = tmp_path / "clicks.jsonl"
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    writers = [
        subprocess.Popen([sys.executable, "-c", script, str(path), name], cwd=PROJECT, env=environment) for name in ("a", "b")
    ]
    while any(writer.poll() is None for writer in writers):
        close(path)
    assert [writer.returncode for writer in writers] == [0, 0]
    files = [*closed_files(tmp_path), *([path] if path.exists() else [])]
    lines = [json.loads(line)["line"] for file in files for line in file.read_text().splitlines()]
    assert sorted(lines) == sorted(f"{name}-{number}" for name in ("a", "b") for number in range(2000))
    assert len(files) > 2


def test_the_room_for_logs_is_used_up(home):
    log = ExposureLog(home / "events", file_bytes=500, room=1500)
    while log.measure().bytes < 1500:
        log.log_exposures([exposure(1)])
    with pytest.raises(
        TryAgain, match=r"^given \d+ bytes of logs in .*; expected less than the 1500 of RATCHET_LOG_ROOM_MB; next:"
    ):
        log.log_exposures([exposure(2)])
    ship(open_store(), home / "events")
    ship(open_store(), home / "events")
    log.log_exposures([exposure(20)])


def test_what_is_written_to_one_log_takes_room_of_the_others(home):
    log = ExposureLog(home / "events", room=1500)
    while log.measure().bytes < 1500:
        log.log_failure(FAILURES[0])
    with pytest.raises(TryAgain, match="RATCHET_LOG_ROOM_MB"):
        log.log_exposures([exposure(1)])
    assert not (home / "events/exposures.jsonl").exists()


def test_a_disk_that_does_not_answer_is_told_as_one_that_is_full(home):
    home.mkdir(parents=True, exist_ok=True)
    log = ExposureLog(home / "events")
    (home / "events").symlink_to("events")  # each look at it is an error, though none that says that nothing is there
    for write in (lambda: log.log_exposures([exposure(1)]), lambda: log.log_failure(FAILURES[0])):
        with pytest.raises(TryAgain, match="a log that can be written before the answer"):
            write()
    assert log.measure().bytes == 0
    assert log.latest_queries(1) == []


def test_what_many_rounds_shipped_becomes_lines_of_one_file(home, tmp_path):
    """By one statement: one for each file takes minutes where rounds are short."""
    log = ExposureLog(home / "events")
    for number in range(5):
        log.log_exposures([exposure(number)])
        ship(open_store(), home / "events")
    assert len(shipped_files(open_store(), "exposures")) == 5
    (lines,) = log_files(open_store(), tmp_path / "none", "exposures", tmp_path / "scratch").as_lines(tmp_path / "scratch")
    found = [Exposure.model_validate_json(line) for line in lines.read_text().split("\n")[:-1]]
    assert sorted(found, key=lambda one: one.request_id) == [exposure(number) for number in range(5)]


def test_files_of_before_a_column_was_written_become_lines_beside_newer_ones(home, tmp_path):
    import duckdb

    log = ExposureLog(home / "events")
    for number in range(2):
        log.log_exposures([exposure(number)])
        ship(open_store(), home / "events")
    old, newer = (tmp_path / name for name in ("old.parquet", "newer.parquet"))
    first, second = sorted(open_store().read(path) for path in shipped_files(open_store(), "exposures"))
    newer.write_bytes(second)
    (tmp_path / "whole.parquet").write_bytes(first)
    duckdb.sql(f"COPY (SELECT * EXCLUDE (traffic) FROM '{tmp_path}/whole.parquet') TO '{old}'")
    (lines,) = event_log.LogFiles("exposures", (), (old, newer)).as_lines(tmp_path)
    found = [Exposure.model_validate_json(line) for line in lines.read_text().split("\n")[:-1]]
    assert sorted(found, key=lambda one: one.request_id) == [exposure(0), exposure(1)]


def test_a_locked_file_waits_for_the_next_round(folder):
    import fcntl

    closed = close(folder / "exposures.jsonl")
    with closed.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert ship(open_store(), folder) == event_log.Round(4, 0)
    assert ship(open_store(), folder) == event_log.Round(1, 4)


def test_a_file_is_read_to_its_end_though_it_is_shipped_and_deleted_meanwhile(folder, tmp_path):
    close(folder / "exposures.jsonl")
    files = log_files(open_store(), folder, "exposures", tmp_path / "scratch")
    ship(open_store(), folder)
    ship(open_store(), folder)
    assert list(folder.iterdir()) == []
    lines = [line for path in files.as_lines(tmp_path / "scratch") for line in path.read_text().split("\n")]
    assert [Exposure.model_validate_json(line) for line in lines if line.endswith("}")] == EXPOSURES


def test_a_store_whose_path_looks_like_columns(folder, tmp_path):
    store = Store(f"file://{tmp_path}/stage=live/entry=7")
    ship(store, folder)
    assert read(folder, "exposures", Exposure, tmp_path / "scratch", store) == EXPOSURES


def test_only_the_days_that_are_asked_for_are_taken(home, tmp_path):
    store = open_store()
    for day in (27, 28, 29, 30):
        store.create(f"events/exposures/2026-11-{day}/exposures-202611{day}T010203Z-{'a' * 12}.parquet", b"")
    store.create("events/exposures/2026-11-28/somebody-elses.parquet", b"")

    def days(*bounds):
        return [path.parent.name[-2:] for path in log_files(store, home / "events", "exposures", tmp_path, *bounds).shipped]

    assert days() == ["27", "28", "29", "30"]
    assert days("2026-11-28", "2026-11-28") == ["28", "29"]
    assert days("2026-11-29") == ["29", "30"]
    assert is_logged(store, home / "events")
    assert not is_logged(store, home / "events", "clicks")


def test_a_store_that_is_away_or_closed_keeps_the_files(folder, tmp_path):
    (tmp_path / "file").write_text("")
    store = open_store()
    (store.local / "events").write_text("in the way")
    with pytest.raises(TryAgain):
        ship(store, folder)
    assert len(closed_files(folder)) == 5
    (store.local / "events").unlink()
    assert ship(store, folder).shipped == 5


def test_the_servers_account_of_the_stack_ships_to_a_bucket_and_writes_nothing_else(s3, folder, tmp_path):
    s3.create_bucket("ratchet")
    account = {"AWS_ACCESS_KEY_ID": "server-key", "AWS_SECRET_ACCESS_KEY": "server-secret", "AWS_REGION": "us-east-1"}
    store = Store("s3://ratchet/store", s3.endpoint, tmp_path / "cache", account)
    for path in ("journal/1.json", "access/1.json", "blobs/x"):
        with pytest.raises(InputError, match=r"write|right"):
            store.create(path, b"{}")
    assert [ship(store, folder), ship(store, folder)] == [event_log.Round(5, 0), event_log.Round(0, 5)]
    assert read(folder, "exposures", Exposure, tmp_path / "scratch", store) == EXPOSURES


def test_a_file_that_duckdb_cannot_read(folder, tmp_path):
    closed = close(folder / "exposures.jsonl")
    whole = closed.read_text().splitlines()[0]
    closed.write_text(f"{whole[:-1]}" + " " * (70 << 20) + "}\n")
    with pytest.raises(InputError, match="less than 32 MB"):
        ship(Store(f"file://{tmp_path}/store"), folder)
    assert closed.exists()
