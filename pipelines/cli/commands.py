"""Steps as commands: options from the fields of Params and Tuning, the result as one JSON line, exit codes for errors."""

import errno
import json
import sys
import traceback
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from pipelines import logs, tracing
from pipelines.contract import COST, Result, Step, load_step, step_names
from pipelines.errors import InputError, NothingToDo, OutOfMemory, StepError, TryAgain
from pipelines.settings import Settings, settings
from pipelines.sigterm import end_at_once
from pipelines.store.closure import ID
from pipelines.store.objects import open_store
from pipelines.store.provenance import Meter

CONTEXT_SETTINGS = {"token_normalize_func": lambda token: token.replace("_", "-"), "max_content_width": 100}
POSITIONAL = "_positional"


class Steps(click.Group):
    """The group of all steps. A step's module is imported when its command is looked up."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return step_names()

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:  # noqa: ARG002
        return _command(load_step(cmd_name.replace("-", "_")))


def _command(step: Step) -> click.Command:
    fields = dict(step.params.model_fields)
    tuned = dict(step.tuning.model_fields) if step.tuning else {}
    options = [_option(name, field) for name, field in fields.items()]
    options += [_option(name, field, " (tuning: does not change the result)") for name, field in tuned.items()]
    required = [name for name, field in fields.items() if field.is_required()]
    return click.Command(
        step.name,
        params=[*options, *_positional(required)],
        help=step.function.__doc__,
        short_help=step.summary,
        callback=lambda **values: _run(step, _passed_values(values, required)),
        context_settings=CONTEXT_SETTINGS,
    )


def parse_values(step: str, arguments: list[str]) -> dict[str, Any]:
    """The values that a step's command line passes, as text.

    >>> sorted(parse_values("plan", ["abcd", "--shards", "2"]).items())
    [('corpus', 'abcd'), ('shards', '2')]

    Raises:
        click.UsageError: an option that the step does not have.
    """
    declared = load_step(step)
    context = _command(declared).make_context(step, list(arguments))
    required = [name for name, field in declared.params.model_fields.items() if field.is_required()]
    return _passed_values(dict(context.params), required)


def _positional(required: list[str]) -> list[click.Parameter]:
    """The positional arguments of a step: one for each required field, in their order."""
    metavar = " ".join(f"[{name.upper()}]" for name in required)
    return [click.Argument([POSITIONAL], required=False, nargs=-1, metavar=metavar)] if required else []


def _passed_values(values: dict[str, Any], required: list[str]) -> dict[str, Any]:
    """The values of the options that were passed; positional arguments fill the required ones in their order.

    So `diff 778c 91ab` is `diff --a 778c --b 91ab`.
    """
    positional = values.pop(POSITIONAL, ())
    if len(positional) > len(required):
        raise click.UsageError(f"{positional[len(required)]!r} besides {', '.join(required)}")
    for name, value in zip(required, positional, strict=False):
        if values[name] is not None:
            raise click.UsageError(f"{value!r} and also --{name.replace('_', '-')} {values[name]!r}")
        values[name] = value
    return {key: value for key, value in values.items() if value not in (None, ())}


def _option(name: str, field: FieldInfo, remark: str = "") -> click.Option:
    flag = {"is_flag": False, "flag_value": "true"} if field.annotation is bool else {}
    default = "required" if field.is_required() else f"default: {_default_text(field.default)}"
    return click.Option(
        [f"--{name.replace('_', '-')}", name],
        help=f"{field.description or ''}{remark} [{default}]",
        metavar=_metavar(field),
        multiple=get_origin(field.annotation) in (list, tuple),
        **flag,  # type: ignore[arg-type]
    )


def _default_text(default: Any) -> str:
    if isinstance(default, Enum):
        default = default.value
    return "none" if default in ("", None, (), []) else str(default)


def _metavar(field: FieldInfo) -> str:
    choices = get_args(field.annotation)
    if choices and all(isinstance(choice, str) for choice in choices):
        return "|".join(choices)
    kind = getattr(field.annotation, "__name__", str(field.annotation)).upper()
    return f"{kind} {_bounds(field)}".rstrip()


def _bounds(field: FieldInfo) -> str:
    """The bounds of a number: `1..9` with both ends, `>0..<1` without them, `0..` without an upper one; empty: none."""
    limits = {
        name: f"{sign}{getattr(limit, name)}"
        for limit in field.metadata
        for name, sign in (("ge", ""), ("gt", ">"), ("le", ""), ("lt", "<"))
        if hasattr(limit, name)
    }
    low, high = limits.get("ge", limits.get("gt", "")), limits.get("le", limits.get("lt", ""))
    return f"{low}..{high}" if low or high else ""


def run_step(step: str, **values: Any) -> Any:
    """Run one step in this process and log its result: for a chain of steps in one process."""
    logs.configure(settings(), step)
    result: Result = load_step(step).call(values)
    logs.log().info("done", **result.model_dump())
    return result


def _run(step: Step, values: dict[str, Any]) -> None:
    current = settings()
    logs.configure(current, step.name)
    tracing.configure(current, "ratchet-step")
    meter = Meter()
    with tracing.span(step.name, current.traceparent) as span:
        result = step.call(values)
        if span:
            ids = {name: value for name, value in result.model_dump().items() if ID.fullmatch(str(value))}
            span.set_attributes({f"ratchet.{name}": value for name, value in ids.items()})
    line, cost = result.model_dump_json(), json.dumps({"step": step.name, **meter.read()})
    if current.result_path is not None:
        Path(f"{current.result_path}.{COST}").write_text(cost, encoding="utf-8")
        current.result_path.write_text(line + "\n", encoding="utf-8")
    if current.result_key:
        store = open_store(Settings())  # where the task looks, whatever the environment
        store.write(f"{current.result_key}.{COST}", cost.encode())
        store.write(current.result_key, line.encode())
    print(line, flush=True)


@click.group(cls=Steps, context_settings=CONTEXT_SETTINGS, invoke_without_command=True)
@click.pass_context
def cli(context: click.Context) -> None:
    """Rebuild, judge, release and roll back search models: every command is one step.

    The result is one JSON line on stdout, logs are on stderr. `python -m pipelines.train` runs the whole
    chain. Exit codes: 0 done, 2 these inputs can't work, 4 nothing to do, 75 try again.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    return guarded(cli, arguments, "python -m pipelines")


def guarded(command: click.Command, arguments: list[str] | None, name: str) -> int:
    """Run a command and return its exit code; errors of the user, the network and the disk show no traceback."""
    end_at_once()
    try:
        command.main(arguments, prog_name=name, standalone_mode=False)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else name
        return _report(InputError(error.format_message().rstrip("."), "options that the step has", f"run `{path} --help`"))
    except StepError as error:
        return _report(error)
    except (OSError, MemoryError) as error:
        return _report(_from_system(error))
    except click.Abort:
        return 130
    except Exception:  # noqa: BLE001  # a bug: its traceback is shown
        traceback.print_exc()
        return 1
    return 0


def _from_system(error: OSError | MemoryError) -> StepError:
    """The step error for an error of the system: retried where a disk or a network may recover."""
    if isinstance(error, MemoryError):
        return OutOfMemory("more than memory holds", "a batch that fits", "lower --batch-tokens or give more memory")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return TryAgain(str(error), "room on the disk", "free some space, then run the same command again")
    if isinstance(error, ConnectionError | TimeoutError):
        return TryAgain(str(error), "an answer in time", "see that the other side runs, then run the same command again")
    return InputError(str(error), "a path that can be read or written", "correct it and run again")


def _report(error: StepError) -> int:
    print(f"{'skipped' if isinstance(error, NothingToDo) else 'error'}: {error}", file=sys.stderr, flush=True)
    return error.exit_code
