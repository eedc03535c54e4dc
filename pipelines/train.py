"""The whole chain of steps in one process, without Airflow, from the same steps: `python -m pipelines.train`.

In a notebook: `from pipelines.train import train; train(text="label")`.
"""

import sys
from typing import Any

import click

from pipelines.cli.commands import guarded, parse_values, run_step
from pipelines.contract import load_step
from pipelines.logs import log
from pipelines.settings import install_command, missing_packages, settings
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store


def train(margin: float = 0.02, waive: str = "", **ingest: Any) -> dict[str, Any]:
    """Ingest, check, embed, index, choose the stages, evaluate, gate, and if the gate passes promote and deploy.

    Without the extra `quality` the data is not checked, and a log line says so.

    Args:
        margin: how much worse than the champion a release may be, in nDCG@10.
        waive: the reason to promote what nobody has judged, in the name that the settings say; empty: it is not promoted.
        ingest: params of the step `ingest`.

    Returns:
        The gate's result; `served` says whether the release is the champion now.

    Raises:
        StepError: a step could not do its work, or a check of level fail failed.
    """
    ingested = run_step("ingest", **ingest)
    corpus = ingested.corpus
    if missing := missing_packages("quality"):
        log().warning("data is not checked", missing=missing, fix=install_command("quality"))
    else:
        run_step("check", corpus=corpus)
    # A first release of fewer documents is encoded by fp32 without measuring, so no other variant is needed.
    small = ingested.documents < load_step("plan").params.model_fields["measure_from"].default
    native = Journal(open_store()).routing.champion or not small
    encoder = run_step("export_encoder", **({"variants": ["native"]} if native else {})).encoder
    planned = run_step("plan", corpus=corpus, encoder=encoder)
    parts = {"corpus": corpus, "encoder": encoder, "variant": planned.variant, "base": planned.base}
    shards = [run_step("embed", **parts, shard=shard).shard for shard in planned.shards]
    embeddings = run_step("commit_embeddings", **parts, shards=shards).embeddings
    index = run_step("index", embeddings=embeddings).index
    retrievers = {
        "lexical": run_step("index_lexical", index=index).lexical,
        "known_queries": run_step("index_known_queries", index=index).known_queries,
        "recommender": run_step("train_recommender", index=index).recommender,
    }
    stages = run_step("choose_stages", index=index, **retrievers).stages
    release = run_step("assemble", index=index, stages=stages).release
    evaluated = run_step("evaluate", release=release)
    verdict = run_step("gate", evaluation=evaluated.evaluation, baseline=evaluated.baseline, margin=margin)
    waived = bool(waive) and verdict.outcome == "not run" and verdict.champion != release
    if verdict.passed or waived:
        run_step("promote", verdict=verdict.verdict, **({"waive": True, "why": waive, "who": settings().who} if waived else {}))
        run_step("deploy", release=release)
    return {**verdict.model_dump(), "served": verdict.passed or waived or verdict.champion == release}


@click.command(help=(train.__doc__ or "").partition("\n")[0], context_settings={"ignore_unknown_options": True})
@click.option("--margin", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.02, show_default=True,
              help="Loss of nDCG@10 that counts as none")  # fmt: skip
@click.option("--waive", default="", metavar="REASON", help="Promote without judgments, for this reason")
@click.argument("ingest", nargs=-1, type=click.UNPROCESSED, metavar="[SOURCE] [OPTIONS OF INGEST]")
def command(margin: float, waive: str, ingest: tuple[str, ...]) -> None:
    """Run the chain and print the verdict."""
    bare = ["--source", *ingest] if ingest and not ingest[0].startswith("-") else list(ingest)
    try:
        values = parse_values("ingest", bare)
    except click.UsageError as error:
        raise click.UsageError(error.format_message()) from None  # of this command
    click.echo(train(margin, waive, **values)["sentence"])


if __name__ == "__main__":
    sys.exit(guarded(command, None, "python -m pipelines.train"))
