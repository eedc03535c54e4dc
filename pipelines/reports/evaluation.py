"""The report of an evaluation: the measures of a release beside those of its baselines."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.corpus.documents import Document
from pipelines.evaluation.comparison import baseline_warnings
from pipelines.evaluation.measures import label
from pipelines.evaluation.qrels import RELEVANT
from pipelines.evaluation.record import baseline_names
from pipelines.reports import charts
from pipelines.reports.frame import Picture, Report, ReportTable, pictured, write_report
from pipelines.retrieval.stages.lexical import K1, B
from pipelines.retrieval.stages.lexical import METHOD as BM25_METHOD
from pipelines.statistics.intervals import interval
from pipelines.wording import signed, value

MAIN = "nDCG@10"
SYNTHETIC = "synthetic known-item queries, made from the documents, a smoke test that says nothing of the quality"
EXAMPLES = 12
SEGMENTS = 20
SENTENCE = {"BM25": "BM25 on the same texts", "popularity": "popularity alone"}
SETTINGS = f"k1 {K1}, b {B}, method {BM25_METHOD}, not tuned; stop words and stemmer of the documents' language"
METHOD = {
    "BM25": [f"BM25 by bm25s ({SETTINGS}) over the same texts and queries; a document that shares no word is not retrieved."],
    "popularity": [
        "Next-item queries: one time for all users; the release ranks by the mean vector of the documents in a user's history,"
        " and the next document of the user is relevant. BM25 ranks by the titles of the last ones.",
        "Popularity: how many users had interacted with a document before that time, in all or in the last tenth of the"
        " interactions, whichever ranks these queries better. What a user had seen by then is left out of every ranking.",
    ],
}
"""By baseline: the sentences of the method that describe it."""


def write_evaluation_report(
    folder: Path, summary: Mapping[str, Any], rows: Sequence[dict[str, Any]], documents: Mapping[str, Document]
) -> None:
    """Write `report.html` and `report.json` of an evaluation.

    Args:
        folder: where to.
        summary: as `measures.json` has it.
        rows: as `per_query.jsonl` has them.
        documents: the release's, for their pictures.
    """
    write_report(folder, evaluation_report(summary, rows, documents))


def evaluation_report(summary: Mapping[str, Any], rows: Sequence[dict[str, Any]], documents: Mapping[str, Document]) -> Report:
    """The report; without judged queries it has no charts and no tables."""
    title = f"evaluation of release {summary['release'][:8]}"
    provenance = {key: str(summary[key]) for key in ("release", "corpus", "queries_digest", "split", "depth", "confidence")}
    provenance["no_relevant"] = summary["no_relevant"]["rule"]
    if not rows:
        sentence = f"No query of the split “{summary['split']}” is judged, so nothing was measured."
        return Report("evaluation", title, "not measured", sentence, method=_method(summary), provenance=provenance)
    baseline, verdict = baseline_names(summary)[0], "smoke test" if summary["synthetic"] else "measured"
    return Report(
        "evaluation",
        title,
        verdict,
        _sentence(summary),
        [_means(summary), _spread(rows)],
        [
            _measures(summary),
            *_stages(summary),
            *_blend(summary),
            *_examples(rows, documents, baseline),
            *_segments(rows, summary["confidence"], baseline),
        ],
        baseline_warnings(summary, MAIN),
        _method(summary),
        provenance,
    )


def _sentence(summary: Mapping[str, Any]) -> str:
    sides = summary["measures"][MAIN]
    baseline, *others = baseline_names(summary)
    worse = "".join(f"{warning} " for warning in baseline_warnings(summary, MAIN))
    release, first, difference = sides["release"], sides[baseline.lower()], sides["difference"]
    kind = "" if summary["split"] == "all" else f"{summary['split']} "
    queries = f"{summary['queries']:,} {SYNTHETIC if summary['synthetic'] else kind + 'queries'}"
    return (
        f"{worse}{MAIN} {value(release['mean'])} [{value(release['low'])}, {value(release['high'])}] over {queries}; "
        f"{SENTENCE[baseline]} has {value(first['mean'])}, a difference of {signed(difference['mean'])} "
        f"[{signed(difference['low'])}, {signed(difference['high'])}]"
        + "".join(f"; {other} over the titles of the history has {value(sides[other.lower()]['mean'])}" for other in others)
        + "."
    )


def _means(summary: Mapping[str, Any]) -> Picture:
    groups = [
        (name, [_estimate(measure, sides[side]) for measure, sides in summary["measures"].items()])
        for name, side in (("release", "release"), *((name, name.lower()) for name in baseline_names(summary)))
    ]
    caption = f"Mean over queries with {100 * summary['confidence']:g} % interval. Further right is better."
    numbers = {name: [vars(estimate) for estimate in estimates] for name, estimates in groups}
    return Picture("Measures", caption, charts.intervals(groups), numbers)


def _estimate(measure: str, side: Mapping[str, Any]) -> charts.Estimate:
    mean = side["mean"]
    low, high = (mean if side[bound] is None else side[bound] for bound in ("low", "high"))
    return charts.Estimate(label(measure), mean, low, high)


def _spread(rows: Sequence[dict[str, Any]]) -> Picture:
    values = [row["release"][MAIN] for row in rows]
    none, full = (sum(ndcg == end for ndcg in values) for end in (0, 1))
    caption = (
        f"{MAIN} of each query: {none:,} of {len(values):,} have 0 (no relevant document among the first ten), "
        f"{full:,} have 1 (nothing could be ranked better)."
    )
    return Picture(f"{MAIN} by query", caption, charts.histogram(values, MAIN), values)


def _measures(summary: Mapping[str, Any]) -> ReportTable:
    names = ["release", *baseline_names(summary)]

    def row(measure: str, sides: Mapping[str, Any]) -> list[Any]:
        columns = [sides[name.lower()] for name in (*names, "difference")]
        return [label(measure), *(cell for side in columns for cell in (side["mean"], (side["low"], side["high"])))]

    columns: list[tuple[str, Any]] = [column for name in names for column in ((name, "value"), ("interval", "interval"))]
    return ReportTable(
        f"Measures and {names[1]}",
        [("measure", "text"), *columns, ("difference", "signed"), ("interval", "signed interval")],
        [row(measure, sides) for measure, sides in summary["measures"].items()],
        "Judged@10 is the part of the first ten that anybody judged; the rest counts as not relevant.",
    )


def _segments(rows: Sequence[dict[str, Any]], confidence: float, baseline: str) -> list[ReportTable]:
    members: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        for segment in {document["segment"] for document in row["relevant"] if document["segment"]}:
            members.setdefault(segment, []).append(row)
    if not members:
        return []

    def cells(segment: str, inside: list[dict[str, Any]]) -> list[Any]:
        release = interval([row["release"][MAIN] for row in inside], confidence, least=0)
        mean = sum(row[baseline.lower()][MAIN] for row in inside) / len(inside)
        return [segment, len(inside), release.mean, (release.low, release.high), mean]

    ordered = sorted(members.items(), key=lambda item: (-len(item[1]), item[0]))
    note = "A query counts in each segment in which it has a relevant document."
    if len(ordered) > SEGMENTS:
        note += f" The {SEGMENTS} with the most queries of {len(ordered)}."
    columns: list[tuple[str, Any]] = [
        ("segment", "text"), ("queries", "count"), (MAIN, "share"), ("interval", "interval"), (baseline, "value")
    ]  # fmt: skip
    return [ReportTable("Segments", columns, [cells(*item) for item in ordered[:SEGMENTS]], note)]


def _stages(summary: Mapping[str, Any]) -> list[ReportTable]:
    """Each stage of the release beside the release; none where it has an encoder and an index alone."""
    if "stages" not in summary:
        return []
    columns: list[tuple[str, Any]] = [
        ("stage", "text"), ("weight", "value"), ("queries", "count"), (MAIN, "value"), ("interval", "interval"),
        ("R@100", "value"), ("release − stage", "signed"), ("interval", "signed interval"),
    ]  # fmt: skip
    rows = []
    for stage in summary["stages"]:
        main, gain = stage["measures"][MAIN], stage["release_gain"]
        rows.append([
            stage["stage"], stage["weight"], stage["queries"], main["mean"], (main["low"], main["high"]),
            stage["measures"]["R@100"]["mean"], gain["mean"], (gain["low"], gain["high"]),
        ])  # fmt: skip
    return [
        ReportTable(
            "Stages", columns, rows, "Each retriever alone, then what fusion makes of those above it, on the same queries."
        )
    ]


def _blend(summary: Mapping[str, Any]) -> list[ReportTable]:
    """The release with its blend and without, and beside popularity; none where it has no blend, or no query was blended."""
    rows = [
        [
            row["ranking"], row["queries"], row["measure"]["mean"], (row["measure"]["low"], row["measure"]["high"]),
            row["gain"]["mean"], (row["gain"]["low"], row["gain"]["high"]),
        ]
        for row in summary.get("blend", [])
        if row["queries"]
    ]  # fmt: skip
    columns: list[tuple[str, Any]] = [
        ("ranking", "text"), ("queries", "count"), (MAIN, "value"), ("interval", "interval"), ("the blend gains", "signed"),
        ("interval", "signed interval"),
    ]  # fmt: skip
    note = (
        "Features are as of the last midnight before a query's time, or before the test where it has none. Without features: "
        "the stages before the blend."
    )
    return [ReportTable("Blend", columns, rows, note)] if rows else []


def _examples(rows: Sequence[dict[str, Any]], documents: Mapping[str, Document], baseline: str) -> list[ReportTable]:
    side = baseline.lower()
    worst = sorted(rows, key=lambda row: (row["release"][MAIN], -row[side][MAIN], row["release"]["R@100"], row["text"]))
    best = sorted(rows, key=lambda row: (-row["release"][MAIN], -len(row["relevant"]), row["text"]))
    columns: list[tuple[str, Any]] = [
        ("query", "text"), (MAIN, "value"), (baseline, "value"), ("first results", "results"), ("relevant", "results")
    ]  # fmt: skip

    def cells(row: dict[str, Any]) -> list[Any]:
        results = [pictured(row[key], documents) for key in ("top", "relevant")]
        return [row["text"], row["release"][MAIN], row[side][MAIN], *results]

    framed = "Framed results are relevant."
    return [
        ReportTable(
            "Worst queries",
            columns,
            [cells(row) for row in worst[:EXAMPLES]],
            f"Those that {baseline} ranks better come first. {framed}",
        ),
        ReportTable(
            "Best queries",
            columns,
            [cells(row) for row in best[:EXAMPLES]],
            f"Those with many relevant documents come first. {framed}",
        ),
    ]


def _method(summary: Mapping[str, Any]) -> list[str]:
    rule = summary["no_relevant"]
    treated = "left out" if rule["rule"] == "exclude" else "counted with 0 in every measure"
    files = [f"{name.lower()}.trec" for name in baseline_names(summary)]
    own = summary.get("own_documents", 0)
    return [
        f"Queries: {summary['queries']:,} {SYNTHETIC if summary['synthetic'] else 'judged queries'}. Left out:"
        f" {summary['unjudged']:,} without judgments.",
        f"Without a relevant document: {rule['queries']:,} queries, {treated} (rule “{rule['rule']}”).",
        *([f"{own:,} queries have the id and the text of a document, which their rankings leave out."] if own else []),
        f"Measures by ir_measures over the first {summary['depth']:,} documents; grade {RELEVANT} and above is relevant,"
        " nDCG uses the grade as gain. An unjudged document counts as not relevant, except under “judged only”.",
        *[line for name in baseline_names(summary) for line in METHOD[name]],
        "Intervals: the wider of Student's t and Hall's transformed t on each side; a closed form, no random numbers.",
        f"Equal scores are ordered by document id. {', '.join(['run.trec', *files])} and qrels.txt beside this report give the"
        " same figures with any TREC tool.",
    ]
