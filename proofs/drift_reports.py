"""`python -m proofs.drift_reports`: drift reports of real collections, for `make proof-drift`.

Icons 6.0.0 → 6.6.0 from the package registry; electronics up to 2019 → 2020 (../shared/data/chorus, or ELECTRONICS=FOLDER); the
two policies and the campaigns of the logs of the wheel obp 0.4.1 (OBP=FOLDER or wheel); MovieLens by quarter (MOVIELENS=FOLDER
with ml-100k's atomic files). What is not there is left out, and said. Reports go to build/drift/reports, figures to
build/drift/reports.json and into build/proof/drift.json, where that is.
"""

import csv
import json
import os
import tempfile
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from pipelines.corpus.documents import Document
from proofs.drift_days import ELECTRONICS
from proofs.embeddings import VERSIONS, snapshots
from proofs.kill_points import local_sandbox
from tests.conftest import PROJECT, call
from tests.corpora import write_corpus

TARGET = PROJECT / "build/drift/reports"
SAMPLE = 400
"""Products of each side of electronics: they are encoded here."""
Sides = tuple[dict[str, Any], dict[str, Any]]
"""The options of `take_snapshot` for the reference and for the current side."""


def icons(folder: Path, encoder: str) -> Iterator[tuple[str, Sides]]:
    """The first and the last release of the icons."""
    made = {version: call("ingest", folder=str(place)).corpus for version, place in snapshots(folder)}
    first, last = ({"corpus": made[version], "encoder": encoder} for version in (VERSIONS[0], VERSIONS[-1]))
    yield "icons", ({**first, "day": "2022-02-08"}, {**last, "day": "2024-07-16"})


def electronics(folder: Path, encoder: str) -> Iterator[tuple[str, Sides]]:
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
        documents = [
            Document(
                id=row["id"],
                text=" ".join(filter(None, [row["title"], row.get("short_description")])),
                title=row["title"],
                segment=row["supplier"],
                facets={"price": str(row["price"]), "type": str(row.get("attr_t_type") or "")},
            )
            for row in products
            if (row["date_released"] >= "2020") == recent
        ]
        corpus = write_corpus(documents)
        sides.append({"corpus": corpus, "encoder": encoder, "sample": SAMPLE, "day": "2020-12-31" if recent else "2019-12-31"})
    yield "electronics", (sides[0], sides[1])


def bandit(folder: Path, _: str) -> Iterator[tuple[str, Sides]]:
    """Both policies of each campaign, and two campaigns under one policy."""
    given = Path(os.environ.get("OBP", ""))
    if not os.environ.get("OBP") or not given.exists():
        print("obp: pass OBP=FOLDER, of the unpacked wheel obp 0.4.1, or the wheel")
        return
    if given.suffix == ".whl":
        with zipfile.ZipFile(given) as wheel:
            wheel.extractall(folder / "obp", [name for name in wheel.namelist() if "dataset/obd/" in name])
        given = folder / "obp"
    root = next(given.rglob("dataset/obd"))

    def side(policy: str, campaign: str, day: str) -> dict[str, Any]:
        columns = ["position", "item_id", *(f"user_feature_{number}" for number in range(4))]
        return {"log": str(root / policy / campaign / f"{campaign}.csv"), "outcome": "click", "column": columns, "day": day}

    for campaign in ("all", "men", "women"):
        yield f"obp-{campaign}-policies", (side("random", campaign, "2019-11-24"), side("bts", campaign, "2019-11-25"))
    yield "obp-random-campaigns", (side("random", "men", "2019-11-24"), side("random", "women", "2019-11-25"))


def films(folder: Path, _: str) -> Iterator[tuple[str, Sides]]:
    """The ratings of ml-100k, each quarter beside the one before it; a rating of 4 and above counts as a click."""
    place = Path(os.environ.get("MOVIELENS", ""))
    if not os.environ.get("MOVIELENS") or not (place / "ml-100k.inter").exists():
        print("MovieLens: pass MOVIELENS=FOLDER with ml-100k's atomic files")
        return
    genres = {row["item_id:token"]: row["class:token_seq"].split(" ")[0] for row in _rows(place / "ml-100k.item")}
    users = {row["user_id:token"]: row for row in _rows(place / "ml-100k.user")}
    quarters: dict[str, list[list[Any]]] = {}
    for row in _rows(place / "ml-100k.inter"):
        at = datetime.fromtimestamp(float(row["timestamp:float"]), UTC)
        user = users[row["user_id:token"]]
        liked = int(float(row["rating:float"]) >= 4)
        kept = [row["user_id:token"], genres[row["item_id:token"]], user["gender:token"], user["occupation:token"], liked]
        quarters.setdefault(f"{at.year}-{3 * ((at.month - 1) // 3) + 1:02d}-01", []).append(kept)
    names = sorted(quarters)
    for name in names:
        with (folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["user_id", "genre", "gender", "occupation", "click"], *quarters[name]])
    for before, now in pairwise(names):
        yield f"movielens-{now[:7]}", tuple({"log": str(folder / f"{name}.csv"), "day": name} for name in (before, now))  # type: ignore[misc]


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        yield from csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)


def main() -> None:
    """Write the reports, and what they say."""
    TARGET.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Any] = {}
    sizes = []
    with tempfile.TemporaryDirectory() as scratch, local_sandbox(Path(scratch) / "home").activated():
        encoder = call("export_encoder").encoder
        for source in (bandit, films, icons, electronics):
            folder = Path(scratch) / source.__name__
            folder.mkdir()
            for name, sides in source(folder, encoder):
                before, now = (call("take_snapshot", **side).snapshot for side in sides)
                judged = call("judge_drift", current=now, reference=before, report=str(TARGET / f"{name}.html"))
                pages = [TARGET / f"{name}.html", *(TARGET / judged.drift).glob("*.html")]
                sizes += [page.stat().st_size / 1e6 for page in pages]
                figures |= {f"report_{name.replace('-', '_')}": judged.sentence}
                print(name, judged.sentence, flush=True)
    figures |= {"reports": len(figures), "largest_report_mb": round(max(sizes), 2)}
    (PROJECT / "build/drift/reports.json").write_text(json.dumps(figures, indent=1, ensure_ascii=False))
    proof = PROJECT / "build/proof/drift.json"
    if proof.exists():  # a proof that was made before: its figures stay
        proof.write_text(json.dumps({**json.loads(proof.read_text()), **figures}, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
