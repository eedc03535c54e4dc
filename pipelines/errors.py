"""One error shape: what was given, what was expected, what to do next. Each class is one exit code."""

from collections.abc import Set
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class StepError(Exception):
    """A step could not do its work. Never shown with a traceback.

    >>> print(InputError("--top-k 0", "a number from 1 to 1000", "pass --top-k 10"))
    given --top-k 0; expected a number from 1 to 1000; next: pass --top-k 10
    """

    exit_code = 1

    def __init__(self, given: str, expected: str, next_action: str) -> None:
        self.given, self.expected, self.next_action = given, expected, next_action
        super().__init__(f"given {given}; expected {expected}; next: {next_action}")


def expectation(message: str) -> str:
    """What a message of pydantic's expects, to stand behind "expected" without saying "should be" there again.

    >>> expectation("Input should be greater than or equal to 1")
    'greater than or equal to 1'
    """
    return message.removeprefix("Value error, ").removeprefix("Input should be ")


class InputError(StepError):
    """These inputs can't work, however often they are tried: not retried."""

    exit_code = 2


class CorruptArtifact(InputError):
    """A stored file is not the one its manifest names."""


class NewerVersion(InputError):
    """A stored file has a field or a value that this version does not know: a newer one wrote it.

    Args:
        place: the file, for the message.
        error: what pydantic found.
    """

    def __init__(self, place: str, error: "ValidationError") -> None:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        value = f" {name}={first['input']!r}" if first["type"] == "literal_error" else f" field {name!r}"
        super().__init__(f"{place} with{value}, written by a newer version", "a store of this version or older", "upgrade")


def is_newer(error: "ValidationError", growing: Set[str]) -> bool:
    """Whether all that does not fit is an unknown field, or an unknown value of a field whose values grow.

    Args:
        error: what pydantic found.
        growing: the names of the fields, at any depth, that a newer version may give new values.
    """
    return all(
        one["type"] == "extra_forbidden" or (one["type"] == "literal_error" and str(one["loc"][-1]) in growing)
        for one in error.errors()
    )


class NothingToDo(StepError):
    """The work is done already or not wanted: the task is skipped."""

    exit_code = 4

    def __init__(self, reason: str) -> None:
        Exception.__init__(self, reason)


class TryAgain(StepError):
    """Network, store or service busy: the same call may work later."""

    exit_code = 75


class OutOfMemory(StepError):
    """More than the process may have; the same exit code as when the kernel kills it."""

    exit_code = 137
