"""The variant of a first release: the fastest that ranks as fp32 does, where measuring it costs little.

Candidates are fp32 and what this machine computes natively: bf16 where the CPU has instructions for it, bf16 and fp16 on a GPU.
int8 is chosen by hand. They are measured as `choose_encoder` does, on fewer documents: as many as a tenth of the time allows
that the fastest would save, LEAST_DOCUMENTS at least. Where even these cost more than a tenth of the time that fp32 needs for
all documents, or fewer queries than QUERIES may be asked, nothing is measured and fp32 is taken; that is found again, too.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pipelines.embeddings.refresh import estimate_tokens
from pipelines.errors import InputError
from pipelines.evaluation import variant_choice as choice
from pipelines.evaluation import variant_rule
from pipelines.evaluation.fidelity import QUERIES
from pipelines.logs import log
from pipelines.models.backends import native_variants
from pipelines.models.encoder import Encoder, card_of, load_encoder
from pipelines.store.artifacts import Artifact, produce
from pipelines.store.recipes import Recipe

VERSION = 2
SHARE, MOST_S = 0.1, 300.0
"""The part of the time that choosing may cost, and the seconds."""
LEAST_DOCUMENTS, MOST_DOCUMENTS = 200, 10_000
PROBED = 64
"""Documents whose encoding gives the rates."""
COMPARE_S = 0.0005
"""Seconds, about, that comparing the rankings of one query takes."""


@dataclass(frozen=True)
class AutomaticChoice:
    """What was taken and why, in one sentence; `report` is the id of the measurement, empty where nothing was measured."""

    variant: str
    sentence: str
    report: str = ""


@dataclass(frozen=True)
class Measured:
    """The measurement of a choice, for its report."""

    sentence: str
    table: list[variant_rule.VariantMeasurement]
    sample: choice.Sample
    rule: variant_rule.Rule


WriteReport = Callable[[Path, Measured | str], None]


@dataclass(frozen=True)
class Limits:
    """What a measurement needs, and what it may cost."""

    documents: int
    """Documents of the corpus below which nothing is measured."""
    queries: int = QUERIES
    """Queries below which nothing is measured: with fewer, an interval says little of a loss in one query of many."""
    share: float = SHARE
    """Part of the time that choosing may cost, see `affordable`."""


def automatic_variant(
    encoder: Artifact, corpus: Artifact, query_variant: str, tokens: int, limits: Limits, write: WriteReport
) -> AutomaticChoice:
    """The variant for the documents of a first release. It is found again by encoder, corpus and machine.

    Args:
        encoder: whose variants may be taken.
        corpus: whose documents will all be encoded.
        query_variant: that will encode the queries.
        tokens: about how many tokens the documents have.
        limits: below which nothing is measured.
        write: writes the report of a measurement, or the sentence why there is none, into a folder.
    """
    reference, count = variant_rule.REFERENCE, int(corpus.facts["documents"])
    candidates = [name for name in card_of(encoder).variants if name == reference or name in native_variants()]
    if count < limits.documents:
        return AutomaticChoice(reference, f"{reference} is taken: {count:,} documents are too few to measure other variants")
    if len(candidates) < 2:
        return AutomaticChoice(
            reference, f"{reference} is taken: the encoder has no variant that this machine computes natively"
        )
    inputs = {"encoder": encoder.id, "corpus": corpus.id, "machine": variant_rule.machine()}
    semantic = {"query_variant": query_variant, "candidates": candidates, **asdict(limits)}
    recipe = Recipe(kind="report", step="plan", version=VERSION, inputs=inputs, params=semantic)

    def build(folder: Path) -> dict[str, Any]:
        try:
            return _build(encoder, corpus, candidates, query_variant, tokens, limits, write, folder)
        except _NotMeasured as reason:
            sentence = f"{reference} is taken: {reason}"
            write(folder, sentence)
            return {"variant": reference, "sentence": sentence}

    report = produce(encoder.store, recipe, build)
    return AutomaticChoice(report.facts["variant"], report.facts["sentence"], report.id if "table" in report.facts else "")


class _NotMeasured(Exception):
    """Why nothing is measured, as the end of a sentence."""


def _build(
    encoder: Artifact,
    corpus: Artifact,
    names: list[str],
    query_variant: str,
    tokens: int,
    limits: Limits,
    write: WriteReport,
    folder: Path,
) -> dict[str, Any]:
    started = time.monotonic()
    loaded, unable = variant_rule.loadable(list(dict.fromkeys([*names, query_variant])), partial(load_encoder, encoder))
    if not {variant_rule.REFERENCE, query_variant} <= loaded.keys() or len(loaded) < 2:
        raise _NotMeasured("; ".join(f"{row.variant} {row.reason}" for row in unable))
    sample = _sample(corpus, loaded, tokens, limits, started)
    rule = variant_rule.Rule()
    best, table = variant_rule.fastest(choice.measure(loaded, sample, query_variant, 2048, rule, alone_only=True))
    exact = next(row for row in table if row.variant == variant_rule.REFERENCE)
    speedup, seconds = best.docs_per_s / exact.docs_per_s, round(time.monotonic() - started, 2)
    taken = f"fidelity {best.fidelity:.4f}, at least {best.fidelity_low:.4f}, over {sample.size}"
    rate = f"{best.docs_per_s:,.0f} documents a second, {speedup:.2f} times as many as {variant_rule.REFERENCE}"
    others = "; ".join(f"{row.variant}: {row.reason}" for row in [*table, *unable] if row.reason and row is not exact)
    why = f"it ranks as fp32 does ({taken}) and encodes {rate}" if best is not exact else f"no other may be taken ({others})"
    sentence = f"{best.variant} is taken: {why}; choosing took {seconds:.1f} s"
    write(folder, Measured(sentence, [*table, *unable], sample, rule))
    chosen = {"variant": best.variant, "sentence": sentence, "choosing_s": seconds, "speedup": speedup}
    return chosen | {"documents": len(sample.documents), "table": [asdict(row) for row in [*table, *unable]]}


def _sample(corpus: Artifact, encoders: Mapping[str, Encoder], tokens: int, limits: Limits, started: float) -> choice.Sample:
    """The documents and queries to measure with: as many as the budget allows, the judged ones where they fit.

    Raises:
        _NotMeasured: choosing would cost more than it may, or too few queries can be asked.
    """
    try:
        drawn = choice.draw_sample(corpus, MOST_DOCUMENTS, max(QUERIES, limits.queries))
    except InputError as error:
        raise _NotMeasured(error.given) from None
    if len(drawn.queries) < limits.queries:
        queries = f"{len(drawn.queries):,} train queries and titles may be asked"
        raise _NotMeasured(f"{queries}, and fewer than {limits.queries:,} don't tell other variants apart")
    spread = drawn.documents[:: max(1, len(drawn.documents) // PROBED)][:PROBED]
    rates = _tokens_per_s(encoders, [document.text for document in spread])
    fp32, fastest = rates[variant_rule.REFERENCE], max(rates.values())
    asked = [query.text for query in drawn.queries] + [query.text for query in drawn.topics.queries]
    each = tokens / drawn.of * sum(1 / rate for rate in rates.values())
    spent = time.monotonic() - started + choice.WARM_UP * each + COMPARE_S * len(asked) * len(encoders)
    spent += sum(_tokens_of(text, encoders) for text in asked) / fp32
    count = affordable(spent, each, tokens / fp32, tokens / fp32 - tokens / fastest, limits.share)
    log().info("rates", tokens_per_s={name: round(rate) for name, rate in rates.items()}, documents=count)
    if not count:
        needed = f"the {tokens / fp32:,.0f} s that it needs for all documents"
        raise _NotMeasured(f"measuring others would cost more than {100 * limits.share:g} % of {needed}, or than {MOST_S:g} s")
    judged = {document for grades in drawn.topics.qrels.values() for document in grades}
    if len(judged) > count:
        drawn = replace(drawn, topics=replace(drawn.topics, queries=[], qrels={}))
    kept = choice.sample_documents(drawn.documents, judged if len(judged) <= count else (), count)
    return replace(drawn, documents=kept)


def affordable(spent: float, each: float, whole: float, saved: float, share: float = SHARE) -> int:
    """How many documents to measure with, MOST_DOCUMENTS at most; 0: too few are affordable.

    What is saved is saved at each refresh and each query afterwards, too: so LEAST_DOCUMENTS may cost a share of the whole.

    Args:
        spent: seconds that choosing costs without documents.
        each: seconds that one more document costs.
        whole: seconds that fp32 needs for all documents.
        saved: seconds of these that the fastest variant saves.
        share: part of these that choosing may cost: of `saved` for more than LEAST_DOCUMENTS, of `whole` for these; MOST_S at
            most.

    >>> affordable(5, 0.01, 1000, 500), affordable(5, 0.01, 100, 50), affordable(5, 0.01, 20, 10), affordable(5, 0.01, 1e6, 5e5)
    (4500, 200, 0, 10000)
    """
    wanted = int((min(MOST_S, share * saved) - spent) / each)
    if spent + LEAST_DOCUMENTS * each > min(MOST_S, share * whole):
        return 0
    return min(max(wanted, LEAST_DOCUMENTS), MOST_DOCUMENTS)


def _tokens_per_s(encoders: Mapping[str, Encoder], texts: Sequence[str]) -> dict[str, float]:
    """The rates over the texts, each variant once warmed up by them."""
    rates = {}
    for name, encoder in encoders.items():
        encoder.encode(texts[:8], "document")
        started = time.perf_counter()
        encoder.encode(texts, "document")
        rates[name] = sum(_tokens_of(text, encoders) for text in texts) / (time.perf_counter() - started)
    return rates


def _tokens_of(text: str, encoders: Mapping[str, Encoder]) -> int:
    return estimate_tokens(text, encoders[variant_rule.REFERENCE].card.fingerprint.max_length)
