"""When a failed step is tried again: by its cause, not by the count of tries alone."""

from datetime import timedelta
from typing import Any

from airflow.sdk import RetryDecision, RetryPolicy

from pipelines.errors import InputError, TryAgain

OUT_OF_MEMORY = (137, -9)
FIRST_WAIT = timedelta(seconds=10)
LONGEST_WAIT = timedelta(minutes=5)
NEXT_LOOK = timedelta(minutes=1)
"""The longest wait of a step that looks again and again: while it waits, nobody looks."""


class StepRetryPolicy(RetryPolicy):  # type: ignore[misc]
    """Retry by exit code and cause.

    Exit 2: never. Exit 75, or an image that can't be pulled: after 10, 20, 40 … s, at most `longest`. Out of memory: once, with
    half the batch. No capacity: never, since the pod has waited for it. Anything else: as the task's `retries` say.

    Args:
        longest: The longest wait.
    """

    def __init__(self, longest: timedelta = LONGEST_WAIT) -> None:
        self.longest = longest

    def evaluate(self, exception: BaseException, try_number: int, max_tries: int, context: Any = None) -> RetryDecision:  # noqa: ARG002
        code, cause = getattr(exception, "exit_code", None), getattr(exception, "cause", "step")
        if code == InputError.exit_code:
            return RetryDecision.fail(reason="exit 2: these inputs can't work")
        if cause == "no capacity":
            return RetryDecision.fail(reason="no capacity in the cluster within RATCHET_PENDING_TIMEOUT_S")
        if code in OUT_OF_MEMORY:
            return _out_of_memory_decision(getattr(exception, "times", 0) < 2)
        if cause == "hardware":
            return RetryDecision.retry(reason="a fault of the node: again, on another node if there is one")
        if cause == "image" or code == TryAgain.exit_code:  # the image or the store may be back later
            wait = min(self.longest, FIRST_WAIT * 2 ** min(try_number - 1, 10))  # beyond some 40 doublings is no time
            what = "the image can't be had" if cause == "image" else "exit 75"
            return RetryDecision.retry(delay=wait, reason=f"{what}: again in {wait.seconds} s")
        return RetryDecision.default()


def _out_of_memory_decision(again: bool) -> RetryDecision:
    decide = RetryDecision.retry if again else RetryDecision.fail
    return decide(reason="out of memory" + (": once more, with half the batch" if again else " twice"))
