"""`python -m proofs.drift_reports`: reports of real collections, each by a run of the DAG report_drift; for `make proof-drift`.

Icons 6.0.0 → 6.6.0 from the package registry; electronics up to 2019 → 2020 (../shared/data/chorus, or ELECTRONICS=FOLDER); the
two policies and the campaigns of the logs of obp 0.4.1 (OBP=FOLDER, too), and ml-100k by quarter from recbole 1.2.1, whose
wheels `pip download --no-deps --dest build/wheels obp==0.4.1 recbole==1.2.1` brings. What is not there is left out, and said.
Reports go to build/drift/reports, figures to build/drift/reports.json and into build/proof/drift.json, where that is.

Options: --only icons electronics bandit films; --documents of each side of electronics.
"""

import argparse
import csv
import json
import os
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipelines.corpus.documents import Document, Query
from pipelines.store.artifacts import load_exactly
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from proofs.drift_days import ELECTRONICS
from proofs.embeddings import VERSIONS, snapshots
from proofs.kill_points import local_sandbox
from proofs.recommendation import WHEELS
from tests.conftest import PROJECT, call, embedded_release
from tests.corpora import write_corpus
from tests.dags.conftest import dags_written_once, run_to_its_end
from tests.pipelines.collections.movielens import INSIDE

TARGET = PROJECT / "build/drift/reports"
KNOWN_ITEMS = 50
SIZE = 1000
"""Products of each side of electronics, drawn by a seed: the reference's are encoded for a champion."""


class Pair(NamedTuple):
    """A pair that the DAG compares: the champion's corpus, and the form's answers."""

    name: str
    champion: str
    answers: dict[str, Any]


def icons(folder: Path, _: int) -> Iterator[Pair]:
    """The first and the last release of the icons."""
    made = {version: call("ingest", folder=str(place)).corpus for version, place in snapshots(folder)}
    yield Pair("icons", made[VERSIONS[0]], {"corpus": made[VERSIONS[-1]], "day": "2024-07-16"})


def electronics(_: Path, size: int) -> Iterator[Pair]:
    """Products that were released up to 2019, and those of 2020."""
    if not ELECTRONICS.exists():
        print(f"electronics: {ELECTRONICS.name} is not there; pass ELECTRONICS=FOLDER")
        return
    products: list[dict[str, Any]] = []
    for part in sorted(ELECTRONICS.glob("*.json.zip")):
        with zipfile.ZipFile(part) as packed:
            products += json.loads(packed.read(packed.namelist()[0]))
    sides = []
    for recent in (False, True):
        rows = [row for row in products if (row["date_released"] >= "2020") == recent]
        drawn = np.random.default_rng(0).permutation(len(rows))[:size]
        sides.append(corpus_of([product(rows[number]) for number in drawn]))
    yield Pair("electronics", sides[0], {"corpus": sides[1], "day": "2020-12-31"})


def product(row: dict[str, Any]) -> Document:
    """A product as a document."""
    return Document(
        id=row["id"],
        text=" ".join(filter(None, [row["title"], row.get("short_description")])),
        title=row["title"],
        segment=row["supplier"],
        facets={"price": str(row["price"]), "type": str(row.get("attr_t_type") or "")},
    )


def bandit(folder: Path, _: int) -> Iterator[Pair]:
    """Both policies of each campaign, and two campaigns under one policy; the documents are the items of all campaigns."""
    given = Path(os.environ.get("OBP") or next(WHEELS.glob("obp-*.whl"), "none"))
    if not given.exists():
        print("obp: run `pip download --no-deps --dest build/wheels obp==0.4.1`, or pass OBP=FOLDER")
        return
    if given.suffix == ".whl":
        with zipfile.ZipFile(given) as packed:
            packed.extractall(folder, [name for name in packed.namelist() if "dataset/obd/" in name])
        given = folder
    root = next(given.rglob("dataset/obd"))
    items = _rows(root / "random/all/item_context.csv", ",")
    corpus = corpus_of([Document(id=f"i{row['item_id']}", text=" ".join(["item", *list(row.values())[1:]])) for row in items])
    columns = ["position", "item_id", *(f"user_feature_{number}" for number in range(4))]

    def pair(name: str, then: str, now: str) -> Pair:
        logs = {"reference_log": str(root / then), "log": str(root / now)}
        return Pair(
            f"obp-{name}", corpus, {**logs, "corpus": corpus, "outcome": "click", "column": columns, "day": "2019-11-30"}
        )

    for campaign in ("all", "men", "women"):
        yield pair(f"{campaign}-policies", f"random/{campaign}/{campaign}.csv", f"bts/{campaign}/{campaign}.csv")
    yield pair("random-campaigns", "random/men/men.csv", "random/women/women.csv")


def films(folder: Path, _: int) -> Iterator[Pair]:
    """The ratings of ml-100k, each quarter beside the one before it; a rating of 4 and above counts as a click."""
    wheel = next(WHEELS.glob("recbole-*.whl"), None)
    if wheel is None:
        print("MovieLens: run `pip download --no-deps --dest build/wheels recbole==1.2.1`")
        return
    with zipfile.ZipFile(wheel) as packed:
        for name in ("inter", "item", "user"):
            (folder / name).write_bytes(packed.read(f"{INSIDE}ml-100k.{name}"))
    listed = {row["item_id:token"]: row for row in _rows(folder / "item")}
    users = {row["user_id:token"]: row for row in _rows(folder / "user")}
    quarters: dict[str, list[list[Any]]] = {}
    for row in _rows(folder / "inter"):
        at = datetime.fromtimestamp(float(row["timestamp:float"]), UTC)
        user, genre = users[row["user_id:token"]], listed[row["item_id:token"]]["class:token_seq"].split(" ")[0]
        kept = [
            row["user_id:token"],
            genre,
            user["gender:token"],
            user["occupation:token"],
            int(float(row["rating:float"]) >= 4),
        ]
        quarters.setdefault(f"{at.year}-{3 * ((at.month - 1) // 3) + 1:02d}-01", []).append(kept)
    names = sorted(quarters)
    for name in names:
        with (folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["user_id", "genre", "gender", "occupation", "click"], *quarters[name]])
    titles = {name: row["movie_title:token_seq"] for name, row in listed.items()}
    corpus = corpus_of([
        Document(id=f"f{name}", text=title, title=title, segment=listed[name]["class:token_seq"].split(" ")[0])
        for name, title in titles.items()
        if title
    ])  # fmt: skip
    for before, now in pairwise(names):
        logs = {"reference_log": str(folder / f"{before}.csv"), "log": str(folder / f"{now}.csv")}
        yield Pair(f"movielens-{now[:7]}", corpus, {**logs, "corpus": corpus, "day": now})


SOURCES = {source.__name__: source for source in (bandit, films, icons, electronics)}


def _rows(path: Path, delimiter: str = "\t") -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        yield from csv.DictReader(file, delimiter=delimiter, quoting=csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL)


def corpus_of(documents: Sequence[Document]) -> str:
    """A corpus of documents that nobody has judged queries of: synthetic ones, each made of a document."""
    items = documents[:KNOWN_ITEMS]
    queries = [Query(id=f"q{number}", text=one.text, split="test", synthetic=True) for number, one in enumerate(items)]
    return write_corpus(documents, queries, [f"q{number} 0 {one.id} 1" for number, one in enumerate(items)])


def deployed(corpus: str) -> None:
    """A champion that was made from a corpus. No gate: what it is worth is not asked here."""
    release = embedded_release(Path(), corpus, call("export_encoder").encoder).release
    Journal(open_store()).append("deploy", release, "the reference of a report", Routing(champion=release))


def reported(pair: Pair) -> tuple[str, list[float]]:
    """Run the DAG on a pair: what its report says, and the megabytes of its pages, which are kept in TARGET.

    Raises:
        AssertionError: the dag run failed.
    """
    run = run_to_its_end("report_drift", **pair.answers)
    assert run.state == "success", f"{pair.name}: {run.tasks}"
    judged = run.results["judge_drift"]
    artifact = load_exactly(open_store(), "drift", judged["drift"])
    beside = TARGET / artifact.id
    beside.mkdir(exist_ok=True)
    pages = {name: beside / name if name != "report.html" else TARGET / f"{pair.name}.html" for name in artifact.manifest.files}
    kept = {name: path for name, path in pages.items() if name.endswith(".html")}
    for name, path in kept.items():
        path.write_bytes(artifact.path(name).read_bytes())
    return str(judged["sentence"]), [path.stat().st_size / 1e6 for path in kept.values()]


def main() -> None:
    """Write the reports, and what they say."""
    from airflow.utils.db import initdb

    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="+", choices=SOURCES, default=list(SOURCES))
    parser.add_argument("--documents", type=int, default=SIZE)
    asked = parser.parse_args()
    TARGET.mkdir(parents=True, exist_ok=True)
    initdb()
    kept, figures, sizes = PROJECT / "build/drift/reports.json", {}, []
    if len(asked.only) < len(SOURCES) and kept.exists():
        figures = {name: value for name, value in json.loads(kept.read_text()).items() if name.startswith("report_")}
    with tempfile.TemporaryDirectory() as scratch, dags_written_once():
        for name in asked.only:
            folder, champion = Path(scratch) / name, ""
            folder.mkdir()
            with local_sandbox(folder / "home").activated():
                for pair in SOURCES[name](folder, asked.documents):
                    if pair.champion != champion:
                        deployed(champion := pair.champion)
                    said, megabytes = reported(pair)
                    figures[f"report_{pair.name.replace('-', '_')}"] = said
                    sizes += megabytes
                    print(pair.name, said, flush=True)
    figures |= {"reports": len(figures), "largest_report_mb": round(max(sizes, default=0), 2)}
    kept.write_text(json.dumps(figures, indent=1, ensure_ascii=False))
    proof = PROJECT / "build/proof/drift.json"
    if proof.exists():  # a proof that was made before: its figures stay
        proof.write_text(json.dumps({**json.loads(proof.read_text()), **figures}, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
