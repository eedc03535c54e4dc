"""Feature views that a person wrote wrongly are refused in one sentence."""

import sys
from datetime import datetime, timedelta, timezone

import pyarrow
import pyarrow.parquet
import pytest

from pipelines.errors import InputError
from pipelines.features import views
from pipelines.features.historical import columns_of
from pipelines.store.artifacts import load_exactly
from pipelines.store.objects import open_store
from tests.conftest import PROJECT, call
from tests.pipelines.features.conftest import choices, corpus_of, materialized

VIEW = """
from datetime import timedelta
from feast import FeatureView, Field, FileSource
from feast.types import Float64, Int64, UnixTimestamp
from {package}.entities import document

planted = FeatureView(
    name="planted", entities=[document], ttl=timedelta(days=1), schema=[Field(name="number", dtype=Int64)],
    source=FileSource(name="planted", path="planted.parquet", timestamp_field="event_timestamp"), tags={{"sql": "{sql}"}},
)
"""
GOOD = "SELECT document_id, 1 AS number FROM documents"


@pytest.fixture
def plant(tmp_path, monkeypatch):
    """Declare one view in a repository of its own."""

    def plant(sql: str = GOOD, was: str = "", becomes: str = "", package: str = "planted_repo") -> None:
        folder = tmp_path / package
        folder.mkdir()
        (folder / "__init__.py").touch()
        (folder / "entities.py").write_text((PROJECT / "feature_repo/entities.py").read_text())
        text = VIEW.format(package=package, sql=sql)
        assert was in text
        (folder / "planted.py").write_text(text.replace(was, becomes))
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(views, "REPOSITORY", package)

    yield plant
    for name in [name for name in sys.modules if name.startswith("planted_repo")]:
        del sys.modules[name]


def test_a_good_view_is_taken(plant, home):
    plant()
    assert materialized(corpus_of([]), "planted").rows == 4 * 12


COUNTED = "SELECT document_id, count(stock.time) AS number FROM documents LEFT JOIN stock USING (document_id) GROUP BY ALL"
NAMES_IT = {"was": 'tags={"sql"', "becomes": 'tags={"tables": "stock", "sql"'}


def write_stock(home, times: list, column: str = "time") -> None:
    """A table of others: a row for d00 at each time."""
    (home / "events/tables").mkdir(parents=True, exist_ok=True)
    table = pyarrow.table({"document_id": ["d00"] * len(times), column: times})
    pyarrow.parquet.write_table(table, home / "events/tables/stock.parquet")


def test_a_table_that_a_view_names_is_seen_up_to_each_cut(plant, home):
    """Also where its times have a zone; what comes later changes no row, and what was late changes them."""
    plant(COUNTED, **NAMES_IT)
    ulm = timezone(timedelta(hours=1))
    known = [datetime(2023, 12, 19, 0, 59, 59, tzinfo=ulm), datetime(2023, 12, 19, 1, tzinfo=ulm)]
    corpus = corpus_of([])
    write_stock(home, known)
    made = materialized(corpus, "planted")
    features = load_exactly(open_store(), "features", made.features)
    rows = pyarrow.parquet.read_table(features.path("features.parquet")).to_pylist()
    assert [row["number"] for row in rows if row["document_id"] == "d00"] == [0, 0, 1, 2]
    assert "table stock" in features.inputs
    write_stock(home, [*known, datetime(2093, 1, 1, tzinfo=ulm)])
    assert materialized(corpus, "planted").features == made.features
    write_stock(home, [*known, datetime(2023, 12, 1, tzinfo=ulm)])
    assert materialized(corpus, "planted").features != made.features


@pytest.mark.parametrize(
    ("column", "times", "said"),
    [
        ("", [], r"stock\.parquet, which can't be read .IOException"),
        ("seen", [datetime(2023, 1, 1)], "BinderException"),
        ("time", ["Ann said so"], "ConversionException"),
    ],
)
def test_a_table_that_can_not_be_read_is_refused(plant, home, column, times, said):
    plant(COUNTED, **NAMES_IT)
    if column:
        write_stock(home, times, column)
    with pytest.raises(InputError, match=rf"given table stock of a feature view, .*{said}.*expected .* `time`") as refused:
        materialized(corpus_of([]), "planted")
    assert "Ann" not in str(refused.value)


def test_without_feast_the_message_says_what_to_install(home, monkeypatch):
    monkeypatch.setattr(views, "missing_packages", lambda extra: ["feast"])
    with pytest.raises(InputError, match=r"no feast; expected the extra `features`; next: run"):
        call("plan_features", corpus=corpus_of([]))


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ('name="planted", entities', 'name="sown", entities', r"a name that is not the file's \(sown\)"),
        ("entities=[document]", "entities=[]", "0 entities"),
        (GOOD, " ", "no SQL"),
        ("dtype=Int64", "dtype=UnixTimestamp", "types UnixTimestamp"),
        ("ttl=timedelta(days=1), ", "", "no ttl"),
        ("import timedelta", "import timedeltas", "can't be imported: ImportError"),
        ("planted = ", "planted == ", "can't be imported: NameError"),
        ("planted = ", "planted = (", "can't be imported: SyntaxError"),
        *(
            ('tags={"sql"', f'tags={{"tables": "{name}", "sql"', f"tables {name.split()[0]}")
            for name in ("users", "a-b", "stock stock")
        ),
    ],
)
def test_a_declaration_that_lacks_something_is_refused(plant, home, was, becomes, said):
    plant(was=was, becomes=becomes)
    with pytest.raises(InputError, match=rf"planted_repo/planted\.py, .*{said}"):
        materialized(corpus_of([]), "planted")


def test_a_file_that_is_broken_stops_no_other_view(plant, home, tmp_path):
    """Its own task says what is wrong with it."""
    plant()
    (tmp_path / "planted_repo/broken.py").write_text("import nothing_of_that_name")
    corpus = corpus_of([])
    assert call("plan_features", corpus=corpus).views == ["broken", "planted"]
    assert materialized(corpus, "planted").rows == 4 * 12
    assert [column.name for column in columns_of(["planted"])] == ["planted.number"]
    with pytest.raises(InputError, match=r"planted_repo/broken\.py, which can't be imported: ModuleNotFoundError"):
        materialized(corpus, "broken")


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT documnt_id, 1 AS number FROM documents", "can't be run: Binder Error"),
        ("SELECT document_id FROM documents", "gives the columns document_id; expected the columns document_id, number"),
        ("SELECT document_id, 1 AS number FROM documents, range(2)", "gives 12 of document_id several rows for one moment"),
        ("SELECT NULL AS document_id, 1 AS number", "a row without document_id"),
        ("SELECT document_id, count(*) AS number FROM read_text('/etc/hostname'), documents GROUP BY ALL", "Permission Error"),
        ("SET lock_configuration = false", "can't be run: Parser Error"),
        ("SELECT document_id, 'seven' AS number FROM documents", "can't be run: Conversion Error"),
    ],
)  # fmt: skip
def test_sql_that_gives_no_rows_of_features_is_refused(plant, home, sql, said):
    plant(sql)
    with pytest.raises(InputError, match=f"feature view planted, .*{said}"):
        materialized(corpus_of(choices()), "planted")
    assert open_store().names("features/") == []


def test_a_value_that_can_not_be_converted_is_not_shown(plant, home):
    """It may be what a user said, and the message goes into task logs."""
    plant("SELECT document_id, 'town=' || text AS number FROM documents")
    with pytest.raises(InputError, match="can't be run: Conversion Error, whose text may hold a row's values") as refused:
        materialized(corpus_of(choices()), "planted")
    assert "town=" not in str(refused.value)


def test_an_infinite_number_is_refused(plant, home):
    plant("SELECT document_id, 1 / 0.0 AS number FROM documents", "dtype=Int64", "dtype=Float64")
    with pytest.raises(InputError, match="feature number is infinite or no number"):
        materialized(corpus_of([]), "planted")
