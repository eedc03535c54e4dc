"""What the rules of a gate file judge a release by, and the verdict of a rule in the same words everywhere."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.evaluation.latency import Latency
from pipelines.evaluation.off_policy import OffPolicy
from pipelines.evaluation.record import Evaluation
from pipelines.evaluation.robustness import Robustness
from pipelines.gates.gate_file import Rule
from pipelines.gates.verdict import Outcome, RuleVerdict
from pipelines.store.artifacts import Artifact


@dataclass(frozen=True)
class Evidence:
    """Stored measurements of a release. A rule whose evidence is missing is not run, which never passes."""

    evaluation: Evaluation
    serving: str
    """Id of the champion; empty: no release serves yet."""
    champion: Evaluation | None = None
    """Of the release that it is compared with, mostly the champion, on the same queries."""
    latency: Latency | None = None
    off_policy: OffPolicy | None = None
    robustness: Robustness | None = None
    """The release on perturbed queries."""
    champion_robustness: Robustness | None = None
    """What it is compared with, on the same perturbed queries."""
    power: float = 0.8
    """With which each blocking rule must pass an equal release."""

    @property
    def first(self) -> bool:
        """Whether there is nothing to compare with yet."""
        return not self.serving and self.champion is None


def evidence_of(made: Mapping[str, Artifact]) -> dict[str, Any]:
    """Artifacts by their kind as the fields of Evidence that read them."""
    readers: dict[str, Callable[[Artifact], Any]] = {"latency": Latency, "off_policy": OffPolicy}
    return {kind: readers[kind](artifact) for kind, artifact in made.items()}


def verdict_of(rule: Rule, outcome: Outcome, reason: str, **figures: Any) -> RuleVerdict:
    """The verdict of a rule; its sentence is the outcome with the reason."""
    return RuleVerdict(
        name=rule.name,
        measure=rule.measure,
        comparison=rule.comparison,
        severity=rule.severity,
        on_undecided=rule.on_undecided,
        outcome=outcome,
        sentence=f"{outcome}: {reason}",
        **figures,
    )
