"""`make demo`: takes a real corpus through to a judged, promoted, served release; with DATA=my.csv it takes yours."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from demo.airflow_api import AirflowApi
from demo.own import demo_queries, ingest_params, use_own_home
from demo.services import Services
from pipelines import logs
from pipelines.contract import load_step
from pipelines.errors import StepError, TryAgain
from pipelines.evaluation.record import baseline_names
from pipelines.settings import settings
from pipelines.store.artifacts import Artifact, committed, load_exactly
from pipelines.store.journal import Journal
from pipelines.store.objects import Store, open_store
from pipelines.wording import clipped

DAGS = ["ingest_corpus", "refresh_embeddings", "evaluate_release", "promote_release", "deploy_release", "rollback_release",
        "materialize_features"]  # fmt: skip
MEASURES = ["nDCG@10", "RR@10", "R@100", "AP", "P@10", "Judged@10"]


def demo(conf: dict[str, Any]) -> None:
    """Start the services, run the chain of DAGs, print the release, its measures and some search results.

    Args:
        conf: params of `ingest`; empty: the icons.

    Raises:
        StepError: a service or a step failed; the message names the log to read.
    """
    started = time.monotonic()
    if conf:
        print(f"0. Look at {conf['source']}; its store and services are in {settings().home}")
        run_quietly("ingest", **{**conf, "inspect": conf["source"]})
    services = Services()
    store = open_store(services.settings)
    Journal(store)
    before = forward_passes(store)
    print("1. Start Airflow, MLflow and the search server")
    services.up()
    print("2. Export the encoder all-MiniLM-L6-v2 to ONNX (once)")
    exported = run_quietly("export_encoder", variants=["native"])
    print(f"  encoder {exported.encoder}, max-abs deviation from the original weights {exported.deviation:.1e}")
    print("3. Run the train in Airflow: each DAG starts the next by an asset")
    dag_runs = run_chain(services, conf)
    if Journal(store).routing.champion is None:
        promote_by_waiver(services, dag_runs)
    print("4. Put what is known of the documents online, and compare it with its rows")
    follow_features(services)
    print_release(services, store)
    print_choice(services, dag_runs)
    passes = forward_passes(store) - before
    following = f"{services.shell}, then python -m pipelines" if conf else "make demo-break"
    print(f"\nDone in {time.monotonic() - started:.0f} s with {passes} forward passes of the encoder. Next: {following}")


def promote_by_waiver(services: Services, dag_runs: list[dict[str, Any]]) -> None:
    """Promote a release that has no judgments, by a waiver that the journal keeps with name and reason.

    Raises:
        TryAgain: the verdict is not "not run", so a waiver is not allowed.
    """
    airflow = AirflowApi(services.running["airflow"].url, services.token())
    run = next((run["dag_run_id"] for run in dag_runs if run["dag_id"] == "evaluate_release"), "")
    verdict = airflow.result("evaluate_release", run, "gate") or {}
    if verdict.get("outcome") != "not run":
        given = f"a train that ended with {verdict.get('sentence', 'no verdict')}"
        raise TryAgain(given, "a release to show", "read the gate's report")
    print(
        "  So this demo promotes it by a waiver, with its name and reason in the journal: you can look, nobody vouches for it."
    )
    conf = {"verdict": verdict["verdict"], "waive": True, "why": "a first look by make demo, nobody has judged it"}
    follow(airflow, "promote_release", conf)


def follow_features(services: Services) -> None:
    """Materialize one feature view of the champion's corpus, for the last days; the DAG does it every day for all views."""
    airflow = AirflowApi(services.running["airflow"].url, services.token())
    follow(airflow, "materialize_features", {"views": ["document_attributes"], "history": 1})


def print_choice(services: Services, dag_runs: list[dict[str, Any]]) -> None:
    """Print which stages the release ranks by, and why."""
    run = next((run["dag_run_id"] for run in dag_runs if run["dag_id"] == "evaluate_release"), "")
    airflow = AirflowApi(services.running["airflow"].url, services.token())
    chosen = airflow.result("evaluate_release", run, "choose_stages") if run else None
    if chosen:
        report = load_exactly(open_store(services.settings), "report", chosen["stages"])
        print(f"  stages    {chosen['sentence']}\n            file://{save_report(services.home, report)}")


def run_quietly(step: str, **values: Any) -> Any:
    """Run a step in this process; only its warnings are shown."""
    logs.configure(settings().model_copy(update={"log_level": "warning"}), step)
    return load_step(step).call(values)


def run_chain(services: Services, conf: dict[str, Any]) -> list[dict[str, Any]]:
    """Start ingest_corpus and follow the chain of DAGs; prints a line for each task.

    Raises:
        TryAgain: a dag run failed.
    """
    airflow = AirflowApi(services.running["airflow"].url, services.token())
    airflow.wait_for_dags(DAGS)
    return follow(airflow, "ingest_corpus", conf)


def follow(airflow: AirflowApi, dag: str, conf: dict[str, Any]) -> list[dict[str, Any]]:
    """Start a DAG and follow the chain from there; returns the dag runs in the order they ended.

    Raises:
        TryAgain: a dag run failed.
    """
    runs = airflow.follow(dag, airflow.trigger(dag, conf), _print_task)
    for run in runs:
        if run["state"] == "failed":
            link = f"{airflow.url}/dags/{run['dag_id']}/runs/{run['dag_run_id']}"
            raise TryAgain(f"{run['dag_id']}, which failed", "a green run", f"read the red task's log at {link}")
        if run.get("note"):
            print(f"  {run['dag_id']}: {run['note']}")
    return runs


def _print_task(task: dict[str, Any]) -> None:
    if "progress" in task:
        print(f"  ...   {task['dag_id']:<19} {task['task_id']:<19} {task['progress']}", flush=True)
        return
    mark = {"success": "done", "skipped": "skip", "failed": "FAIL"}.get(task["state"], task["state"])
    print(f"  {mark:<5} {task['dag_id']:<19} {task['task_id']:<19} {task['duration'] or 0:5.1f} s", flush=True)


def forward_passes(store: Store) -> int:
    """How many batches encoders have run for all shards and evaluations in the store."""
    kinds = ("shard", "evaluation")
    artifacts = [load_exactly(store, kind, name) for kind in kinds for name in committed(store, kind)]  # type: ignore[arg-type]
    return sum(int(artifact.facts.get("forward_passes", 0)) for artifact in artifacts)


def print_release(services: Services, store: Store) -> None:
    """Print the champion's measures, its verdict, some search results, and links."""
    journal = Journal(store)
    champion = journal.routing.champion
    if champion is None:
        raise TryAgain(
            "a train without a champion", "a served release", "run `python -m pipelines history`, read the gate's note"
        )
    verdict_id = next(
        entry.verdict for entry in reversed(journal.entries) if entry.verdict and entry.routing.champion == champion
    )
    verdict = load_exactly(store, "verdict", str(verdict_id))
    evaluation = load_exactly(store, "evaluation", verdict.inputs["evaluation"])
    print(f"\nRelease {champion} serves, by journal entry {len(journal.entries)}")
    print_measures(evaluation)
    print(f"  verdict: {verdict.facts['sentence']}\n")
    wait_until_served(services, champion)
    print_results(services, store, champion)
    reports = [save_report(services.home, artifact) for artifact in (evaluation, verdict)]
    link = request(services, "POST", "/v1/signin-links").json()["url"]
    print(f"\n  search    {link}  (opens once)")
    print(f"  airflow   {services.running['airflow'].url}  (admin, password in {services.password_file})")
    version = registered_version(services, champion)
    print(f"  mlflow    {services.running['mlflow'].url}/#/models/release  (version {version} is champion)")
    for report in reports:
        print(f"  report    file://{report}")
    print(f"  shell     {services.shell}  (then python -m pipelines history, or any other step)")


def registered_version(services: Services, champion: str) -> str:
    """The champion's version in MLflow's model registry.

    Raises:
        TryAgain: MLflow's alias is not on the champion.
    """
    url = f"{services.running['mlflow'].url}/api/2.0/mlflow/registered-models/alias"
    answer = httpx.get(url, params={"name": "release", "alias": "champion"}, timeout=30)
    version = answer.json()["model_version"] if answer.is_success else {}
    if champion not in json.dumps(version.get("tags", [])):
        raise TryAgain(
            f"MLflow's champion {version or answer.text[:200]}", f"release {champion}", "run `python -m pipelines reconcile`"
        )
    return str(version["version"])


def print_measures(evaluation: Artifact) -> None:
    """Print the measures with their intervals, one a line."""
    summary = evaluation.json("measures.json")
    if not summary["queries"]:
        print("  not measured: nobody has judged anything")
        return
    if summary["synthetic"]:
        print(f"  On {summary['queries']:,} synthetic known-item queries, a smoke test that says nothing of the quality:")
    for name in MEASURES:
        sides = summary["measures"][name]
        release = sides["release"]
        beside = "  ".join(f"{baseline} {sides[baseline.lower()]['mean']:.3f}" for baseline in baseline_names(summary))
        print(f"  {name:<9} {release['mean']:.3f}  95 % interval {release['low']:.3f} to {release['high']:.3f}  {beside}")


def wait_until_served(services: Services, release: str, timeout_s: float = 60, role: str = "champion") -> None:
    """Wait until the server has the release in this role: champion, challenger, or previous.

    Raises:
        TryAgain: it does not within `timeout_s` seconds.
    """
    deadline, answer = time.monotonic() + timeout_s, {}
    while time.monotonic() < deadline:
        with suppress(httpx.HTTPError):  # it starts again
            answer = httpx.get(f"{services.running['server'].url}/readyz", timeout=5).json()
        if answer.get(role) == release:
            return
        time.sleep(0.2)
    raise TryAgain(f"a server that serves {answer or 'nothing'}", f"{role} {release}", f"read {services.running['server'].log}")


def print_results(services: Services, store: Store, champion: str) -> None:
    """Print the server's top 5 for three queries."""
    for query in demo_queries(store, champion):
        answer = request(services, "GET", "/v1/search", params={**query.parameters, "k": 5, "user": "demo"}).json()
        print(f"  {query.label:<6} → {', '.join(clipped(result['title'], 40) for result in answer['results'])}")


def request(services: Services, method: str, path: str, **options: Any) -> httpx.Response:
    """A request to the search server with its key."""
    headers = {"Authorization": f"Bearer {services.key}"}
    answer = httpx.request(method, services.running["server"].url + path, headers=headers, timeout=30, **options)
    return answer.raise_for_status()


def save_report(home: Path, artifact: Artifact) -> Path:
    """Copy the artifact's report into `home/reports`, where a browser can open it."""
    target = home / "reports" / f"{artifact.kind}-{artifact.id}.html"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(artifact.path("report.html").read_bytes())
    return target


@contextmanager
def told_errors() -> Iterator[None]:
    """End the program with a sentence and the exit code of what went wrong, or of Ctrl-C, never with a traceback."""
    try:
        yield
    except StepError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except httpx.HTTPError as error:
        print(f"error: given {error!r}; expected services that answer; next: `make down`, then `make demo`", file=sys.stderr)
        sys.exit(75)
    except KeyboardInterrupt:
        print("\ninterrupted; the services still run: `make down` ends them", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    with told_errors():
        conf_of_source = ingest_params(sys.argv[1:])
        if conf_of_source:
            use_own_home(conf_of_source["source"])
        demo(conf_of_source)
