"""The rows of views: what was strictly before a cut and nothing else, whatever the source of events."""

import json
from datetime import UTC, datetime, timedelta

import pyarrow.parquet
import pytest

from pipelines.errors import InputError, NothingToDo
from pipelines.store.artifacts import load_exactly
from pipelines.store.objects import open_store
from tests.conftest import call
from tests.pipelines.features.conftest import BEGINNING, DAY, DOCUMENTS, END, START, choices, corpus_of, materialized


def rows_of(features: str) -> list[dict]:
    return pyarrow.parquet.read_table(load_exactly(open_store(), "features", features).path("features.parquet")).to_pylist()


def expected(interactions, document: str, cut: datetime, days: int) -> tuple[int, float]:
    """How often a document was met in the days before, and the smoothed rate, by counting."""
    since, until = (cut - timedelta(days=days)).timestamp(), cut.timestamp()
    seen = [one for one in interactions if since <= one.time < until]
    own = sum(one.document == document for one in seen)
    return own, (own + 10 * bool(seen)) / (own + 10)


def test_a_row_counts_what_was_before_its_cut_and_nothing_later(home):
    interactions = choices()
    rows = rows_of(materialized(corpus_of(interactions), history=20).features)
    assert len(rows) == 21 * len(DOCUMENTS)
    for row in rows:
        cut = row["event_timestamp"].replace(tzinfo=UTC)
        counted, rate = expected(interactions, row["document_id"], cut, 30)
        assert (row["shown_30d"], row["ctr_30d"]) == (counted, pytest.approx(rate))
        assert row["ctr_7d"] == pytest.approx(expected(interactions, row["document_id"], cut, 7)[1])
    assert any(one.time % DAY == 0 for one in interactions), "an event at a cut belongs to the next day"


def test_what_happens_after_a_cut_changes_no_row_before_it(home):
    interactions = choices()
    late = datetime.fromisoformat("2023-12-10T00:00:00+00:00").timestamp()
    past = [one for one in interactions if one.time < late]
    both = [rows_of(materialized(corpus_of(some), history=20).features) for some in (interactions, past)]
    assert both[0] != both[1]
    before = [[row for row in rows if row["event_timestamp"].replace(tzinfo=UTC).timestamp() <= late] for rows in both]
    assert before[0] == before[1]
    assert len(before[0]) == 11 * len(DOCUMENTS)


def test_what_is_chosen_is_by_the_corpus_s_least_value(home):
    corpus = load_exactly(open_store(), "corpus", corpus_of(choices()))
    path = f"corpus/{corpus.id}/manifest.json"
    manifest = json.loads(open_store().read(path))
    open_store().write(path, json.dumps(manifest | {"facts": manifest["facts"] | {"min_value": 4.0}}).encode())
    last = rows_of(materialized(corpus.id).features)[-len(DOCUMENTS) :]
    until = datetime.fromisoformat(f"{END}T00:00:00+00:00").timestamp()
    seen = [one for one in choices() if until - 30 * DAY <= one.time < until]
    assert {row["document_id"]: row["chosen_30d"] for row in last} == {
        name: sum(one.document == name and one.value >= 4 for one in seen) for name in DOCUMENTS
    }


def test_a_user_is_known_by_the_corpus_or_by_what_was_met(home):
    rows = rows_of(materialized(corpus_of(choices()), "user_activity").features)
    last = {row["user_id"]: row for row in rows if str(row["event_timestamp"])[:10] == END}
    assert last["u0"]["segment"] == "age=7, town=Ulm"
    assert last["u1"]["segment"] == ""
    until = BEGINNING + 35 * DAY
    times = [one.time for one in choices() if one.user == "u3" and one.time < until]
    assert last["u3"]["days_since_last"] == pytest.approx((until - max(times)) / DAY)


def shown(request: str, at: str, documents: list[str]) -> dict:
    results = [{"document": name, "position": n + 1, "score": 1.0, "propensity": 1} for n, name in enumerate(documents)]
    return {"request_id": request, "at": at, "user": "hidden", "query": "x", "release": "r", "policy": "champion", "entry": 1,
            "results": results}  # fmt: skip


def test_the_server_s_log_gives_exposures_and_clicks_when_they_came(home):
    """A click counts from its own time, also when its clock was behind its exposure's; a line twice, or cut off, does not."""
    exposures = [shown("r1", "2023-12-19T23:59:00Z", ["d00", "d01"]), shown("r2", "2023-12-20T12:00:00Z", ["d00"]),
                 shown("r3", "2093-01-01T00:00:00Z", ["d00"]),
                 shown("r4", "2023-12-20T12:00:00Z", ["d00"]) | {"traffic": "simulated"}]  # fmt: skip
    clicks = [
        ("r1", "d00", "2023-12-20T00:00:30Z"),
        ("r1", "d00", "2023-12-20T00:00:30Z"),
        ("r2", "d00", "2023-12-20T11:00:00Z"),
        ("r4", "d00", "2023-12-20T12:00:01Z"),
        ("r1", "d01", "2023-12-20T00:00:30Z"),  # which was shown below
    ]
    (home / "events").mkdir(parents=True)
    lines = [json.dumps(row) for row in [*exposures, exposures[0]]]
    (home / "events/exposures.jsonl").write_text("\n".join([*lines, "cut o"]))
    said = [json.dumps({"request_id": one, "document": name, "position": 1, "at": at}) for one, name, at in clicks]
    (home / "events/clicks.jsonl").write_text("\n".join(said))
    made = materialized(corpus_of([]), start="2023-12-20", end="2023-12-21", log="server", history=1)
    rows = {(str(row["event_timestamp"])[:10], row["document_id"]): row for row in rows_of(made.features)}
    assert [rows[day, "d00"]["shown_30d"] for day in ("2023-12-20", "2023-12-21")] == [1, 2]
    assert [rows[day, "d00"]["chosen_30d"] for day in ("2023-12-20", "2023-12-21")] == [0, 2]
    assert rows["2023-12-21", "d01"]["chosen_30d"] == 0
    assert load_exactly(open_store(), "features", made.features).facts["from_the_future"] == 1


def test_a_log_that_can_not_be_read_is_one_message(home):
    """A line of more than twice 32 MB: DuckDB has room for two."""
    (home / "events").mkdir(parents=True)
    whole = json.dumps(shown("r1", "2023-12-19T23:59:00Z", ["d00"]))
    (home / "events/exposures.jsonl").write_text(f"{whole}\n{whole[:-1]}" + " " * (70 << 20) + "}\n")
    corpus = corpus_of([])
    with pytest.raises(InputError, match=r"the log of the search server in .*, which can't be read: .*; next: repair"):
        materialized(corpus, start="2023-12-20", end="2023-12-21", log="server", history=1)
    assert open_store().names("features/") == []
    assert not (home / "feast").exists()


def test_a_view_without_rows_is_skipped_with_its_reason(home):
    with pytest.raises(NothingToDo, match=r"user_activity has no row until 2023-12-20"):
        materialized(corpus_of_documents_alone(), "user_activity")


def test_without_a_champion_nothing_is_planned(home):
    with pytest.raises(NothingToDo, match="there is no champion yet"):
        call("plan_features")
    planned = call("plan_features", corpus=corpus_of([]), views=["user_activity"], end=END)
    assert (planned.views, planned.start[:10], planned.end[:10], planned.release) == (["user_activity"], START, END, "")


def corpus_of_documents_alone() -> str:
    from pipelines.corpus.documents import Document
    from tests.corpora import write_corpus

    return write_corpus([Document(id="d00", text="a lamp")])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"end": "2093-01-01"}, "in the future"),
        ({"start": "2023-12-21"}, "after --end"),
        ({"end": "soon"}, "--end 'soon'"),
        ({"end": "0001-01-01"}, "--end '0001-01-01'; expected a date or a time from 1970 on"),
        ({"start": "0001-01-01T00:00:00+05:00"}, "--start '0001-01-01T00:00:00.05:00'"),
        ({"end": "1969-12-31"}, "from 1970 on"),
        ({"view": "weather"}, "one of document_attributes, document_interactions, user_activity"),
        ({"log": "server"}, "exposures.jsonl"),
        ({"log": "/etc/passwd"}, "server.*interactions"),
        ({"corpus": "0000"}, "corpus '0000'"),
    ],
)
def test_what_can_not_work_is_refused(home, given, said):
    asked = {"view": "document_interactions", "corpus": corpus_of([]), "start": "2023-12-19", "end": END, **given}
    with pytest.raises(InputError, match=said.replace("'", ".")):
        call("materialize_view", **asked)
    assert not (home / "feast" / "online.db").exists()
