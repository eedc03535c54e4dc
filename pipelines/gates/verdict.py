"""The gate: what the paired difference to the champion says about a challenger."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from pipelines.errors import CorruptArtifact, InputError
from pipelines.evaluation.qrels import EvaluatedSplit
from pipelines.store.artifacts import Artifact, committed, find
from pipelines.store.objects import Store

Outcome = Literal["passed", "rejected", "undecided", "not run"]


class WorstQuery(BaseModel):
    """A query on which the challenger lost."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    query: str
    text: str
    difference: float


class Verdict(BaseModel):
    """`verdict.json`: whether a release may follow the champion, and by what."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    outcome: Outcome
    sentence: str
    release: str
    champion: str
    evaluation: str
    baseline: str = ""
    split: EvaluatedSplit
    corpus: str
    """Whose queries and judgments were asked."""
    queries_digest: str
    measure: str
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    margin: float
    margin_that_holds: float | None = None
    confidence: float
    power: float
    queries: int
    still_needed: int = 0
    worst_queries: list[WorstQuery] = []
    warnings: list[str] = []


class VerdictSummary(BaseModel):
    """What a verdict says, as far as a promotion asks."""

    outcome: str
    sentence: str
    release: str
    champion: str | None
    split: str = ""
    corpus: str = ""


def check_queries(verdict: VerdictSummary, verdict_id: str, corpus: str) -> None:
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
