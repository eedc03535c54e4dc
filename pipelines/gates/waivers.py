"""Verdicts: what a promotion reads of one, and all of a store as far as they can be read."""

from typing import NamedTuple

from pipelines.errors import CorruptArtifact, InputError
from pipelines.gates.verdict import VerdictSummary
from pipelines.store.artifacts import Artifact


class Waiver(NamedTuple):
    """Who promotes what nobody could judge, and why."""

    who: str
    why: str


def read_allowed(artifact: Artifact, waiver: Waiver | None) -> VerdictSummary:
    """What the verdict says, if it is a yes, or if there was nothing to judge by and somebody answers for it.

    Raises:
        InputError: it did not pass and can't be waived, or the waiver names nobody or no reason.
        CorruptArtifact: it speaks of another release than it was made for.
    """
    verdict = VerdictSummary.model_validate(artifact.json("verdict.json"))
    if verdict.release != artifact.inputs.get("release"):
        raise CorruptArtifact(
            f"verdict {artifact.id} on release {verdict.release}", f"release {artifact.inputs.get('release')}", "run gate again"
        )
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
    """Only what could not be judged can be waived, and only by somebody with a reason."""
    if verdict.outcome != "not run" or verdict.release == verdict.champion:
        raise InputError(
            f"--waive for verdict {verdict_id}: {verdict.sentence}",
            "a verdict that was not run for want of judgments",
            "leave out --waive",
        )
    if not waiver.why.strip() or not waiver.who.strip():
        raise InputError("--waive without a name or a reason", "both, for the journal", "pass --who NAME --why REASON")
