"""What the rules of a gate file judge a release by, and the verdict of a rule in the same words everywhere."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.errors import InputError
from pipelines.evaluation.latency import Latency
from pipelines.evaluation.off_policy import OffPolicy
from pipelines.evaluation.record import Evaluation
from pipelines.evaluation.robustness import Robustness, robustness_of
from pipelines.gates.gate_file import Rule
from pipelines.gates.verdict import Outcome, RuleVerdict
from pipelines.gates.waivers import ActiveWaiver, waivers_in_force
from pipelines.store.artifacts import Artifact, readable
from pipelines.store.journal import Journal
from pipelines.store.objects import Store
from pipelines.store.releases import anchor_id


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
    anchor_release: str = ""
    """Id of the anchor: the last champion that was better than its predecessor beyond chance, or the first; empty: none yet."""
    anchor: Evaluation | None = None
    """Of the anchor, on the same queries."""
    waivers: tuple[ActiveWaiver, ...] = ()
    """Those that hold today."""
    judged_before: int = 0
    """How many other challengers these test queries have judged."""
    power: float = 0.8
    """With which each blocking rule must pass an equal release."""

    @property
    def first(self) -> bool:
        """Whether there is nothing to compare with yet."""
        return not self.serving and self.champion is None


def gathered(
    journal: Journal,
    evaluation: Evaluation,
    champion: Evaluation | None,
    anchor: Evaluation | None,
    made: Mapping[str, Artifact],
    robust: Mapping[str, str],
) -> Evidence:
    """All that a release is judged by: evaluations, what else was measured, and what journal and store say today.

    Args:
        journal: champion, anchor and waivers, and by its store the verdicts so far.
        evaluation: of the release.
        champion: of the release that it is compared with.
        anchor: of the anchor, on the same queries.
        made: other artifacts by their kind.
        robust: ids of `robustness` and `other_robustness`, those that were measured.

    Raises:
        InputError: the champion's evaluation is missing, `anchor` is of another release than the anchor of today, or
            robustness of another evaluation.
    """
    release, serving = anchor_id(journal), journal.routing.champion or ""
    if champion is None and serving not in ("", evaluation.release):
        raise InputError(
            f"evaluation {evaluation.id} without a baseline while {serving} is champion",
            "the champion's evaluation on the same queries",
            f"run `python -m pipelines evaluate --release {evaluation.release}` and pass all ids it gives",
        )
    if anchor is not None and anchor.release != release:
        raise InputError(
            f"--anchor {anchor.id}, an evaluation of release {anchor.release}",
            f"one of {release or 'none, since no release serves yet'}, the anchor of today",
            "run `evaluate` again and pass the ids it gives",
        )
    return Evidence(
        evaluation,
        serving,
        None if evaluation.release == serving else champion,
        anchor_release=release,
        anchor=anchor,
        waivers=tuple(waivers_in_force(journal)),
        judged_before=judged_before(journal.store, evaluation.query_set["queries_digest"], evaluation.release),
        robustness=robustness_of(journal.store, robust.get("robustness", ""), evaluation),
        champion_robustness=robustness_of(journal.store, robust.get("other_robustness", ""), champion),
        **evidence_of(made),
    )


def judged_before(store: Store, queries_digest: str, release: str) -> int:
    """How many other challengers these queries have judged: releases with a stored verdict by them against a champion."""
    verdicts = [verdict for verdict in readable(store, "verdict")[0] if verdict.inputs.get("release") not in (None, release)]
    by_these = (verdict for verdict in verdicts if verdict.facts.get("outcome") != "not run" and verdict.facts.get("champion"))
    return len({verdict.inputs["release"] for verdict in by_these if _digest_of(verdict) == queries_digest})


def _digest_of(verdict: Artifact) -> str:
    """What names the queries of a verdict; those of before gate files have it in their body alone."""
    try:
        return str(verdict.facts.get("queries_digest") or verdict.json("verdict.json").get("queries_digest", ""))
    except InputError:  # damaged: nobody can say what it judged by
        return ""


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
