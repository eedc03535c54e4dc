"""The whole chain of steps in one process, without Airflow, from the same steps: `python -m pipelines.train`.

In a notebook: `from pipelines.train import train; train(text="label")`.

`python -m pipelines.train --gate FILE` judges and serves nothing, for continuous integration: exit code 0 if it passed,
3 if it did not; `verdict.md` is ready as a comment either way.
"""

import sys
from pathlib import Path
from typing import Any

import click

from pipelines.cli.commands import guarded, parse_values, run_step
from pipelines.contract import load_step
from pipelines.errors import InputError
from pipelines.logs import log
from pipelines.settings import environment_gate_file, install_command, missing_packages, settings
from pipelines.store.artifacts import load_exactly
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store

NOT_PASSED = 3
"""The exit code of `--gate` for a release that was judged and did not pass."""


def train(margin: float = 0.02, waive: str = "", gate: str = "", corpus: str = "", **ingest: Any) -> dict[str, Any]:
    """Ingest, check, embed, index, choose the stages, evaluate, gate, and if the gate passes promote and deploy.

    Without the extra `quality` the data is not checked, and a log line says so.

    Args:
        margin: how much worse than the champion a release may be, in nDCG@10.
        waive: the reason to promote what the rules could not decide on, in the name that the settings say; empty: none.
        gate: the name or path of a gate file: the release is judged by it, and neither promoted nor deployed; empty: by the
            environment's, else the shipped one.
        corpus: id of a corpus that is there already, such as the successor that an erasure left; it is encoded as the champion
            is. Empty: one is ingested.
        ingest: params of the step `ingest`.

    Returns:
        The gate's result; `served` says whether the release is the champion now.

    Raises:
        StepError: a step could not do its work, or a check of level fail failed.
    """
    from pipelines.gates.gate_file import read_gate_file

    gate_file = gate or environment_gate_file() or load_step("gate").params.model_fields["gate_file"].default
    read_gate_file(gate_file)  # before any work
    made = {"corpus": corpus} if corpus else _ingested(ingest)
    planned = run_step("plan", **made)
    parts = {"corpus": planned.corpus, "encoder": planned.encoder, "variant": planned.variant, "base": planned.base}
    shards = [run_step("embed", **parts, shard=shard).shard for shard in planned.shards]
    embeddings = run_step("commit_embeddings", **parts, shards=shards).embeddings
    index = run_step("index", embeddings=embeddings).index
    retrievers = {
        "lexical": run_step("index_lexical", index=index).lexical,
        "known_queries": run_step("index_known_queries", index=index).known_queries,
        "recommender": run_step("train_recommender", index=index).recommender,
    }
    stages = run_step("choose_stages", index=index, **retrievers).stages
    blend = run_step("fit_blend", index=index, stages=stages).blend
    release = run_step("assemble", index=index, stages=stages, blend=blend).release
    evaluated = run_step("evaluate", release=release)
    measured = _evidence(evaluated, release, gate_file)
    verdict = run_step("gate", **measured, gate_file=gate_file, margin=margin)
    if gate:
        return {**verdict.model_dump(), "served": verdict.champion == release}
    waived = bool(waive) and verdict.outcome not in ("passed", "rejected") and verdict.champion != release
    if verdict.passed or waived:
        run_step("promote", verdict=verdict.verdict, **({"waive": True, "why": waive, "who": settings().who} if waived else {}))
        run_step("deploy", release=release)
    return {**verdict.model_dump(), "served": verdict.passed or waived or verdict.champion == release}


def _ingested(ingest: dict[str, Any]) -> dict[str, str]:
    """A new corpus, checked, and the encoder for it; both ids."""
    ingested = run_step("ingest", **ingest)
    if missing := missing_packages("quality"):
        log().warning("data is not checked", missing=missing, fix=install_command("quality"))
    else:
        run_step("check", corpus=ingested.corpus)
    # A first release of fewer documents is encoded by fp32 without measuring, so no other variant is needed.
    small = ingested.documents < load_step("plan").params.model_fields["measure_from"].default
    native = Journal(open_store()).routing.champion or not small
    encoder = run_step("export_encoder", **({"variants": ["native"]} if native else {})).encoder
    return {"corpus": ingested.corpus, "encoder": encoder}


def _evidence(evaluated: Any, release: str, gate_file: str) -> dict[str, str]:
    """What the rules of a gate file judge by, as the gate's options name it; empty where no rule asks for it."""
    compared = {"evaluation": evaluated.evaluation, "baseline": evaluated.baseline}
    copies = run_step("perturb", evaluation=evaluated.evaluation, gate_file=gate_file).perturbations
    robust = run_step("measure_robustness", **compared, perturbations=copies)
    latency = run_step("measure_latency", release=release, gate_file=gate_file).latency
    robustness = {"robustness": robust.robustness, "other_robustness": robust.other_robustness}
    return {**compared, "anchor": evaluated.anchor, **robustness, "latency": latency}


@click.command(help=(train.__doc__ or "").partition("\n")[0], context_settings={"ignore_unknown_options": True})
@click.option("--margin", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.02, show_default=True,
              help="Loss of nDCG@10 that counts as none")  # fmt: skip
@click.option("--waive", default="", metavar="REASON", help="Promote what the rules can not decide on, for this reason")
@click.option("--gate", default="", metavar="FILE", help="Judge by this gate file and serve nothing; exit code 3: not passed")
@click.option("--corpus", metavar="ID", help="Release this corpus of the store, by the champion's encoder; ingest none")
@click.option("--verdict-file", type=click.Path(dir_okay=False, path_type=Path), default=Path("verdict.md"), show_default=True,
              help="Of --gate: the verdict in Markdown, for a pull request")  # fmt: skip
@click.argument("ingest", nargs=-1, type=click.UNPROCESSED, metavar="[SOURCE] [OPTIONS OF INGEST]")
def command(margin: float, waive: str, gate: str, corpus: str | None, verdict_file: Path, ingest: tuple[str, ...]) -> None:
    """Run the chain and print the verdict."""
    if gate and waive:
        raise click.UsageError("--gate together with --waive")
    if corpus == "":
        raise click.UsageError("--corpus without an id")
    if corpus and ingest:
        raise click.UsageError(f"--corpus together with {ingest[0]!r}, an option of ingest")
    if gate and not verdict_file.parent.is_dir():
        raise InputError(f"--verdict-file {verdict_file}", "a file in a folder that exists", "create the folder")
    bare = ["--source", *ingest] if ingest and not ingest[0].startswith("-") else list(ingest)
    try:
        values = parse_values("ingest", bare)
    except click.UsageError as error:
        raise click.UsageError(error.format_message()) from None  # of this command
    answer = train(margin, waive, gate, corpus or "", **values)
    click.echo(answer["sentence"])
    if gate:
        verdict_file.write_text(load_exactly(open_store(), "verdict", answer["verdict"]).text("verdict.md"), encoding="utf-8")
        sys.exit(0 if answer["passed"] or answer["served"] else NOT_PASSED)


if __name__ == "__main__":
    sys.exit(guarded(command, None, "python -m pipelines.train"))
