"""Waivers: a person promotes a release that no judgments could judge, under a name and with a reason for the journal."""

from typing import NamedTuple

from pipelines.errors import InputError
from pipelines.gates.verdict import VerdictSummary, read_summary
from pipelines.store.artifacts import Artifact


class Waiver(NamedTuple):
    """Who promotes a release without a verdict, and why."""

    who: str
    why: str


def read_allowed(artifact: Artifact, waiver: Waiver | None) -> VerdictSummary:
    """The summary of a verdict that allows a promotion: it passed, or it was not run and is waived.

    Raises:
        InputError: it did not pass and can't be waived, or the waiver lacks a name or a reason.
        CorruptArtifact: see `read_summary`.
    """
    verdict = read_summary(artifact)
    if waiver:
        _check_waiver(artifact.id, verdict, waiver)
    elif verdict.outcome != "passed":
        improve = "improve the release, judge it again"
        waive = "judge a pool (`python -m pipelines pool`), or pass --waive true with --who and --why"
        raise InputError(
            f"verdict {artifact.id}: {verdict.sentence}",
            "a verdict that passed",
            waive if verdict.outcome == "not run" else improve,
        )
    return verdict


def _check_waiver(verdict_id: str, verdict: VerdictSummary, waiver: Waiver) -> None:
    """Refuse a waiver of a verdict that was run, or of the champion's own, and one without a name or a reason."""
    if verdict.outcome != "not run" or verdict.release == verdict.champion:
        raise InputError(
            f"--waive for verdict {verdict_id}: {verdict.sentence}",
            "a verdict that was not run for want of judgments",
            "leave out --waive",
        )
    if not waiver.why.strip() or not waiver.who.strip():
        raise InputError("--waive without a name or a reason", "both, for the journal", "pass --who NAME --why REASON")
