"""A client of Airflow's REST API: starts a DAG and follows the chain of DAGs that its assets start."""

import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import httpx

from pipelines.errors import InputError, TryAgain

OVER = ("success", "failed")
UNFINISHED = (None, "up_for_retry", "running", "deferred", "scheduled", "queued")
"""States of a task that may have ended before, and goes on."""
ASSET_DELAY_S = 1.5
"""How long after a dag run's end the dag runs that its assets start may still appear."""
PROGRESS_EVERY_S = 10
"""Seconds between two reports of the progress of a running task."""


class AirflowApi:
    """A client with one account's bearer token."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.client = httpx.Client(
            base_url=f"{url}/api/v2",
            headers={"Authorization": f"Bearer {token}"},
            timeout=60,
            transport=httpx.HTTPTransport(retries=3),
        )

    def wait_for_dags(self, names: list[str], timeout_s: float = 120) -> None:
        """Wait until Airflow has parsed the DAGs.

        Raises:
            TryAgain: some are missing after `timeout_s` seconds; the message has their import errors.
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            known = {dag["dag_id"] for dag in self._get("/dags", limit=100)["dags"]}
            if known >= set(names):
                return
            time.sleep(0.5)
        errors = [error["stack_trace"][-300:] for error in self._get("/importErrors")["import_errors"]]
        raise TryAgain(f"DAGs {sorted(set(names) - known)} missing {errors}", "all DAGs parsed", "read Airflow's log")

    def trigger(self, dag: str, conf: dict[str, Any]) -> str:
        """Start a DAG; returns the dag run's id. Server errors are retried, since SQLite may be locked for a moment."""
        body = {"logical_date": None, "conf": conf}
        for pause in (1, 2, 4, 0):
            answer = self.client.post(f"/dags/{dag}/dagRuns", json=body)
            if not answer.is_server_error or not pause:
                break
            time.sleep(pause)
        if answer.is_client_error:
            raise InputError(f"{dag} with {conf}", "values that its form allows", answer.text[:300])
        return str(answer.raise_for_status().json()["dag_run_id"])

    def follow(self, dag: str, run: str, on_task: Callable[[dict[str, Any]], None]) -> list[dict[str, Any]]:
        """Wait for a dag run and all dag runs that its assets start; returns them in the order they ended.

        `on_task` is called once for every finished task, and every 10 s for a running one, which has a key `progress` then.
        Asset events coalesce, so the chain is followed by the dag runs that events created, not by counting events.
        """
        ended, waiting = [], [(dag, run)]
        while waiting:
            dag, run = waiting.pop(0)
            ended.append(self._wait_for_dag_run(dag, run, on_task))
            waiting += [child for child in self._children(dag, run) if child not in [*waiting, *_keys(ended)]]
        return ended

    def end_dag_runs(self, dag: str, why: str) -> None:
        """Mark the dag runs of a DAG as failed that have not ended and were started with this `why`."""
        for run in self._get(f"/dags/{dag}/dagRuns", state=["queued", "running"])["dag_runs"]:
            if run["conf"].get("why") == why:
                path = f"/dags/{dag}/dagRuns/{quote(run['dag_run_id'], safe='')}"
                self.client.patch(path, json={"state": "failed"}).raise_for_status()

    def result(self, dag: str, run: str, task: str, key: str = "return_value") -> Any:
        """The return value of a task, None if it has none; by the key `result` that of a task which ended its dag run, too."""
        path = f"/dags/{dag}/dagRuns/{quote(run, safe='')}/taskInstances/{task}/xcomEntries/{key}"
        answer = self.client.get(path, params={"deserialize": "true"})
        return answer.json().get("value") if answer.is_success else None

    def _wait_for_dag_run(self, dag: str, run: str, on_task: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        seen: set[tuple[str, int]] = set()
        path = f"/dags/{dag}/dagRuns/{quote(run, safe='')}"
        reported = time.monotonic()
        while True:
            state = self._get(path)
            tasks = self._get(f"{path}/taskInstances", order_by="end_date")["task_instances"]
            for task in tasks:
                key = (task["task_id"], task["map_index"])
                if task["end_date"] and task["state"] not in UNFINISHED and key not in seen:
                    seen.add(key)
                    on_task(task)
            if state["state"] in OVER:
                return state
            if time.monotonic() - reported > PROGRESS_EVERY_S:
                reported = time.monotonic()
                for task in tasks:
                    if task["state"] == "running":
                        on_task(task | {"progress": self._progress(path, task)})
            time.sleep(0.3)

    def _progress(self, path: str, task: dict[str, Any]) -> str:
        """The last progress line in a running task's log; empty: there is none."""
        log = f"{path}/taskInstances/{task['task_id']}/logs/{task['try_number']}"
        answer = self.client.get(log, params={"map_index": task["map_index"]}, headers={"Accept": "application/json"})
        lines = [str(line.get("event", "")) for line in answer.json()["content"]] if answer.is_success else []
        return next((line for line in reversed(lines) if line.startswith("progress ")), "").removeprefix("progress ")

    def _children(self, dag: str, run: str) -> list[tuple[str, str]]:
        time.sleep(ASSET_DELAY_S)
        events = self._get("/assets/events", source_dag_id=dag, source_run_id=run)["asset_events"]
        return [(child["dag_id"], child["run_id"]) for event in events for child in event["created_dagruns"]]

    def _get(self, path: str, **query: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self.client.get(path, params=query).raise_for_status().json()
        return answer


def _keys(dag_runs: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    return ((run["dag_id"], run["dag_run_id"]) for run in dag_runs)
