"""Analyze the split that runs and every experiment of a folder, once a day.

Each YAML file of the folder declares one experiment and names its log; a log that none declares is analyzed by what its columns
say. Each leaves a report with one of four verdicts: ship, do not ship, keep running, invalid. The folder is the form's, or the
Airflow variable `analyze_experiment_folder`; without one and without a split the run is skipped, as is
a split that nobody has searched by yet. Looking daily is paid for by wider intervals.

## When it is red

- Red is never a bad experiment: INVALID and DO NOT SHIP are green runs. Read the last line of the red task's log.
- `find_experiments`: the folder can't be read. Correct the form or the variable, start again.
- `analyze`: the log or the YAML of that map index can't be read; the message says which column or key. The others are done.
- Clearing is safe: an analysis of the same log, declaration and day is found by its recipe, and nothing is served by this DAG.
- Never change a declaration once its experiment runs (metric, margin, planned stop) to turn a verdict: declare another one.
"""

from airflow.sdk import DAG
from operators.form import form
from operators.schedules import DAILY, over_within
from operators.step import StepOperator

from pipelines.steps.analyze_experiment.analyze import AnalyzeParams, AnalyzeTuning, analyze
from pipelines.steps.analyze_experiment.find_experiments import FindExperimentsParams, find_experiments

with DAG(
    "analyze_experiment",
    schedule=DAILY,
    deadline=over_within(hours=12),
    catchup=False,
    max_active_runs=1,
    tags=["experiments"],
    default_args={"owner": "search"},
    params=form(AnalyzeTuning, AnalyzeParams, FindExperimentsParams, omit=("log", "experiment", "column", "report")),
    doc_md=__doc__,
):
    listed = StepOperator(
        step=find_experiments,
        step_params={"folder": "{{ params.folder or var.value.get('analyze_experiment_folder', '') }}"},
        returns="experiments",
    )
    StepOperator.partial(
        step=analyze,
        step_params={"on": "{{ params.on or '' }}", "memory": "{{ params.memory or '' }}"},
        over="log",
        map_index_template="{{ task.value }}",
    ).expand(value=listed.output)
