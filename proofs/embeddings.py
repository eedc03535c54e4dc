"""`make proof-embeddings`: kills during a refresh, and the real history of the icons; writes build/proof/embeddings.json.

Kills: a refresh is killed before and after every operation on the store and at 20 random moments. Then nothing torn may be
readable, the retry must encode only what no shard and no checkpoint holds, and no vector may be lost. History: every release
of `fontawesomefree` from 6.0.0 to 6.6.0 in the package registry is refreshed incrementally and compared with a full run.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from structlog.testing import capture_logs

from pipelines.corpus.documents import Document, documents
from pipelines.embeddings.layout import each_row, rows, vectors
from pipelines.store.artifacts import Artifact, committed, load_exactly
from pipelines.store.objects import Store
from proofs.kill_points import CHILDREN, PATIENCE_S, SEED, SIGKILLS, Sandbox, local_sandbox
from tests.conftest import call
from tests.corpora import write_corpus
from tests.encoders import static_encoder
from tests.figures import write_figures

VERSIONS = ("6.0.0", "6.1.0", "6.1.1", "6.1.2", "6.2.0", "6.2.1", "6.3.0", "6.4.0", "6.4.2", "6.5.0", "6.5.1", "6.6.0")
METADATA = "fontawesomefree/static/fontawesomefree/metadata"
CACHE = "fontawesomefree/static/fontawesomefree/.icons-cache.json"
"""Where 6.0.0, which has no metadata, keeps the icons; its categories, which are not encoded, are those of 6.1.0."""
BOUND = 1e-5
QUERIES = 300
GOALS = {"vectors_lost": "≤ 0", "history_max_abs": f"≤ {BOUND}", "history_top10_equal_ratio": "≥ 1"}
CHILDREN.set_forkserver_preload(["pipelines.store.journal", "structlog.testing", "onnxruntime", "proofs.embeddings"])


# --- kills --------------------------------------------------------------------------------------------------------------


def before_and_after() -> tuple[list[Document], list[Document]]:
    """Thirty documents; and the same after two were deleted, two added and two changed."""
    first = [Document(id=f"d{number:02d}", text=f"thing number {number}") for number in range(30)]
    changed = [Document(id=f"d{number:02d}", text=f"another thing {number}") for number in (5, 6)]
    added = [Document(id=f"e{number}", text=f"entirely new {'x ' * number}") for number in range(2)]
    return first, sorted([*first[:5], *changed, *first[9:], *added], key=lambda document: document.id)


def refresh(**inputs: Any) -> tuple[str, int]:
    """A refresh of two shards with a checkpoint after each text; returns the embeddings' id and how many texts were encoded."""
    planned = call("plan", shards=2, **inputs)
    parts = {"corpus": planned.corpus, "encoder": planned.encoder, "base": planned.base}
    embedded = [call("embed", **parts, shard=shard, batch_tokens=1, checkpoint_s=0) for shard in planned.shards]
    answer = call("commit_embeddings", **parts, shards=[each.shard for each in embedded])
    return answer.embeddings, sum(each.forward_passes for each in embedded)


def prepared(home: Path) -> dict[str, str]:
    """Embed the earlier corpus in a store in `home`; returns the inputs of a refresh to the later one."""
    with local_sandbox(home).activated():
        first, later = (write_corpus(documents) for documents in before_and_after())
        encoder = static_encoder()
        base, _ = refresh(corpus=first, encoder=encoder)
    return {"corpus": later, "encoder": encoder, "base": base}


@contextmanager
def victim(template: Path, home: Path, inputs: dict[str, str], point: int) -> Iterator[Any]:
    """A child that refreshes in a copy of the template and ends itself at a kill point; at a negative point it completes."""
    shutil.copytree(template, home, copy_function=os.link)
    child = CHILDREN.Process(target=_victim, args=(local_sandbox(home), inputs, point))
    child.start()
    yield child
    child.join(PATIENCE_S)
    shutil.rmtree(home)


def _victim(sandbox: Sandbox, inputs: dict[str, str], point: int) -> None:
    original, numbers = Store.operation, iter(range(1_000_000))

    @contextmanager
    def operation(self: Store, name: str, path: str) -> Iterator[None]:
        number = next(numbers)
        if point == 2 * number:
            os._exit(9)
        try:
            with original(self, name, path):
                yield
        finally:  # also after an operation that raises
            if point == 2 * number + 1:
                os._exit(9)

    Store.operation = operation  # type: ignore[method-assign]
    with sandbox.activated(), capture_logs():
        refresh(**inputs)
    os._exit(0)


class Expected:
    """The result that every retry must have, from an undisturbed run; `lost` counts the vectors that retries lost."""

    def __init__(self, template: Path, inputs: dict[str, str]) -> None:
        self.inputs, self.lost = inputs, 0
        with tempfile.TemporaryDirectory(prefix="ratchet-proof-") as folder, capture_logs():
            home = Path(folder) / "home"
            shutil.copytree(template, home, copy_function=os.link)
            with local_sandbox(home).activated() as store:
                self.embeddings, self.texts = refresh(**inputs)
                self.vectors = by_id(load_exactly(store, "embeddings", self.embeddings))
                self.base = by_id(load_exactly(store, "embeddings", inputs["base"]))
                self.kept = (self.vectors.keys() & self.base.keys()) - {"d05", "d06"}

    def survives(self, home: Path) -> bool:
        """Whether nothing torn can be read, and a retry encodes only the rest and has the expected result."""
        with local_sandbox(home).activated() as store, capture_logs():
            for kind in ("shard", "embeddings"):
                for name in committed(store, kind):  # type: ignore[arg-type]
                    artifact = load_exactly(store, kind, name)  # type: ignore[arg-type]
                    assert len(vectors(artifact)) == len(rows(artifact))
            done = finished(store, self.inputs)
            embeddings, encoded = refresh(**self.inputs)
            self.lost += self.losses(load_exactly(store, "embeddings", embeddings))
            same = embeddings == self.embeddings and encoded == self.texts - done
            return same and not list(store.listed("checkpoints/"))

    def losses(self, embedded: Artifact) -> int:
        """Documents whose vector is missing or differs, or should be kept and is not byte for byte the base's."""
        after = by_id(embedded)
        near = {key for key in after.keys() & self.vectors.keys() if np.abs(after[key] - self.vectors[key]).max() <= BOUND}
        same = {key for key in near if key not in self.kept or after[key].tobytes() == self.base[key].tobytes()}
        return len(self.vectors.keys() | after.keys()) - len(same)


def by_id(embedded: Artifact) -> dict[str, Any]:
    return dict(zip([row.id for row in rows(embedded)], vectors(embedded), strict=True))


def finished(store: Store, inputs: dict[str, str]) -> int:
    """How many of the texts that the refresh must encode are in a shard or a checkpoint already."""
    later = {document.content for document in documents(load_exactly(store, "corpus", inputs["corpus"]))}
    before = {row.content for row in each_row(load_exactly(store, "embeddings", inputs["base"]))}
    shards = {row.content for name in committed(store, "shard") for row in each_row(load_exactly(store, "shard", name))}
    files = [store.local / entry.path for entry in store.listed("checkpoints/")]  # type: ignore[operator]
    checkpoints = {content.decode() for file in files for content in np.load(file)}
    return len((later - before) & (shards | checkpoints))


def kill_points(template: Path, folder: Path, expected: Expected) -> tuple[int, int]:
    """End a refresh before and after every operation; returns the number of kills and of those that it survived."""
    points = passed = 0
    while True:
        home = folder / f"point-{points}"
        with victim(template, home, expected.inputs, points) as child:
            child.join(PATIENCE_S)
            if child.exitcode == 0:
                return points, passed
            assert child.exitcode == 9
            points, passed = points + 1, passed + expected.survives(home)


def random_kills(template: Path, folder: Path, expected: Expected) -> tuple[int, int]:
    """SIGKILL a refresh at random moments of its duration; returns the number of kills and of those that it survived."""
    draw, hit, passed = random.Random(SEED), 0, 0
    started = time.monotonic()
    with victim(template, folder / "timed", expected.inputs, -1) as child:
        child.join(PATIENCE_S)
    duration = time.monotonic() - started
    for number in range(10 * SIGKILLS):
        if hit == SIGKILLS:
            break
        home = folder / f"random-{number}"
        with victim(template, home, expected.inputs, -1) as child:
            time.sleep(draw.uniform(0.1, 1) * duration)
            child.kill()
            child.join(PATIENCE_S)
            killed = child.exitcode == -signal.SIGKILL  # else it had completed
            hit, passed = hit + killed, passed + (expected.survives(home) and killed)
    return hit, passed


def kills(folder: Path) -> dict[str, int]:
    template = folder / "template"
    expected = Expected(template, prepared(template))
    counts = [kill(template, folder, expected) for kill in (kill_points, random_kills)]
    points, passed = (sum(column) for column in zip(*counts, strict=True))
    return {"kill_points": points, "kill_points_passed": passed, "vectors_lost": expected.lost}


# --- history ------------------------------------------------------------------------------------------------------------


def snapshots(folder: Path) -> Iterator[tuple[str, Path]]:
    """Each version with a folder of its metadata, from the package registry."""
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    for version in VERSIONS:
        subprocess.run([*download, f"fontawesomefree=={version}"], check=True, timeout=300, stderr=subprocess.DEVNULL)
    for version in VERSIONS:
        target = folder / version / "metadata"
        target.mkdir(parents=True)
        with zipfile.ZipFile(wheel(folder, version)) as package, zipfile.ZipFile(wheel(folder, VERSIONS[1])) as second:
            with_metadata = f"{METADATA}/icons.json" in package.namelist()
            icons = json.loads(package.read(f"{METADATA}/icons.json" if with_metadata else CACHE))
            shipped = {name: icon for name, icon in icons.items() if icon["free"]}  # 6.1.2 lists one without a picture
            (target / "icons.json").write_text(json.dumps(shipped))
            (target / "categories.yml").write_bytes((package if with_metadata else second).read(f"{METADATA}/categories.yml"))
        yield version, target.parent


def wheel(folder: Path, version: str) -> Path:
    return next(folder.glob(f"fontawesomefree-{version}-*.whl"))


def history(folder: Path) -> dict[str, Any]:
    """Refresh incrementally from version to version, each compared with a full run in another store; returns the figures."""
    encoder = _encoder(folder / "home", folder / "full")
    figures: dict[str, Any] = {}
    releases = list(snapshots(folder))
    queries = _query_vectors(folder / "full", encoder, releases[-1][1])
    base, worst, equal = "", 0.0, 0
    for version, snapshot in releases:
        with local_sandbox(folder / "home").activated() as store, capture_logs():
            corpus = call("ingest", folder=str(snapshot)).corpus
            plan = call("plan", corpus=corpus, encoder=encoder, base=base)
            base, _ = _run(plan)
            refreshed = load_exactly(store, "embeddings", base)
            counts = {name: refreshed.facts[name] for name in ("added", "changed", "deleted", "encoded")}
            assert counts["encoded"] == counts["added"] + counts["changed"], counts
        with local_sandbox(folder / "full").activated() as store, capture_logs():
            assert call("ingest", folder=str(snapshot)).corpus == corpus
            full = load_exactly(store, "embeddings", _run(call("plan", corpus=corpus, encoder=encoder, mode="full"))[0])
            assert full.id == refreshed.id
            assert full.facts["encoded"] == full.facts["documents"]
        difference, same = compared(refreshed, full, queries)
        worst, equal = max(worst, difference), equal + same
        sentence = figures[f"history_{version}"] = ", ".join(f"{count} {name}" for name, count in counts.items())
        print(f"{version}: {sentence}; max-abs {difference:.2g}, {same} of {len(queries)} top 10", flush=True)
    return {**figures, "history_max_abs": worst, "history_top10_equal_ratio": equal / len(queries) / len(releases)}


def _encoder(home: Path, full: Path) -> str:
    with local_sandbox(home).activated():
        encoder = str(call("export_encoder").encoder)
    shutil.copytree(home, full, copy_function=os.link)
    return encoder


def _run(planned: Any) -> tuple[str, int]:
    parts = {"corpus": planned.corpus, "encoder": planned.encoder, "base": planned.base}
    shards = [call("embed", **parts, shard=shard) for shard in planned.shards]
    answer = call("commit_embeddings", **parts, shards=[each.shard for each in shards])
    return answer.embeddings, sum(each.forward_passes for each in shards)


def _query_vectors(home: Path, encoder: str, snapshot: Path) -> Any:
    """The vectors of terms of the last version, float32, (queries, dimensions): some earlier versions list no terms."""
    from pipelines.corpus.documents import queries
    from pipelines.models.encoder import load_encoder

    with local_sandbox(home).activated() as store, capture_logs():
        corpus = load_exactly(store, "corpus", call("ingest", folder=str(snapshot)).corpus)
        texts = [query.text for query in queries(corpus, "test")][:QUERIES]
        return load_encoder(load_exactly(store, "encoder", encoder), "onnx-fp32").encode(texts, "query")


def compared(refreshed: Artifact, full: Artifact, queries: Any) -> tuple[float, int]:
    """The largest difference of a coordinate, and for how many queries both rank the same ten documents, up to ties.

    A tie is a difference of scores that the difference of vectors can make: at most its length, for a query of length 1.
    """
    ids = [row.id for row in rows(full)]
    assert [row.id for row in rows(refreshed)] == ids
    incremental, reference = np.asarray(vectors(refreshed)), np.asarray(vectors(full))
    tie = 2 * float(np.linalg.norm(incremental - reference, axis=1).max()) + 1e-6
    same = 0
    for query in queries:
        scores, expected = incremental @ query, reference @ query
        top = np.argsort(-scores, kind="stable")[:10]
        expected_top = np.sort(expected)[::-1][:10]
        same += bool((np.abs(expected[top] - expected_top) <= tie).all())
    return float(np.abs(incremental - reference).max()), same


def main() -> int:
    folder = Path(tempfile.mkdtemp(prefix="ratchet-proof-"))
    try:
        figures = {**kills(folder / "kills"), **history(folder / "history")}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    write_figures("proof/embeddings", figures, seed=SEED, runs=1, goals=GOALS)
    print(json.dumps(figures))
    survived = figures["kill_points"] == figures["kill_points_passed"] and figures["vectors_lost"] == 0
    return 0 if survived and figures["history_max_abs"] <= BOUND and figures["history_top10_equal_ratio"] == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
