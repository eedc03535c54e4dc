"""The one frame of all reports: verdict, one sentence, pictures, numbers, method, provenance; as HTML and as JSON.

The page is one file without scripts or outside resources; every text that is not ours is escaped.
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
Kind = Literal["text", "value", "signed", "interval", "signed interval", "count", "share", "results"]
TONES: Mapping[str, Tone] = {
    "passed": "good", "rejected": "bad", "undecided": "unsure",
    "read": "good", "refused": "bad", "read, some rows refused": "unsure",
    "failed": "bad", "warned": "unsure",
}  # fmt: skip
LIMIT = 2_000_000
"""Bytes of a report's page, and of its twin."""
PICTURE, PICTURES = 20_000, 600_000
"""Bytes of one document's picture, and of all in a report; as base64 they take a third more."""
NUMBERS = 10_000
"""Numbers that the twin keeps of one chart."""


@dataclass(frozen=True)
class Picture:
    """A chart with what it shows, and the numbers it was drawn from."""

    title: str
    caption: str
    svg: str
    numbers: Any


@dataclass(frozen=True)
class ReportTable:
    """Rows under named columns. A column's kind says how its cells are written.

    Kinds: text; value 0.123; signed +0.123; interval and signed interval: (low, high); count 1,234; share: value with a bar;
    results: documents as mappings with title, id, and optionally grade and picture (an SVG drawing).
    """

    title: str
    columns: list[tuple[str, Kind]]
    rows: list[list[Any]]
    note: str = ""


@dataclass(frozen=True)
class Report:
    """What a report says."""

    kind: str
    title: str
    verdict: str
    sentence: str
    pictures: list[Picture] = field(default_factory=list)
    tables: list[ReportTable] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    method: list[str] = field(default_factory=list)
    provenance: dict[str, str] = field(default_factory=dict)


def write_report(folder: Path, report: Report) -> None:
    """Write `report.html` and its twin `report.json`: the same content, without the drawings; each of LIMIT bytes at most."""
    page, twin = next((both for both in _from_full_to_short(report) if max(map(len, both)) <= LIMIT), (b"", b""))
    if not page:
        raise InputError(f"report {report.title!r}", f"at most {LIMIT:,} bytes", "show fewer tables and charts")
    (folder / "report.html").write_bytes(page)
    (folder / "report.json").write_bytes(twin)


def _from_full_to_short(report: Report) -> Iterator[tuple[bytes, bytes]]:
    """Page and twin, each time shorter: pictures are decoration and go first, then long texts, then rows."""
    for pictures, texts, rows in ((PICTURES, 512, 500), (0, 200, 100), (0, 60, 20)):
        short = shortened(report, pictures, texts, rows)
        yield render(short).encode(), _twin(short)


def _twin(report: Report) -> bytes:
    content = asdict(report)
    for picture in content["pictures"]:
        del picture["svg"]
        picture["numbers"] = _thinned(picture["numbers"])
    for table in content["tables"]:
        table["rows"] = [[_plain(cell) for cell in row] for row in table["rows"]]
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False).encode()


def shortened(report: Report, pictures: int, texts: int, rows: int) -> Report:
    """The report with `pictures` bytes of drawings, `texts` characters a text and `rows` rows a table; says what is missing."""
    cut = _Cut(pictures, texts)
    tables = [replace(table, rows=[[cut.cell(cell) for cell in row] for row in table.rows[:rows]]) for table in report.tables]
    cut.missing["rows"] = sum(max(0, len(table.rows) - rows) for table in report.tables)
    told = ", ".join(f"{count:,} {what}" for what, count in cut.missing.items() if count)
    note = [f"Left out so that this page stays below {LIMIT // 1_000_000} MB: {told}."] if told else []
    return replace(report, tables=tables, method=[*report.method, *note])


class _Cut:
    """Cuts cells, and counts what it takes away."""

    def __init__(self, pictures: int, texts: int) -> None:
        self.left, self.texts = pictures, texts
        self.missing = {"pictures": 0, "ends of long texts": 0}

    def cell(self, cell: Any) -> Any:
        if isinstance(cell, str):
            self.missing["ends of long texts"] += len(cell) > self.texts
            return clipped(cell, self.texts)
        if isinstance(cell, Mapping):
            return {key: self._picture(given) if key == "picture" else self.cell(given) for key, given in cell.items()}
        return [self.cell(one) for one in cell] if isinstance(cell, list) else cell

    def _picture(self, svg: str) -> str:
        size = len(svg.encode())
        if size <= min(PICTURE, self.left):
            self.left -= size
            return svg
        self.missing["pictures"] += 1
        return ""


def _thinned(numbers: Any) -> Any:
    """Evenly every n-th of a long list: the artifact's rows have them all."""
    return numbers[:: -(-len(numbers) // NUMBERS)] if isinstance(numbers, list) and len(numbers) > NUMBERS else numbers


def render(report: Report) -> str:
    """The report as one HTML page."""
    return str(_template().render(report=report, tone=TONES.get(report.verdict, "neutral")))


def _plain(cell: Any) -> Any:
    if not (isinstance(cell, list) and all(isinstance(one, dict) for one in cell)):
        return cell
    return [{key: value for key, value in one.items() if key != "picture"} for one in cell]


@cache
def _template() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"value": value, "signed": signed, "image": image}
    return environment.get_template("frame.html")


def pictured(shown: Sequence[dict[str, Any]], documents: Mapping[str, Document], most: int = 5) -> list[dict[str, Any]]:
    """The cells of kind results for the first of `shown`, each with its document's picture if it has one."""
    return [one | {"picture": documents[one["id"]].picture if one["id"] in documents else ""} for one in shown[:most]]


def image(svg: str) -> str:
    """An SVG drawing from outside as an image's address: browsers run no script in it and load nothing for it.

    >>> image("<svg/>")
    'data:image/svg+xml;base64,PHN2Zy8+'
    """
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
