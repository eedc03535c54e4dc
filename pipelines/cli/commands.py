"""A step becomes a command: options from its fields, one JSON line as its answer, one exit code for each kind of end."""

import errno
import sys
import traceback
from enum import Enum
from typing import Any, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from pipelines import logs
from pipelines.contract import Result, Step, load_step, step_names
from pipelines.errors import InputError, NothingToDo, OutOfMemory, StepError, TryAgain
from pipelines.settings import settings
from pipelines.sigterm import end_at_once
from pipelines.store.objects import open_store

OPTIONS = {"token_normalize_func": lambda token: token.replace("_", "-"), "max_content_width": 100}
BARE = "_bare"


class Steps(click.Group):
    """Loads a step's file only when its command is asked for."""

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
        params=[*options, *_bare(required)],
        help=step.function.__doc__,
        short_help=step.summary,
        callback=lambda **values: _run(step, _given(values, required)),
        context_settings=OPTIONS,
    )


def parse_values(step: str, arguments: list[str]) -> dict[str, Any]:
    """The values that a step's command line gives.

    >>> given("plan", ["abcd", "--shards", "2"])
    {'corpus': 'abcd', 'shards': '2'}

    Raises:
        click.UsageError: an option that the step does not have.
    """
    declared = load_step(step)
    context = _command(declared).make_context(step, list(arguments))
    required = [name for name, field in declared.params.model_fields.items() if field.is_required()]
    return _given(dict(context.params), required)


def _bare(required: list[str]) -> list[click.Parameter]:
    """The bare arguments of a step: one for each required field, in their order."""
    shown = " ".join(f"[{name.upper()}]" for name in required)
    return [click.Argument([BARE], required=False, nargs=-1, metavar=shown)] if required else []


def _given(values: dict[str, Any], required: list[str]) -> dict[str, Any]:
    """The values that were given; bare arguments are the required ones: `diff 778c 91ab` says `diff --a 778c --b 91ab`."""
    bare = values.pop(BARE, ())
    if len(bare) > len(required):
        raise click.UsageError(f"{bare[len(required)]!r} besides {', '.join(required)}")
    for name, value in zip(required, bare, strict=False):
        if values[name] is not None:
            raise click.UsageError(f"{value!r} and also --{name.replace('_', '-')} {values[name]!r}")
        values[name] = value
    return {key: value for key, value in values.items() if value not in (None, ())}


def _option(name: str, field: FieldInfo, remark: str = "") -> click.Option:
    flag = {"is_flag": False, "flag_value": "true"} if field.annotation is bool else {}
    default = "required" if field.is_required() else f"default: {_shown(field.default)}"
    return click.Option(
        [f"--{name.replace('_', '-')}", name],
        help=f"{field.description or ''}{remark} [{default}]",
        metavar=_metavar(field),
        multiple=get_origin(field.annotation) in (list, tuple),
        **flag,  # type: ignore[arg-type]
    )


def _shown(default: Any) -> str:
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
    """What a number may be: `1..9` with both ends, `>0..<1` without them, `0..` up to anything; empty: whatever it likes."""
    found = {
        name: f"{sign}{getattr(limit, name)}"
        for limit in field.metadata
        for name, sign in (("ge", ""), ("gt", ">"), ("le", ""), ("lt", "<"))
        if hasattr(limit, name)
    }
    low, high = found.get("ge", found.get("gt", "")), found.get("le", found.get("lt", ""))
    return f"{low}..{high}" if low or high else ""


def run_step(step: str, **values: Any) -> Any:
    """Run one step in this process and log what it answered: for a chain of steps in one process."""
    logs.configure(settings(), step)
    result: Result = load_step(step).call(values)
    logs.log().info("done", **result.model_dump())
    return result


def _run(step: Step, values: dict[str, Any]) -> None:
    given = settings()
    logs.configure(given, step.name)
    result = step.call(values)
    line = result.model_dump_json()
    if given.result_path is not None:
        given.result_path.write_text(line + "\n", encoding="utf-8")
    if given.result_key:
        open_store(given).write(given.result_key, line.encode())
    print(line, flush=True)


@click.group(cls=Steps, context_settings=OPTIONS, invoke_without_command=True)
@click.pass_context
def cli(context: click.Context) -> None:
    """Rebuild, judge, release and roll back search models: every command is one step.

    The result is one JSON line on stdout, logs are on stderr. `python -m pipelines.train` runs the whole
    train. Exit codes: 0 done, 2 these inputs can't work, 4 nothing to do, 75 try again.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    return guarded(cli, arguments, "python -m pipelines")


def guarded(command: click.Command, arguments: list[str] | None, name: str) -> int:
    """Run a command and return its exit code; a user's mistake never shows a traceback."""
    end_at_once()
    try:
        command.main(arguments, prog_name=name, standalone_mode=False)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else name
        return _tell(InputError(error.format_message().rstrip("."), "options that the step has", f"run `{path} --help`"))
    except StepError as error:
        return _tell(error)
    except (OSError, MemoryError) as error:
        return _tell(_from_system(error))
    except click.Abort:
        return 130
    except Exception:  # noqa: BLE001  # our own fault: show everything
        traceback.print_exc()
        return 1
    return 0


def _from_system(error: OSError | MemoryError) -> StepError:
    """A full disk may have room later, a network may answer; a path that can't be used won't change by itself."""
    if isinstance(error, MemoryError):
        return OutOfMemory("more than memory holds", "a batch that fits", "lower --batch-tokens or give more memory")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return TryAgain(str(error), "room on the disk", "free some space, then run the same command again")
    if isinstance(error, ConnectionError | TimeoutError):
        return TryAgain(str(error), "an answer in time", "see that the other side runs, then run the same command again")
    return InputError(str(error), "a path that can be read or written", "correct it and run again")


def _tell(error: StepError) -> int:
    print(f"{'skipped' if isinstance(error, NothingToDo) else 'error'}: {error}", file=sys.stderr, flush=True)
    return error.exit_code
