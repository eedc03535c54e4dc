"""`make proof-embeddings`: kills during a refresh, and the real history of the icons; writes build/proof/embeddings.json.

A refresh is killed before and after every operation on the store and at 20 random moments. Then nothing torn may be
readable, the retry must encode only what no shard and no checkpoint holds, and no vector may be lost. The history is every
release of `fontawesomefree` from 6.0.0 to 6.6.0 that the package registry has, refreshed one after another and compared
with a full run of each.
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
"""Where 6.0.0, which has no metadata, keeps the same; its categories are taken from 6.1.0 and are not encoded."""
BOUND = 1e-5
QUERIES = 300
GOALS = {"vectors_lost": "≤ 0", "history_max_abs": f"≤ {BOUND}", "history_top10_equal_ratio": "≥ 1"}
CHILDREN.set_forkserver_preload(["pipelines.store.journal", "structlog.testing", "onnxruntime", "proofs.embeddings"])


# --- kills --------------------------------------------------------------------------------------------------------------


def before_and_after() -> tuple[list[Document], list[Document]]:
    """Thirty documents; later two are gone, two are new and two have other texts."""
    first = [Document(id=f"d{number:02d}", text=f"thing number {number}") for number in range(30)]
    changed = [Document(id=f"d{number:02d}", text=f"another thing {number}") for number in (5, 6)]
    added = [Document(id=f"e{number}", text=f"entirely new {'x ' * number}") for number in range(2)]
    return first, sorted([*first[:5], *changed, *first[9:], *added], key=lambda one: one.id)


def refresh(**asked: Any) -> tuple[str, int]:
    """Plan two shards, embed them with a checkpoint after each text, commit; the embeddings and how many texts were encoded."""
    planned = call("plan", shards=2, **asked)
    parts = {"corpus": planned.corpus, "encoder": planned.encoder, "base": planned.base}
    embedded = [call("embed", **parts, shard=shard, batch_tokens=1, checkpoint_s=0) for shard in planned.shards]
    answer = call("commit_embeddings", **parts, shards=[one.shard for one in embedded])
    return answer.embeddings, sum(one.forward_passes for one in embedded)


def prepared(home: Path) -> dict[str, str]:
    """A home with the embeddings of the earlier corpus; what a refresh to the later one is asked."""
    with local_sandbox(home).activated():
        first, later = (write_corpus(given) for given in before_and_after())
        encoder = static_encoder()
        base, _ = refresh(corpus=first, encoder=encoder)
    return {"corpus": later, "encoder": encoder, "base": base}


@contextmanager
def at_work(template: Path, home: Path, asked: dict[str, str], point: int) -> Iterator[Any]:
    """A child that refreshes in a copy of the home, and ends itself at an operation; with a negative point it lives."""
    shutil.copytree(template, home, copy_function=os.link)
    child = CHILDREN.Process(target=_victim, args=(local_sandbox(home), asked, point))
    child.start()
    yield child
    child.join(PATIENCE_S)
    shutil.rmtree(home)


def _victim(sandbox: Sandbox, asked: dict[str, str], point: int) -> None:
    plain, passed = Store.operation, iter(range(1_000_000))

    @contextmanager
    def operation(self: Store, name: str, path: str) -> Iterator[None]:
        number = next(passed)
        if point == 2 * number:
            os._exit(9)
        try:
            with plain(self, name, path):
                yield
        finally:  # also after an operation that found nothing
            if point == 2 * number + 1:
                os._exit(9)

    Store.operation = operation  # type: ignore[method-assign]
    with sandbox.activated(), capture_logs():
        refresh(**asked)
    os._exit(0)


class Expected:
    """What every retry must come to, taken from a run that nobody disturbed."""

    def __init__(self, template: Path, asked: dict[str, str]) -> None:
        self.asked, self.lost = asked, 0
        with tempfile.TemporaryDirectory(prefix="ratchet-proof-") as folder, capture_logs():
            home = Path(folder) / "home"
            shutil.copytree(template, home, copy_function=os.link)
            with local_sandbox(home).activated() as store:
                self.embeddings, self.texts = refresh(**asked)
                self.vectors = by_id(load_exactly(store, "embeddings", self.embeddings))
                self.base = by_id(load_exactly(store, "embeddings", asked["base"]))
                self.kept = {row.id for row in each_row(load_exactly(store, "embeddings", self.embeddings))} & {
                    row.id for row in each_row(load_exactly(store, "embeddings", asked["base"]))
                } - {"d05", "d06"}

    def survives(self, home: Path) -> bool:
        """Whether nothing torn can be read, and a retry encodes only the rest and comes to the same."""
        with local_sandbox(home).activated() as store, capture_logs():
            for kind in ("shard", "embeddings"):
                for name in committed(store, kind):  # type: ignore[arg-type]
                    artifact = load_exactly(store, kind, name)  # type: ignore[arg-type]
                    assert len(vectors(artifact)) == len(rows(artifact))
            done = finished(store, self.asked)
            found, encoded = refresh(**self.asked)
            self.lost += self.losses(load_exactly(store, "embeddings", found))
            return found == self.embeddings and encoded == self.texts - done and not list(store.listed("checkpoints/"))

    def losses(self, embedded: Artifact) -> int:
        """Documents whose vector is missing, is another, or was kept but is not the base's byte for byte."""
        found = by_id(embedded)
        near = {key for key in found.keys() & self.vectors.keys() if np.abs(found[key] - self.vectors[key]).max() <= BOUND}
        same = {key for key in near if key not in self.kept or found[key].tobytes() == self.base[key].tobytes()}
        return len(self.vectors.keys() | found.keys()) - len(same)


def by_id(embedded: Artifact) -> dict[str, Any]:
    return dict(zip([row.id for row in rows(embedded)], vectors(embedded), strict=True))


def finished(store: Store, asked: dict[str, str]) -> int:
    """How many of the texts that the refresh must encode lie in a shard or a checkpoint already."""
    later = {one.content for one in documents(load_exactly(store, "corpus", asked["corpus"]))}
    before = {row.content for row in each_row(load_exactly(store, "embeddings", asked["base"]))}
    shards = {row.content for name in committed(store, "shard") for row in each_row(load_exactly(store, "shard", name))}
    kept = {content.decode() for one in store.listed("checkpoints/") for content in np.load(store.local / one.path)}  # type: ignore[operator]
    return len((later - before) & (shards | kept))


def kill_points(template: Path, folder: Path, expected: Expected) -> tuple[int, int]:
    """End a refresh before and after every operation until one completes; how many kills, and how many left no harm."""
    points = passed = 0
    while True:
        home = folder / f"point-{points}"
        with at_work(template, home, expected.asked, points) as child:
            child.join(PATIENCE_S)
            if child.exitcode == 0:
                return points, passed
            assert child.exitcode == 9
            points, passed = points + 1, passed + expected.survives(home)


def random_kills(template: Path, folder: Path, expected: Expected) -> tuple[int, int]:
    """SIGKILL a refresh at random moments of its duration; how many kills hit it, and how many left no harm."""
    chance, hit, passed = random.Random(SEED), 0, 0
    started = time.monotonic()
    with at_work(template, folder / "timed", expected.asked, -1) as child:
        child.join(PATIENCE_S)
    duration = time.monotonic() - started
    for number in range(10 * SIGKILLS):
        if hit == SIGKILLS:
            break
        home = folder / f"random-{number}"
        with at_work(template, home, expected.asked, -1) as child:
            time.sleep(chance.uniform(0.1, 1) * duration)
            child.kill()
            child.join(PATIENCE_S)
            struck = child.exitcode == -signal.SIGKILL  # else it was done before
            hit, passed = hit + struck, passed + (expected.survives(home) and struck)
    return hit, passed


def kills(folder: Path) -> dict[str, int]:
    template = folder / "template"
    expected = Expected(template, prepared(template))
    counts = [kill(template, folder, expected) for kill in (kill_points, random_kills)]
    points, passed = (sum(column) for column in zip(*counts, strict=True))
    return {"kill_points": points, "kill_points_passed": passed, "vectors_lost": expected.lost}


# --- history ------------------------------------------------------------------------------------------------------------


def snapshots(folder: Path) -> Iterator[tuple[str, Path]]:
    """Each release's metadata in a folder of its own, from the package registry."""
    asked = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    for version in VERSIONS:
        subprocess.run([*asked, f"fontawesomefree=={version}"], check=True, timeout=300, stderr=subprocess.DEVNULL)
    for version in VERSIONS:
        target = folder / version / "metadata"
        target.mkdir(parents=True)
        with zipfile.ZipFile(wheel(folder, version)) as found, zipfile.ZipFile(wheel(folder, VERSIONS[1])) as second:
            with_metadata = f"{METADATA}/icons.json" in found.namelist()
            icons = json.loads(found.read(f"{METADATA}/icons.json" if with_metadata else CACHE))
            shipped = {name: icon for name, icon in icons.items() if icon["free"]}  # 6.1.2 lists one without a picture
            (target / "icons.json").write_text(json.dumps(shipped))
            (target / "categories.yml").write_bytes((found if with_metadata else second).read(f"{METADATA}/categories.yml"))
        yield version, target.parent


def wheel(folder: Path, version: str) -> Path:
    return next(folder.glob(f"fontawesomefree-{version}-*.whl"))


def history(folder: Path) -> dict[str, Any]:
    """Refresh from release to release; each against a full run in a home of its own."""
    encoder = _encoder(folder / "home", folder / "full")
    found: dict[str, Any] = {}
    releases = list(snapshots(folder))
    questions = _questions(folder / "full", encoder, releases[-1][1])
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
        difference, same = compared(refreshed, full, questions)
        worst, equal = max(worst, difference), equal + same
        found[f"history_{version}"] = ", ".join(f"{count} {name}" for name, count in counts.items())
        print(
            f"{version}: {found[f'history_{version}']}; max-abs {difference:.2g}, {same} of {len(questions)} top 10", flush=True
        )
    return {**found, "history_max_abs": worst, "history_top10_equal_ratio": equal / len(questions) / len(releases)}


def _encoder(home: Path, full: Path) -> str:
    with local_sandbox(home).activated():
        encoder = str(call("export_encoder").encoder)
    shutil.copytree(home, full, copy_function=os.link)
    return encoder


def _run(planned: Any) -> tuple[str, int]:
    parts = {"corpus": planned.corpus, "encoder": planned.encoder, "base": planned.base}
    shards = [call("embed", **parts, shard=shard) for shard in planned.shards]
    answer = call("commit_embeddings", **parts, shards=[one.shard for one in shards])
    return answer.embeddings, sum(one.forward_passes for one in shards)


def _questions(home: Path, encoder: str, snapshot: Path) -> Any:
    """The vectors of some terms of the last release: those of some earlier ones list none."""
    from pipelines.corpus.documents import queries
    from pipelines.models.encoder import load_encoder

    with local_sandbox(home).activated() as store, capture_logs():
        corpus = load_exactly(store, "corpus", call("ingest", folder=str(snapshot)).corpus)
        asked = [query.text for query in queries(corpus, "test")][:QUERIES]
        return load_encoder(load_exactly(store, "encoder", encoder), "onnx-fp32").encode(asked, "query")


def compared(refreshed: Artifact, full: Artifact, questions: Any) -> tuple[float, int]:
    """The largest difference of a coordinate, and for how many queries both rank the same ten documents, up to ties.

    A tie is a difference of scores that the difference of vectors can make: at most its length, for a query of length 1.
    """
    ids = [row.id for row in rows(full)]
    assert [row.id for row in rows(refreshed)] == ids
    ours, theirs = np.asarray(vectors(refreshed)), np.asarray(vectors(full))
    tie = 2 * float(np.linalg.norm(ours - theirs, axis=1).max()) + 1e-6
    same = 0
    for question in questions:
        scores, expected = ours @ question, theirs @ question
        best = np.argsort(-scores, kind="stable")[:10]
        ranked = np.sort(expected)[::-1][:10]
        same += bool((np.abs(expected[best] - ranked) <= tie).all())
    return float(np.abs(ours - theirs).max()), same


def main() -> int:
    folder = Path(tempfile.mkdtemp(prefix="ratchet-proof-"))
    try:
        figures = {**kills(folder / "kills"), **history(folder / "history")}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    write_figures("proof/embeddings", figures, seed=SEED, runs=1, goals=GOALS)
    print(json.dumps(figures))
    whole = figures["kill_points"] == figures["kill_points_passed"] and figures["vectors_lost"] == 0
    return 0 if whole and figures["history_max_abs"] <= BOUND and figures["history_top10_equal_ratio"] == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
