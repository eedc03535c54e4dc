"""Compute the feature views as of each day, put the day's values online, and check that both say the same.

For the interval of the dag run, one task a view: rows become an artifact of **features**, from the champion's corpus and its
interactions or the search server's log, and the latest of each entity go online by Feast. Then sampled entities must have
online what they have offline as of the same moment; the release's **feature service** is registered once they do. A backfill
makes rows of earlier days for training, and never overwrites the online values of a later day.

## When it is red

- `plan_features`: no view, an end in the future, or pods without a database for features: the message says which. Without a
  champion all is skipped.
- `materialize_view`: the view's file or SQL is wrong (correct the file, clear the task); its features changed while a release
  reads them (declare it under another name); a database or another run holds the registry (it is tried again). All other views
  go online; `check_parity` waits, and `reconcile_registry` compares within the hour what releases read.
- A view without any row is skipped, and the others go on.
- `check_parity`: read the rows in the report that the message names (it has no values itself, since logs are read by more
  people), then start the DAG again for the same interval; an emptied online store is filled so, too.
- Clearing any task is safe: rows are found by their recipe, and putting them online again changes nothing.
- Never write into the online store beside this DAG, and never run `feast materialize` by hand.
"""

from airflow.sdk import DAG
from operators.form import answers, form
from operators.schedules import DAY_BEFORE, over_within
from operators.step import StepOperator

from pipelines.steps.materialize_features.check_parity import CheckParityParams, check_parity
from pipelines.steps.materialize_features.materialize_view import MaterializeViewParams, materialize_view
from pipelines.steps.materialize_features.plan_features import PlanFeaturesParams, plan_features

BY_TASKS = ("corpus", "start", "end")
with DAG(
    "materialize_features",
    schedule=DAY_BEFORE,
    deadline=over_within(hours=12),
    catchup=False,
    max_active_runs=1,
    tags=["features"],
    default_args={"owner": "search"},
    params=form(CheckParityParams, MaterializeViewParams, PlanFeaturesParams, omit=("features", "view")),
    doc_md=__doc__,
):
    of_run = "('' if params.start or params.end else data_interval_%s | default('', true))"
    day = {name: f"{{{{ params.{name} or {of_run % name} }}}}" for name in ("start", "end")}
    planned = StepOperator(step=plan_features, step_params={**answers(PlanFeaturesParams), **day}, returns="views")
    fixed = {name: planned.output[name] for name in BY_TASKS}
    materialized = StepOperator.partial(
        step=materialize_view,
        step_params={**answers(MaterializeViewParams, omit=("view", *BY_TASKS)), **fixed},
        returns="online",
        over="view",
        map_index_template="{{ task.value }}",
        max_active_tis_per_dagrun=1,
    ).expand(value=planned.output)
    compared = {**answers(CheckParityParams, omit=("features", "end", "release")), "features": materialized.output}
    StepOperator(
        step=check_parity,
        step_params={**compared, "end": planned.output["end"], "release": planned.output["release"]},
        trigger_rule="none_failed_min_one_success",
    )
