"""The verdict of a gate: the form of `verdict.json`, and how one and all of a store are read again."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from pipelines.errors import CorruptArtifact, InputError
from pipelines.evaluation.qrels import EvaluatedSplit
from pipelines.store.artifacts import Artifact

Outcome = Literal["passed", "rejected", "undecided", "not comparable", "not run"]
WORST_FIRST: tuple[Outcome, ...] = ("rejected", "not run", "not comparable", "undecided", "passed")
"""The outcome of all is that of the worst blocking rule."""


class WorstQuery(BaseModel):
    """A query on which the challenger is worse than the champion."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    query: str
    text: str
    difference: float


class RuleVerdict(BaseModel):
    """What one rule of a gate file says of a release."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    measure: str
    comparison: str
    severity: str
    on_undecided: str
    outcome: Outcome
    sentence: str
    """Begins with the outcome."""
    difference: float | None = None
    """Of the release to what it is compared with; `low` and `high` are its interval."""
    low: float | None = None
    high: float | None = None
    margin: float | None = None
    """Empty: the rule has none."""
    n: int = 0
    """How many queries, or other units, it was judged by."""
    still_needed: int = 0
    """About how many more would decide; 0 unless undecided."""
    next: str = ""
    """What would let it decide; empty: nothing."""
    waived: bool = False
    """Whether a waiver sets the rule aside today, so that it blocks nothing."""

    @property
    def blocks(self) -> bool:
        """Whether the release must not pass because of it."""
        return self.severity == "blocks" and self.outcome != "passed" and not self.waived


class Verdict(BaseModel):
    """`verdict.json`: whether a release may follow the champion, and what decided it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    outcome: Outcome
    sentence: str
    release: str
    champion: str
    """The release that was compared with; empty: none."""
    evaluation: str
    baseline: str = ""
    """The evaluation of `champion`; empty: nothing was compared."""
    split: EvaluatedSplit
    corpus: str
    """Whose queries and judgments were used."""
    queries_digest: str
    measure: str
    difference: float | None = None
    """The mean of challenger − champion; `low` and `high` are its interval."""
    low: float | None = None
    high: float | None = None
    margin: float
    margin_that_holds: float | None = None
    confidence: float
    power: float
    queries: int
    still_needed: int = 0
    """About how many more queries would decide; 0 unless undecided."""
    worst_queries: list[WorstQuery] = []
    warnings: list[str] = []
    asks: bool = False
    """Whether a person is asked, since the rules can't decide."""
    gate_file: str = ""
    """The name of the rules; empty: a verdict by one measure alone, as they were before gate files."""
    rules: list[RuleVerdict] = []
    waivers: list[str] = []
    """Each waiver that holds on the day of the verdict, in a sentence."""


class VerdictSummary(BaseModel):
    """The fields of `verdict.json` that a promotion needs, with defaults for those that older verdicts lack."""

    outcome: str
    sentence: str
    release: str
    champion: str | None
    split: str = ""
    corpus: str = ""


def read_summary(artifact: Artifact) -> VerdictSummary:
    """The summary of a stored verdict.

    Raises:
        CorruptArtifact: `verdict.json` names another release than the artifact's inputs.
    """
    verdict = VerdictSummary.model_validate(artifact.json("verdict.json"))
    if verdict.release != artifact.inputs.get("release"):
        raise CorruptArtifact(
            f"verdict {artifact.id} on release {verdict.release}", f"release {artifact.inputs.get('release')}", "run gate again"
        )
    return verdict


def check_queries(verdict: VerdictSummary, verdict_id: str, corpus: str) -> None:
    """Refuse a verdict by queries that the encoder may have been trained on, or by those of another corpus.

    Raises:
        InputError: the split is not test, or the corpus is not `corpus`.
    """
    if (verdict.split, verdict.corpus) != ("test", corpus):
        raise InputError(
            f"verdict {verdict_id} by {verdict.split or 'unnamed'} queries of corpus {verdict.corpus or 'unnamed'}",
            f"one by test queries of the release's own corpus {corpus}",
            f"run `evaluate --release {verdict.release}` and `gate` again",
        )
