"""Names for the columns of tables without a header line, by the file's name or the values."""

import re
from collections.abc import Callable
from dataclasses import replace

from pipelines.collections.record import Record, Sampled
from pipelines.collections.schema.columns import SampleColumn
from pipelines.collections.schema.terminal import clean

NUMBERED = re.compile(r"column \d+")
RATINGS = ("user_id", "item_id", "rating", "timestamp")
GENRES = (
    "Action Adventure Animation Children Comedy Crime Documentary Drama Fantasy Film-Noir Horror Musical Mystery Romance Sci-Fi"
    " Thriller War Western"
)
KNOWN_FILES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"u\.data|u[1-5ab]\.(base|test)", RATINGS),
    (r"u\.item", ("item_id", "title", "release_date", "video_release_date", "imdb_url", "genre_unknown", *GENRES.split())),
    (r"u\.user", ("user_id", "age", "gender", "occupation", "zip_code")),
    (r"u\.genre", ("genre", "number")),
    (r"ratings\.dat", RATINGS),
    (r"movies\.dat", ("item_id", "title", "genres")),
    (r"users\.dat", ("user_id", "gender", "age", "occupation", "zip_code")),
    (r"tags\.dat", ("user_id", "item_id", "tag", "timestamp")),
)
"""Files that many people have and that name no columns: the pattern of the file's name, and its columns."""


def name_columns(sample: Sampled) -> tuple[Sampled, str]:
    """The sample with names for its columns, and a sentence about it where they were made up here.

    Only a file without a header line, whose columns the reader has numbered, gets any.
    """
    columns = sample.file.columns
    if sample.file.format != "csv" or not sample.records or not columns or not all(map(NUMBERED.fullmatch, columns)):
        return sample, ""
    return _with_names(sample, sample.records)


def _with_names(sample: Sampled, records: list[Record]) -> tuple[Sampled, str]:
    count = max(len(record.fields) for record in records)
    rows = [list(record.fields.values()) for record in records]
    columns = [SampleColumn("", tuple(row[place] for row in rows if place < len(row)), len(rows)) for place in range(count)]
    base = re.split(r"[/\\]", sample.file.name)[-1].lower()
    known = next((names for pattern, names in KNOWN_FILES if re.search(rf"(^|[^a-z0-9]){pattern}(\.\w+)?$", base)), ())
    names = known if len(known) == count else _infer_names(columns)
    renamed = [
        Record(record.file, record.line, dict(zip(names, row, strict=False))) for record, row in zip(records, rows, strict=True)
    ]
    whose = "as files of this name have them" if names is known else "guessed from the values"
    called = f"{', '.join(names[:8])}{', …' if count > 8 else ''}"
    note = f"{clean(sample.file.name, 80)} has no header line; its columns are called {called}, {whose}."
    return replace(sample, file=replace(sample.file, columns=tuple(names)), records=renamed), note


def _infer_names(columns: list[SampleColumn]) -> tuple[str, ...]:
    shape = "".join(map(_shape_letter, columns))
    for pattern, names in SHAPES:
        if re.fullmatch(pattern, shape):
            return names(columns) if callable(names) else names
    return _names_by_shape(columns, shape)


def _shape_letter(column: SampleColumn) -> str:
    """One letter: e(mpty), t(ime), 0 (always the same number or Q0), g(rade), c(ode), w(ords), p(rose), x (anything else)."""
    grade = column.numbers > 0.98 and len(column.different) <= 12 and all(len(text) <= 4 for text in column.different)
    tests: tuple[tuple[str, bool], ...] = (
        ("e", not column.texts),
        ("t", column.moments > 0.9),
        ("0", len(column.different) == 1 and column.different[0].lower() in ("0", "q0")),
        ("g", grade and (column.unique < 0.5 or column.rows < 12)),
        ("c", column.numbers > 0.9 or (column.code and column.digits > 0.5)),
        ("p", column.wordy and column.words >= 3.5),
        ("w", column.wordy),
    )
    return next((kind for kind, true in tests if true), "x")


def _title_and_text(columns: list[SampleColumn]) -> tuple[str, ...]:
    ahead = ("id",) if len(columns) == 3 else ()
    return (*ahead, "title", "text") if columns[-1].length >= columns[-2].length else (*ahead, "text", "title")


SHAPES: tuple[tuple[str, tuple[str, ...] | Callable[[list[SampleColumn]], tuple[str, ...]]], ...] = (
    (r"[cgw]0[cgw][0g]", ("query_id", "iteration", "document_id", "grade")),
    (r"[cg][cg][gc]t", RATINGS),
    (r"[cg][cg]t[gc]", ("user_id", "item_id", "timestamp", "rating")),
    (r"[cg][cg]t", ("user_id", "item_id", "timestamp")),
    (r"[cg][cg][0g]", ("query_id", "document_id", "grade")),
    (r"[wp]c[0g]", ("query", "document_id", "grade")),
    (r"[wp]", ("text",)),
    (r"[cgtx][wp]", ("id", "text")),
    (r"[wp][wp]", _title_and_text),
    (r"[cgtx][wp][wp]", _title_and_text),
    (r"[cw]0c.*[cg].*", ("query_id", "iteration", "document_id", "rank", "score", "run")),
)
"""Letters of `_kind`, a column each, and the names that fit them."""


def _names_by_shape(columns: list[SampleColumn], shape: str) -> tuple[str, ...]:
    """The first unique code is the id, the longest prose the text, the first other words that hardly repeat the title."""
    names = [f"column {place}" for place in range(1, len(columns) + 1)]
    ids = [place for place, kind in enumerate(shape) if kind in "ct" and columns[place].unique >= 0.99]
    proses = sorted((place for place, kind in enumerate(shape) if kind == "p"), key=lambda place: -columns[place].length)
    words = [
        place for place, kind in enumerate(shape) if kind in "wp" and place not in proses[:1] and columns[place].unique >= 0.7
    ]
    segments = [place for place, kind in enumerate(shape) if kind == "w" and columns[place].unique < 0.5]
    for name, places in (("id", ids), ("text", proses), ("title", words), ("category", segments)):
        if places:
            names[places[0]] = name
    return tuple(names)
