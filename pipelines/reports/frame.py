"""The frame of every report, as HTML and as JSON: verdict, sentence, charts, tables, method and provenance.

The page is one file without scripts and without outside resources; the template escapes every text.
"""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pipelines.corpus.documents import Document
from pipelines.errors import InputError
from pipelines.wording import clipped, signed, value

Tone = Literal["good", "bad", "unsure", "neutral"]
ColumnKind = Literal["text", "number", "value", "signed", "interval", "signed interval", "count", "share", "results"]
TONES: Mapping[str, Tone] = {
    "passed": "good", "rejected": "bad", "undecided": "unsure", "not comparable": "unsure",
    "read": "good", "refused": "bad", "read, some rows refused": "unsure",
    "failed": "bad", "warned": "unsure",
    "held": "good", "degraded": "bad",
    "quiet": "good", "watch": "unsure", "act": "bad", "not compared": "unsure",
    "erased": "good", "searched": "unsure",
    "rolled back": "bad", "asks": "unsure", "widened": "unsure", "stopped": "unsure",
    "ship": "good", "do not ship": "bad", "keep running": "unsure", "invalid": "bad",
}  # fmt: skip
LIMIT = 2_000_000
"""Bytes of `report.html` and of `report.json` at most."""
PICTURE, PICTURES = 20_000, 600_000
"""Bytes of one document's picture and of all in a report at most; base64 takes a third more."""
NUMBERS = 10_000
"""Numbers of one chart that `report.json` keeps at most."""


@dataclass(frozen=True)
class Picture:
    """A chart with its caption and the numbers it was drawn from."""

    title: str
    caption: str
    svg: str
    numbers: Any


@dataclass(frozen=True)
class ReportTable:
    """Rows under named columns; the kind of a column is the format of its cells.

    Kinds: text; number: a text that is a number, on the right; value 0.123; signed +0.123; interval and signed interval:
    (low, high); count 1,234; share: value with a bar; results: documents as mappings with title, id, and optionally grade and
    picture (an SVG drawing).
    """

    title: str
    columns: list[tuple[str, ColumnKind]]
    rows: list[list[Any]]
    note: str = ""


@dataclass(frozen=True)
class Section:
    """A part of a report that one kind of evidence fills: it stands behind what the report itself shows."""

    pictures: list[Picture] = field(default_factory=list)
    tables: list[ReportTable] = field(default_factory=list)
    method: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Report:
    """The content of a report."""

    kind: str
    title: str
    verdict: str
    sentence: str
    pictures: list[Picture] = field(default_factory=list)
    tables: list[ReportTable] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    method: list[str] = field(default_factory=list)
    provenance: dict[str, str] = field(default_factory=dict)
    first: list[ReportTable] = field(default_factory=list)
    """Tables above the charts."""
    links: list[tuple[str, str]] = field(default_factory=list)
    """What lies beside the report: a text, and an address relative to the report's."""


def write_report(folder: Path, report: Report) -> None:
    """Write `report.html` and, without the drawings, `report.json`, each of at most LIMIT bytes.

    Raises:
        InputError: even the shortest version is larger.
    """
    page, content = next((both for both in _versions(report) if max(map(len, both)) <= LIMIT), (b"", b""))
    if not page:
        raise InputError(f"report {report.title!r}", f"at most {LIMIT:,} bytes", "show fewer tables and charts")
    (folder / "report.html").write_bytes(page)
    (folder / "report.json").write_bytes(content)


def _versions(report: Report) -> Iterator[tuple[bytes, bytes]]:
    """HTML and JSON, shorter each time: first without pictures of documents, then with shorter texts and fewer rows."""
    for pictures, texts, rows in ((PICTURES, 512, 500), (0, 200, 100), (0, 60, 20)):
        short = shortened(report, pictures, texts, rows)
        yield render(short).encode(), _as_json(short)


def _as_json(report: Report) -> bytes:
    pictures = [replace(picture, svg="", numbers=_thinned(picture.numbers)) for picture in report.pictures]
    content = asdict(replace(report, pictures=pictures))
    for picture in content["pictures"]:
        del picture["svg"]
    for table in [*content["first"], *content["tables"]]:
        table["rows"] = [[_without_pictures(cell) for cell in row] for row in table["rows"]]
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False).encode()


def shortened(report: Report, pictures: int, texts: int, rows: int) -> Report:
    """The report with at most `pictures` bytes of pictures, `texts` characters a text and `rows` rows a table."""
    shortening = _Shortening(pictures, texts)
    tables = [
        replace(table, rows=[[shortening.cell(cell) for cell in row] for row in table.rows[:rows]]) for table in report.tables
    ]
    shortening.missing["rows"] = sum(max(0, len(table.rows) - rows) for table in report.tables)
    missing = ", ".join(f"{count:,} {what}" for what, count in shortening.missing.items() if count)
    note = [f"Left out so that this page stays below {LIMIT // 1_000_000} MB: {missing}."] if missing else []
    return replace(report, tables=tables, method=[*report.method, *note])


class _Shortening:
    """Shortens cells, and counts what it leaves out."""

    def __init__(self, pictures: int, texts: int) -> None:
        self.left, self.texts = pictures, texts
        self.missing = {"pictures": 0, "ends of long texts": 0}

    def cell(self, cell: Any) -> Any:
        if isinstance(cell, str):
            self.missing["ends of long texts"] += len(cell) > self.texts
            return clipped(cell, self.texts)
        if isinstance(cell, Mapping):
            return {key: self._picture(value) if key == "picture" else self.cell(value) for key, value in cell.items()}
        return [self.cell(item) for item in cell] if isinstance(cell, list) else cell

    def _picture(self, svg: str) -> str:
        size = len(svg.encode())
        if size <= min(PICTURE, self.left):
            self.left -= size
            return svg
        self.missing["pictures"] += 1
        return ""


def _thinned(numbers: Any) -> Any:
    """Every n-th number of a list longer than NUMBERS."""
    return numbers[:: -(-len(numbers) // NUMBERS)] if isinstance(numbers, list) and len(numbers) > NUMBERS else numbers


def render(report: Report) -> str:
    """The report as one HTML page."""
    return str(_template().render(report=report, tone=TONES.get(report.verdict, "neutral")))


def _without_pictures(cell: Any) -> Any:
    if not (isinstance(cell, list) and all(isinstance(item, dict) for item in cell)):
        return cell
    return [{key: value for key, value in item.items() if key != "picture"} for item in cell]


@cache
def _template() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"value": value, "signed": signed, "bounds": bounds, "image": image}
    return environment.get_template("frame.html")


def pictured(results: Sequence[dict[str, Any]], documents: Mapping[str, Document], most: int = 5) -> list[dict[str, Any]]:
    """A cell of kind results: the first of `results`, each with the picture of its document, or an empty text."""
    return [
        result | {"picture": documents[result["id"]].picture if result["id"] in documents else ""} for result in results[:most]
    ]


def bounds(interval: tuple[float | None, float | None], kind: ColumnKind) -> str:
    """An interval as its column writes it; a dash where there is none.

    >>> bounds((0.1, 0.2), "interval"), bounds((-0.1, 0.2), "signed interval"), bounds((None, None), "signed interval")
    ('[0.100, 0.200]', '[−0.100, +0.200]', '–')
    """
    write = signed if kind == "signed interval" else value
    low, high = interval
    return "–" if low is None and high is None else f"[{write(low)}, {write(high)}]"


def image(svg: str) -> str:
    """An SVG drawing as a data URL for <img>, in which browsers neither run scripts nor load resources.

    >>> image("<svg/>")
    'data:image/svg+xml;base64,PHN2Zy8+'
    """
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
