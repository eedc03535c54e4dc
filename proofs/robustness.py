"""`make proof-robustness`: what perturbations cost the icons' champion on test queries. Writes build/proof/robustness.json.

The champion is the release that `python -m pipelines.train` serves. Beside it stands the encoder alone, so that the page shows
what stages are worth where people mistype. Perturbations whose source is not installed have no row, and the file says why.
"""

import os
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import Any

from pipelines.evaluation.perturbations import PERTURBATIONS
from pipelines.evaluation.robustness import Drop, Robustness, drops, read_robustness
from pipelines.store.artifacts import load
from pipelines.store.objects import open_store
from proofs.rankers import call, indexed
from tests.figures import write_figures

MAIN, CONFIDENCE = "nDCG@10", 0.95


def measured() -> tuple[Robustness, Robustness, dict[str, float]]:
    """The champion and the encoder alone on the same copies, and how long perturbing and measuring took."""
    _, index, retrievers = indexed()
    champion = call(
        "assemble", index=index, stages=call("choose_stages", index=index, take="best", **retrievers).stages
    ).release
    dense = call("assemble", index=index).release
    evaluated = call("evaluate", release=champion, baseline=dense)
    began = time.monotonic()
    copies = call("perturb", evaluation=evaluated.evaluation).perturbations
    made = time.monotonic()
    found = call("measure_robustness", evaluation=evaluated.evaluation, perturbations=copies).robustness
    done = time.monotonic()
    other = call("measure_robustness", evaluation=evaluated.baseline, perturbations=copies).robustness
    both = (read_robustness(load(open_store(), "robustness", name)) for name in (found, other))
    return *both, {"perturb_s": round(made - began, 1), "measure_s": round(done - made, 1)}


def example(robustness: Robustness, perturbation: str) -> dict[str, Any]:
    """A copy that costs more than two thirds of the others do; of equal ones by its texts."""
    rows = sorted(
        (row["after"][MAIN] - row["before"][MAIN], row["original"], row["text"], row["before"][MAIN], row["after"][MAIN])
        for row in robustness.rows
        if row["perturbation"] == perturbation
    )
    _, original, text, before, after = rows[len(rows) // 3]
    return {"query": original, "typed": text, "before": round(before, 3), "after": round(after, 3)}


def rows(champion: Robustness, dense: Robustness) -> list[dict[str, Any]]:
    """A row for each perturbation that was made."""
    found: Mapping[str, Drop] = {drop.perturbation: drop for drop in drops(champion, dense, MAIN, CONFIDENCE)}
    return [
        {
            "perturbation": name.replace("_", " "),
            "queries": drop.change.n,
            "before": round(drop.before, 4),
            "change": drop.change.mean,
            "low": drop.change.low,
            "high": drop.change.high,
            "dense_change": drop.champion.mean if drop.champion else None,
            "beside": drop.beside.mean if drop.beside else None,
            "beside_low": drop.beside.low if drop.beside else None,
            "beside_high": drop.beside.high if drop.beside else None,
            "example": example(champion, name),
        }
        for name in PERTURBATIONS
        if (drop := found.get(name)) is not None
    ]


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="ratchet-robustness-") as folder:
        os.environ.setdefault("RATCHET_HOME", folder)
        champion, dense, seconds = measured()
    not_run = {name: status["reason"] for name, status in champion.status.items() if status["status"] != "made"}
    table = rows(champion, dense)
    write_figures("proof/robustness", {"rows": table, "not_run": not_run, **seconds}, seed=0, runs=1)
    return 0 if table and not not_run else 1


if __name__ == "__main__":
    sys.exit(main())
