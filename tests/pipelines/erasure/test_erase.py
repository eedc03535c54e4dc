"""A person or a document that is planted everywhere is found nowhere afterwards, whoever is killed in between."""

import fcntl
import json
import os
import shutil
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime

import numpy as np
import pytest

from images.serve.exposure_log import append_line
from pipelines.access.pseudonyms import pseudonym
from pipelines.collections import POOL, write_safe_csv
from pipelines.corpus.documents import Document, User, documents, interactions, queries
from pipelines.corpus.event_log import log_files, ship
from pipelines.embeddings import layout
from pipelines.erasure import logs, places, procedure, rules
from pipelines.erasure.corpora import successor
from pipelines.erasure.places import PLACES
from pipelines.errors import InputError, NothingToDo, TryAgain
from pipelines.store import gc, recipes
from pipelines.store.artifacts import committed, find, load_exactly, produce
from pipelines.store.erasures import CERTIFICATE, Erasures
from pipelines.store.gc import artifacts, garbage
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import Store, open_store
from pipelines.store.recipes import Recipe
from tests.conftest import call
from tests.corpora import write_corpus
from tests.encoders import static_encoder
from tests.planted import (
    DOCUMENT,
    KEY,
    PERSON,
    TITLE,
    everywhere,
    plant_in_features,
    plant_in_logs,
    plant_in_store,
    planted_corpus,
    planted_everywhere,
    released,
)

WORDS = {"document": (DOCUMENT, TITLE), "user": (PERSON, pseudonym(KEY.encode(), PERSON))}
SUBJECTS = {"document": DOCUMENT, "user": PERSON}


@pytest.fixture(autouse=True)
def _server_key(monkeypatch):
    monkeypatch.setenv("RATCHET_SERVER_KEY", KEY)


def certificate(name):
    return load_exactly(open_store(), "report", name).json(CERTIFICATE)


def test_every_kind_of_artifact_has_a_rule(monkeypatch):
    assert set(rules.RULES) == set(recipes.KINDS)
    assert {f"artifacts: {kind}" for kind in recipes.KINDS} <= {place.name for place in PLACES}
    with pytest.raises(InputError, match="no erasure rule"):
        rules.rule_of("planet")


@pytest.mark.parametrize("kind", SUBJECTS)
def test_who_is_planted_everywhere_is_found_nowhere_afterwards(kind, planted, home):
    planted_everywhere(home)
    before = everywhere(home, WORDS[kind])
    assert len(before) >= 15
    first = call("erase", kind=kind, subject=SUBJECTS[kind], why="ticket 4711")
    assert (first.finished, first.waits_for, first.certificate) == (False, [planted.release], "")
    assert first.places >= 14
    corpus = load_exactly(open_store(), "corpus", first.successor)
    assert everywhere(home / "events", WORDS[kind]) == []
    assert call("verify", release="champion", answers=2).release == planted.release, "it serves on, whole"
    release = released(first.successor)
    last = call("erase", kind=kind, subject=SUBJECTS[kind], why="ticket 4711")
    assert (last.finished, last.entry, last.waits_for) == (True, first.entry, [])
    assert everywhere(home, WORDS[kind]) == []
    told = certificate(last.certificate)
    assert (told["state"], told["entry"], told["why"], sum(told["left"].values())) == ("erased", first.entry, "ticket 4711", 0)
    assert planted.release in told["retired"]
    assert {place for place, names in told["found"].items() if names} >= {
        "exposure log",
        "artifacts: corpus",
        "trash",
        "results of tasks",
        "pages of the demo",
    }
    assert find(open_store(), "release", planted.release) is None
    assert call("verify", release=release, answers=2).release == release
    assert Journal(open_store()).previous_champion() is None, "nobody rolls back to what held it"
    with pytest.raises(NothingToDo, match=f"release {release}, in place of release {planted.release}, .*, serves now"):
        call("restore", at=planted.journal.entries[1].at)
    assert last.certificate not in {one.id for one in garbage(open_store(), 10**12, -(10**12)).artifacts}
    ids = {document.id for document in documents(corpus)}
    assert (DOCUMENT in ids, len(ids)) == (kind == "user", 40 if kind == "document" else 41)


def test_a_vector_goes_with_its_document(planted, home):
    """Later embeddings go on using files of vectors; the one that was erased must not stay in such a file."""
    embedded = load_exactly(
        open_store(), "embeddings", load_exactly(open_store(), "release", planted.release).inputs["embeddings"]
    )
    row = [one.id for one in layout.rows(embedded)].index(DOCUMENT)
    vector = layout.vectors_at(embedded, [row])[0].astype(np.float32).tobytes()
    files = [path for path in (home / "store/blobs").iterdir() if vector in path.read_bytes()]
    assert len(files) >= 2, "embeddings and index"
    first = call("erase", kind="document", subject=DOCUMENT, why="ticket")
    released(first.successor)
    assert call("erase", kind="document", subject=DOCUMENT, why="ticket").finished
    assert [path for path in (home / "store/blobs").iterdir() if vector in path.read_bytes()] == []


@pytest.mark.parametrize("kind", SUBJECTS)
def test_what_is_known_of_it_in_the_feature_store_goes(kind, home):
    plant_in_features(planted_corpus())
    assert everywhere(home / "feast", (SUBJECTS[kind],)) == ["online.db"]
    done = call("erase", kind=kind, subject=SUBJECTS[kind], why="ticket")
    told = certificate(done.certificate)
    assert (told["found"]["feature store"], len(told["found"]["artifacts: features"])) == (["1 entities"], 2)
    assert everywhere(home, WORDS[kind]) == []
    assert everywhere(home / "feast", tuple(SUBJECTS[other] for other in SUBJECTS if other != kind)) == ["online.db"]


def test_a_user_leaves_only_their_own_rows(planted):
    before = load_exactly(open_store(), "corpus", planted.corpus)
    after = load_exactly(open_store(), "corpus", call("erase", kind="user", subject=PERSON, why="ticket").successor)
    assert [row for row in interactions(before) if row.user != PERSON] == list(interactions(after))
    assert [query for query in queries(before) if query.id != PERSON] == queries(after)
    assert len(queries(before)) == len(queries(after)) + 1
    assert after.facts["queries"] == len(queries(after))


def test_a_document_leaves_histories_their_titles_and_synthetic_queries(planted):
    after = load_exactly(open_store(), "corpus", call("erase", kind="document", subject=DOCUMENT, why="ticket").successor)
    asked = {query.id: query for query in queries(after)}
    assert "known" not in asked
    titles = {document.id: document.title for document in documents(after)}
    person = asked[PERSON]
    assert person.text == titles[person.history[0]]
    assert after.manifest.recipe.inputs == {name: entry.sha256 for name, entry in after.manifest.files.items()}


def test_positions_and_scores_of_others_stay_in_the_log(planted, home):
    plant_in_logs(home / "events")
    call("erase", kind="document", subject=DOCUMENT, why="ticket")
    lines = (home / "events/exposures.jsonl").read_text().splitlines()
    assert lines[-1] == "cut off"
    rows = [json.loads(line) for line in lines[:-1]]
    assert [[shown["document"] for shown in row["results"]] for row in rows] == [["item-001", "erased"]] * 3
    assert [shown["position"] for shown in rows[0]["results"]] == [1, 2]
    call("erase", kind="user", subject=PERSON, why="ticket")
    users = [json.loads(line)["user"] for line in (home / "events/exposures.jsonl").read_text().splitlines()[:-1]]
    clicks = [json.loads(line)["request_id"] for line in (home / "events/clicks.jsonl").read_text().splitlines()[:-1]]
    assert (users, set(clicks)) == (["somebody"], {"r1"})
    bought = [json.loads(line) for line in (home / "events/conversions.jsonl").read_text().splitlines()[:-1]]
    assert [(row["request_id"], row["document"], row["value"]) for row in bought] == [("r1", "erased", 49.9)]
    assert ((home / "events/exposures.jsonl").stat().st_mode & 0o777) == 0o600


def test_a_line_that_waits_while_the_log_is_replaced_is_not_lost(tmp_path):
    path = tmp_path / "exposures.jsonl"
    path.write_text("old\n")
    with path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        writer = threading.Thread(target=append_line, args=(path, b"late"))
        writer.start()
        time.sleep(0.2)  # by then it waits for the lock
        (tmp_path / "new").write_text("kept\n")
        (tmp_path / "new").replace(path)
    writer.join(10)
    assert path.read_text() == "kept\nlate\n"


def test_a_log_that_is_locked_is_not_waited_for_without_end(tmp_path, monkeypatch):
    path = tmp_path / "exposures.jsonl"
    path.write_text('{"user": "ann"}\n')
    monkeypatch.setattr(logs, "LOCKED_WITHIN_S", 0.1)
    with path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(TryAgain, match=r"locked for 0\.1 s"):
            logs.rewrite(path, lambda _row: None)
    assert path.read_text() == '{"user": "ann"}\n'
    assert list(tmp_path.iterdir()) == [path]


def test_of_two_erasures_at_once_the_second_changes_what_the_first_left(tmp_path):
    path = tmp_path / "exposures.jsonl"
    path.write_text('{"user": "ann"}\n{"user": "bob"}\n{"user": "eve"}\n')

    def without(name):
        return lambda row: None if row["user"] == name else row

    with path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        second = threading.Thread(target=logs.rewrite, args=(path, without("bob")))
        second.start()
        time.sleep(0.2)  # by then it waits for the lock
        (tmp_path / "kept").write_text('{"user": "bob"}\n{"user": "eve"}\n')
        (tmp_path / "kept").replace(path)
    second.join(10)
    assert path.read_text() == '{"user": "eve"}\n'


@pytest.mark.parametrize("kind", SUBJECTS)
def test_a_subject_that_is_nowhere(kind, planted):
    store = open_store()
    for path in ("trash/7/blobs/" + "a" * 64, "checkpoints/abcd/" + "b" * 64):
        store.write(path, b"of somebody else")
    with pytest.raises(NothingToDo, match="nowhere: searched were click log, conversion log, exposure log") as raised:
        call("erase", kind=kind, subject="nobody-at-all", why="ticket")
    assert raised.value.exit_code == 4
    assert len(planted.journal.entries) == 2
    store.write("trash/8/blobs/" + "c" * 64, b"nobody-at-all")
    assert "trash (2)" in call("erase", kind=kind, subject="nobody-at-all", dry_run=True).sentence
    with pytest.raises(NothingToDo, match="no corpus has anybody"):
        call("erase")


def test_a_dry_run_says_where_and_changes_nothing(planted, home):
    plant_in_logs(home / "events")
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    said = call("erase", kind="user", subject=PERSON, dry_run=True)
    assert "exposure log (1)" in said.sentence
    assert "artifacts: corpus (1)" in said.note
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before
    with pytest.raises(NothingToDo, match="nobody is named"):
        call("erase", dry_run=True)


def test_nothing_that_the_step_says_names_the_subject(planted, home, capsys):
    plant_in_logs(home / "events")
    results = [call("erase", kind="user", subject=PERSON, why="ticket", **how) for how in ({"dry_run": True}, {})]
    said = capsys.readouterr()
    assert "erasure asked for" in said.err + said.out
    assert PERSON not in f"{results} {said.out} {said.err}"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "user"}, "both, or none"),
        ({"subject": "x"}, "both, or none"),
        ({"kind": "user", "subject": PERSON}, "--why"),
        ({"kind": "user", "subject": PERSON, "why": " "}, "--why"),
        ({"kind": "planet", "subject": PERSON, "why": "x"}, "'user' or 'document'"),
    ],
)
def test_what_is_asked_for_wrongly(planted, values, message):
    with pytest.raises(InputError, match=message):
        call("erase", **values)
    assert len(planted.journal.entries) == 2


def test_a_folder_among_the_pages_of_the_demo(home):
    (home / "reports/mine").mkdir(parents=True)
    (home / "reports/report-1.html").write_text(f"<td>{PERSON}</td>")
    assert call("erase", kind="user", subject=PERSON, why="ticket").finished
    assert [path.name for path in (home / "reports").iterdir()] == ["mine"]


@pytest.mark.parametrize("how", [{}, {"dry_run": True}])
def test_a_folder_of_logs_that_is_not_there(how, planted, home):
    """Otherwise the certificate would speak of logs that nobody read."""
    plant_in_logs(home / "events")
    before = (home / "events/exposures.jsonl").read_bytes()
    for wrong in ("evnts", "events/exposures.jsonl"):
        folders = [str(home / "events"), str(home / wrong)]
        with pytest.raises(InputError, match=f"--events {home / wrong}, where no folder is") as raised:
            call("erase", kind="user", subject=PERSON, why="ticket", events=folders, **how)
        assert raised.value.exit_code == 2
    assert (home / "events/exposures.jsonl").read_bytes() == before
    assert len(planted.journal.entries) == 2
    call("erase", kind="user", subject=PERSON, why="ticket", events=folders[:1], **how)


def test_a_user_in_a_running_experiment(planted, home):
    plant_in_logs(home / "events", datetime.now(UTC).isoformat(), "blue-button")
    before = (home / "events/exposures.jsonl").read_bytes()
    with pytest.raises(InputError, match="running experiment blue-button"):
        call("erase", kind="user", subject=PERSON, why="ticket")
    assert (home / "events/exposures.jsonl").read_bytes() == before
    assert len(planted.journal.entries) == 2, "nothing half-erased"
    call("erase", kind="user", subject=PERSON, why="ticket", from_experiments=True)
    assert everywhere(home / "events", WORDS["user"]) == []


def test_an_experiment_that_ended_holds_nobody_up(planted, home):
    plant_in_logs(home / "events", experiment="last-spring")
    call("erase", kind="user", subject=PERSON, why="ticket")
    assert everywhere(home / "events", WORDS["user"]) == []


def test_a_corpus_of_one_document(home):
    write_corpus([Document(id=DOCUMENT, text=TITLE)])
    with pytest.raises(InputError, match="no document would be left"):
        call("erase", kind="document", subject=DOCUMENT, why="ticket")
    assert Journal(open_store()).entries == []


def test_without_a_champion_it_is_done_at_once_and_a_restored_backup_is_replayed(home, tmp_path):
    corpus = planted_corpus()
    shutil.copytree(home / "store", tmp_path / "backup")
    done = call("erase", kind="user", subject=PERSON, why="ticket")
    assert done.finished
    assert everywhere(home, WORDS["user"]) == []
    following = done.successor or next(iter(path.name for path in (home / "store/corpus").iterdir() if any(path.iterdir())))
    assert find(open_store(), "corpus", following)
    restored(tmp_path / "backup", home)
    assert find(open_store(), "corpus", corpus)
    again = call("erase")
    assert (again.finished, again.entry > done.entry) == (True, True)
    assert everywhere(home, WORDS["user"]) == []
    with pytest.raises(NothingToDo):
        call("erase")


def test_a_restored_backup_is_replayed_for_all_who_are_in_it(home, tmp_path):
    planted_corpus()
    shutil.copytree(home / "store", tmp_path / "backup")
    people = (PERSON, "user-01")
    for person in people:
        assert call("erase", kind="user", subject=person, why="ticket").finished
    restored(tmp_path / "backup", home)
    assert call("erase").finished
    assert everywhere(home, people) == []
    with pytest.raises(NothingToDo):
        call("erase")


def test_a_replay_of_several_says_first_what_waits(planted, home, tmp_path):
    write_corpus([Document(id="b", text="a table")], users=[User(id="zqv-guest", fields={})])
    shutil.copytree(home / "store", tmp_path / "backup")
    assert not call("erase", kind="document", subject=DOCUMENT, why="ticket").finished
    assert call("erase", kind="user", subject="zqv-guest", why="ticket").finished
    restored(tmp_path / "backup", home)
    again = call("erase")
    assert (again.finished, again.waits_for) == (False, [planted.release])
    assert everywhere(home, ("zqv-guest",)) == []


def restored(backup, home):
    """Copy artifacts back that were erased, as somebody does who restores a store."""
    for part in ("corpus", "blobs"):
        shutil.copytree(backup / part, home / "store" / part, dirs_exist_ok=True)


def test_what_no_corpus_tells_any_more_is_asked_for_by_name(home, monkeypatch):
    """The last search fails after the corpora are gone, by which an empty form knows whom it goes on with."""
    planted_corpus()
    searched = []

    def fails_at_last(search):
        searched.append(search)
        if len(searched) == 3:
            raise TryAgain("MLflow, which does not answer", "an answer", "run it again")
        return places.search_all(search)

    with monkeypatch.context() as patch:
        patch.setattr(procedure, "search_all", fails_at_last)
        with pytest.raises(TryAgain, match="MLflow"):
            call("erase", kind="user", subject=PERSON, why="ticket")
    with pytest.raises(InputError, match=r"unfinished erasure of entry 1, .*again with --kind, --subject and --why"):
        call("erase")
    done = call("erase", kind="user", subject=PERSON, why="ticket")
    assert (done.finished, done.entry) == (True, 1)


def test_what_is_erased_is_not_ingested_again(home):
    source = home / "shop.csv"
    home.mkdir(parents=True)
    rows = ["id,text", *(f"s{n},oak chair number {n}" for n in range(50)), f"{DOCUMENT},{TITLE}"]
    source.write_text("\n".join(rows) + "\n")
    first = call("ingest", source=str(source))
    assert first.documents == 51
    assert call("erase", kind="document", subject=DOCUMENT, why="ticket").finished
    again = call("ingest", source=str(source))
    assert again.documents == 50
    source.unlink()
    assert everywhere(home, (DOCUMENT,)) == []


def test_an_id_that_is_also_a_word_of_others(home):
    """By the word alone nobody can be told, so files are searched for it as an id."""
    write_corpus([Document(id="oak", text="a zqv table"), Document(id="b", text="an oak chair")])
    store = open_store()
    store.write("results/one.json", b'{"text": "an oak chair"}')
    store.write("results/two.json", b'{"document": "oak"}')
    done = call("erase", kind="document", subject="oak", why="ticket")
    assert store.names("results/") == ["one.json"]
    assert certificate(done.certificate)["ordinary"] == 1


@pytest.mark.parametrize("place", range(3))
def test_a_word_of_others_in_any_corpus_tells_nobody(place, home):
    for n in range(3):
        write_corpus([Document(id="oak", text="a table"), Document(id=f"b{n}", text="an oak chair" if n == place else "a rug")])
    store = open_store()
    store.write("results/one.json", b'{"text": "an oak chair"}')
    assert call("erase", kind="document", subject="oak", why="ticket").finished
    assert store.names("results/") == ["one.json"]


def test_an_id_that_is_a_number_is_no_measure(home):
    write_corpus([Document(id="b", text="a table")], users=[User(id="5031", fields={})])
    store = open_store()
    store.write("results/one.json", b'{"low": 0.5031, "bytes": 5031, "rows": [1, 5031, 2]}')
    store.write("results/two.json", b'{"user": "5031"}')
    store.write("results/three.csv", b'queries,shop.csv,2,empty text,"{""customer_id"": ""5031"", ""text"": """"}"\n')
    done = call("erase", kind="user", subject="5031", why="ticket")
    assert store.names("results/") == ["one.json"]
    assert certificate(done.certificate)["ordinary"] == 1


@pytest.mark.parametrize("name", ["5031", "nobody"])
def test_an_id_is_found_in_rows_that_could_not_be_read(name, home):
    """Rows as sources have them: in columns that have no name there, and as numbers."""
    head, rows = "id,text,userId", [f"s{n},oak chair number {n},u{n}" for n in range(20)]
    number = {"id": "b1", "text": "", "user_id": int(name) if name.isdigit() else name}
    objects = [json.dumps({"id": f"s{n}", "text": f"oak chair number {n}", "user_id": n}) for n in range(20)]
    sources = {
        "cells.csv": [head, *rows, f"{name},17"],
        "values.csv": [head, *rows, f"b1,,{name}"],
        "objects.jsonl": [*objects, json.dumps(number)],
        "others.csv": [head, *rows, f"1{name},17", f"b1,,{name}-a", "s1,0.5031"],
    }
    home.mkdir(parents=True)
    for file, lines in sources.items():
        (home / file).write_text("\n".join(lines) + "\n")
        call("ingest", source=str(home / file), max_bad_fraction=0.5)
    acts = [f"GET /v1/similar/{name}", f"GET /v1/pictures/ab12/{name}", "GET /v1/similar/50312", f"GET /v1/{name}"]
    (home / "events").mkdir()
    (home / "events/audit.jsonl").write_text("".join(json.dumps({"caller": "k", "act": act}) + "\n" for act in acts))
    assert sorted(refused()) == sorted(sources)
    done = call("erase", kind="user", subject=name, why="ticket")
    assert (done.finished, certificate(done.certificate)["ordinary"]) == (True, 1)
    assert refused() == ["others.csv"]
    left = [json.loads(line)["act"] for line in (home / "events/audit.jsonl").read_text().splitlines()]
    assert left == ["erased", "erased", *acts[2:]]


def refused():
    """The sources of which the store has a report with refused rows."""
    store = open_store()
    reports = [load_exactly(store, "report", name) for name in committed(store, "report")]
    return [report.facts["source"].rpartition("/")[2] for report in reports if "quarantine.csv" in report.manifest.files]


@pytest.mark.parametrize(
    ("body", "held"),
    [
        ('{"userId": "5031"}', True),
        ('{"ReviewerID": "5031"}', True),
        ('{"MOVIEID": 5031}', True),
        ('{"query-id": 5031, "n": 1}', True),
        ('{"qid": "5031"}', True),
        ('{"user_id": 5031.0}', True),
        ('{"customer": "5031"}', True),
        ('{"paid": 5031, "valid": "5031", "customer": 5031}', False),
        ('{"user_id": 5031.5, "id": 50310, "text": "5031"}', False),
    ],
)
def test_ids_under_the_keys_that_sources_give_them(body, held, home):
    """Of a number that is no id, nothing goes."""
    store = open_store()
    store.write("results/sure.json", b'{"user": "5031"}')
    store.write("results/one.json", body.encode())
    assert call("erase", kind="user", subject="5031", why="ticket").finished
    assert store.names("results/") == ([] if held else ["one.json"])


@pytest.mark.parametrize("name", ["5031", "007"])
def test_a_pool_with_a_document_whose_id_is_a_number(name, home):
    def build(folder):
        write_safe_csv(folder / "pool.csv", POOL, [("q1", "oak chair", one, "", "a chair", "") for one in ("b", name)])
        return {}

    made = produce(open_store(), Recipe(kind="verdict", step="late", version=1, inputs={}, params={}), build)
    assert call("erase", kind="document", subject=name, why="ticket").finished
    assert find(open_store(), "verdict", made.id) is None


def test_an_id_that_is_a_word_of_reports_tells_nobody(planted):
    open_store().write("results/one.json", b'{"sentence": "nobody has judged it"}')
    with pytest.raises(NothingToDo):
        call("erase", kind="user", subject="nobody", why="ticket")
    open_store().write("results/two.json", b'{"user": "nobody"}')
    assert call("erase", kind="user", subject="nobody", why="ticket").finished
    assert open_store().names("results/") == ["one.json"]


def test_a_title_with_signs_that_files_write_in_several_ways(planted, home):
    write_corpus([Document(id="zqv-jeans", title="Levi's &amp; Co lamp", text="blue"), Document(id="b", text="a table")])
    questions = home / "questions.csv"
    questions.write_text("query\nLevi's & Co lamp\n")
    assert call("plan_scores", source=str(questions)).queries
    assert call("erase", kind="document", subject="zqv-jeans", why="ticket").finished
    assert committed(open_store(), "queries") == []


def test_a_shard_that_nothing_was_made_of_goes_with_its_document(home):
    encoder, corpus = static_encoder(), planted_corpus()
    for shard in ("0/2", "1/2"):
        call("embed", corpus=corpus, encoder=encoder, variant="onnx-fp32", shard=shard)
    assert call("erase", kind="document", subject=DOCUMENT, why="ticket").finished
    assert everywhere(home, (DOCUMENT,)) == []
    assert len(committed(open_store(), "shard")) == 1, "the other half does not have it"


def test_a_shard_does_not_go_with_a_user_who_is_called_as_a_document(home):
    corpus = write_corpus(
        [Document(id="same", text="a table"), Document(id="b", text="a rug")], users=[User(id="same", fields={})]
    )
    shard = call("embed", corpus=corpus, encoder=static_encoder(), variant="onnx-fp32").shard
    assert call("erase", kind="user", subject="same", why="ticket").finished
    assert committed(open_store(), "shard") == [shard]


def test_a_user_whom_only_batches_name(planted, home):
    questions = home / "questions.csv"
    questions.write_text("query\noak chair of zqv-guest\n")
    planned = call("plan_scores", source=str(questions))
    questions.unlink()
    parts = {"queries": planned.queries, "release": planned.release, "k": 5}
    call("commit_scores", **parts, shards=[call("score_shard", **parts, shard=shard).shard for shard in planned.shards])
    assert call("erase", kind="user", subject="zqv-guest", why="ticket").finished
    assert everywhere(home, ("zqv-guest",)) == []


def test_a_document_that_was_withdrawn_before_it_is_erased(planted):
    """The champion's corpus is without it, but its embeddings go on using a file of vectors that has it."""
    withdrawn = successor_of(planted.corpus, DOCUMENT)
    release = released(withdrawn)
    first = call("erase", kind="document", subject=DOCUMENT, why="ticket")
    assert (first.waits_for, first.successor) == ([release], "")
    assert "promote and deploy a release of a corpus that differs: this one's vectors stand in files" in first.sentence
    released(successor_of(withdrawn, "item-001"))
    assert call("erase", kind="document", subject=DOCUMENT, why="ticket").finished


def successor_of(corpus, document):
    """The corpus as a source gives it from which somebody withdrew a document."""
    return successor(load_exactly(open_store(), "corpus", corpus), lambda kind, name: (kind, name) == ("document", document)).id


def test_a_file_that_a_commit_names_meanwhile_stays(home):
    store = open_store()

    def report(params):
        recipe = Recipe(kind="report", step="x", version=1, inputs={}, params=params)
        return produce(store, recipe, lambda folder: (folder / "a").write_text("the same") and {})

    first = report({})
    known = artifacts(store)
    second = report({"n": 2})  # after the search, before anything is deleted
    places.retire(store, known, first.id)
    places.empty_trash(store)
    assert find(store, "report", first.id) is None
    assert second.text("a") == "the same"
    places.retire(store, artifacts(store), second.id)
    places.empty_trash(store)
    assert [*store.listed("blobs/"), *store.listed("trash/")] == []


def test_a_file_that_gc_moves_while_the_trash_is_emptied_stays(home, monkeypatch):
    """The other gc has moved it and has yet to look whether a commit names it meanwhile."""
    store, put_back = open_store(), gc.put_back
    kept = produce(store, Recipe(kind="report", step="x", version=1, inputs={}, params={}), written)
    blob = recipes.blob_path(kept.manifest.files["a"])
    store.write("trash/7/blobs/" + "a" * 64, b"garbage")
    looked = []

    def put_back_and_moved(store):
        looked.append(put_back(store))
        if len(looked) == 2:
            store.move(blob, f"trash/9/{blob}")
        return looked[-1]

    with monkeypatch.context() as patch:
        patch.setattr(gc, "put_back", put_back_and_moved)
        places.empty_trash(store)
    assert [one.path for one in store.listed("trash/")] == [f"trash/9/{blob}"]
    assert put_back(store) == [blob]
    assert kept.text("a") == "of another process"


def written(folder):
    (folder / "a").write_text("of another process")
    return {}


class Killed(BaseException):
    """Nothing catches it, as nothing catches SIGKILL."""


@contextmanager
def killed_at(monkeypatch, point):
    """End at an operation of the store, before it is done."""
    seen = []
    operation = Store.operation

    @contextmanager
    def counted(self, name, path):
        if name in ("create", "move", "delete", "keep", "write"):
            seen.append(path)
            if len(seen) == point:
                raise Killed(path)
        with operation(self, name, path):
            yield

    with monkeypatch.context() as patch:
        patch.setattr(Store, "operation", counted)
        yield seen


def erased(home):
    """Erase the document; what must not depend on a kill before."""
    done = call("erase", kind="document", subject=DOCUMENT, why="ticket")
    told = certificate(done.certificate)
    told = {key: told[key] for key in ("found", "left", "retired", "state")}
    assert told["found"].pop("trash"), "what a kill leaves there is found, too"
    journal = Journal(open_store())
    entries = [bool(entry.verdict) for entry in journal.entries if entry.to == Erasures(journal).name("document", DOCUMENT)]
    corpora, files = committed(open_store(), "corpus"), everywhere(home, WORDS["document"])
    return {**told, "corpora": corpora, "entries": entries, "files": files}


def test_killed_at_any_write_it_goes_on_and_the_certificate_tells_all(home, tmp_path, monkeypatch):
    """At every third, and at the last; at every one in proof-erasure."""
    planted_corpus()
    planted_corpus(seed=3)
    plant_in_store(open_store())
    shutil.copytree(home, tmp_path / "before")
    with killed_at(monkeypatch, 0) as writes:
        whole = erased(home)
    assert (whole["files"], whole["entries"]) == ([], [False, True])
    assert len(writes) >= 20
    for point in sorted({*range(1, len(writes), 3), len(writes)}):
        shutil.rmtree(home)
        shutil.copytree(tmp_path / "before", home)
        with killed_at(monkeypatch, point), pytest.raises(Killed):
            erased(home)
        assert erased(home) == whole, f"killed before operation {point}, {writes[point - 1]}"


def test_an_artifact_that_is_made_of_what_is_gone_is_found(home):
    """A recommender that another process commits after the erasure, of the corpus before it."""
    corpus = planted_corpus()
    call("erase", kind="user", subject=PERSON, why="ticket")
    late = made("recommender", corpus=corpus)
    done = call("erase", kind="user", subject=PERSON, why="ticket 2")
    assert certificate(done.certificate)["retired"] == [late]


def test_what_is_made_meanwhile_of_what_is_deleted_ends_by_running_it_again(home, monkeypatch):
    """An index that another process commits during the first run, of embeddings that this run deletes."""
    corpus, erase_all = planted_corpus(), procedure.erase_all
    embedded = made("embeddings", corpus=corpus)

    def erases(search, last):
        erase_all(search, last)
        made("index", embeddings=embedded)

    with monkeypatch.context() as patch:
        patch.setattr(procedure, "erase_all", erases)
        with pytest.raises(TryAgain, match="artifacts: index"):
            call("erase", kind="user", subject=PERSON, why="ticket")
    assert call("erase", kind="user", subject=PERSON, why="ticket").finished
    assert committed(open_store(), "index") == []


def made(kind, **inputs):
    recipe = Recipe(kind=kind, step="late", version=1, inputs=inputs, params={})
    return produce(open_store(), recipe, lambda folder: (folder / "a").write_text(kind) and {}).id


def test_a_challenger_that_holds_it_is_waited_for(home):
    store, corpus = open_store(), planted_corpus()
    inputs = {"corpus": corpus, "encoder": "e" * 20}
    release = produce(store, Recipe(kind="release", step="assemble", version=1, inputs=inputs, params={}), lambda folder: {})
    Journal(store).append("promote", release.id, "proof", Routing(challenger=release.id))
    waiting = call("erase", kind="user", subject=PERSON, why="ticket")
    assert waiting.waits_for == [release.id]


@pytest.mark.parametrize("kind", SUBJECTS)
def test_what_was_shipped_is_erased_in_the_store_and_is_not_shipped_again(kind, home, tmp_path):
    planted_corpus()
    plant_in_logs(home / "events")
    ship(open_store(), home / "events")
    assert len(everywhere(home / "store/events", WORDS[kind])) >= 1
    assert len(everywhere(home / "events", WORDS[kind])) >= 2, "not yet deleted here"
    done = call("erase", kind=kind, subject=SUBJECTS[kind], why="ticket")
    found = certificate(done.certificate)["found"]["exposure log"]
    assert found == [f"{ {'user': 2, 'document': 3}[kind] } lines"], "found here and there alike"
    for _ in range(2):
        assert everywhere(home, WORDS[kind]) == []
        counts = {name: rows_of(home, name, tmp_path / name) for name in ("exposures", "clicks", "conversions")}
        assert counts == (
            {"exposures": 1, "clicks": 2, "conversions": 1} if kind == "user" else dict.fromkeys(counts, 3) | {"clicks": 6}
        )
        ship(open_store(), home / "events")


def rows_of(home, name, scratch):
    import duckdb

    files = log_files(open_store(), home / "events", name, scratch)
    return duckdb.sql(f"SELECT count(request_id) FROM {files.relation('request_id')}").fetchall()[0][0]


def test_a_file_that_an_erasure_rewrote_keeps_the_time_of_its_last_line(tmp_path):
    path = tmp_path / "exposures.jsonl"
    path.write_text('{"user": "ann"}\n{"user": "bob"}\n')
    os.utime(path, (1_700_000_000, 1_700_000_000))
    logs.rewrite(path, lambda row: None if row["user"] == "ann" else row)
    assert (path.read_text(), path.stat().st_mtime) == ('{"user": "bob"}\n', 1_700_000_000)
