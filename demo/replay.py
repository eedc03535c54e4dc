"""`python -m demo.replay --experiment FILE`: replays searches and clicks between the champion and the challenger.

The searches are the judged queries of the champion's corpus; each made user is assigned to a variant by the experiment's salt,
searches by `/v1/search` and clicks by `/v1/clicks`: on relevant documents often, on others seldom, less often the lower they
stand. Such traffic compares how two releases answer judged queries. It says nothing of how people act, so the experiment must
be declared with `traffic: replayed`; the log and the report say so. The variants are called champion and challenger. Where a
split of the experiment's name runs, the server assigns.
"""

import argparse
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from pipelines.errors import InputError, StepError, TryAgain
from pipelines.evaluation.qrels import Topics, judged_topics
from pipelines.experiments.assignment import assign
from pipelines.experiments.design import Design, read_design
from pipelines.settings import settings
from pipelines.store.artifacts import load_exactly
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store
from pipelines.store.releases import champion_release

VARIANTS = {"champion", "challenger"}
RELEVANT, OTHER = 0.6, 0.03
"""Probability of a click on a document that is looked at."""
DEVICES = ("phone", "desktop")


@dataclass(frozen=True)
class Replayed:
    """What was sent."""

    users: int
    searches: int
    clicks: int


def looked_at(position: int) -> float:
    """The probability that a result is looked at, by its position from 1.

    >>> [round(looked_at(position), 2) for position in (1, 2, 10)]
    [1.0, 0.71, 0.32]
    """
    return position**-0.5


def replay(client: httpx.Client, design: Design, topics: Topics, users: int, seed: int, by_server: bool = False) -> Replayed:
    """Send one to five searches of each user, with the clicks that follow.

    Args:
        client: with the server's address and key.
        design: the experiment, whose variants are champion and challenger.
        topics: the judged queries.
        users: how many.
        by_server: whether the server assigns users to releases, by a split of the experiment's name.
        seed: of all draws; the same seed gives the same users and queries, and the same clicks on the same results.

    Raises:
        InputError: the server refuses a search.
        TryAgain: it does not answer.
    """
    searches = clicks = 0
    for user in range(users):
        drawn = random.Random(f"{seed} {user}")  # noqa: S311  # simulated behaviour
        name = f"replayed-{seed}-{user}"
        variant = assign(name, design.salt or design.id, design.variants)
        assigned = {} if by_server else {"release": variant, "experiment": design.id, "variant": variant}
        for _ in range(drawn.randint(1, 5)):
            query = drawn.choice(topics.queries)
            answer = _sent(
                client,
                "GET",
                "/v1/search",
                params={
                    "user": name,
                    **assigned,
                    "q": query.text,
                    "segment": f"device={drawn.choice(DEVICES)}",
                    "traffic": "replayed",
                },
            )
            searches += 1
            for click in clicks_of(answer, topics.qrels[query.id], drawn):
                _sent(client, "POST", "/v1/clicks", json=click)
                clicks += 1
    return Replayed(users, searches, clicks)


def clicks_of(answer: dict[str, Any], grades: dict[str, int], drawn: random.Random) -> Iterator[dict[str, Any]]:
    """The clicks that follow an answer, as `/v1/clicks` takes them: on relevant documents often, less often the lower."""
    for result in answer["results"]:
        tempting = RELEVANT if grades.get(result["id"], 0) > 0 else OTHER
        if drawn.random() < looked_at(result["position"]) * tempting:
            yield {"request_id": answer["request_id"], "document": result["id"], "position": result["position"]}


def _sent(client: httpx.Client, method: str, path: str, **arguments: Any) -> dict[str, Any]:
    try:
        while (response := client.request(method, path, **arguments)).status_code == 429:
            time.sleep(float(response.headers["retry-after"]))
    except httpx.HTTPError as error:
        raise TryAgain(
            f"{client.base_url}{path}: {error}", "a search server that answers", "run `make up`, then again"
        ) from None
    if response.status_code >= 400:
        is_json = "json" in response.headers.get("content-type", "")
        message = response.json().get("detail", response.text) if is_json else response.text
        kind = TryAgain if response.status_code >= 500 else InputError
        raise kind(f"{path}, which answered {response.status_code}", "an answer", f"see what it says: {message}")
    return dict(response.json())


def checked_design(file: Path) -> Design:
    """The declaration, if it is one of replayed traffic between champion and challenger.

    Raises:
        InputError: it is not.
    """
    design = read_design(file)
    if set(design.variants) != VARIANTS or design.traffic != "replayed":
        raise InputError(
            f"experiment {file} of {design.traffic} traffic between {', '.join(design.variants)}",
            "traffic: replayed, and the variants champion and challenger",
            "correct the file",
        )
    return design


def main(arguments: list[str] | None = None) -> int:
    """Replay against the server that RATCHET_SERVER_URL names."""
    parser = argparse.ArgumentParser(prog="python -m demo.replay", description=__doc__)
    parser.add_argument("--experiment", type=Path, required=True, help="YAML file of the experiment")
    parser.add_argument("--users", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    current = settings()
    try:
        design = checked_design(options.experiment)
        journal = Journal(open_store())
        split, champion = journal.routing.split, champion_release(journal)
        if champion is None:
            raise InputError("a store without a champion", "a champion and a challenger that serve", "deploy a release first")
        topics = judged_topics(load_exactly(champion.store, "corpus", champion.inputs["corpus"]), "test", "exclude")
        url = current.server_url or f"http://{current.server_host}:{current.server_port}"
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {current.key}"}, timeout=30) as client:
            sent = replay(client, design, topics, options.users, options.seed, bool(split and split.name == design.id))
    except StepError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"replayed: {sent.users:,} users, {sent.searches:,} searches, {sent.clicks:,} clicks")
    return 0


if __name__ == "__main__":
    sys.exit(main())
