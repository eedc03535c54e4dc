"""The cost of a refresh in time and memory, a group of the figures of `make bench-embeddings`.

Time: electronics, 19,406 texts, with MiniLM, in one process, so without the start of Python: in full, unchanged, and with 1 %
of the documents changed. Memory: the same texts recombined by seed to 100,000 and 1,000,000 documents, with the static
encoder of tests/encoders.py, each step in its own process, in shards of 100,000 documents.
"""

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from structlog.testing import capture_logs

from pipelines.corpus.documents import Document, write_rows
from pipelines.store.artifacts import load_exactly, produce
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe
from proofs.kill_points import local_sandbox
from tests.conftest import PROJECT, call
from tests.corpora import CHORUS
from tests.encoders import static_encoder

SEED = 0
PART = 0.01
RUNS = 3
SIZES = (100_000, 1_000_000)
GOALS = {
    "refresh_0pct_s": "≤ 3",
    "refresh_0pct_forward_passes": "≤ 0",
    "refresh_1pct_token_ratio": "≤ 0.011",
    "refresh_1pct_wall_ratio": "≤ 0.05",
    "rss_ratio_1m_100k": "≤ 1.2",
}


def electronics() -> list[Document]:
    """The products, their title and short description as text, in the order of ids.

    Raises:
        FileNotFoundError: the collection, which is not part of the project, is not beside it.
    """
    texts = {}
    for number in range(1, 5):
        with zipfile.ZipFile(CHORUS / f"{number}.json.zip") as file:
            for product in json.loads(file.read(f"{number}.json")):
                texts[product["id"]] = f"{product['title']} {product.get('short_description') or ''}".strip()
    return [Document(id=key, text=text) for key, text in sorted(texts.items()) if text]


def recombined(count: int) -> Iterator[Document]:
    """`count` documents, each the first words of one product's text and the last words of another's, drawn by seed."""
    texts = [product.text.split() for product in electronics()]
    draw = random.Random(SEED)
    for number in range(count):
        first, second = draw.choice(texts), draw.choice(texts)
        yield Document(id=f"r{number:09d}", text=" ".join([*first[: len(first) // 2 + 1], *second[len(second) // 2 :]]))


def changed(documents: Iterable[Document], part: float, seed: int = SEED) -> Iterator[Document]:
    """The documents, with one more word in a random part of them."""
    draw = random.Random(seed)
    for document in documents:
        yield document.model_copy(update={"text": f"{document.text} refurbished"}) if draw.random() < part else document


def differing(documents: Iterable[Document], others: Iterable[Document]) -> list[str]:
    """The texts of the others that differ from the documents' texts."""
    return [other.text for document, other in zip(documents, others, strict=True) if other.text != document.text]


def corpus_of(documents: Iterable[Document], name: str) -> str:
    """A corpus artifact, written as a stream; its id depends on `name`, since the content is not read twice."""

    def build(folder: Path) -> dict[str, Any]:
        count = write_rows(folder / "documents.jsonl", documents)
        for empty in ("queries.jsonl", "qrels.txt"):
            (folder / empty).touch()
        return {"documents": count, "queries": 0, "judgments": 0}

    return produce(open_store(), Recipe(kind="corpus", step="bench", version=1, inputs={"name": name}, params={}), build).id


# --- time ---------------------------------------------------------------------------------------------------------------


def refreshed(corpus: str, encoder: str, base: str = "") -> tuple[float, Any, list[Any], Any]:
    """A refresh in this process: seconds, and the results of plan, of embed for each shard, and of commit_embeddings."""
    started = time.perf_counter()
    with capture_logs():
        planned = call("plan", corpus=corpus, encoder=encoder, base=base)
        parts = {"corpus": corpus, "encoder": encoder, "base": planned.base}
        shards = [call("embed", **parts, shard=shard) for shard in planned.shards]
        answer = call("commit_embeddings", **parts, shards=[one.shard for one in shards])
    return time.perf_counter() - started, planned, shards, answer


def tokens(tokenizer: Any, texts: Iterable[str]) -> int:
    """Tokens that the encoder reads of the texts."""
    return sum(len(encoding.ids) for encoding in tokenizer.encode_batch(list(texts)))


def time_figures(home: Path, most: int = 0) -> dict[str, float]:
    """One full run, RUNS unchanged ones and RUNS with 1 % changed; `most` bounds the documents, 0: all."""
    from pipelines.models.encoder import load_encoder

    with local_sandbox(home).activated() as store:
        documents = electronics()[: most or None]
        encoder = call("export_encoder").encoder
        whole = corpus_of(documents, "whole")
        refreshed(corpus_of(documents[:50], "warm"), encoder)
        full_s, _, shards, base = refreshed(whole, encoder)
        encode_s = sum(load_exactly(store, "shard", one.shard).facts["encode_s"] for one in shards)
        unchanged = [refreshed(whole, encoder, base.embeddings) for _ in range(RUNS)]
        again = [
            refreshed(corpus_of(changed(documents, PART, seed), f"changed-{seed}"), encoder, base.embeddings)
            for seed in range(RUNS)
        ]
        assert all(answer.kept + answer.encoded == len(documents) for _, _, _, answer in again)
        encoded = [text for seed in range(RUNS) for text in differing(documents, changed(documents, PART, seed))]
        assert len(encoded) == sum(answer.encoded for _, _, _, answer in again)
        tokenizer = load_encoder(load_exactly(store, "encoder", encoder), "onnx-fp32").tokenizer
        started = time.perf_counter()
        all_tokens = tokens(tokenizer, [one.text for one in documents])
        tokenize_s = time.perf_counter() - started
        return {
            "refresh_documents": len(documents),
            "refresh_full_s": round(full_s, 2),
            "tokens_a_document": round(all_tokens / len(documents), 1),
            "tokenize_tokens_per_s": round(all_tokens / tokenize_s),
            "encode_documents_per_s": round(len(documents) / encode_s, 1),
            "refresh_0pct_s": round(statistics.median(seconds for seconds, *_ in unchanged), 3),
            "refresh_0pct_forward_passes": sum(one.forward_passes for _, _, shards, _ in unchanged for one in shards)
            + sum(not answer.found for _, _, _, answer in unchanged),
            "refresh_1pct_token_ratio": round(tokens(tokenizer, encoded) / RUNS / all_tokens, 5),
            "refresh_1pct_s": round(statistics.median(seconds for seconds, *_ in again), 3),
            "refresh_1pct_wall_ratio": round(statistics.median(seconds for seconds, *_ in again) / full_s, 4),
        }


# --- memory -------------------------------------------------------------------------------------------------------------


def step(name: str, **values: Any) -> tuple[dict[str, Any], float]:
    """`python -m pipelines NAME` in its own process: the result and its peak memory in MB.

    The system counts a process's memory from its fork on, so this process is kept smaller than any step.
    """
    lists = {key: value if isinstance(value, list) else [value] for key, value in values.items()}
    options = [f"--{key.replace('_', '-')}={value}" for key, several in lists.items() for value in several if value != ""]
    with tempfile.TemporaryFile() as out:
        command = [sys.executable, "-m", "pipelines", name, *options]
        child = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL, cwd=PROJECT)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        assert child.returncode == 0, (name, child.returncode)
        out.seek(0)
        return json.loads(out.read()), used.ru_maxrss / 1024


def peaks(count: int, encoder: str) -> dict[str, float]:
    """The peak memory of each step of a full run and of a refresh of 1 %, in MB; and `documents_per_s` of plan."""
    peak_mb: dict[str, float] = {}
    base = ""
    for name, part in (("full", 0.0), ("1pct", PART)):
        corpus = corpus_of(changed(recombined(count), part), f"{count}-{name}")
        started = time.perf_counter()
        planned, peak_mb[f"plan_{name}"] = step("plan", corpus=corpus, encoder=encoder, base=base)
        peak_mb["documents_per_s"] = count / (time.perf_counter() - started)
        parts = {"corpus": corpus, "encoder": encoder, "base": base}
        embedded = [step("embed", **parts, shard=shard) for shard in planned["shards"]]
        peak_mb[f"embed_{name}"] = max(peak for _, peak in embedded)
        shards = [result["shard"] for result, _ in embedded]
        answer, peak_mb[f"commit_{name}"] = step("commit_embeddings", **parts, shards=shards)
        assert answer["documents"] == count
        base = answer["embeddings"]
    return peak_mb


def memory_figures(home: Path, sizes: tuple[int, int] = SIZES) -> dict[str, float]:
    """The largest peak of any step at both sizes, and their ratio."""
    with local_sandbox(home).activated(), capture_logs():
        encoder = static_encoder()
        small, large = (peaks(count, encoder) for count in sizes)
    print(json.dumps({"small": small, "large": large}), file=sys.stderr, flush=True)
    small.pop("documents_per_s")
    planned_per_s = large.pop("documents_per_s")
    return {
        "rss_100k_mb": round(max(small.values()), 1),
        "rss_1m_mb": round(max(large.values()), 1),
        "rss_ratio_1m_100k": round(max(large.values()) / max(small.values()), 3),
        "plan_documents_per_s": round(planned_per_s),
    }


def figures(home: Path, most: int = 0) -> dict[str, float]:
    """All figures; memory first, while this process is small. `most` bounds the documents whose refresh is timed; 0: all."""
    return {**memory_figures(home / "memory"), **time_figures(home / "time", most)}
