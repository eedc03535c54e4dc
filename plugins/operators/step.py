"""StepOperator: the only operator. It runs a step as a local process or as a pod; the DAG does not know which."""

import json
import re
import sys
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, get_origin

from airflow.sdk import Asset, AssetAlias, BaseOperatorLink, Context
from airflow.sdk.bases.skipmixin import SkipMixin
from airflow.sdk.exceptions import AirflowException, AirflowSkipException
from pydantic import ValidationError

from operators.credentials import granted
from operators.failures import StepFailed
from operators.pod import pod_arguments, pod_environment, pod_labels, profile_named
from operators.process import Child
from operators.retries import OUT_OF_MEMORY, StepRetryPolicy
from operators.runner import StepRunner, read_result, results_of
from pipelines.contract import Result, Step, step_in
from pipelines.errors import InputError, NothingToDo, expectation
from pipelines.settings import environment, settings
from pipelines.store.recipes import KINDS

STOPPED = (143, -15)
LAST_WORDS = re.compile(r"^(?:error|skipped): (.+)$", re.MULTILINE)


class ArtifactLink(BaseOperatorLink):  # type: ignore[misc]
    """From a task to the report, or else the page, of the artifact that it made."""

    name = "Report"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002
        return str(getattr(operator, "artifact_page", ""))


class StepOperator(StepRunner, SkipMixin):  # type: ignore[misc]
    """Run a step.

    Args:
        step: The step's function; its name is the task id, unless `task_id` gives another.
        step_params: Values for the step's Params and Tuning; templates and other tasks' `output` are welcome, empty ones
            leave the step's default. A name or a value that the step does not know fails the DAG's parse.
        over: The name of one more of these values, which `.expand(value=plan.output)` gives each mapped task.
        value: That value; only `.expand()` passes it.
        returns: The result's field to return instead of the whole result, for `.expand()`. Every field of the
            result is also under its own name: `plan.output["corpus"]`.
        emits: The result's field whose id the events of `outlets` carry.
        only_if: A field of the result that must be true for these events.
        ends_if: A field of the result that, if true, ends the dag run here: all that follows is skipped, whatever its rule.
        profile: The kind of pod, as the settings name it.
        deferrable: For a long step: while its pod runs, the triggerer waits for it and no worker is held.
    """

    template_fields = (*StepRunner.template_fields, "step_params", "value")
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
        ends_if: str = "",
        profile: str = "cpu",
        outlets: list[Asset] | None = None,
        retries: int = 2,
        retry_delay: timedelta = timedelta(seconds=5),
        deferrable: bool = False,
        **arguments: Any,
    ) -> None:
        given = settings()
        declared = _declared(step)
        check_values(declared, _with_value(step_params, over, None), [one for one in (returns, emits, only_if, ends_if) if one])
        aliases = [AssetAlias(f"{asset.name}-if-{only_if}") if only_if else asset for asset in outlets or []]
        usual = {
            "retry_policy": StepRetryPolicy(),
            "name": declared.name.replace("_", "-"),
            "do_xcom_push": True,
            "skip_on_exit_code": NothingToDo.exit_code,
            "log_pod_spec_on_failure": False,
            "termination_message_policy": "FallbackToLogsOnError",
            "deferrable": deferrable and given.runtime == "kubernetes",
            "logging_interval": 5 if deferrable else None,
            "log_formatter": lambda _, line: readable(line),
            "container_name_log_prefix_enabled": False,
            **pod_arguments(given, profile),
        }
        super().__init__(
            task_id=task_id or declared.name,
            outlets=aliases,
            retries=retries,
            retry_delay=retry_delay,
            **{**usual, **arguments},
        )
        self.step, self.profile = step, profile
        self.step_params, self.over, self.value = step_params or {}, over, value
        self.returns, self.emits, self.only_if, self.events_of = returns, emits, only_if, outlets or []
        self.ends_if = ends_if
        self.artifact_page = ""
        self._child: Child | None = None

    @classmethod
    def partial(cls, *, step: Callable[..., Result], task_id: str = "", **arguments: Any) -> Any:
        """As Airflow's, with the same check of the step's values at parse."""
        declared = _declared(step)
        names = [arguments[key] for key in ("returns", "emits", "only_if") if key in arguments]
        check_values(declared, _with_value(arguments.get("step_params"), arguments.get("over", ""), None), names)
        usual = {"retries": 2, "retry_delay": timedelta(seconds=5), "retry_policy": StepRetryPolicy(), "outlets": []}
        return super().partial(step=step, task_id=task_id or declared.name, **{**usual, **arguments})

    def execute(self, context: Context) -> Any:
        """Run the step to its end; its result, or the field of it that `returns` names.

        Raises:
            StepFailed: the step's own one sentence, with its exit code.
            AirflowSkipException: there was nothing to do.
        """
        result = self.run_pod(context) if settings().runtime == "kubernetes" else self._run_child(context)
        return self._finish(context, result)

    def trigger_reentry(self, context: Context, event: dict[str, Any]) -> Any:
        """Come back from a deferral, in another process: the result is in the store."""
        return self._finish(context, self.resume_pod(context, event))

    def on_kill(self) -> None:
        """End the step, whichever way it runs."""
        if self._child is not None:
            self._child.stop()
        super().on_kill()

    def prepare_pod(self, context: Context) -> None:
        """Give the pod what only this try knows: the same command line, and where to leave the result."""
        self.do_xcom_push = False  # True, which pushes what `execute` returns, would also give the pod a sidecar
        given = settings()
        self.adapt_pod(context, _out_of_memory(context))
        self.arguments = self.command(context)
        self.labels = pod_labels(self.step.__name__, str(self.step_params.get("release") or ""))
        self.env_vars = pod_environment(given, profile_named(given, self.profile), self._about(context), results_of(context))

    def command(self, context: Context) -> list[str]:
        """The step and its options, as the command line takes them."""
        values = _with_value(self.step_params, self.over, self.value)
        declared = _declared(self.step)
        values |= {
            name: value.splitlines() for name, value in values.items() if isinstance(value, str) and name in _lists(declared)
        }
        tuning = declared.tuning
        times = _out_of_memory(context)
        if times and tuning and "batch_tokens" in tuning.model_fields:
            batch = int(values.get("batch_tokens") or tuning.model_fields["batch_tokens"].default)
            values["batch_tokens"] = max(1, batch >> times)
        return [self.step.__name__, *_options(values)]

    def _run_child(self, context: Context) -> dict[str, Any]:
        tail: list[str] = []

        def tell(line: str) -> None:
            tail[:] = [*tail[-200:], line]
            self.log.info("%s", readable(line))

        with tempfile.TemporaryDirectory(prefix="ratchet-task-") as folder:
            written = Path(folder) / "result.json"
            variables = {**self._about(context), "RATCHET_RESULT_PATH": str(written)}
            command = [sys.executable, "-m", "pipelines", *self.command(context)]
            given = settings()
            self._child = Child(command, granted(environment(variables), given, self.step_params), given.kill_grace_s)
            code = self._child.run(tell)
            if code != 0:
                raise self.failure(context, code, "\n".join(tail))
            return read_result(written.read_bytes())

    def _about(self, context: Context) -> dict[str, str]:
        """What the step's logs and provenance say about the task that runs it."""
        ti = context["ti"]
        who = getattr(context.get("dag_run"), "triggering_user_name", None) or "airflow"
        about = {"DAG": ti.dag_id, "DAG_RUN": ti.run_id, "TASK": ti.task_id, "TRY_NUMBER": str(ti.try_number), "USER": who}
        trace = {"TRACEPARENT": value} if (value := _traceparent()) else {}
        named = {f"RATCHET_{name}": value for name, value in about.items()}
        return {**named, "RATCHET_LOG_FORMAT": "json", "OPENLINEAGE_PARENT_ID": _lineage_parent(ti), **trace}

    def failure(self, context: Context, code: int, words: str) -> AirflowException:
        """The exception for a step that said `words` and ended with `code`."""
        if code in STOPPED:  # it had no last words, whatever the line is that came last
            given = f"given a step that was told to stop before its end (exit {code})"
            return StepFailed(f"{given}; expected time to finish; next: run the task again, nothing half done is kept", code)
        found = LAST_WORDS.findall(words)
        sentence = found[-1] if found else (words.strip().splitlines() or ["it said nothing"])[-1]
        if code == NothingToDo.exit_code:
            return AirflowSkipException(sentence)
        if code not in OUT_OF_MEMORY:
            return StepFailed(sentence, code)
        times = _out_of_memory(context) + 1
        context["task_state_store"].set("out_of_memory", times % 2)
        given = f"given more than memory holds (exit {code})"
        return StepFailed(f"{given}; expected a smaller batch; next: lower batch_tokens or raise the limit", code, times)

    def _finish(self, context: Context, result: dict[str, Any]) -> Any:
        """Publish the result: its fields, its events and the link to its artifact."""
        self.do_xcom_push = True
        for name, value in {**result, "result": result}.items():
            context["ti"].xcom_push(name, value)
        kind = next((name for name in result if name in KINDS and result[name]), "")
        if kind:
            self.artifact_page = f"/ratchet/{'reports' if KINDS[kind].has_report else 'artifacts'}/{kind}/{result[kind]}"
        if self.emits and (not self.only_if or result[self.only_if]):
            self._emit(context, {"id": result[self.emits]})
        if self.ends_if and result[self.ends_if]:
            self.skip(context["ti"], self.get_flat_relatives(upstream=False))
        return result[self.returns] if self.returns else result

    def _emit(self, context: Context, extra: dict[str, Any]) -> None:
        for outlet, asset in zip(self.outlets, self.events_of, strict=True):
            if self.only_if:  # an alias: an outlet of its own would send its event in any case
                context["outlet_events"][outlet].add(asset, extra=extra)
            else:
                context["outlet_events"][outlet].extra = extra


def check_values(step: Step, values: dict[str, Any], result_fields: list[str]) -> None:
    """Refuse, when the DAG is parsed, what the step would refuse when it runs.

    Raises:
        InputError: a name that the step does not have, or a value that does not fit its field.
    """
    models = [step.params, *([step.tuning] if step.tuning else [])]
    known = [name for model in models for name in model.model_fields]
    named = [(name, known) for name in values]
    for name, allowed in [*named, *((name, list(step.result.model_fields)) for name in result_fields)]:
        if name not in allowed:
            raise InputError(f"{name!r} for step {step.name}", f"one of {', '.join(allowed)}", "correct it in the DAG")
    literal = {name: value for name, value in values.items() if isinstance(value, (bool, int, float)) or _plain(value)}
    for model in models:
        _check_literals(step.name, model, {name: value for name, value in literal.items() if name in model.model_fields})


def _with_value(step_params: dict[str, Any] | None, over: str, value: Any) -> dict[str, Any]:
    """The step's values with the one that a mapped task gets for itself."""
    return {**(step_params or {}), **({over: value} if over else {})}


def _plain(value: Any) -> bool:
    return isinstance(value, str) and value != "" and "{" not in value


def _check_literals(step: str, model: Any, values: dict[str, Any]) -> None:
    try:
        model(**values)
    except ValidationError as error:
        for one in error.errors():
            if one["type"] != "missing":
                given = f"{one['loc'][0]}={one['input']!r} for step {step}"
                raise InputError(given, expectation(one["msg"]), "correct it in the DAG") from None


def _declared(step: Callable[..., Result]) -> Step:
    return step_in(sys.modules[step.__module__])


def _options(values: dict[str, Any]) -> list[str]:
    """Command-line options; a list becomes one option for each item, what is empty becomes none.

    >>> _options({"shards": ["a", "b"], "base": "", "variant": "onnx-fp32", "top_k": 0})
    ['--shards=a', '--shards=b', '--variant=onnx-fp32', '--top-k=0']
    """
    flat = [(name, one) for name, value in values.items() for one in ([value] if _scalar(value) else value)]
    return [f"--{name.replace('_', '-')}={one}" for name, one in flat if one not in (None, "")]


def _lists(step: Step) -> set[str]:
    """The params that are lists; a form gives them as lines."""
    return {name for name, field in step.params.model_fields.items() if get_origin(field.annotation) is list}


def _scalar(value: Any) -> bool:
    return value is None or isinstance(value, (str, bool, int, float))


def readable(line: str) -> str:
    """A step's log line for people: the event, then what it tells; any other line as it is.

    >>> readable('{"event": "committed", "level": "info", "kind": "index", "step": "index", "files": 2}')
    'committed kind=index files=2'
    """
    try:
        told = json.loads(line)
    except ValueError:
        return line
    if not isinstance(told, dict) or "event" not in told:
        return line
    known = ("event", "level", "timestamp", "step", "dag", "dag_run", "task", "try", "trace_id")  # the task log's own
    return " ".join([str(told["event"]), *(f"{name}={value}" for name, value in told.items() if name not in known)])


def _out_of_memory(context: Context) -> int:
    """How often this task ran out of memory in its last tries."""
    return int(context["task_state_store"].get("out_of_memory") or 0)


def _lineage_parent(ti: Any) -> str:
    """The task's run as OpenLineage names it: namespace/job/run. As Airflow's own listener says, where there is one."""
    try:
        from airflow.providers.openlineage.plugins.macros import lineage_parent_id
    except ImportError:
        return f"ratchet/{ti.dag_id}.{ti.task_id}/{ti.id}"
    return str(lineage_parent_id(ti))


def _traceparent() -> str:
    """The trace that this task belongs to, so that the step's own lines belong to it too."""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent") or settings().traceparent
