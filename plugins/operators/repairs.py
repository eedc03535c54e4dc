"""What a degraded champion or a drift starts: a task for each repair, and the asset or the page that tells of it."""

from collections.abc import Callable, Sequence
from typing import Any

from airflow.sdk import Asset

from operators.assets import CORPUS, REBUILD, REJUDGE, RETRAIN, ROLLBACK
from operators.paging import pager
from operators.step import StepOperator
from pipelines.contract import Result

TOLD: dict[str, tuple[Asset, str]] = {
    "roll back": (ROLLBACK, "reason"),
    "re-judge": (REJUDGE, "corpus"),
    "re-index": (RETRAIN, "corpus"),
    "re-embed": (CORPUS, "corpus"),
    "rebuild": (REBUILD, "degradation"),
}
"""Of each repair that starts a DAG: its asset, and the field of the result that the event carries. The others page."""


def start_repairs(judged: StepOperator, judgment: str, then: Callable[..., Result], repairs: Sequence[str]) -> None:
    """Add a task for each repair; they run one after the other, since each may write the journal's next entry.

    Args:
        judged: the task that says which are called for.
        judgment: the field of its result with the id of what it left.
        then: the step that starts a repair.
        repairs: which there are, in their order.
    """
    before = judged
    for repair in repairs:
        asset, field = TOLD.get(repair, (None, ""))
        tells: dict[str, Any] = {"outlets": [asset], "emits": field} if asset else {"on_success_callback": pager()}
        task = StepOperator(
            step=then,
            task_id=repair.replace(" ", "_").replace("-", "_"),
            step_params={"degradation": judged.output[judgment], "repair": repair},
            trigger_rule="none_failed_min_one_success",
            **tells,
        )
        before >> task
        before = task
