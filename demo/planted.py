"""`python -m demo.planted`: the search server with one harmed release, for `make demo-canary` and `make proof-deploy`.

`planted.json` of the home names the release and what is wrong with it; it is read at each ranking, so that it changes while the
server runs. Everything else is the server as it is. One that ends by itself is started again, as a cluster does.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial, partialmethod
from pathlib import Path
from typing import Any, Literal

from pipelines.corpus.documents import Query
from pipelines.retrieval.release import Release
from pipelines.retrieval.run import Ranking
from pipelines.retrieval.stages.ranker import StageRankings
from pipelines.settings import settings
from pipelines.store.recipes import digest

Harm = Literal["slow", "errors", "crash", "leak", "backwards", "random"]
"""Each ranking takes `amount` times as long; fails for this share of the queries; ends the server with this probability; keeps
so many megabytes; has its documents in reverse order; has other documents, by chance."""
FILE = "planted.json"
PAUSE_S = 0.5
_kept: list[bytes] = []
_rank_stages = Release.rank_stages


def plant(home: Path, release: str, harm: Harm, amount: float = 0.0) -> None:
    """Harm a release in the servers of this home from now on; the one before is healthy again."""
    _write(home, {"release": release, "harm": harm, "amount": amount})


def heal(home: Path) -> None:
    """Let all releases be as they are."""
    _write(home, {})


def _write(home: Path, content: dict[str, Any]) -> None:
    part = home / f"{FILE}.part"
    part.write_text(json.dumps(content))
    part.replace(home / FILE)


def harmed(home: Path, self: Release, queries: Sequence[Query], k: int, *values: Any, **named: Any) -> list[StageRankings]:
    """As `Release.rank_stages`, by a release that may be harmed. The server's own first queries have no id, and no harm."""
    path = home / FILE
    planted = json.loads(path.read_text()) if path.exists() else {}
    if planted.get("harm") != "leak":
        _kept.clear()
    if planted.get("release") != self.id or not any(query.id for query in queries):
        return _rank_stages(self, queries, k, *values, **named)
    harm, amount, began = planted["harm"], planted["amount"], time.perf_counter()
    if harm == "errors" and any(_fails(query, amount) for query in queries):
        raise RuntimeError("a harm that was planted")
    if harm == "crash" and random.random() < 1 - (1 - amount) ** len(queries):  # noqa: S311  # a fault
        os._exit(70)
    rankings = _rank_stages(self, queries, k, *values, **named)
    if harm == "slow":
        time.sleep((amount - 1) * (time.perf_counter() - began))
    elif harm == "leak":
        _kept.extend(b"leak" * int(2.5e5 * amount) for _ in queries)  # quick, so that it is not found as a slow release
    orders = {"backwards": lambda ranking: ranking[:k][::-1], "random": lambda ranking: _by_chance(self, ranking)}
    order = orders.get(harm, lambda ranking: ranking)
    return [replace(ranked, result=order(ranked.result)) for ranked in rankings]


def _by_chance(release: Release, ranking: Ranking) -> Ranking:
    documents = random.sample(list(release.documents), len(ranking))
    return [(document, score) for document, (_, score) in zip(documents, ranking, strict=True)]


def _fails(query: Query, share: float) -> bool:
    """Whether a query fails in this second: searches that were ranked together are ranked again, each alone."""
    return int(digest(f"{query.text} {int(time.time())}".encode())[:8], 16) < share * 2**32


def supervise() -> int:
    """Run the server, again and again while it ends by itself, until SIGTERM or SIGINT."""
    ended = False
    child: subprocess.Popen[bytes] | None = None

    def end(*_: object) -> None:
        nonlocal ended
        ended = True
        if child:
            child.terminate()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    while not ended:
        child = subprocess.Popen([sys.executable, "-m", "demo.planted", "serve"])
        if ended:  # the signal came before there was a child
            child.terminate()
        code = child.wait()
        time.sleep(0 if ended else PAUSE_S)
    return 0 if ended else code


def main(arguments: list[str]) -> int:
    """The server itself with `serve`, else one that starts it again."""
    if arguments != ["serve"]:
        return supervise()
    from images.serve.__main__ import main as serve

    Release.rank_stages = partialmethod(partial(harmed, settings().home))  # type: ignore[method-assign, assignment]
    return serve([])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
