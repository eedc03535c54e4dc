"""`make proof-data`: formats that round-trip, bad inputs that are handled, flat memory; writes build/proof/data.json."""

import csv
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

from pipelines.corpus.icons import read_icons
from pipelines.store.artifacts import load_exactly
from pipelines.store.objects import open_store
from proofs.data_bad_inputs import bad_inputs
from proofs.data_formats import round_trips
from proofs.data_ingest import ingest
from proofs.strangers import strangers
from tests.conftest import PROJECT
from tests.figures import write_figures
from tests.pipelines.collections.input_cases import CASES, ingested

SEED = 20261124
GOALS = {"rss_ratio_1m_100k": "≤ 1.2"}


def misread_inputs(folder: Path) -> dict[str, int]:
    """The cases of the tests, each in a folder of its own."""
    right = 0
    for number, case in enumerate(CASES):
        (folder / str(number)).mkdir(parents=True)
        good = case.right(ingested(case, folder / str(number)))
        print(f"{'ok  ' if good else 'FAIL'} {case.name}", flush=True)
        right += good
    return {"misread_inputs": len(CASES), "misread_inputs_right": right}


def scale(folder: Path) -> dict[str, float]:
    """Peak memory and speed of an ingest of 100 k and of 1 M rows of the same kind."""
    found = {}
    for count in (100_000, 1_000_000):
        path = folder / f"{count}.csv"
        write_many(path, count)
        answer = ingest("--source", str(path))
        assert answer.result["documents"] == count, answer.said[-500:]
        peak = load_exactly(open_store(), "corpus", answer.result["corpus"]).manifest.cost["peak_memory_mb"]
        found[count] = (peak, answer.seconds)
        path.unlink()
    (small, _), (large, seconds) = found.values()
    return {
        "rss_100k_mb": small,
        "rss_1m_mb": large,
        "rss_ratio_1m_100k": round(large / small, 3),
        "rows_per_s": round(1_000_000 / seconds),
    }


def write_many(path: Path, count: int) -> None:
    """Products whose names are the icons' labels, recombined by seed."""
    words = sorted({word for one in read_icons(None, "label")[0] for word in one.text.split()})
    chance = random.Random(SEED)
    with path.open("w", encoding="utf-8", newline="") as target:
        sheet = csv.writer(target)
        sheet.writerow(("sku", "name", "description", "category"))
        for number in range(count):
            chosen = chance.choices(words, k=12)
            sheet.writerow((f"p{number:08}", " ".join(chosen[:3]), " ".join(chosen), chosen[0][:1]))


def main() -> int:
    home = Path(tempfile.mkdtemp(prefix="ratchet-proof-"))
    os.environ["RATCHET_HOME"] = str(home / "home")
    os.environ["PYTHONPATH"] = str(PROJECT)
    try:
        # Bad inputs first: their bound is on the peak memory of all child processes so far.
        figures = bad_inputs(home / "bad") | misread_inputs(home / "misread") | strangers(home / "strangers")
        figures |= {**round_trips(home / "formats"), **scale(home)}
    finally:
        shutil.rmtree(home, ignore_errors=True)
    write_figures("proof/data", figures, seed=SEED, runs=1, goals=GOALS)
    whole = figures["bad_inputs"] == figures["bad_inputs_handled"] and figures["formats"] == figures["formats_roundtrip"]
    whole &= figures["misread_inputs"] == figures["misread_inputs_right"]
    whole &= figures.get("strangers") == figures.get("strangers_right")
    return 0 if whole and figures["rss_ratio_1m_100k"] <= 1.2 else 1


if __name__ == "__main__":
    sys.exit(main())
