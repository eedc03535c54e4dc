"""`make bench-embeddings`: the cost of refreshing, encoding, indexing and batch scoring. Each group of figures is one function.

`python -m benches.embeddings encoders` measures single groups. `--short` (`make bench-embeddings SHORT=1`) measures the same
figures with fewer texts and queries, and without torch's variants: a quarter of an hour instead of more than an hour.
Figures that are ratios keep their meaning, since both sides of each are measured with the same texts; memory is measured in
full. A whole run puts its figures into docs/figures and, with the machine, into docs/performance.md.
"""

import argparse
import json
import os
import random
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benches import refresh, retrieval
from pipelines.corpus.documents import documents
from pipelines.models.backends import FORMATS, INT8, cpu_features
from pipelines.models.encoder import Encoder, card_of, load_encoder
from pipelines.models.sources import MINILM, model_folder
from pipelines.store.artifacts import load_exactly
from pipelines.store.objects import open_store
from tests.conftest import PROJECT, call
from tests.corpora import CHORUS
from tests.figures import machine, write_figures

SEED, RUNS = 0, 3
GOALS = {"retention_ndcg10": "≥ 0.995", **refresh.GOALS, **retrieval.GOALS}
SPEEDUP = "speedup_vs_sentence_transformers"
BF16_SPEEDUP, OTHER_SPEEDUP = "≥ 3.5", "≥ 1.55"
"""Goals of SPEEDUP, on a CPU with native bf16 and on another."""
Figures = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """How much each group measures with."""

    texts: int = 4096
    """Texts whose encoding is timed beside sentence-transformers."""
    chosen_documents: int = 10_000
    chosen_queries: int = 2000
    """Documents and queries by which a variant is chosen."""
    torch: bool = True
    """Whether torch's variants are among those to choose from."""
    refreshed: int = 0
    """Documents that are refreshed; 0: all of electronics."""
    scored: int = retrieval.QUERIES
    """Queries that are scored in a batch."""


WHOLE, SHORT = Sizes(), Sizes(1024, 1000, 1000, torch=False, refreshed=4000, scored=20_000)


def timed(action: Callable[[], Any]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def encoders(sizes: Sizes) -> Figures:
    """The chosen variant, its fidelity and retention of nDCG@10, its speed beside sentence-transformers and the GEMM peak."""
    icons = call("ingest").corpus
    corpus = call("ingest", source=str(CHORUS)).corpus if CHORUS.exists() else icons
    native = "avx512_bf16" in cpu_features()  # torch emulates bf16 and fp16 elsewhere, at a sixth of the speed of fp32
    names = [
        name
        for name, form in FORMATS.items()
        if set(form.requires) <= cpu_features()
        and (native or form.precision == "fp32")
        and (sizes.torch or form.backend != "torch")
    ]
    encoder = call("export_encoder", variants=names, calibration=corpus).encoder
    sample = {"documents": sizes.chosen_documents, "queries": sizes.chosen_queries}
    chosen = call("choose_encoder", encoder=encoder, corpus=corpus, **sample)
    on_icons = call("choose_encoder", encoder=encoder, corpus=icons, **sample)
    rows = {row["variant"]: row for row in load_exactly(open_store(), "report", on_icons.report).facts["table"]}
    table = load_exactly(open_store(), "report", chosen.report).facts["table"]
    keys = (
        "variant", "docs_per_s", "fidelity", "fidelity_low", "overlap_at_10", "retention", "low", "high", "mates", "cosine",
        "memory_mb", "reason",
    )  # fmt: skip
    return {
        "collection": "electronics" if CHORUS.exists() else "icons",
        "variant": chosen.variant,
        **speed(encoder, chosen.variant, corpus, sizes.texts),
        "chosen": chosen.variant,
        "fidelity": chosen.fidelity,
        "fidelity_low": chosen.fidelity_low,
        "choosing_s": chosen.choosing_s,
        "retention_low": chosen.low,
        "retention_ndcg10": chosen.retention,
        "retention_ndcg10_low": chosen.low,
        "retention_ndcg10_high": chosen.high,
        "retention_ndcg10_icons": rows[chosen.variant]["retention"],
        "retention_ndcg10_icons_low": rows[chosen.variant]["low"],
        "retention_ndcg10_icons_high": rows[chosen.variant]["high"],
        "variants": [{key: row[key] for key in keys} for row in table],
    }


def speed(encoder_id: str, variant: str, corpus: str, count: int) -> Figures:
    """Texts per second by the variant and by sentence-transformers in fp32 with its defaults, alternating: ratio of medians."""
    from sentence_transformers import SentenceTransformer

    store = open_store()
    encoder = load_exactly(store, "encoder", encoder_id)
    texts = [document.text for document in documents(load_exactly(store, "corpus", corpus))]
    texts = random.Random(SEED).sample(texts, min(count, len(texts)))
    baseline = SentenceTransformer(str(model_folder(MINILM)), device="cpu")
    baseline.max_seq_length = card_of(encoder).fingerprint.max_length
    loaded = load_encoder(encoder, variant)
    loaded.encode(texts[:64], "document")
    baseline.encode(texts[:64], show_progress_bar=False)
    baseline_s, variant_s = [], []
    for _ in range(RUNS):
        baseline_s.append(timed(lambda: baseline.encode(texts, normalize_embeddings=True, show_progress_bar=False)))
        variant_s.append(timed(lambda: loaded.encode(texts, "document")))
    seconds = statistics.median(variant_s)
    peak = gemm_peak("int8" if FORMATS[variant].file == INT8 else FORMATS[variant].precision)
    return {
        "texts": len(texts),
        "docs_per_s": len(texts) / seconds,
        SPEEDUP: statistics.median(baseline_s) / seconds,
        "gemm_peak_gops": peak / 1e9,
        "gemm_share": operations(loaded, texts) / seconds / peak,
    }


def operations(encoder: Encoder, texts: list[str]) -> float:
    """Multiplications and additions of the matrix products that the texts need, without padding (L: tokens of a text).

    Each layer: 8·L·d² for query, key, value and output, 4·L·d·f for the feed-forward part, 4·L²·d for attention.
    """
    config = json.loads((model_folder(MINILM) / "config.json").read_text())
    width, inner, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    lengths = [len(encoding.ids) for encoding in encoder.tokenizer.encode_batch_fast(texts)]
    return layers * sum(8 * n * width**2 + 4 * n * width * inner + 4 * n**2 * width for n in lengths)


def gemm_peak(precision: str) -> float:
    """Operations per second of one large matrix product in this precision, all cores, by oneDNN in torch; best of ten."""
    import torch

    rows, width = 4096, 2048
    if precision == "int8":
        left, right = (torch.randint(-9, 9, (size, width), dtype=torch.int8) for size in (rows, width))
        product = lambda: torch._int_mm(left, right)  # noqa: E731
    else:
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
        left, right = torch.randn(rows, width, dtype=dtype), torch.randn(width, width, dtype=dtype)
        product = lambda: left @ right  # noqa: E731
    product()
    return 2 * rows * width**2 / min(timed(product) for _ in range(10))


GROUPS: dict[str, Callable[[Path, Sizes], Figures]] = {
    # First: its memory is measured while this process is small.
    "refresh": lambda home, sizes: refresh.figures(home, sizes.refreshed),
    "encoders": lambda _, sizes: encoders(sizes),
    "index": lambda *_: retrieval.index_figures(),
    "batch": lambda _, sizes: retrieval.batch_figures(sizes.scored),
}


def add_to_page(written: Path) -> None:
    """Put the figures of a whole run into docs/figures, in place of this machine's earlier ones, and make the pages anew."""
    from proofs import pages

    folder = PROJECT / "docs/figures"
    runs = sorted(folder.glob("bench-embeddings*.json"))
    earlier = [path for path in runs if json.loads(path.read_text())["machine"] == machine()]
    name = re.sub(r"[^a-z0-9]+", "-", machine().lower()).strip("-")
    *parts, target = earlier or [folder / f"bench-embeddings-{name}.json"]
    target.write_text(written.read_text())
    for part in parts:  # of a run of single groups, which the whole run holds
        part.unlink()
    pages.main()


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description="Measure the cost of refreshing, encoding, indexing and batch scoring.")
    parser.add_argument("--short", action="store_true", help="fewer texts and queries: a quarter of an hour")
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"some of {', '.join(GROUPS)}; none: all")
    asked = parser.parse_args(arguments)
    if unknown := sorted(set(asked.groups) - set(GROUPS)):
        parser.error(f"given {unknown[0]!r}; expected some of {', '.join(GROUPS)}; next: name one of them, or none for all")
    if "refresh" in (asked.groups or GROUPS) and not CHORUS.exists():
        expected = "the electronics, a collection that is no part of the project"
        others = ", ".join(name for name in GROUPS if name != "refresh")
        parser.error(f"given no {CHORUS}; expected {expected}; next: name other groups: {others}")
    figures: Figures = {"short": asked.short}
    for name in asked.groups or GROUPS:
        with tempfile.TemporaryDirectory(prefix="ratchet-bench-") as home:
            os.environ |= {"RATCHET_HOME": str(Path(home) / "home"), "PYTHONPATH": str(PROJECT)}
            figures |= GROUPS[name](Path(home) / "home", SHORT if asked.short else WHOLE)
    goals = {SPEEDUP: BF16_SPEEDUP if "avx512_bf16" in cpu_features() else OTHER_SPEEDUP, **GOALS}
    goals = {key: goal for key, goal in goals.items() if key in figures}
    written = write_figures("bench/embeddings", figures, seed=SEED, runs=RUNS, goals=goals)
    if not (asked.short or asked.groups):
        add_to_page(written)


if __name__ == "__main__":
    main(sys.argv[1:])
