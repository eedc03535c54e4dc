"""A server ships its logs, goes on where the store can't be written, and ships the rest before it ends."""

import signal
import threading
import time

from images.serve import shipping
from images.serve.exposure_log import ExposureLog
from images.serve.shipping import Shipper
from pipelines.corpus.event_log import log_files, shipped_files
from pipelines.corpus.exposure import Exposure
from pipelines.store.objects import open_store
from tests.images.serve.conftest import route
from tests.images.serve.server import for_anybody, running_server
from tests.images.serve.test_metrics import metrics_of
from tests.pipelines.corpus.test_event_log import exposure


def test_logs_are_shipped_kept_while_the_store_is_away_and_shipped_to_the_last(trained, tmp_path):
    route(trained.release)
    events, shipped = tmp_path / "events", trained.home / "store/events"
    asked = []
    with running_server(trained.home, RATCHET_SHIP_S="0.2", RATCHET_EVENTS=str(events), RATCHET_DRAIN_S="0.1") as server:
        server.wait(lambda status: status["ready"])
        asked.append(server.search("moon").json()["request_id"])
        status = server.wait(lambda status: status["log"]["shipped"] and not status["log"]["closed"])
        assert (status["log"]["problem"], status["log"]["bytes"]) == ("", 0)
        assert for_anybody(status) == server.ready_to_anybody(), "only admins read of it"
        shipped.rename(trained.home / "away")
        shipped.write_text("in the way")
        asked.append(server.search("cloud").json()["request_id"])
        status = server.wait(lambda status: status["log"]["problem"])
        assert "next: check the disk and the network" in status["log"]["problem"]
        assert (status["ready"], status["problem"], status["log"]["closed"]) == (True, None, 1)
        told = metrics_of(server)
        assert told["ratchet_log_failed_rounds_total",] >= 1
        assert (told["ratchet_log_closed_files",], told["ratchet_log_bytes",] > 0) == (1, True)
        assert told["ratchet_log_oldest_seconds",] > 0
        asked.append(server.search("beach").json()["request_id"])
        shipped.unlink()
        (trained.home / "away").rename(shipped)
        server.wait(lambda status: not status["log"]["problem"])
        assert metrics_of(server)["ratchet_log_shipped_files_total",] >= 2
        asked.append(server.search("sun").json()["request_id"])
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(20)
    assert not (events / "exposures.jsonl").exists(), "the last round closed it"
    assert shipped_files(open_store(), "exposures")
    lines = log_files(open_store(), events, "exposures", tmp_path / "scratch").as_lines(tmp_path / "scratch")
    written = [Exposure.model_validate_json(line) for path in lines for line in path.read_text().splitlines()]
    assert sorted(one.request_id for one in written) == sorted(asked)


def test_a_server_ships_what_one_that_was_killed_left_in_its_folder(trained, tmp_path):
    """As a pod does with the volume of the one whose place it takes, and at once: it may be ended soon, too."""
    route(trained.release)
    events = tmp_path / "events"
    with running_server(trained.home, RATCHET_EVENTS=str(events)) as server:
        server.wait(lambda status: status["ready"])
        asked = server.search("moon").json()["request_id"]
        server.process.kill()
        server.process.wait(10)
    assert (events / "exposures.jsonl").exists()
    with running_server(trained.home, RATCHET_EVENTS=str(events), RATCHET_SHIP_S="3600") as server:
        server.wait(lambda status: status["log"]["shipped"])
    (shipped,) = log_files(open_store(), tmp_path / "none", "exposures", tmp_path / "scratch").as_lines(tmp_path / "scratch")
    assert [Exposure.model_validate_json(line).request_id for line in shipped.read_text().splitlines()] == [asked]


def test_it_ships_before_it_is_time_where_room_is_short(home, monkeypatch):
    """Else searches would fail for want of room while the store is well."""
    monkeypatch.setattr(shipping, "LOOK_S", 0.05)
    log = ExposureLog(home / "events", file_bytes=1000, room=10_000)
    shipper = Shipper(log, 3600)
    thread = threading.Thread(target=shipper.run, daemon=True)
    thread.start()
    time.sleep(0.3)
    log.log_exposures([exposure(0)])
    assert shipper.told()["shipped"] == 0, "there is room"
    for number in range(1, 20):
        log.log_exposures([exposure(number)])
    until = time.monotonic() + 60
    while log.measure().bytes and time.monotonic() < until:
        time.sleep(0.05)
    shipper.stop()
    thread.join(60)
    assert (shipper.told()["shipped"] > 0, shipper.told()["problem"]) == (True, "")
    assert len(shipped_files(open_store(), "exposures")) == shipper.told()["shipped"]
