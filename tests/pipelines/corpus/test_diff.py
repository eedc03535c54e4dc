"""diff on small corpora whose every difference is known, on the icons, and on what a user may get wrong."""

import json
import os
import subprocess

import pytest

from pipelines.corpus.documents import Document, Interaction, Query, User
from pipelines.errors import CorruptArtifact, InputError
from pipelines.store.artifacts import load, produce
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe
from tests import warm
from tests.conftest import PROJECT, call
from tests.corpora import write_corpus

BEFORE = {
    "documents": [
        Document(id="d1", text="a red lamp", title="Lamp"),
        Document(id="d2", text="a chair of oak"),
        Document(id="d3", text="a table", title="Table", segment="tables"),
        Document(id="d4", text="a sofa"),
        Document(id="d5", text="a stool"),
    ],
    "queries": [Query(id="q1", text="lamp", split="train"), Query(id="q2", text="oak", split="test")],
    "qrels": ["q1 0 d1 1", "q1 0 d2 0", "q2 0 d2 3"],
    "interactions": [Interaction(user="u1", document="d1", time=5), Interaction(user="u1", document="d2", time=6, value=4.0)],
    "users": [User(id="u1", fields={"age": "30"})],
}
AFTER = {
    "documents": [
        Document(id="d1", text="a blue lamp", title="Lamp"),
        Document(id="d2", text="a chair of oak"),
        Document(id="d3", text="a table", title="Big table", segment="tables"),
        Document(id="d5", text="a stool"),
        Document(id="d6", text="a bench"),
        Document(id="d7", text="a bed"),
    ],
    "queries": [Query(id="q1", text="lamps", split="train"), Query(id="q3", text="bed", split="test")],
    "qrels": ["q1 0 d1 2", "q1 0 d2 0", "q3 0 d7 1"],
    "interactions": [Interaction(user="u1", document="d1", time=5), Interaction(user="u1", document="d2", time=6, value=5.0)],
    "users": [User(id="u1", fields={"age": "31"}), User(id="u2", fields={})],
}
COUNTS = {
    "documents": {"added": 2, "changed": 1, "relabelled": 1, "deleted": 1, "equal": 2},
    "queries": {"added": 1, "changed": 1, "deleted": 1, "equal": 0},
    "judgments": {"added": 1, "changed": 1, "deleted": 1, "equal": 1},
    "interactions": {"added": 0, "changed": 1, "deleted": 0, "equal": 1},
    "users": {"added": 1, "changed": 1, "deleted": 0, "equal": 0},
}


def counted(result):
    return {noun: {change: getattr(result, f"{noun}_{change}") for change in row} for noun, row in COUNTS.items()}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_difference_whatever_the_order(home, seed):
    found = call("diff", a=write_corpus(**BEFORE), b=write_corpus(**AFTER, seed=seed))
    assert counted(found) == COUNTS
    assert found.added == ["document d6", "document d7", "query q3", "judgment q3 d7", "user u2"]
    assert found.changed == ["document d1", "query q1", "judgment q1 d1", "interaction u1 d2 6", "user u1"]
    assert (found.relabelled, found.deleted) == (["document d3"], ["document d4", "query q2", "judgment q2 d2"])
    report = load(open_store(), "report", found.report)
    rows = [json.loads(line) for line in report.text("diff.jsonl").splitlines()]
    assert len(rows) == 14
    assert rows[0] == {
        "kind": "document", "change": "changed", "id": "d1", "before": {"text": "a red lamp"}, "after": {"text": "a blue lamp"},
    }  # fmt: skip
    assert rows[2] == {
        "kind": "document", "change": "deleted", "id": "d4", "before": {"text": "a sofa"}, "after": {}
    }  # fmt: skip
    assert {"kind": "judgment", "change": "changed", "id": "q1 d1", "before": {"grade": 1}, "after": {"grade": 2}} in rows


def test_the_other_way_round(home):
    a, b = write_corpus(**BEFORE), write_corpus(**AFTER)
    there, back = call("diff", a=a, b=b), call("diff", a=b, b=a)
    assert (there.documents_added, there.documents_deleted) == (back.documents_deleted, back.documents_added)
    assert there.changed == back.changed
    assert there.report != back.report


def test_repeated_rows_are_counted(home):
    twice = [Interaction(user="u1", document="d1", time=5)] * 3
    a = write_corpus(documents=BEFORE["documents"], interactions=twice)
    found = call("diff", a=a, b=write_corpus(documents=BEFORE["documents"], interactions=twice[:1]))
    assert (found.interactions_equal, found.interactions_deleted, found.interactions_added) == (1, 2, 0)


def test_a_default_that_is_written_out_is_no_difference(home):
    queries = "\n".join(row.model_dump_json() for row in BEFORE["queries"]) + "\n"
    short = "\n".join(row.model_dump_json(exclude_defaults=True) for row in BEFORE["queries"]) + "\n"
    ids = []
    for text in (queries, short):

        def build(folder, text=text):
            (folder / "documents.jsonl").write_text("")
            (folder / "qrels.txt").write_text("")
            (folder / "queries.jsonl").write_text(text)
            return {}

        ids.append(
            produce(open_store(), Recipe(kind="corpus", step="ingest", version=1, inputs={}, params={"n": len(text)}), build).id
        )
    found = call("diff", a=ids[0], b=ids[1])
    assert ids[0] != ids[1]
    assert (found.queries_equal, found.changed) == (2, [])


def test_only_the_first_are_shown_and_all_are_kept(home, capsys):
    many = [Document(id=f"d{number:03}", text=f"text {number}") for number in range(130)]
    a, b = write_corpus(documents=many[:1]), write_corpus(documents=many)
    found = call("diff", a=a, b=b)
    assert found.added == [f"document d{number:03}" for number in range(1, 21)]
    assert call("diff", a=a, b=b, shown=3).added == found.added[:3]
    report = load(open_store(), "report", found.report)
    assert len(report.text("diff.jsonl").splitlines()) == 129
    assert "the first 50 of 129" in report.text("report.html")
    assert "d050" in report.text("report.html")
    assert "d051" not in report.text("report.html")


def test_texts_are_shown_around_their_difference_and_steer_nothing(home, capsys):
    start = "word " * 200
    hostile = "<script>alert(1)</script> \x1b]0;title\x07 \x1b[2J"
    before = [Document(id="d1", text=start + "red shade" + " word" * 200), Document(id="d2", text="plain")]
    after = [Document(id="d1", text=start + "blue shade" + " word" * 200), Document(id="d2", text=hostile)]
    found = call("diff", a=write_corpus(documents=before), b=write_corpus(documents=after))
    shown = capsys.readouterr().err
    assert "red shade" in shown
    assert "blue shade" in shown
    assert "\x1b]0" not in shown
    assert "\x1b[2J" not in shown
    page = load(open_store(), "report", found.report).text("report.html")
    assert "&lt;script&gt;alert" in page
    assert "<script" not in page
    assert "blue shade" in page


def test_one_corpus_with_itself(home):
    a = write_corpus(**BEFORE)
    found = call("diff", a=a, b=a[:8])
    assert (found.documents_equal, found.added, found.changed, found.deleted) == (5, [], [], [])
    assert "equal" in load(open_store(), "report", found.report).text("report.html")
    assert call("diff", a=a, b=a).found


def test_icons(home, icons_folder):
    """Real rows: some icons gone, one with another label, and with them their terms and judgments."""

    def edit(icons):
        icons["bell"]["label"] = "Big bell"

    a = call("ingest", folder=str(icons_folder("a", lambda name: name < "c"))).corpus
    b = call("ingest", folder=str(icons_folder("b", lambda name: "aa" < name < "c", edit))).corpus
    found = call("diff", a=a, b=b)
    store = open_store()
    documents = [
        {json.loads(line)["id"] for line in load(store, "corpus", one).text("documents.jsonl").splitlines()} for one in (a, b)
    ]
    assert found.documents_deleted == len(documents[0] - documents[1]) > 0
    assert found.changed[0] == "document bell"
    assert found.documents_added == 0
    assert found.judgments_deleted > 0


def ratchet(*arguments):
    command = warm.command("-m", "pipelines", *arguments)
    return subprocess.run(
        command, cwd=PROJECT, capture_output=True, text=True, env={**os.environ, "COLUMNS": "100"}, check=False
    )


def test_at_the_command_line(home):
    a, b = write_corpus(**BEFORE), write_corpus(**AFTER)
    answer = ratchet("diff", a[:10], b[:10])
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["documents_added"] == 2
    for line in ("documents changed", "  d1 text\n  − a red lamp\n  + a blue lamp\n", "  + d6: a bench", "  − d4: a sofa"):
        assert line in answer.stderr, answer.stderr
    assert ratchet("diff", "--a", a, "--b", b, "--shown", "0").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["feedfeed", "beefbeef"], "corpus 'feedfeed', which is not in"),
        (["feedfeed"], "--b: nothing"),
        ([], "--a: nothing"),
        (["one", "two", "three"], "'three' besides a, b"),
        (["one", "--a", "two"], "'one' and also --a 'two'"),
        (["--b", "one", "two", "three"], "'three' and also --b 'one'"),
        (["../../etc", "x"], "corpus '../../etc'"),
        (["one", "two", "--shown", "-1"], "--shown: '-1'"),
    ],
)
def test_bad_input(home, arguments, words):
    answer = ratchet("diff", *arguments)
    assert answer.returncode == 2
    assert words in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_damaged_corpus(home):
    a, b = write_corpus(**BEFORE), write_corpus(**{**AFTER, "qrels": ["q1 0 d1"]})
    with pytest.raises(CorruptArtifact, match=r"qrels.txt line 1; expected query, 0, document, grade"):
        call("diff", a=a, b=b)
    with pytest.raises(InputError, match=r"4 digits|is not in"):
        call("diff", a=a, b=a[:3])
