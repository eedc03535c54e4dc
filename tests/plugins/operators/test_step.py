"""StepOperator in the process runtime: exit codes, retries, streaming, stopping, templating."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.sdk import DAG, RetryPolicy
from airflow.sdk.definitions.retry_policy import RetryAction
from airflow.sdk.exceptions import AirflowSkipException
from airflow.sdk.execution_time.comms import AssetEventDagRunReferenceResult
from airflow.sdk.execution_time.context import TriggeringAssetEventsAccessor
from operators import step as step_module
from operators.assets import CORPUS, RETRAIN, VERDICT
from operators.failures import StepFailed
from operators.form import answer_if_event, answer_or_event
from operators.process import ChildProcess
from operators.retries import StepRetryPolicy
from operators.step import StepOperator

from pipelines.errors import InputError
from pipelines.settings import environment
from pipelines.steps.evaluate_release.gate import gate
from pipelines.steps.ingest_corpus.ingest import ingest
from pipelines.steps.promote_release.promote import promote
from pipelines.steps.refresh_embeddings.embed import embed
from pipelines.steps.refresh_embeddings.index import index
from pipelines.steps.refresh_embeddings.plan import plan

OK = "import os; open(os.environ['RATCHET_RESULT_PATH'], 'w').write('{\"corpus\": \"c0ffee\", \"documents\": 2}')"


@pytest.fixture
def runs(monkeypatch):
    """Let the operator's child run this Python code instead of the command line; gives what was started."""
    started = []

    def with_code(code):
        class Scripted(ChildProcess):
            def __init__(self, command, variables, grace_s):
                started.append((command, variables))
                super().__init__([sys.executable, "-c", code], variables, grace_s)

        monkeypatch.setattr(step_module, "ChildProcess", Scripted)
        return started

    return with_code


def run(operator, context):
    """`execute`, past Airflow's guard against calling it from inside another task."""
    return (
        StepOperator.execute.__wrapped__(operator, context)
        if hasattr(StepOperator.execute, "__wrapped__")
        else operator.execute(context)
    )


def test_result_fields_and_link(runs, context):
    started = runs(OK)
    operator = StepOperator(step=ingest, step_params={"text": "label", "folder": ""})
    assert run(operator, context) == {"corpus": "c0ffee", "documents": 2}
    assert context["ti"].pushed == {"corpus": "c0ffee", "documents": 2, "result": {"corpus": "c0ffee", "documents": 2}}
    assert operator.artifact_page == "/ratchet/artifacts/corpus/c0ffee"
    command, variables = started[0]
    assert command[1:] == ["-m", "pipelines", "ingest", "--text=label"]
    about = {name: variables[f"RATCHET_{name}"] for name in ("DAG", "DAG_RUN", "TASK", "TRY_NUMBER", "LOG_FORMAT", "USER")}
    assert about == {
        "DAG": "ingest_corpus", "DAG_RUN": context["ti"].run_id, "TASK": "ingest", "TRY_NUMBER": "1", "LOG_FORMAT": "json",
        "USER": "ursula",
    }  # fmt: skip
    assert not Path(variables["RATCHET_RESULT_PATH"]).exists()


def test_what_the_step_cost_is_beside_its_result(runs, context):
    cost = {"step": "ingest", "wall_s": 2.5}
    runs(f"{OK}; open(os.environ['RATCHET_RESULT_PATH'] + '.step_cost', 'w').write({json.dumps(cost)!r})")
    assert run(StepOperator(step=ingest), context) == {"corpus": "c0ffee", "documents": 2}
    assert context["ti"].pushed["step_cost"] == cost


@pytest.mark.parametrize(
    ("code", "exit_code", "action"),
    [
        ("raise SystemExit(2)", 2, RetryAction.FAIL),
        ("raise SystemExit(75)", 75, RetryAction.RETRY),
        ("raise SystemExit(137)", 137, RetryAction.RETRY),
        ("import os; os.kill(os.getpid(), 9)", -9, RetryAction.RETRY),
        ("raise SystemExit(1)", 1, RetryAction.DEFAULT),
    ],
)
def test_exit_codes(runs, context, code, exit_code, action):
    runs(f"import sys; print('error: given x; expected y; next: z', file=sys.stderr, flush=True); {code}")
    with pytest.raises(StepFailed) as failed:
        run(StepOperator(step=ingest), context)
    assert failed.value.exit_code == exit_code
    assert StepRetryPolicy().evaluate(failed.value, 1, 2).action == action
    if exit_code in (2, 75, 1):
        assert str(failed.value) == "given x; expected y; next: z"


def test_nothing_to_do_skips(runs, context):
    runs("import sys; print('skipped: all done', file=sys.stderr); sys.exit(4)")
    with pytest.raises(AirflowSkipException, match=r"^all done$"):
        run(StepOperator(step=ingest), context)


def test_out_of_memory_halves_the_batch_once(runs, context):
    started = runs("raise SystemExit(137)")
    decisions = []
    for _ in range(2):
        with pytest.raises(StepFailed) as failed:
            run(StepOperator(step=embed, step_params={"corpus": "c", "encoder": "e", "batch_tokens": 1000}), context)
        decisions.append(StepRetryPolicy().evaluate(failed.value, 1, 9).action)
    batches = [argument for command, _ in started for argument in command if "batch" in argument]
    assert batches == ["--batch-tokens=1000", "--batch-tokens=500"]
    assert decisions == [RetryAction.RETRY, RetryAction.FAIL]


def test_default_batch_is_halved_too(context):
    context["task_state_store"].set("out_of_memory", 1)
    operator = StepOperator(step=embed, step_params={"corpus": "c", "encoder": "e"}, over="shard", value="1/2")
    assert operator.command(context) == ["embed", "--corpus=c", "--encoder=e", "--shard=1/2", "--batch-tokens=1024"]


def test_real_command_line_and_real_refusal(context, home):
    with pytest.raises(StepFailed, match=r"^given .*nowhere.*; expected .*; next: .*") as failed:
        run(StepOperator(step=ingest, step_params={"folder": "/nowhere"}), context)
    assert failed.value.exit_code == 2


def test_lines_come_while_the_step_runs():
    code = "import sys, time\nfor n in range(3): print(n, file=sys.stderr, flush=True); time.sleep(0.4)"
    seen = []
    child = ChildProcess([sys.executable, "-c", code], environment({}), 1)
    assert child.run(lambda line: seen.append((line, time.monotonic()))) == 0
    assert [line for line, _ in seen] == ["0", "1", "2"]
    assert seen[2][1] - seen[0][1] > 0.5


STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a child inherits this
grandchild = subprocess.Popen([sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"])
print("pids", os.getpid(), grandchild.pid, flush=True)
time.sleep(60)
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pids, within_s):
    deadline = time.monotonic() + within_s
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(alive(pid) for pid in pids)


def test_sigterm_then_sigkill_leaves_no_orphan():
    seen, up = [], threading.Event()

    def tell(line):
        seen.append(line)
        if len(seen) == 2:
            up.set()

    child = ChildProcess([sys.executable, "-c", STUBBORN], environment({}), 0.5)
    threading.Thread(target=lambda: up.wait(20) and child.stop()).start()
    started = time.monotonic()
    assert child.run(tell) == -signal.SIGKILL
    assert time.monotonic() - started > 0.5
    pids = [int(pid) for line in seen if line.startswith("pids") for pid in line.split()[1:]]
    assert len(pids) == 2
    assert gone(pids, 5)


def test_a_step_that_listens_ends_by_sigterm():
    child = ChildProcess([sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"], environment({}), 20)
    started = time.monotonic()
    assert child.run(lambda line: child.stop()) == -signal.SIGTERM
    assert time.monotonic() - started < 10


def test_what_a_step_leaves_behind_is_ended():
    code = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid)"
    seen = []
    assert ChildProcess([sys.executable, "-c", code], environment({}), 1).run(seen.append) == 0
    assert gone([int(seen[0])], 5)


def test_no_orphan_when_the_task_itself_is_killed(tmp_path):
    """The task's process gets SIGKILL, which nothing can catch; the step and its child end all the same."""
    task = (
        "import sys; from operators.process import ChildProcess; from pipelines.settings import environment\n"
        f"ChildProcess([sys.executable, '-c', {STUBBORN!r}], environment({{}}), 0.5).run(lambda line: print(line, flush=True))"
    )
    paths = {"PYTHONPATH": os.pathsep.join([str(Path(step_module.__file__).parents[1]), str(Path.cwd())])}
    parent = subprocess.Popen([sys.executable, "-c", task], env={**os.environ, **paths}, stdout=subprocess.PIPE, text=True)
    lines = [parent.stdout.readline() for _ in range(2)]
    pids = [int(pid) for line in lines if line.startswith("pids") for pid in line.split()[1:]]
    assert len(pids) == 2
    assert all(alive(pid) for pid in pids)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert gone(pids, 5)


def test_on_kill_ends_the_child(runs, context):
    runs("import time; print('up', flush=True); time.sleep(60)")
    operator = StepOperator(step=ingest)
    operator.log.info("ready")
    timer = threading.Timer(1.5, operator.on_kill)
    timer.start()
    with pytest.raises(StepFailed) as failed:
        run(operator, context)
    assert failed.value.exit_code == -signal.SIGTERM


def test_a_stopped_step_says_so_and_may_run_again(context, tmp_path):
    """The real command line, ended while it waits for its input: an exit of its own, 143, and no word of why."""
    (tmp_path / "metadata").mkdir()
    waited_for = tmp_path / "metadata" / "icons.json"
    os.mkfifo(waited_for)
    operator = StepOperator(step=ingest, step_params={"folder": str(tmp_path)})

    def stop_once_it_reads():
        with waited_for.open("w"):
            operator.on_kill()

    threading.Thread(target=stop_once_it_reads, daemon=True).start()
    with pytest.raises(StepFailed, match=r"told to stop before its end \(exit 143\).*; next: run the task again") as failed:
        run(operator, context)
    assert failed.value.exit_code == 128 + signal.SIGTERM
    assert StepRetryPolicy().evaluate(failed.value, 1, 2).action == RetryAction.DEFAULT


@pytest.mark.parametrize("end", ["raise SystemExit(143)", "import os; os.kill(os.getpid(), 15); import time; time.sleep(9)"])
def test_a_stopped_steps_last_line_is_not_its_reason(runs, context, end):
    runs(f"print('error: given an earlier line', flush=True); print('encoding 3 of 9', flush=True); {end}")
    with pytest.raises(StepFailed, match=r"^given a step that was told to stop"):
        run(StepOperator(step=ingest), context)


def event(artifact, minute, asset=VERDICT):
    """An event of an asset, as the task gets it."""
    return AssetEventDagRunReferenceResult.model_validate({
        "asset": {"name": asset.name, "uri": asset.uri, "extra": {}}, "extra": {"id": artifact}, "source_aliases": [],
        "source_task_id": None, "source_dag_id": None, "source_run_id": None, "source_map_index": None,
        "timestamp": f"2026-01-01T00:{minute:02}:00Z",
    })  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "events", "used"),
    [
        ("", [event("newer", 2), event("older", 1)], "newer"),
        ("", [event("older", 1), event("newest", 3), event("newer", 2)], "newest"),
        ("by-hand", [event("newer", 2)], "by-hand"),
        ("", [], ""),
        (None, [event("only", 1)], "only"),
    ],
)
def test_the_newest_event_counts_in_whatever_order_they_come(answer, events, used):
    task = StepOperator(step=promote, step_params={"verdict": answer_or_event("verdict")})
    task.render_template_fields(
        {"params": {"verdict": answer}, "triggering_asset_events": TriggeringAssetEventsAccessor.build(events)}
    )
    assert task.step_params == {"verdict": used}


@pytest.mark.parametrize(("result", "used"), [("judged", "judged"), (None, "by-hand")])
def test_what_a_task_judged_comes_before_the_form(result, used):
    task = StepOperator(step=promote, step_params={"verdict": answer_or_event("verdict", judged_by="gate")})
    results = SimpleNamespace(xcom_pull=lambda task_ids, key: result if (task_ids, key) == ("gate", "verdict") else None)
    task.render_template_fields({"ti": results, "params": {"verdict": "by-hand"}, "triggering_asset_events": None})
    assert task.step_params == {"verdict": used}


@pytest.mark.parametrize(
    ("answer", "started_by", "used"),
    [(False, RETRAIN, "true"), (False, VERDICT, ""), (False, None, ""), (True, RETRAIN, "True"), (None, RETRAIN, "true")],
)
def test_an_event_of_an_asset_sets_what_the_form_left_empty(answer, started_by, used):
    task = StepOperator(step=index, step_params={"anew": answer_if_event("anew", RETRAIN, "true"), "embeddings": "e"})
    events = TriggeringAssetEventsAccessor.build([event("c", 1, started_by)] if started_by else [])
    task.render_template_fields({"params": {"anew": answer}, "triggering_asset_events": events})
    assert task.step_params == {"anew": used, "embeddings": "e"}


@pytest.mark.parametrize(
    ("step", "values", "message"),
    [
        (plan, {"corpsu": "x"}, r"given 'corpsu' for step plan; expected one of corpus, encoder"),
        (plan, {"corpus": "x", "shards": 0}, r"given shards=0 for step plan; expected .*greater than or equal to 1"),
        (ingest, {"text": "titel"}, r"given text='titel' for step ingest"),
    ],
)
def test_a_typo_fails_the_parse(step, values, message):
    with pytest.raises(InputError, match=message):
        StepOperator(step=step, step_params=values)


def test_a_typo_in_a_mapped_task_fails_the_parse_too():
    with pytest.raises(InputError, match="given 'corpos' for step embed"):
        StepOperator.partial(step=embed, step_params={"corpos": "x"})
    with pytest.raises(InputError, match="given 'shrad' for step embed; expected one of shard, documents"):
        StepOperator.partial(step=embed, returns="shrad")
    with pytest.raises(InputError, match="given profile 'tpu'; expected one of cpu, gpu"):
        StepOperator(step=ingest, profile="tpu")


def test_templates_and_outputs_are_rendered():
    with DAG("d"):
        planned = StepOperator(step=plan, step_params={"corpus": "{{ params.c }}-{{ ds }}"}, returns="shards")
        task = StepOperator(step=embed, step_params={"corpus": planned.output["corpus"], "encoder": "e"})
    assert task.upstream_task_ids == {"plan"}
    planned.render_template_fields({"params": {"c": "x"}, "ds": "today"})
    assert planned.step_params == {"corpus": "x-today"}


def test_usual_retries_and_those_of_the_dag():
    with DAG("d", default_args={"retries": 5, "retry_delay": timedelta(seconds=1)}):
        assert StepOperator(step=ingest).retries == 5
    alone = StepOperator(step=ingest)
    assert (alone.retries, alone.task_id) == (2, "ingest")
    assert isinstance(alone.retry_policy, RetryPolicy)


def test_never_deferrable_as_a_process(monkeypatch):
    assert not StepOperator(step=ingest, deferrable=True).deferrable
    monkeypatch.setenv("RATCHET_RUNTIME", "kubernetes")
    assert StepOperator(step=ingest, deferrable=True).deferrable


class Event:
    def __init__(self):
        self.extra, self.added = {}, []

    def add(self, asset, extra):
        self.added.append((asset.name, extra))


def test_events_carry_the_id_and_a_no_sends_none(runs, context):
    runs(OK)
    operator = StepOperator(step=ingest, outlets=[CORPUS], emits="corpus")
    context["outlet_events"] = {outlet: Event() for outlet in operator.outlets}
    run(operator, context)
    assert [event.extra for event in context["outlet_events"].values()] == [{"id": "c0ffee"}]

    for passed in (True, False):
        result = json.dumps({"verdict": "abc", "passed": passed})
        runs(f"import os; open(os.environ['RATCHET_RESULT_PATH'], 'w').write({result!r})")
        operator = StepOperator(
            step=gate, step_params={"evaluation": "e"}, outlets=[VERDICT], emits="verdict", only_if="passed"
        )
        assert VERDICT not in operator.outlets
        context["outlet_events"] = {outlet: Event() for outlet in operator.outlets}
        run(operator, context)
        assert next(iter(context["outlet_events"].values())).added == ([("verdict", {"id": "abc"})] if passed else [])
        assert operator.artifact_page == "/ratchet/reports/verdict/abc"
