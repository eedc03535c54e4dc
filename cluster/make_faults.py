"""`make test-k8s`: make the faults of `cluster/faults.py` one after another; all, or with FAULTS='1 8' some.

Writes build/proof/faults.json and docs/faults.md.
"""

import os
import re
import signal
import sys
import time
import traceback
from typing import Any
from urllib.parse import quote

from cluster.faults import FAULTS, Fault, Outcome
from cluster.local import NoCluster, cluster, until
from cluster.platform import SEED, Platform, platform, torn
from cluster.witness import Witness, redone
from demo.airflow_api import OVER
from tests.conftest import PROJECT
from tests.figures import write_figures

DOCS = PROJECT / "docs" / "faults.md"


def check(fault: Fault, p: Platform) -> Outcome:
    """Make the fault; then nothing may be torn and no pod left.

    Raises:
        AssertionError: something was lost, doubled, torn, orphaned or not told.
    """
    with Witness(p.cluster) as witness:
        outcome = fault.make(p)
    outcome.facts["shards_encoded"] = len({one["shard"] for one in witness.encodings()})
    outcome.facts["shards_redone"] = len(again := redone(p.store, witness.encodings()))
    assert not again, f"shards encoded again although they were committed: {again}"
    assert outcome.message.strip(), "nobody was told"
    assert outcome.vectors_lost == 0, f"{outcome.vectors_lost} vectors lost"
    assert torn(p.store) == 0, "a torn artifact can be read"
    left = until(lambda: not p.cluster.pods() or None, 60, "end of every pod")
    assert left
    return outcome


def run_all(p: Platform, chosen: list[Fault]) -> list[dict[str, Any]]:
    """Make the faults one after another and tell how each ended."""
    told = []
    for fault in chosen:
        started = time.monotonic()
        print(f"{fault.number:>2}  {fault.title} …", flush=True)
        try:
            outcome, passed, message = (made := check(fault, p)), True, made.message
        except Exception as error:  # noqa: BLE001  # the next fault is made all the same
            traceback.print_exc()
            outcome, passed, message = Outcome(""), False, f"{type(error).__name__}: {str(error)[:300]}"
            _tidy(p)
        seconds = time.monotonic() - started
        print(f"    {'passed' if passed else 'FAILED'} in {seconds:.0f} s: {message}", flush=True)
        told.append({
            "number": fault.number, "upstream": fault.upstream, "title": fault.title, "passed": passed, "message": message,
            "seconds": round(seconds), "orphan_pods": len(p.cluster.pods()), "vectors_lost": outcome.vectors_lost,
            "torn_artifacts": torn(p.store), **outcome.facts,
        })  # fmt: skip
    return told


def _tidy(p: Platform) -> None:
    """A fault that failed must not spoil the next: its dag runs end, and its pods."""
    for run in p.api._get("/dags/~/dagRuns", limit=100)["dag_runs"]:
        if run["state"] not in OVER:
            path = f"/dags/{run['dag_id']}/dagRuns/{quote(run['dag_run_id'], safe='')}"
            p.api.client.patch(path, json={"state": "failed"})
    for pod in p.cluster.pods():
        p.cluster.api.delete_namespaced_pod(pod.metadata.name, p.cluster.namespace, grace_period_seconds=0)


def main() -> int:
    """Make the faults that FAULTS names, or all; 0 if each left everything whole."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that Airflow, the store and the namespace go
    asked = {int(number) for number in os.environ.get("FAULTS", "").split()}
    chosen = [fault for fault in FAULTS if not asked or fault.number in asked]
    try:
        with cluster() as found, platform(found) as p:
            told = run_all(p, chosen)
    except NoCluster as reason:
        print(f"error: given {reason}; expected a cluster; next: set KUBECONFIG", file=sys.stderr)
        return 2
    counted = ("vectors_lost", "torn_artifacts", "orphan_pods", "shards_encoded", "shards_redone")
    totals = {name: sum(one.get(name, 0) for one in told) for name in counted}
    figures = {"faults_total": len(told), "faults_passed": sum(one["passed"] for one in told), **totals}
    write_figures("proof/faults", figures, seed=SEED, runs=1)
    if not asked:
        _write_table(told)
    return 0 if figures["faults_passed"] == len(told) else 1


def _write_table(told: list[dict[str, Any]]) -> None:
    """The table of `docs/faults.md`, between its marks, from what was just seen."""
    lines = ["| | fault | upstream | outcome | s | what an operator reads |", "|---|---|---|---|---|---|"]
    for one in told:
        words = re.sub(r"\s+", " ", one["message"]).replace("|", "\\|").replace("<", "&lt;")
        words = re.sub(r"ratchet-[0-9a-f]{8}", "ratchet", words)
        state = "passed" if one["passed"] else "**failed**"
        lines.append(f"| {one['number']} | {one['title']} | {one['upstream'] or '–'} | {state} | {one['seconds']} | {words} |")
    before, _, rest = DOCS.read_text(encoding="utf-8").partition("<!-- outcomes -->\n")
    _, _, after = rest.partition("<!-- /outcomes -->")
    table = "\n".join(lines)
    DOCS.write_text(f"{before}<!-- outcomes -->\n{table}\n<!-- /outcomes -->{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
