"""Verdicts: what a promotion reads of one, and all of a store as far as they can be read."""

from typing import NamedTuple

from pydantic import BaseModel

from pipelines.artifacts import Artifact, Store, committed, find
from pipelines.errors import CorruptArtifact, InputError


class Waiver(NamedTuple):
    """Who promotes what nobody could judge, and why."""

    who: str
    why: str


class Said(BaseModel):
    """What a verdict says, as far as a promotion asks."""

    outcome: str
    sentence: str
    release: str
    champion: str | None
    split: str = ""
    corpus: str = ""


def read_allowed(artifact: Artifact, waiver: Waiver | None) -> Said:
    """What the verdict says, if it is a yes, or if there was nothing to judge by and somebody answers for it.

    Raises:
        InputError: it did not pass and can't be waived, or the waiver names nobody or no reason.
        CorruptArtifact: it speaks of another release than it was made for.
    """
    verdict = Said.model_validate(artifact.json("verdict.json"))
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


def _check_waiver(verdict_id: str, verdict: Said, waiver: Waiver) -> None:
    """Only what could not be judged can be waived, and only by somebody with a reason."""
    if verdict.outcome != "not run" or verdict.release == verdict.champion:
        raise InputError(
            f"--waive for verdict {verdict_id}: {verdict.sentence}",
            "a verdict that was not run for want of judgments",
            "leave out --waive",
        )
    if not waiver.why.strip() or not waiver.who.strip():
        raise InputError("--waive without a name or a reason", "both, for the journal", "pass --who NAME --why REASON")


def check_queries(verdict: Said, verdict_id: str, corpus: str) -> None:
    """Refuse a verdict by queries that the encoder may have learned from, or by those of another corpus."""
    if (verdict.split, verdict.corpus) != ("test", corpus):
        raise InputError(
            f"verdict {verdict_id} by {verdict.split or 'unnamed'} queries of corpus {verdict.corpus or 'unnamed'}",
            f"one by test queries of the release's own corpus {corpus}",
            f"run `evaluate --release {verdict.release}` and `gate` again",
        )


def read_verdicts(store: Store) -> tuple[list[Artifact], list[str]]:
    """The verdicts, newest first, and what is wrong with each that can't be read: one damaged hides no other."""
    sound: list[Artifact] = []
    damaged: list[str] = []
    for name in committed(store, "verdict"):
        try:
            found = find(store, "verdict", name)
        except CorruptArtifact as error:
            damaged.append(str(error))
        else:
            sound += [found] if found else []
    return sorted(sound, key=lambda one: (str(one.manifest.provenance.get("at")), one.id), reverse=True), damaged
