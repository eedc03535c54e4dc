"""`make proof-gpu`: encoders and indexes on a GPU against the CPU, in at most 8 minutes and without a network.

**It has not run on a GPU yet**, because none was available; `python -m proofs.gpu --rehearse` runs the same plan with few texts
on a CPU, which a test does. It needs torch with CUDA, the extras `steps` and `train`, pytest, and the icons and the encoder of
the extra `demo`, in whose place `--source` and `--model` name files. The index is compared where `faiss-gpu` is there. A stage
that fails, or is not done when the time is up, is named, with the figures that it had. Writes build/proof/gpu.json after each.
"""

import argparse
import importlib.util
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.corpus.documents import documents
from pipelines.evaluation import variant_choice as choice
from pipelines.evaluation.variant_rule import REFERENCE, loadable
from pipelines.index import algorithms
from pipelines.index.vector_index import build_flat
from pipelines.models.backends import has_gpu
from pipelines.models.encoder import load_encoder
from pipelines.models.sources import MINILM
from pipelines.store.artifacts import Artifact, load_exactly
from pipelines.store.objects import open_store
from tests.conftest import PROJECT, call
from tests.figures import write_figures

SEED, LIMIT_S = 0, 460.0
"""Seconds until the last stage is stopped; loading libraries and writing come on top."""
VARIANTS = ("torch-fp32", "torch-bf16", "torch-fp16")
BATCH_TOKENS = (2048, 8192, 32_768, 131_072)
GOALS = {"bf16_fidelity_low": "≥ 0.995", "fp16_fidelity_low": "≥ 0.995", "index_agreement": "≥ 0.99"}
Figures = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """How much each stage does."""

    documents: int
    queries: int
    texts: int
    """Texts that each rate is measured with."""
    vectors: int
    batch_tokens: tuple[int, ...] = BATCH_TOKENS
    compared_tokens: int = 2048
    """Tokens of the batches in which a text is compared with itself alone."""


WHOLE = Sizes(documents=0, queries=2000, texts=20_000, vectors=200_000)
REHEARSED = Sizes(documents=16, queries=16, texts=12, vectors=1000, batch_tokens=BATCH_TOKENS[:1], compared_tokens=64)


@dataclass
class Bench:
    """What the stages share: the collection, the exported encoder, and the figures so far."""

    sizes: Sizes
    cuda: bool
    source: str = ""
    model: str = MINILM
    figures: Figures = field(default_factory=dict)

    def __post_init__(self) -> None:
        store = open_store()
        self.corpus: Artifact = load_exactly(store, "corpus", call("ingest", source=self.source).corpus)
        exported = call("export_encoder", model=self.model, variants=list(VARIANTS))
        self.encoder: Artifact = load_exactly(store, "encoder", exported.encoder)
        texts = [document.text for document in documents(self.corpus)]
        random = np.random.default_rng(SEED)
        chosen = random.integers(0, len(texts), (self.sizes.texts, 24))
        self.texts = [" ".join(texts[place] for place in row[: 4 + number % 20]) for number, row in enumerate(chosen)]


@dataclass(frozen=True)
class Stage:
    """A part of the plan; it is left out where less than `least_s` seconds are left."""

    name: str
    least_s: float
    run: Callable[[Bench], Iterable[Figures]]
    """Gives figures as soon as they are known."""


class TimeIsUpError(BaseException):
    """The deadline has passed. No Exception, so that no library takes it for an error of its own."""


def fidelity(bench: Bench) -> Iterator[Figures]:
    """Each variant of torch against fp32 on the CPU: fidelity, difference by the batch, documents a second."""
    loaded, unable = loadable([REFERENCE, *VARIANTS], partial(load_encoder, bench.encoder))
    sample = choice.draw_sample(bench.corpus, bench.sizes.documents, bench.sizes.queries)
    found: Figures = {"unable": [f"{row.variant}: {row.reason}" for row in unable]}
    for row in choice.measure(loaded, sample, REFERENCE, bench.sizes.compared_tokens):
        name = row.variant.removeprefix("torch-")
        found |= {
            f"{name}_fidelity": row.fidelity,
            f"{name}_fidelity_low": row.fidelity_low,
            f"{name}_batch": row.mates,
            f"{name}_docs_per_s": row.docs_per_s,
        }
    yield found | {"fidelity_queries": len(sample.queries), "fidelity_documents": len(sample.documents)}


def speed(bench: Bench) -> Iterator[Figures]:
    """Texts a second and the GPU's peak memory by tokens of a batch, and fp32 by ONNX Runtime on the CPU beside it."""
    import torch

    cpu = load_encoder(bench.encoder, REFERENCE)
    few = bench.texts[: max(1, len(bench.texts) // 40)]
    started = time.perf_counter()
    cpu.encode(few, "document")
    yield {"cpu_fp32_texts_per_s": len(few) / (time.perf_counter() - started)}
    for variant in VARIANTS[1:]:
        encoder = load_encoder(bench.encoder, variant)
        for tokens in bench.sizes.batch_tokens:
            encoder.encode(few, "document", tokens)
            if bench.cuda:
                torch.cuda.reset_peak_memory_stats()
            started = time.perf_counter()
            encoder.encode(bench.texts, "document", tokens)  # its vectors come back to the CPU, so nothing is pending then
            key = f"{variant.removeprefix('torch-')}_{tokens}"
            rate = len(bench.texts) / (time.perf_counter() - started)
            memory = torch.cuda.max_memory_allocated() / 2**20 if bench.cuda else 0
            yield {f"{key}_texts_per_s": rate, f"{key}_gpu_mb": memory}


def index(bench: Bench) -> Iterator[Figures]:
    """Inverted lists built on the device and on the CPU: seconds, and answers compared with each other and with exact ones.

    Without faiss, or with faiss-cpu, there is nothing to compare.
    """
    if importlib.util.find_spec("faiss") is None:
        yield {"faiss_gpus": 0}
        return
    import faiss

    gpus = faiss.get_num_gpus() if hasattr(faiss, "get_num_gpus") else 0
    random = np.random.default_rng(SEED)
    centres = random.normal(size=(200, 384))
    vectors = centres[random.integers(0, 200, bench.sizes.vectors)] + random.normal(size=(bench.sizes.vectors, 384))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    asked = vectors[random.integers(0, len(vectors), 200)]
    exact = build_flat(vectors).search(asked, 10)[1]
    yield {"faiss_gpus": gpus}
    ranked = {}
    for device in ("cpu", algorithms.device_of("ivf-sq8", gpus)):
        started = time.perf_counter()
        built, _ = algorithms.build("ivf-sq8", vectors, device)
        algorithms.set_effort(built, 64)
        ranked[device] = built.search(asked, 10)[1]
        seconds = time.perf_counter() - started
        yield {f"index_{device}_s": seconds, f"index_{device}_recall_at_10": _shared(ranked[device], exact)}
    if gpus:
        yield {"index_agreement": _shared(ranked["cpu"], ranked["gpu"])}


def _shared(ranked: Any, others: Any) -> float:
    """The part of the ten best that two searches share."""
    return float(np.mean([len(set(ours) & set(theirs)) / 10 for ours, theirs in zip(ranked, others, strict=True)]))


PLAN = (Stage("fidelity", 120, fidelity), Stage("speed", 60, speed), Stage("index", 60, index))


@contextmanager
def until(deadline: float) -> Iterator[None]:
    """Stop the block at a time by `time.monotonic`; in the main thread alone.

    Raises:
        TimeIsUpError: in the block, when it is that time; a computation in C ends first.
    """

    def stop(*_: object) -> None:
        raise TimeIsUpError("the time was up")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(0.001, deadline - time.monotonic()))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def run(bench: Bench, deadline: float, write: Callable[[Figures], object]) -> Figures:
    """The stages in their order; one that fails, or for which the time is too short, is named and keeps its figures so far.

    Args:
        bench: what they share.
        deadline: by `time.monotonic`.
        write: gets the figures so far after each stage, so that they are not lost if the machine is.
    """
    left_out: list[str] = []
    for stage in PLAN:
        if deadline - time.monotonic() < stage.least_s:
            left_out.append(f"{stage.name}: too little time was left")
            continue
        started = time.monotonic()
        try:
            with until(deadline):
                for figures in stage.run(bench):
                    bench.figures |= figures
        except (Exception, TimeIsUpError) as error:  # noqa: BLE001  # what the other stages measure is worth keeping
            left_out.append(f"{stage.name}: {type(error).__name__}: {str(error)[:300]}")
        bench.figures[f"{stage.name}_s"] = round(time.monotonic() - started, 1)
        print(f"{stage.name}: {bench.figures[f'{stage.name}_s']} s", flush=True)
        write(bench.figures | {"left_out": left_out})
    write(bench.figures | {"left_out": left_out})  # with the stages after the last that ran
    return bench.figures | {"left_out": left_out}


def main(arguments: list[str]) -> int:
    """Run the plan on the GPU; without one only as a rehearsal, which says so."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--rehearse", action="store_true", help="the same plan with few texts, on whatever is there")
    parser.add_argument("--source", default="", help="the collection, as ingest takes it; empty: the icons")
    parser.add_argument("--model", default=MINILM, help="the encoder's folder, or the package that has it (%(default)s)")
    options = parser.parse_args(arguments)
    deadline, cuda = time.monotonic() + LIMIT_S, has_gpu()
    if not cuda and not options.rehearse:
        print(
            "error: given a machine without a CUDA device; expected one, with its driver; next: run it there, or rehearse "
            "the plan with `python -m proofs.gpu --rehearse`",
            file=sys.stderr,
        )
        return 2
    home = Path(tempfile.mkdtemp(prefix="ratchet-gpu-"))
    os.environ |= {"RATCHET_HOME": str(home / "home"), "PYTHONPATH": str(PROJECT), "HF_HUB_OFFLINE": "1"}
    device = {"gpu": _gpu_name(), "ran_on_gpu": True} if cuda else {}
    try:
        with until(deadline):
            bench = Bench(REHEARSED if options.rehearse else WHOLE, cuda, options.source, options.model)
        figures = run(bench, deadline, (lambda figures: _write(figures | device)) if cuda else lambda _: None)
    except TimeIsUpError:
        print(
            f"error: given a collection and an encoder that were not ready in {LIMIT_S:g} s; expected both before the first "
            "stage; next: name smaller ones by --source and --model",
            file=sys.stderr,
        )
        return 1
    finally:
        shutil.rmtree(home, ignore_errors=True)
    if not cuda:
        print("This was a rehearsal on a CPU: nothing of it has run on a GPU.")
    unable = [*figures["left_out"], *figures.get("unable", ())]
    print("\n".join(unable))
    return 1 if unable else 0


def _write(figures: Figures) -> None:
    write_figures("proof/gpu", figures, seed=SEED, runs=1, goals={key: goal for key, goal in GOALS.items() if key in figures})


def _gpu_name() -> str:
    import torch

    return str(torch.cuda.get_device_name(0))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
