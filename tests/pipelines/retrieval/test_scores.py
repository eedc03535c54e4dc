"""Batch scoring: reading query files, each query exactly once, resuming, and equality with the server's answers."""

import json
import subprocess
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from pipelines.collections.reading.sources import open_source
from pipelines.corpus.documents import queries
from pipelines.errors import CorruptArtifact, InputError
from pipelines.score import score
from pipelines.store.artifacts import load_exactly, produce
from pipelines.store.bucket import upload
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe
from tests import warm
from tests.conftest import PROJECT, call
from tests.images.serve.conftest import route
from tests.images.serve.server import running_server

TOLERANCE = 1e-5
"""A vector's coordinates vary by less with its batch-mates (test_ranking), and a score by no more than their sum of squares."""


def written(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def planned_queries(artifact):
    return pyarrow.parquet.read_table(load_exactly(open_store(), "queries", artifact).path("queries.parquet")).to_pylist()


def scored(scores):
    found = load_exactly(open_store(), "scores", scores)
    return [row for name in sorted(found.manifest.files) for row in pyarrow.parquet.read_table(found.path(name)).to_pylist()]


def by_query(rows):
    found = {}
    for row in rows:
        found.setdefault(row["query_id"], []).append(row)
    return found


@pytest.fixture
def champion(trained):
    route(trained.release)
    return trained


def test_the_same_file_online_gives_the_same_results(champion, tmp_path):
    corpus = load_exactly(champion.store, "corpus", champion.corpus)
    words = [query.text for query in queries(corpus, "test")][:200]
    lines = [{"id": f"w{number}", "query": text} for number, text in enumerate(words)]
    lines += [{"id": "u1", "history": ["moon", "house"]}, {"id": "u2", "history": ["moon", "no-such-icon"]}]
    source = written(tmp_path / "asked.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    found = by_query(scored(score(k=10, source=source, shards=3)))
    assert list(found) == [line["id"] for line in lines], "every query once, in the file's order"
    with running_server(champion.home) as server:
        server.wait(lambda status: status["ready"])
        for line in lines:
            params = {"like": line["history"]} if "history" in line else {"q": line["query"]}
            answer = server.client.get("/v1/search", params={**params, "k": 10}).json()
            batch = found[line["id"]]
            assert {row["release"] for row in batch} == {answer["release"]} == {champion.release}
            assert [row["rank"] for row in batch] == [result["position"] for result in answer["results"]]
            online = {result["id"]: result["score"] for result in answer["results"]}
            scores = [result["score"] for result in answer["results"]]
            assert [row["score"] for row in batch] == pytest.approx(scores, abs=TOLERANCE)
            tied = min(online.values()) + TOLERANCE  # documents that tie with the last may stand in its place
            assert {row["document"] for row in batch if row["score"] > tied} <= online.keys()
            assert all(abs(online.get(row["document"], row["score"]) - row["score"]) <= TOLERANCE for row in batch)


def test_every_row_is_counted_once(champion, tmp_path):
    text = "query_id,query\na,beach\nb,  red\u00a0 house \na,beach\nc,\nb,other\nd,beach\n"
    planned = call("plan_scores", source=written(tmp_path / "q.csv", text), max_bad_fraction=0.5)
    assert (planned.rows, planned.distinct, planned.repeated, planned.bad_rows) == (6, 3, 1, 2)
    assert planned.release == champion.release
    assert [(row["query_id"], row["query"]) for row in planned_queries(planned.queries)] == [
        ("a", "beach"),
        ("b", "red house"),
        ("d", "beach"),
    ]
    quarantine = load_exactly(open_store(), "queries", planned.queries).text("quarantine.csv")
    assert "empty query" in quarantine
    assert "id used again with another query" in quarantine
    again = call("plan_scores", source=str(tmp_path / "q.csv"), max_bad_fraction=0.5)
    assert again.found
    assert again.queries == planned.queries


def test_without_ids_equal_queries_are_one(champion, tmp_path):
    planned = call("plan_scores", source=written(tmp_path / "q.csv", "query\nbeach\nmoon\nbeach \n"))
    assert (planned.distinct, planned.repeated) == (2, 1)
    assert len({row["query_id"] for row in planned_queries(planned.queries)}) == 2


def test_formats_agree(champion, tmp_path):
    rows = [{"qid": "a", "q": "beach"}, {"qid": "b", "q": "Haus über Ähren"}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "q.parquet")
    sources = [
        str(tmp_path / "q.parquet"),
        written(tmp_path / "q.jsonl", "".join(json.dumps(row) + "\n" for row in rows)),
        written(tmp_path / "q.csv", "qid,q\na,beach\nb,Haus über Ähren\n"),
        written(tmp_path / "other.csv", "key;words\na;beach\nb;Haus über Ähren\n"),
    ]
    columns = [[], [], [], ["id=key", "text=words"]]
    made = {call("plan_scores", source=one, column=column).queries for one, column in zip(sources, columns, strict=True)}
    assert len(made) == 1, "the same queries are the same artifact"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"first,second\nx,y\n", r"a.csv with the columns first, second; expected a column of queries \(query, text"),
        ("a.csv", b"query\n", "given"),
        ("a.csv", b"", "empty"),
        ("a.csv", b"query_id,query\na,\nb,\n", r"2 of 2 rows that can't be asked \(100.0%\): a.csv line 2: empty query"),
        ("a.csv", b"query_id,query\na,caf\xe9\n", "a.csv line 2: invalid UTF-8"),
        ("a.csv", b"query_id,query\na,be\x07ach\n", "no text without control characters"),
        ("a.csv", b"query_id,query\na," + b"x" * 600 + b"\n", "no 1 to 512 characters"),
        ("a.csv", b"query_id,query\na b,beach\n", "query id with white space"),
        ("a.jsonl", b'{"id": "u", "history": {"a": 1}}\n', "a.jsonl"),
        ("a.jsonl", b'{"id": "u", "history": 7}\n', "history of a wrong type"),
        ("a.csv", b"id,history\nu,[moon\n", "history that is no JSON"),
        ("a.csv", b"id,history\nu," + b"moon " * 51 + b"\n", "history of more than 50 documents"),
        ("a.parquet", b"PAR1 and nothing else", "a.parquet"),
    ],
)
def test_files_that_cannot_be_scored(champion, tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=words):
        call("plan_scores", source=str(tmp_path / name))
    assert open_store().names("queries/") == []


def test_other_mistakes_have_one_message_each(trained, tmp_path):
    source = written(tmp_path / "q.csv", "query\nbeach\n")
    with pytest.raises(InputError, match=r"given champion; expected a champion, and there is none yet; .* pass a release id"):
        call("plan_scores", source=source)
    with pytest.raises(InputError, match=r"nowhere\.csv"):
        call("plan_scores", source=str(tmp_path / "nowhere.csv"), release=trained.release)
    for option, words in {
        "words=q": "a field: id, text, history",
        "text=q": "q.csv does not have; expected one of query",
    }.items():
        with pytest.raises(InputError, match=words):
            call("plan_scores", source=source, release=trained.release, column=[option])
    planned = call("plan_scores", source=source, release=trained.release)
    parts = {"queries": planned.queries, "release": trained.release}
    with pytest.raises(InputError, match="shard 0-2; expected rows within 0-1"):
        call("score_shard", **parts, shard="0-2")
    shard = call("score_shard", **parts, shard="0-1").shard
    for output, words in {"x.csv": "ends in .parquet", str(tmp_path / "no" / "x.parquet"): "a folder that exists"}.items():
        with pytest.raises(InputError, match=words):
            call("commit_scores", **parts, shards=[shard], output=output)
    with pytest.raises(InputError, match="which holds vectors; expected shards of score_shard"):
        call("commit_scores", **parts, shards=[trained.shard])
    with pytest.raises(InputError, match="5 documents each; next: score that shard again"):
        call("commit_scores", **parts, shards=[shard], k=5)


def test_a_retry_finds_what_was_ranked_and_commits_once(champion, tmp_path):
    source = written(tmp_path / "q.csv", "query\n" + "".join(f"word {number}\n" for number in range(90)))
    planned = call("plan_scores", source=source, shards=4)
    assert planned.shards == ["0-22", "22-45", "45-67", "67-90"]
    parts = {"queries": planned.queries, "release": planned.release}
    shards = [call("score_shard", **parts, shard=shard, batch_queries=7) for shard in planned.shards]
    with pytest.raises(InputError, match=r"rows 22-45 in no shard; expected each of 90 queries in exactly one"):
        call("commit_scores", **parts, shards=[one.shard for one in shards if one is not shards[1]])
    with pytest.raises(InputError, match="rows 0-22 in two shards"):
        call("commit_scores", **parts, shards=[one.shard for one in [*shards, shards[0]]])
    assert open_store().names("scores/") == []
    assert all(call("score_shard", **parts, shard=shard).found for shard in planned.shards)
    committed = call("commit_scores", **parts, shards=[one.shard for one in reversed(shards)])
    assert (committed.queries, committed.answered, committed.found) == (90, 90, False)
    assert list(by_query(scored(committed.scores))) == [row["query_id"] for row in planned_queries(planned.queries)]
    whole = call("score_shard", **parts, shard="0-90").shard
    assert call("commit_scores", **parts, shards=[whole]).scores == committed.scores, "sharding is no identity"


def test_a_query_without_results_has_a_row(champion, tmp_path):
    source = written(tmp_path / "u.csv", "user,history\na,moon cloud\nb,no-such-icon\n")
    planned = call("plan_scores", source=source)
    parts = {"queries": planned.queries, "release": planned.release}
    shard = call("score_shard", **parts, shard="0-2", k=3)
    assert (shard.queries, shard.answered) == (2, 1)
    found = by_query(scored(call("commit_scores", **parts, shards=[shard.shard], k=3).scores))
    assert [row["rank"] for row in found["a"]] == [1, 2, 3]
    assert found["b"] == [
        {"query_id": "b", "query": "", "rank": None, "document": None, "score": None, "release": champion.release}
    ]


def spoil(rows, how):
    if how == "lost":
        return [row for row in rows if row["query_id"] != "b"]
    if how == "lost at the end":
        return [row for row in rows if row["query_id"] != "c"]
    if how == "doubled":
        return [*rows, *rows[-2:]]
    if how == "mixed":
        return [{**row, "release": "another"} if row["query_id"] == "b" else row for row in rows]
    return [row for row in rows if row["rank"] != 1]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("lost", "query c; expected query b, each query exactly once"),
        ("lost at the end", "no row; expected query c"),
        ("doubled", "rank 1 of query c"),
        ("mixed", "by release another; expected rank 1 by release"),
        ("shifted", "rank 2 of query a"),
    ],
)
def test_integrity_is_checked_on_the_rows_themselves(champion, tmp_path, how, words):
    planned = call("plan_scores", source=written(tmp_path / "q.csv", "id,query\na,beach\nb,moon\nc,house\n"))
    parts = {"queries": planned.queries, "release": planned.release}
    good = load_exactly(open_store(), "shard", call("score_shard", **parts, shard="0-3", k=2).shard)
    table = pyarrow.parquet.read_table(good.path("scores.parquet"))

    def build(folder):
        spoilt = pyarrow.Table.from_pylist(spoil(table.to_pylist(), how), table.schema)
        pyarrow.parquet.write_table(spoilt, folder / "scores.parquet")
        return good.facts

    recipe: Recipe = good.manifest.recipe.model_copy(update={"version": 99})
    with pytest.raises(CorruptArtifact, match=words):
        call("commit_scores", **parts, shards=[produce(open_store(), recipe, build).id], k=2)
    assert open_store().names("scores/") == []


def test_one_process_from_the_command_line(champion, tmp_path):
    source = written(tmp_path / "q.csv", "query\nbeach\nmoon\n")
    target = tmp_path / "out.parquet"
    command = warm.command("-m", "pipelines.score", source, "--output", str(target), "--k", "4", "--shards", "2")
    answer = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=120, check=False)
    assert answer.returncode == 0, answer.stderr
    rows = pyarrow.parquet.read_table(target).to_pylist()
    assert rows == scored(answer.stdout.strip())
    assert len(rows) == 8
    assert list(tmp_path.glob(".ratchet*")) == []
    command = warm.command("-m", "pipelines.score", "--wrong")
    wrong = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)
    assert wrong.returncode == 2
    assert "Traceback" not in wrong.stderr


def test_from_a_bucket_and_into_one(champion, tmp_path, s3, monkeypatch):
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    bucket = s3.create_bucket("scores-of-queries")
    upload(Path(written(tmp_path / "q.csv", "query\nbeach\n")), f"{bucket}/in/q.csv")
    target = f"{bucket}/out/scores.parquet"
    scores = score(source=f"{bucket}/in/q.csv", output=target)
    (file,) = open_source(target, tmp_path / "fetched")
    assert pyarrow.parquet.read_table(file.path).to_pylist() == scored(scores)
    with pytest.raises(InputError, match="expected s3://bucket/key"):
        upload(tmp_path / "q.csv", "s3://bucket-alone")
    with pytest.raises(InputError, match="a bucket that exists"):
        upload(tmp_path / "q.csv", "s3://no-such-bucket-here/x.parquet")
