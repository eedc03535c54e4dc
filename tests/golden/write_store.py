"""Writes tests/golden/store.tar.gz and ids.json: a small store as one version of Ratchet left it.

Run it by hand, `python -m tests.golden.write_store`, and only to begin a new generation of stored forms: the point of the
committed store is that later versions read what this one wrote. The collection lies beside it, so the chain can run again.
"""

import csv
import gzip
import io
import json
import os
import socket
import tarfile
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

from pipelines.contract import load_step
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store
from tests.golden.encoder import tiny_encoder

HERE = Path(__file__).resolve().parent
ARCHIVE, IDS, COLLECTIONS = HERE / "store.tar.gz", HERE / "ids.json", HERE / "collections"
WHO = "golden"
COLOURS = ("red", "green", "blue", "white", "black", "yellow")
MATERIALS = ("wooden", "metal", "glass", "plastic", "leather")
THINGS = {"chair": "kitchen", "lamp": "office", "table": "garden", "clock": "hall"}


def call(step: str, **values: Any) -> Any:
    """Run a step in this process, in the store that the environment names."""
    return load_step(step).call(values)


def write_collections() -> None:
    """Three collections: judged, judged with other documents, and without judgments; and a file of queries to score."""
    named = [(colour, material, thing) for colour, material, thing in product(COLOURS, MATERIALS, THINGS)]
    first = [(f"{c}-{m}-{t}", f"{c} {m} {t}", f"A {c} {t} made of {m} for the {THINGS[t]}", THINGS[t]) for c, m, t in named]
    second = [row for row in first if row[0] not in ("red-metal-lamp", "blue-glass-clock")]
    second = [(row[0], row[1], row[2] + ", with drawers", row[3]) if row[0] in CHANGED else row for row in second]
    second += [
        (f"grey-stone-{t}", f"grey stone {t}", f"A grey {t} made of stone for the {room}", room) for t, room in THINGS.items()
    ]
    queries = {f"{c} {m} {t}": [f"{c}-{m}-{t}"] for c, m, t in named}
    queries |= {f"{m} {t}": [f"{c}-{m}-{t}" for c in COLOURS] for m, t in product(MATERIALS, THINGS)}
    queries |= {f"{c} {t}": [f"{c}-{m}-{t}" for m in MATERIALS] for c, t in product(COLOURS, THINGS)}
    _write("judged", first, queries)
    _write("changed", second, queries)
    _write("unjudged", second[::2], {})
    with (COLLECTIONS / "queries.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["id", "query"], *([f"s{n}", text] for n, text in enumerate(sorted(queries)[:40]))])


CHANGED = ("black-leather-chair", "white-wooden-table", "green-plastic-clock")


def _write(name: str, documents: list[tuple[str, str, str, str]], queries: dict[str, list[str]]) -> None:
    folder = COLLECTIONS / name
    folder.mkdir(parents=True, exist_ok=True)
    keys = ("_id", "title", "text", "category")
    (folder / "corpus.jsonl").write_text("".join(json.dumps(dict(zip(keys, row, strict=True))) + "\n" for row in documents))
    if queries:
        ids = {text: f"q{number}" for number, text in enumerate(queries)}
        (folder / "queries.jsonl").write_text("".join(json.dumps({"_id": ids[t], "text": t}) + "\n" for t in queries))
        there = {row[0] for row in documents}
        lines = [f"{ids[text]}\t{document}\t1\n" for text, those in queries.items() for document in those if document in there]
        (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines))


def release_of(corpus: str, encoder: str, base: str = "", algorithm: str = "auto") -> dict[str, Any]:
    """Embed, index and assemble; every id."""
    planned = call("plan", corpus=corpus, encoder=encoder, base=base)
    parts = {"corpus": corpus, "encoder": encoder, "base": planned.base}
    shards = [call("embed", **parts, shard=shard).shard for shard in planned.shards]
    embeddings = call("commit_embeddings", **parts, shards=shards).embeddings
    index = call("index", embeddings=embeddings, algorithm=algorithm, base_index="none").index
    release = call("assemble", index=index).release
    return {"shards": shards, "embeddings": embeddings, "index": index, "release": release}


def judged(release: str, against: str) -> dict[str, str]:
    """Evaluate and gate a release against another, or none."""
    evaluated = call("evaluate", release=release, baseline=against or "none")
    verdict = call("gate", evaluation=evaluated.evaluation, baseline=evaluated.baseline, margin=0.1)
    return {
        "evaluation": evaluated.evaluation,
        "baseline": evaluated.baseline,
        "verdict": verdict.verdict,
        "outcome": verdict.outcome,
    }


def ingested(name: str) -> dict[str, str]:
    """A collection as a corpus, checked."""
    done = call("ingest", source=str((COLLECTIONS / name).relative_to(Path.cwd())))
    checked = call("check", corpus=done.corpus, previous="none", on="2026-01-31", personal=10)
    return {"corpus": done.corpus, "report": done.report, "check": checked.report}


def write() -> dict[str, Any]:
    """The whole life of four releases; the ids of all that came of it."""
    encoder = tiny_encoder()
    corpora = {name: ingested(name) for name in ("judged", "changed", "unjudged")}
    first = release_of(corpora["judged"]["corpus"], encoder)
    first |= judged(first["release"], "")
    call("promote", verdict=first["verdict"], who=WHO)
    call("deploy", who=WHO)
    second = release_of(corpora["changed"]["corpus"], encoder, first["embeddings"])
    second |= judged(second["release"], first["release"])
    call("promote", verdict=second["verdict"], who=WHO)
    call("deploy", who=WHO)
    call("rollback", who=WHO, why="the drill")
    unjudged = release_of(corpora["unjudged"]["corpus"], encoder, first["embeddings"])
    unjudged |= judged(unjudged["release"], first["release"])
    call("promote", verdict=unjudged["verdict"], who=WHO, waive=True, why="nobody has judged it yet")
    graph = release_of(corpora["changed"]["corpus"], encoder, first["embeddings"], "hnsw")
    graph |= judged(graph["release"], first["release"])
    call("promote", verdict=graph["verdict"], who=WHO)
    planned = call("plan_scores", source=str((COLLECTIONS / "queries.csv").relative_to(Path.cwd())), release=first["release"])
    parts = {"queries": planned.queries, "release": planned.release, "k": 5}
    shards = [call("score_shard", **parts, shard=shard).shard for shard in planned.shards]
    scores = {"queries": planned.queries, "shards": shards, "scores": call("commit_scores", **parts, shards=shards).scores}
    difference = call("diff", a=corpora["judged"]["corpus"], b=corpora["changed"]["corpus"]).report
    releases = {"first": first, "second": second, "unjudged": unjudged, "graph": graph}
    return {"encoder": encoder, "corpora": corpora, "releases": releases, "scores": scores, "diff": difference}


def main() -> None:
    """Write the collections, run everything in a scratch home, pack its store."""
    write_collections()
    socket.gethostname = lambda: WHO  # nothing of this machine is committed
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(RATCHET_HOME=home, RATCHET_USER=WHO, RATCHET_GIT_SHA="0" * 40, MLFLOW_DISABLE_TELEMETRY="true")
        ids = write()
        store = open_store()
        ids["journal"] = [[entry.action, entry.to, entry.verdict] for entry in Journal(store).entries]
        IDS.write_text(json.dumps(ids, indent=1) + "\n")
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            archive.add(Path(home) / "store", "store", filter=_anonymous)
        ARCHIVE.write_bytes(gzip.compress(buffer.getvalue(), mtime=0))
    print(f"{ARCHIVE.stat().st_size:,} bytes, {[row[0] for row in ids['journal']]}")


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if entry.name.startswith("store/lineage"):  # names folders of this machine, and nothing reads it
        return None
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    main()
