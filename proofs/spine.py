"""`make proof-spine`: races, kill points and the three planted harms; writes build/proof/spine.json, exit 1 if one failed."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from demo.harms import copied_store, lost_vectors, swapped_tokenizer, worse_ranking
from pipelines.settings import settings
from pipelines.store.objects import open_store
from pipelines.train import train
from proofs.kill_points import SEED, proof
from tests.figures import write_figures


def planted_harms(home: Path) -> dict[str, int]:
    """Plant each harm in a fresh home; count those that were refused."""
    os.environ["RATCHET_HOME"] = str(home / "home")
    train()
    store = open_store(settings())
    given = dict(os.environ)
    harms: list[Callable[[], str]] = [
        lambda: worse_ranking(lambda conf: train(**conf), store),
        lambda: swapped_tokenizer(copied_store(home / "home", home / "first"), home),
        lambda: lost_vectors(copied_store(home / "home", home / "second"), home),
    ]
    refused = 0
    for plant in harms:
        try:
            print(f"refused: {plant()}", flush=True)
            refused += 1
        except AssertionError as error:
            print(f"NOT refused: {error}", flush=True)
        os.environ.clear()
        os.environ.update(given)
    return {"planted": len(harms), "planted_refused": refused}


def main() -> int:
    home = Path(tempfile.mkdtemp(prefix="ratchet-proof-"))
    try:
        figures = {**proof(), **planted_harms(home)}
    finally:
        shutil.rmtree(home, ignore_errors=True)
    write_figures("proof/spine", figures, seed=SEED, runs=1)
    complete = figures["kill_points"] == figures["kill_points_passed"] and figures["planted"] == figures["planted_refused"]
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
