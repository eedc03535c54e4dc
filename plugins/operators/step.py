"""StepOperator, the only operator: runs a step as a local process or as a pod, by setting; the DAG is the same for both."""

import json
import re
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import Any, get_origin

from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import Asset, AssetAlias, BaseOperatorLink, Context
from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow.sdk.bases.skipmixin import SkipMixin
from airflow.sdk.exceptions import AirflowException, AirflowSkipException
from pydantic import ValidationError

from operators.credentials import with_credentials
from operators.failures import StepFailed
from operators.pod_run import StepPodOperator, parse_result, results_folder
from operators.pod_spec import pod_arguments, pod_environment, pod_labels, profile_named
from operators.process import ChildProcess
from operators.retries import NEXT_LOOK, OUT_OF_MEMORY, StepRetryPolicy
from pipelines.contract import COST, Result, Step, step_in
from pipelines.errors import InputError, NothingToDo, expectation
from pipelines.settings import environment, settings
from pipelines.store.recipes import KINDS

TERMINATED = (143, -15)
ERROR_LINE = re.compile(r"^(?:error|skipped): (.+)$", re.MULTILINE)


class ArtifactLink(BaseOperatorLink):  # type: ignore[misc]
    """Link from a task to the report of its artifact, or to the artifact's page if it has no report."""

    name = "Report"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002
        return str(getattr(operator, "artifact_page", ""))


class StepOperator(StepPodOperator, SkipMixin):  # type: ignore[misc]
    """Run a step.

    Args:
        step: The step's function; its name is the task id, unless `task_id` gives another.
        step_params: Values for the step's Params and Tuning; may be templates or other tasks' `output`. An empty value
            keeps the step's default. An unknown name or an invalid value fails the DAG's parse.
        over: The name of the param that `.expand(value=plan.output)` gives to each mapped task.
        value: The value of that param; only `.expand()` passes it.
        returns: The field of the result to return instead of the whole result, for `.expand()`. Every field of the
            result is also an XCom of its own: `plan.output["corpus"]`.
        emits: The field of the result that holds the id for the events of `outlets`.
        only_if: A field of the result that must be true for these events.
        also: More assets, each by the field of the result that holds its id; no event where that is empty.
        ends_if: A field of the result that, if true, ends the dag run here: all tasks that follow are skipped, whatever
            their trigger rule.
        ends_too: The id of a task beside this one that `ends_if` skips, too, with all that follows it: one that waits for a
            person.
        repeats_if: A field of the result that, if true, runs the step again after the seconds of its field `wait_s`. Until then
            the triggerer waits, and no worker slot is held.
        runs_if: Whether the step runs at all; may be a template. What is false or empty skips it.
        in_environment: The environment whose store is meant; may be a template. Empty: the settings' own.
        profile: The pod profile, one of RATCHET_PROFILES.
        deferrable: For long steps: while the pod runs, the triggerer waits for it and no worker slot is held.
    """

    template_fields = (*StepPodOperator.template_fields, "step_params", "value", "in_environment", "runs_if")
    operator_extra_links = (ArtifactLink(),)
    ui_color = "#e8f0e4"

    def __init__(
        self,
        *,
        step: Callable[..., Result],
        task_id: str = "",
        step_params: dict[str, Any] | None = None,
        over: str = "",
        value: Any = None,
        returns: str = "",
        emits: str = "",
        only_if: str = "",
        also: dict[str, Asset] | None = None,
        ends_if: str = "",
        ends_too: str = "",
        repeats_if: str = "",
        runs_if: Any = True,
        in_environment: str = "",
        profile: str = "cpu",
        outlets: list[Asset] | None = None,
        retries: int = 2,
        retry_delay: timedelta = timedelta(seconds=5),
        deferrable: bool = False,
        **arguments: Any,
    ) -> None:
        config = settings()
        declaration = _declaration(step)
        result_fields = [field for field in (returns, emits, only_if, ends_if, repeats_if, *(also or ())) if field]
        check_values(declaration, _with_mapped_value(step_params, over, None), result_fields)
        aliases = [AssetAlias(f"{asset.name}-if-{only_if}") if only_if else asset for asset in outlets or []]
        self.also = {field: (AssetAlias(f"{asset.name}-if-{field}"), asset) for field, asset in (also or {}).items()}
        defaults = {
            "retry_policy": StepRetryPolicy(NEXT_LOOK) if repeats_if else StepRetryPolicy(),
            "name": declaration.name.replace("_", "-"),
            "do_xcom_push": True,
            "skip_on_exit_code": NothingToDo.exit_code,
            "log_pod_spec_on_failure": False,
            "termination_message_policy": "FallbackToLogsOnError",
            "deferrable": deferrable and config.runtime == "kubernetes",
            "logging_interval": 5 if deferrable else None,
            "log_formatter": lambda _, line: format_log_line(line),
            "container_name_log_prefix_enabled": False,
            **pod_arguments(config, profile),
        }
        super().__init__(
            task_id=task_id or declaration.name,
            outlets=[*aliases, *(alias for alias, _ in self.also.values())],
            retries=retries,
            retry_delay=retry_delay,
            **{**defaults, **arguments},
        )
        self.step, self.profile = step, profile
        self.step_params, self.over, self.value = step_params or {}, over, value
        self.returns, self.emits, self.only_if, self.event_assets = returns, emits, only_if, outlets or []
        self.ends_if, self.in_environment = ends_if, in_environment
        self.repeats_if, self.runs_if, self.ends_too = repeats_if, runs_if, ends_too
        self.artifact_page = ""
        self.cost = {}
        self._child: ChildProcess | None = None

    @classmethod
    def partial(cls, *, step: Callable[..., Result], task_id: str = "", **arguments: Any) -> Any:
        """Airflow's `partial`, with the same check of `step_params` when the DAG is parsed."""
        declaration = _declaration(step)
        result_fields = [arguments[key] for key in ("returns", "emits", "only_if") if key in arguments]
        step_params = _with_mapped_value(arguments.get("step_params"), arguments.get("over", ""), None)
        check_values(declaration, step_params, result_fields)
        defaults = {"retries": 2, "retry_delay": timedelta(seconds=5), "retry_policy": StepRetryPolicy(), "outlets": []}
        return super().partial(step=step, task_id=task_id or declaration.name, **{**defaults, **arguments})

    def execute(self, context: Context) -> Any:
        """Run the step; returns its result, or the field of it that `returns` names.

        Raises:
            StepFailed: with the step's own message and its exit code.
            AirflowSkipException: there was nothing to do (exit code 4), or `runs_if` is false.
            TaskDeferred: the step runs again later.
        """
        if not self.runs_if:
            raise AirflowSkipException("this dag run was started without it")
        result = self.run_pod(context) if settings().runtime == "kubernetes" else self._run_child(context)
        return self._finish(context, result)

    def trigger_reentry(self, context: Context, event: dict[str, Any]) -> Any:
        """Continue after a deferral, in another process: the result is in the store."""
        return self._finish(context, self.resume_pod(context, event))

    def repeat(self, context: Context, event: Any = None) -> Any:  # noqa: ARG002  # Airflow's signature
        """Run the step again after a wait."""
        token = ExecutorSafeguard.tracker.set(self)  # it is the task runner that calls, though not `execute`
        try:
            return self.execute(context)
        finally:
            ExecutorSafeguard.tracker.reset(token)

    def on_kill(self) -> None:
        """End the child process, or the pod."""
        if self._child is not None:
            self._child.stop()
        super().on_kill()

    def prepare_pod(self, context: Context) -> None:
        """Set the pod's arguments, labels and environment, which depend on the try."""
        self.do_xcom_push = False  # True, which pushes what `execute` returns, would also give the pod a sidecar
        config = settings()
        self.adapt_pod(context, _times_out_of_memory(context))
        self.arguments = self.command(context)
        self.labels = pod_labels(self.step.__name__, str(self.step_params.get("release") or ""))
        profile = profile_named(config, self.profile)
        self.env_vars = pod_environment(config, profile, self._task_variables(context), results_folder(context))

    def command(self, context: Context) -> list[str]:
        """The step's name and options for the command line."""
        values = _with_mapped_value(self.step_params, self.over, self.value)
        declaration = _declaration(self.step)
        lists = _list_params(declaration)
        values |= {name: value.splitlines() for name, value in values.items() if isinstance(value, str) and name in lists}
        tuning = declaration.tuning
        times = _times_out_of_memory(context)
        if times and tuning and "batch_tokens" in tuning.model_fields:
            batch = int(values.get("batch_tokens") or tuning.model_fields["batch_tokens"].default)
            values["batch_tokens"] = max(1, batch >> times)
        return [self.step.__name__, *_command_options(values)]

    def _run_child(self, context: Context) -> dict[str, Any]:
        last_lines: list[str] = []

        def log_line(line: str) -> None:
            last_lines[:] = [*last_lines[-200:], line]
            self.log.info("%s", format_log_line(line))

        with tempfile.TemporaryDirectory(prefix="ratchet-task-") as folder:
            result_path = Path(folder) / "result.json"
            variables = {**self._task_variables(context), "RATCHET_RESULT_PATH": str(result_path)}
            command = [sys.executable, "-m", "pipelines", *self.command(context)]
            config = settings()
            variables = with_credentials(environment(variables), config, self.step_params)
            self._child = ChildProcess(command, variables, config.kill_grace_s)
            code = self._child.run(log_line)
            if code != 0:
                raise self.failure(context, code, "\n".join(last_lines))
            with suppress(FileNotFoundError):
                self.cost = {COST: parse_result(Path(f"{result_path}.{COST}").read_bytes())}
            return parse_result(result_path.read_bytes())

    def _task_variables(self, context: Context) -> dict[str, str]:
        """Environment variables that name the task in the step's logs and in provenance."""
        ti = context["ti"]
        user = getattr(context.get("dag_run"), "triggering_user_name", None) or "airflow"
        chosen = {"ENVIRONMENT": self.in_environment} if self.in_environment else {}
        task = chosen | {
            "DAG": ti.dag_id,
            "DAG_RUN": ti.run_id,
            "TASK": ti.task_id,
            "TRY_NUMBER": str(ti.try_number),
            "USER": user,
        }
        trace = {"TRACEPARENT": value} if (value := _traceparent()) else {}
        variables = {f"RATCHET_{name}": value for name, value in task.items()}
        return {**variables, "RATCHET_LOG_FORMAT": "json", "OPENLINEAGE_PARENT_ID": _lineage_parent(ti), **trace}

    def failure(self, context: Context, code: int, output: str) -> AirflowException:
        """The exception for a step that wrote `output` and ended with exit code `code`."""
        if code in TERMINATED:  # its last line, whatever it is, is not the reason
            given = f"given a step that was told to stop before its end (exit {code})"
            return StepFailed(f"{given}; expected time to finish; next: run the task again, nothing half done is kept", code)
        messages = ERROR_LINE.findall(output)
        message = messages[-1] if messages else (output.strip().splitlines() or ["no output"])[-1]
        if code == NothingToDo.exit_code:
            return AirflowSkipException(message)
        if code not in OUT_OF_MEMORY:
            return StepFailed(message, code)
        times = _times_out_of_memory(context) + 1
        context["task_state_store"].set("out_of_memory", times % 2)
        given = f"given more than memory holds (exit {code})"
        return StepFailed(f"{given}; expected a smaller batch; next: lower batch_tokens or raise the limit", code, times)

    def _finish(self, context: Context, result: dict[str, Any]) -> Any:
        """Push the result's fields as XComs, set the link to its artifact, emit the asset events."""
        self.do_xcom_push = True
        for name, value in {**result, "result": result, **self.cost}.items():
            context["ti"].xcom_push(name, value)
        kind = next((name for name in result if name in KINDS and result[name]), "")
        if kind:
            self.artifact_page = f"/ratchet/{'reports' if KINDS[kind].has_report else 'artifacts'}/{kind}/{result[kind]}"
        if self.emits and (not self.only_if or result[self.only_if]):
            self._emit(context, {"id": result[self.emits]})
        for field, (alias, asset) in self.also.items():
            if result[field]:
                context["outlet_events"][alias].add(asset, extra={"id": result[field]})
        if self.repeats_if and result[self.repeats_if]:
            self.defer(trigger=TimeDeltaTrigger(timedelta(seconds=result["wait_s"])), method_name="repeat")
        if self.ends_if and result[self.ends_if]:
            beside = [self.dag.get_task(self.ends_too)] if self.ends_too else []
            follow = (task.get_flat_relatives(upstream=False) for task in (self, *beside))
            self.skip(context["ti"], [*beside, *chain.from_iterable(follow)])
        return result[self.returns] if self.returns else result

    def _emit(self, context: Context, extra: dict[str, Any]) -> None:
        for outlet, asset in zip(self.outlets, self.event_assets, strict=False):  # those of `also` follow
            if self.only_if:  # the outlet is an alias: an asset as outlet would get its event in any case
                context["outlet_events"][outlet].add(asset, extra=extra)
            else:
                context["outlet_events"][outlet].extra = extra


def check_values(step: Step, values: dict[str, Any], result_fields: list[str]) -> None:
    """Check names and literal values when the DAG is parsed; templates are checked when the step runs.

    Raises:
        InputError: a param or a result field that the step does not have, or a value that does not fit its field.
    """
    models = [step.params, *([step.tuning] if step.tuning else [])]
    known = [name for model in models for name in model.model_fields]
    params = [(name, known) for name in values]
    for name, allowed in [*params, *((name, list(step.result.model_fields)) for name in result_fields)]:
        if name not in allowed:
            raise InputError(f"{name!r} for step {step.name}", f"one of {', '.join(allowed)}", "correct it in the DAG")
    literals = {name: value for name, value in values.items() if _is_literal(value)}
    for model in models:
        _check_literals(step.name, model, {name: value for name, value in literals.items() if name in model.model_fields})


def _with_mapped_value(step_params: dict[str, Any] | None, over: str, value: Any) -> dict[str, Any]:
    """The step's params with the one that `.expand()` sets."""
    return {**(step_params or {}), **({over: value} if over else {})}


def _is_literal(value: Any) -> bool:
    return isinstance(value, (bool, int, float)) or (isinstance(value, str) and value != "" and "{" not in value)


def _check_literals(step: str, model: Any, values: dict[str, Any]) -> None:
    try:
        model(**values)
    except ValidationError as error:
        for problem in error.errors():
            if problem["type"] != "missing":
                given = f"{problem['loc'][0]}={problem['input']!r} for step {step}"
                raise InputError(given, expectation(problem["msg"]), "correct it in the DAG") from None


def _declaration(step: Callable[..., Result]) -> Step:
    return step_in(sys.modules[step.__module__])


def _command_options(values: dict[str, Any]) -> list[str]:
    """Command-line options; a list becomes one option for each item, an empty value becomes none.

    >>> _command_options({"shards": ["a", "b"], "base": "", "variant": "onnx-fp32", "top_k": 0})
    ['--shards=a', '--shards=b', '--variant=onnx-fp32', '--top-k=0']
    """
    flat = [(name, item) for name, value in values.items() for item in ([value] if _is_scalar(value) else value)]
    return [f"--{name.replace('_', '-')}={item}" for name, item in flat if item not in (None, "")]


def _list_params(step: Step) -> set[str]:
    """The params that are lists; a form gives the items of one as lines."""
    return {name for name, field in step.params.model_fields.items() if get_origin(field.annotation) is list}


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, (str, bool, int, float))


def format_log_line(line: str) -> str:
    """A step's JSON log line as text: the event, then its keys and values; any other line unchanged.

    >>> format_log_line('{"event": "committed", "level": "info", "kind": "index", "step": "index", "files": 2}')
    'committed kind=index files=2'
    """
    try:
        entry = json.loads(line)
    except ValueError:
        return line
    if not isinstance(entry, dict) or "event" not in entry:
        return line
    omitted = ("event", "level", "timestamp", "step", "dag", "dag_run", "task", "try", "trace_id")  # the task log has these
    return " ".join([str(entry["event"]), *(f"{name}={value}" for name, value in entry.items() if name not in omitted)])


def _times_out_of_memory(context: Context) -> int:
    """How often in a row this task ran out of memory in its last tries."""
    return int(context["task_state_store"].get("out_of_memory") or 0)


def _lineage_parent(ti: Any) -> str:
    """The task's OpenLineage run as namespace/job/run, by the OpenLineage provider where it is installed."""
    try:
        from airflow.providers.openlineage.plugins.macros import lineage_parent_id
    except ImportError:
        return f"ratchet/{ti.dag_id}.{ti.task_id}/{ti.id}"
    return str(lineage_parent_id(ti))


def _traceparent() -> str:
    """The W3C traceparent of this task, for the step's logs; empty: no trace."""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent") or settings().traceparent
