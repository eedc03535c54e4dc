"""Batch scoring in one process, without Airflow, from the same steps: `python -m pipelines.score queries.csv`."""

import sys
from typing import Any

import click

from pipelines.cli.commands import guarded, parse_values, run_step


def score(k: int = 10, output: str = "", **plan: Any) -> str:
    """Rank the documents for every query of a file; the id of the scores.

    Args:
        k: documents for each query.
        output: where to write them as one Parquet file as well; empty: nowhere.
        plan: params of the step `plan_scores`.

    Raises:
        StepError: a step could not do its work.
    """
    planned = run_step("plan_scores", **plan)
    parts = {"queries": planned.queries, "release": planned.release, "k": k}
    shards = [run_step("score_shard", **parts, shard=shard).shard for shard in planned.shards]
    return str(run_step("commit_scores", **parts, shards=shards, output=output).scores)


@click.command(help=(score.__doc__ or "").partition("\n")[0], context_settings={"ignore_unknown_options": True})
@click.option("--k", type=click.IntRange(1, 1000), default=10, show_default=True, help="Documents for each query")
@click.option("--output", default="", metavar="PATH", help="Also write one Parquet file: a path, or s3://bucket/key")
@click.argument("plan", nargs=-1, type=click.UNPROCESSED, metavar="SOURCE [OPTIONS OF PLAN_SCORES]")
def command(k: int, output: str, plan: tuple[str, ...]) -> None:
    """Score a file and print the id of the scores."""
    try:
        values = parse_values("plan_scores", list(plan))
    except click.UsageError as error:
        raise click.UsageError(error.format_message()) from None  # of this command
    click.echo(score(k, output, **values))


if __name__ == "__main__":
    sys.exit(guarded(command, None, "python -m pipelines.score"))
