"""Errors of steps: what was given, what was expected, what to do next. Each class is one exit code."""

from collections.abc import Set
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class StepError(Exception):
    """A step could not do its work; shown as one line, without a traceback.

    >>> print(InputError("--top-k 0", "a number from 1 to 1000", "pass --top-k 10"))
    given --top-k 0; expected a number from 1 to 1000; next: pass --top-k 10
    """

    exit_code = 1

    def __init__(self, given: str, expected: str, next_action: str) -> None:
        self.given, self.expected, self.next_action = given, expected, next_action
        super().__init__(f"given {given}; expected {expected}; next: {next_action}")


def expectation(message: str) -> str:
    """A message of pydantic as the expectation of a StepError.

    >>> expectation("Input should be greater than or equal to 1")
    'greater than or equal to 1'
    """
    return message.removeprefix("Value error, ").removeprefix("Input should be ")


class InputError(StepError):
    """The inputs can't work, so the step is not retried."""

    exit_code = 2


class CorruptArtifact(InputError):
    """A stored file is not the one its manifest names."""


class NewerVersion(InputError):
    """A stored file has a field or a value that this version does not know: a newer one wrote it.

    Args:
        place: the file, for the message.
        error: pydantic's validation error.
    """

    def __init__(self, place: str, error: "ValidationError") -> None:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        value = f" {name}={first['input']!r}" if first["type"] == "literal_error" else f" field {name!r}"
        super().__init__(f"{place} with{value}, written by a newer version", "a store of this version or older", "upgrade")


def is_newer(error: "ValidationError", growing: Set[str]) -> bool:
    """Whether a file that does not validate may be of a newer version: each error is an unknown field, or a value of `growing`.

    Args:
        error: pydantic's validation error.
        growing: the names of the fields, at any depth, that a newer version may give new values.
    """
    return all(
        detail["type"] == "extra_forbidden" or (detail["type"] == "literal_error" and str(detail["loc"][-1]) in growing)
        for detail in error.errors()
    )


class NothingToDo(StepError):
    """There is nothing to do: the task is skipped."""

    exit_code = 4

    def __init__(self, reason: str) -> None:
        Exception.__init__(self, reason)


class TryAgain(StepError):
    """The network, the store or a service is unavailable; the step is retried."""

    exit_code = 75


class OutOfMemory(StepError):
    """The process needs more memory than it may have; the exit code is that of a process that the kernel killed for memory."""

    exit_code = 137
