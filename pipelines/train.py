"""The whole train in one process, without Airflow, from the same steps: `python -m pipelines.train`.

In a notebook: `from pipelines.train import train; train(text="label")`.
"""

import sys
from typing import Any

import click

from pipelines import logs
from pipelines.__main__ import guarded
from pipelines.contract import Result, load_step
from pipelines.settings import settings


def run(step: str, **values: Any) -> Any:
    """Run one step in this process and log what it answered."""
    logs.configure(settings(), step)
    result: Result = load_step(step).call(values)
    logs.log().info("done", **result.model_dump())
    return result


def train(margin: float = 0.02, **ingest: Any) -> dict[str, Any]:
    """Ingest, embed, index, evaluate, gate, and if the gate passes promote and deploy.

    Args:
        margin: how much worse than the champion a release may be, in nDCG@10.
        ingest: params of the step `ingest`.

    Returns:
        The gate's result; `served` says whether the release is the champion now.

    Raises:
        StepError: a step could not do its work.
    """
    corpus = run("ingest", **ingest).corpus
    encoder = run("export_encoder").encoder
    planned = run("plan", corpus=corpus, encoder=encoder)
    parts = {"corpus": corpus, "encoder": encoder, "base": planned.base}
    shards = [run("embed", **parts, shard=shard).shard for shard in planned.shards]
    embeddings = run("commit_embeddings", **parts, shards=shards).embeddings
    release = run("assemble", index=run("index", embeddings=embeddings).index).release
    evaluated = run("evaluate", release=release)
    verdict = run("gate", evaluation=evaluated.evaluation, baseline=evaluated.baseline, margin=margin)
    if verdict.passed:
        run("promote", verdict=verdict.verdict)
        run("deploy", release=release)
    return {**verdict.model_dump(), "served": verdict.passed or verdict.champion == release}


@click.command(help=(train.__doc__ or "").partition("\n")[0])
@click.option("--text", type=click.Choice(["label", "label+category"]), default="label", show_default=True,
              help="What of a document is searched")  # fmt: skip
@click.option("--margin", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.02, show_default=True,
              help="Loss of nDCG@10 that counts as none")  # fmt: skip
def command(text: str, margin: float) -> None:
    """Run the train and say the verdict."""
    click.echo(train(margin, text=text)["sentence"])


if __name__ == "__main__":
    sys.exit(guarded(command, None, "python -m pipelines.train"))
