"""`make demo-better`: trains a better encoder in Airflow; its release passes the gate and serves.

Then it shows what it ranks beside the release before. Done already, it only shows both again.
"""

import time
from urllib.parse import urlencode

from demo.__main__ import DAGS, follow, request, save_report, told_errors, wait_until_served
from demo.airflow_api import AirflowApi
from demo.harms import champion_of
from demo.own import demo_queries
from demo.services import Services
from pipelines.errors import InputError
from pipelines.store.artifacts import load_exactly
from pipelines.store.journal import Journal
from pipelines.store.objects import Store, open_store
from pipelines.store.releases import is_tuned
from pipelines.wording import clipped

TRAINING = {"epochs": 1, "learning_rate": 1e-4, "threads": 1}
"""One pass over the icons' judged train queries, which is enough for the gate. By one thread: where a machine has other work,
threads that wait for each other take many times as long."""


def better() -> None:
    """Train, judge, promote and deploy through Airflow, then print the verdict and both releases' results.

    Raises:
        StepError: there is no champion, a DAG failed, or the gate did not pass what was trained.
    """
    started = time.monotonic()
    services = Services()
    store = open_store(services.settings)
    champion = champion_of(store)
    services.up(report=lambda _: None)
    if is_tuned(champion):
        print(f"Release {champion.id} serves already, by an encoder that was tuned on the judgments: nothing is trained anew.")
    else:
        print("1. Tune the encoder on judged train queries, in Airflow: each DAG starts the next by an asset", flush=True)
        train(services)
        before, champion = champion, champion_of(store)
        if champion.id == before.id:
            raise InputError(
                f"a tuned encoder, after which release {before.id} still serves",
                "a release that the gate passes and that no rollback has left",
                "read the notes of the DAG runs above; one that was rolled back serves again by "
                "`python -m pipelines rollback --to RELEASE`",
            )
    journal = Journal(store)
    deployment, promotion = journal.deployment(), journal.latest("promote", to=champion.id)
    assert deployment is not None
    assert promotion is not None
    verdict = load_exactly(store, "verdict", str(promotion.verdict))
    print(f"\nRelease {champion.id} serves, by journal entry {deployment.n}")
    print(f"  verdict   {verdict.facts['sentence']}\n            file://{save_report(services.home, verdict)}")
    wait_until_served(services, champion.id)
    if previous := journal.previous_champion():
        wait_until_served(services, previous, role="previous")
        show_both(services, store, champion.id)
        back = 'python -m pipelines rollback --why "the demo is over"'
        print(f"\nDone in {time.monotonic() - started:.0f} s. Back to the release before: {services.shell}, then {back}")
    else:
        print("\nIt serves again by a rollback, so no release stands before it that could be shown beside it.")


def train(services: Services) -> None:
    """Start build_encoder and follow the chain of DAGs to its end; prints a line for each task."""
    airflow = AirflowApi(services.running["airflow"].url, services.token())
    airflow.wait_for_dags([*DAGS, "build_encoder"])
    follow(airflow, "build_encoder", TRAINING)


def show_both(services: Services, store: Store, champion: str) -> None:
    """Print the top 5 of the release before and of the champion for some queries, and where the page shows both."""
    print("\nBefore and now, as the server answers:")
    queries = demo_queries(store, champion)
    for query in queries:
        for role, label in (("previous", query.label), ("champion", "")):
            parameters = {**query.parameters, "k": 5, "user": "demo", "release": role}
            results = request(services, "GET", "/v1/search", params=parameters).json()["results"]
            arrow = "→" if role == "champion" else " "
            print(f"  {label:<8} {arrow} {', '.join(clipped(result['title'], 40) for result in results)}")
    link = request(services, "POST", "/v1/signin-links").json()["url"]
    fragment = urlencode({**queries[0].parameters, "beside": "previous"}, doseq=True)
    print(f"\n  search    {link}#{fragment}  (opens once)")


if __name__ == "__main__":
    with told_errors():
        better()
