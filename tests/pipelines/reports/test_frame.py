import json
from dataclasses import asdict
from html.parser import HTMLParser

import pytest

from pipelines.corpus.documents import Document
from pipelines.reports import charts
from pipelines.reports.frame import LIMIT, NUMBERS, Picture, Report, ReportTable, pictured, render, write_report
from tests.images.serve.browser import browser  # noqa: F401  # a fixture

BAD = '"><script>alert(1)</script><img src=x onerror=alert(2)>'


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def report(**changed) -> Report:
    values = {
        "kind": "test", "title": "a test", "verdict": "passed", "sentence": "It works.", "method": ["by hand"],
        "pictures": [Picture("Spread", "caption", charts.histogram([0.0, 0.5, 1.0], "nDCG@10"), [0.0, 0.5, 1.0])],
        "tables": [ReportTable(
            "All kinds",
            [("t", "text"), ("v", "value"), ("s", "signed"), ("i", "interval"), ("d", "signed interval"), ("c", "count"),
             ("b", "share"), ("r", "results")],
            [["text", 0.5, -0.25, (0.1, 0.2), (-0.3, 0.1), 12345, 0.75,
              [{"id": "d1", "title": "", "grade": 2, "picture": "<svg/>"}]],
             ["empty", None, None, (None, None), (None, None), 0, None, []]],
            "note",
        )],
        "provenance": {"release": "abc"},
    }  # fmt: skip
    return Report(**{**values, **changed})


def test_every_kind_of_cell_is_written():
    text = Page(render(report())).text
    for cell in ("0.500", "−0.250", "[0.100, 0.200]", "[−0.300, +0.100]", "12,345", "0.750", "d1", "nothing", "–"):
        assert cell in text, cell
    assert "[–" not in text, "no interval is a dash, and not one of dashes"


def test_hostile_text_stays_text_everywhere():
    table = ReportTable(
        BAD, [(BAD, "text"), ("r", "results")], [[BAD, [{"id": BAD, "title": BAD, "grade": 1, "picture": BAD}]]], BAD
    )
    picture = Picture(BAD, BAD, charts.histogram([0.5], "nDCG@10"), [])
    given = report(
        title=BAD,
        verdict=BAD,
        sentence=BAD,
        method=[BAD],
        warnings=[BAD],
        tables=[table],
        pictures=[picture],
        provenance={BAD: BAD},
    )
    page = Page(render(given))
    assert "script" not in {tag for tag, _ in page.tags}
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert {attributes["src"][:26] for tag, attributes in page.tags if tag == "img"} == {"data:image/svg+xml;base64,"}
    assert page.text.count(BAD) >= 10


def test_a_page_needs_nothing_from_outside():
    page = render(report())
    for tag, attributes in Page(page).tags:
        for name in ("src", "href", "xlink:href", "action", "srcset"):
            value = attributes.get(name) or "#"
            assert value.startswith(("#", "data:")), (tag, name, value)
    assert "@import" not in page
    assert "default-src 'none'" in page
    assert "@media print" in page
    assert "prefers-color-scheme: dark" in page


def test_equal_reports_are_equal_bytes_and_the_twin_has_the_content(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_report(tmp_path / name, report())
    for file in ("report.html", "report.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    twin = json.loads((tmp_path / "one" / "report.json").read_text())
    assert twin["sentence"] == "It works."
    assert twin["pictures"][0]["numbers"] == [0.0, 0.5, 1.0]
    assert twin["tables"][0]["rows"][0][-1] == [{"id": "d1", "title": "", "grade": 2}]


def test_the_twin_is_the_whole_report_with_fewer_numbers_and_without_drawings(tmp_path):
    pairs = [(number / 7, None) for number in range(2 * NUMBERS + 1)]
    numbers = [pairs, pairs[:NUMBERS], {"nDCG@10": pairs}, None]
    given = report(pictures=[Picture(f"{row}", "caption", "<svg/>", one) for row, one in enumerate(numbers)], tables=[])
    write_report(tmp_path, given)
    expected = asdict(given)
    for picture in expected["pictures"]:
        del picture["svg"]
    expected["pictures"][0]["numbers"] = pairs[::3]
    assert (tmp_path / "report.json").read_text() == json.dumps(expected, indent=1)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: charts.intervals([(side, [charts.Estimate("nDCG@10", 0.4, 0.3, 0.5)]) for side in ("release", "BM25")]),
        lambda: charts.histogram([0.1, 0.9], "nDCG@10"),
        lambda: charts.difference(charts.Estimate("nDCG@10", -0.03, -0.05, -0.01), 0.02),
        lambda: charts.difference(charts.Estimate("nDCG@10", 0, 0, 0), 1e-6),
        lambda: charts.waterfall([0.5, -0.5, 0], "difference"),
    ],
)
def test_charts_are_static_recolourable_and_deterministic(draw):
    one, two = draw(), draw()
    assert one == two
    assert one.startswith("<svg")
    assert "var(--" in one
    assert "<text" in one, "text stays text"
    assert "<metadata" not in one or "<dc:date" not in one
    assert len(one) < 100_000


def test_thousands_of_queries_stay_small():
    assert len(charts.waterfall([number / 5000 for number in range(-5000, 5001)], "difference")) < 150_000


def large(tables: int, rows: int, sign: str, svg: int) -> Report:
    """A report of documents with texts of 20 kB, made of `sign`, and pictures of `svg` bytes."""
    documents = {f"d{number}": Document(id=f"d{number}", text="t", picture="<svg>" + "p" * svg) for number in range(5)}
    shown = [{"id": one, "title": sign * 20_000, "segment": sign * 20_000, "grade": 1} for one in documents]
    row = [sign * 20_000, *(pictured(shown, documents) for _ in range(3))]
    columns = [("query", "text"), ("champion", "results"), ("challenger", "results"), ("relevant", "results")]
    picture = Picture("Spread", "caption", charts.histogram([0.5], "nDCG@10"), [0.123456789] * 300_000)
    return report(tables=[ReportTable("t", columns, [row] * rows) for _ in range(tables)], pictures=[picture])


@pytest.mark.parametrize("sign", ["a", "<", "\x00", '"', "𝄞"], ids=ascii)
@pytest.mark.parametrize(("rows", "svg"), [(15, 200_000), (15, 20_000 - 5), (2_000, 19_000)])
def test_no_report_is_larger_than_two_megabytes(tmp_path, sign, rows, svg):
    write_report(tmp_path, large(2, rows, sign, svg))
    sizes = [(tmp_path / name).stat().st_size for name in ("report.html", "report.json")]
    assert max(sizes) <= LIMIT == 2_000_000, sizes
    page = (tmp_path / "report.html").read_text()
    assert "Left out so that this page stays below 2 MB:" in page
    assert page.count("<tr>") > 2 * 15
    assert json.loads((tmp_path / "report.json").read_text())["tables"]


def test_small_pictures_stay_and_large_ones_go_alone(tmp_path):
    documents = {"d1": Document(id="d1", text="t", picture="<svg/>"), "d2": Document(id="d2", text="t", picture="x" * 200_000)}
    shown = pictured([{"id": "d1", "title": "one", "grade": 1}, {"id": "d2", "title": "two", "grade": 0}], documents)
    write_report(tmp_path, report(tables=[ReportTable("t", [("r", "results")], [[shown]])]))
    page = (tmp_path / "report.html").read_text()
    assert page.count("<img") == 1
    assert "two" in page
    assert "Left out so that this page stays below 2 MB: 1 pictures." in page


def test_a_sentence_in_a_wide_table_is_read_in_lines_and_not_in_words(browser):  # noqa: F811
    row = {
        "since": "2026-11-30T22:24:58Z", "share": "shadow", "challenger": "1,228", "champion": "1,228", "p50, ms": "63 / 57",
        "p99, ms": "241.50 / 219.55", "decided by": "the guardrails, in manual__2026-11-30T22:24:36.882721+00:00 of admin",
        "because": "no guardrail is broken after 2,104 of 2,000 searches and 3 of 0 minutes", "entry": "12",
    }  # fmt: skip
    words = ("since", "decided by", "because")
    table = ReportTable("Stages", [(name, "text" if name in words else "number") for name in row], [list(row.values())])
    page = browser.new_page(viewport={"width": 1200, "height": 800})
    page.set_content(render(report(tables=[table])))
    widths = [page.locator("td", has_text=row[name]).last.evaluate("cell => cell.clientWidth") for name in words]
    page.close()
    assert widths[0] < 200 <= min(widths[1:])
