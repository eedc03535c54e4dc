"""measure_latency: a release and the champion, served at once, answer the same queries; how much slower and larger it is."""

from pathlib import Path
from typing import Any

from pydantic import Field

from pipelines.contract import Params, Result, Tuning
from pipelines.errors import InputError, NothingToDo
from pipelines.logs import log
from pipelines.store.artifacts import Artifact, load, load_exactly, produce
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe
from pipelines.store.releases import resolve

VERSION = 1


class MeasureLatencyParams(Params):
    release: str = Field(description="Release id")
    against: str = Field("champion", description="Release beside which it is measured: champion, challenger or an id")
    corpus: str = Field("", description="Corpus whose test queries are asked; empty: the release's own")
    requests: int = Field(3000, ge=200, le=100_000, multiple_of=100, description="Requests to each release, in hundreds")
    starts: int = Field(5, ge=2, le=50, description="How often both servers are started")
    gate_file: str = Field(
        "", description="Measure only if this gate file has a rule on latency, and a release serves; empty: always"
    )
    again: str = Field(
        "", max_length=60, description="A name for one more measurement of the same releases; empty: the one that is there"
    )


class MeasureLatencyTuning(Tuning):
    wait_s: float = Field(120, gt=0, le=3600, description="Seconds that a server may take to start")


class MeasureLatencyResult(Result):
    latency: str
    """Empty: the gate file does not ask for it, or there is no other release to measure beside."""
    release: str
    champion: str
    """The release that it was measured beside."""
    p50: float | None = None
    """The release's quantile divided by the champion's; so, too, the others."""
    p95: float | None = None
    p99: float | None = None
    rss: float | None = None
    """Of resident memory; none: this system does not tell it."""
    startup: float | None = None
    sentence: str
    found: bool


def measure_latency(params: MeasureLatencyParams, tuning: MeasureLatencyTuning) -> MeasureLatencyResult:
    """Serve a release and the champion at once on servers of their own, and compare latency, memory and start-up."""
    from pipelines.evaluation.served_release import check_server_is_installed
    from pipelines.evaluation.variant_rule import machine

    store = open_store()
    if params.starts > params.requests // 100:
        given = f"--starts {params.starts} for --requests {params.requests}"
        raise InputError(given, "a hundred requests or more for each start", "lower --starts, or raise --requests")
    release = load(store, "release", params.release)
    journal = Journal(store)
    if params.gate_file and (reason := _why_not(params.gate_file, journal.routing.champion, release.id)):
        log().info("skipped", reason=reason)
        return MeasureLatencyResult(latency="", release=release.id, champion="", sentence=f"not measured: {reason}", found=True)
    if params.against == "champion" and journal.routing.champion is None:
        raise NothingToDo("there is no champion yet to measure beside")
    champion = resolve(journal, params.against)
    corpus = load(store, "corpus", params.corpus or release.inputs["corpus"])
    check_server_is_installed()
    inputs = {"release": release.id, "champion": champion.id, "corpus": corpus.id, "machine": machine()}
    semantic = params.recipe_params({"release", "against", "corpus", "gate_file"})
    recipe = Recipe(kind="latency", step="measure_latency", version=VERSION, inputs=inputs, params=semantic)
    releases = {"release": release, "champion": champion}
    measured = produce(store, recipe, lambda folder: _measure(releases, corpus, params, tuning, folder), tuning.model_dump())
    log().info(measured.facts["sentence"], latency=measured.id)
    return MeasureLatencyResult(
        latency=measured.id, release=release.id, champion=champion.id, found=measured.found, **measured.facts
    )


def _why_not(gate_file: str, champion: str | None, release: str) -> str:
    """Why the rules of a gate file need no measurement; empty: they need one."""
    from pipelines.gates.gate_file import read_gate_file

    if not any(rule.comparison == "latency" for rule in read_gate_file(gate_file).rules):
        return f"gate file {gate_file} has no rule on latency"
    if champion is None:
        return "there is no champion yet"
    return "the release is the champion" if champion == release else ""


def _measure(
    releases: dict[str, Artifact], corpus: Artifact, params: MeasureLatencyParams, tuning: MeasureLatencyTuning, folder: Path
) -> dict[str, Any]:
    import numpy as np

    from pipelines.evaluation import latency
    from pipelines.reports.latency import CONFIDENCE, write_latency_report

    store = corpus.store
    corpora = [load_exactly(store, "corpus", release.inputs["corpus"]) for release in releases.values()]
    asked = latency.targets(corpora, corpus)
    ids = {side: release.id for side, release in releases.items()}
    measured = latency.measure(ids, asked, params.requests, params.starts, tuning.wait_s)
    summary = latency.summary_of(measured, len(asked))
    for side, release_id in ids.items():
        summary[side]["id"] = release_id
    blocks = {side: np.asarray(measured[side]["blocks"]) for side in latency.SIDES}
    latency.write_measurement(folder, measured, summary)
    sentence = write_latency_report(folder, summary, blocks)
    ratios = {name: latency.ratio_of(summary, blocks, name, CONFIDENCE) for name in latency.MEASURES}
    return {**{name: ratio and round(ratio.ratio, 4) for name, ratio in ratios.items()}, "sentence": sentence}
