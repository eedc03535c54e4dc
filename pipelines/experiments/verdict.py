"""The verdict on an experiment: ship, do not ship, keep running or invalid, with a sentence for whoever decides."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pipelines.experiments.design import FINAL_SHARE, Design
from pipelines.experiments.effects import Effect, Mode
from pipelines.experiments.phrases import effect_text, percent
from pipelines.experiments.trust import TrustCheck
from pipelines.wording import counted

Outcome = Literal["ship", "do not ship", "keep running", "invalid"]


@dataclass(frozen=True)
class ExperimentVerdict:
    """What to do, and why."""

    outcome: Outcome
    sentence: str
    treatment: str = ""
    """The one that is shipped."""


@dataclass(frozen=True)
class _Standing:
    """How one treatment stands."""

    state: Literal["wins", "harms", "breaks a guardrail", "futile", "open", "no effect", "guardrail open"]
    sentence: str
    effect: Effect


def judge(
    design: Design, checks: Sequence[TrustCheck], effects: Sequence[Effect], mode: Mode, days_left: int | None
) -> ExperimentVerdict:
    """The verdict.

    Args:
        design: the experiment.
        checks: of trust; one that failed ends all.
        effects: of the primary metric and the guardrails, for every treatment.
        mode: which test decides.
        days_left: until the declared minimum effect would be seen; none where it is not known.
    """
    if failed := [check for check in checks if check.status == "failed"]:
        others = f" {counted(len(failed) - 1, 'other check')} failed, too." if len(failed) > 1 else ""
        return ExperimentVerdict(
            "invalid", f"The effect can't be trusted. {failed[0].name.capitalize()}: {failed[0].sentence}{others}"
        )
    standings = [_standing(design, treatment, effects, mode) for treatment in design.treatments]
    winners = [standing for standing in standings if standing.state == "wins"]
    if winners:
        best = max(winners, key=lambda standing: standing.effect.better.estimate)
        return ExperimentVerdict("ship", best.sentence, best.effect.treatment)
    ended = ("harms", "breaks a guardrail", "futile")
    if mode.over or all(standing.state in ended for standing in standings):
        best = max(standings, key=lambda standing: standing.effect.better.estimate)
        more = f" None of the other {counted(len(standings) - 1, 'variant')} does better." if len(standings) > 1 else ""
        return ExperimentVerdict("do not ship", best.sentence + more)
    open_ones = [standing for standing in standings if standing.state not in ended]
    best = max(open_ones, key=lambda standing: standing.effect.better.estimate)
    left = f" About {counted(days_left, 'more day')} would show {percent(design.primary.minimum_effect)}." if days_left else ""
    return ExperimentVerdict("keep running", best.sentence + left)


def _standing(design: Design, treatment: str, effects: Sequence[Effect], mode: Mode) -> _Standing:
    primary = next(effect for effect in effects if effect.role == "primary" and effect.treatment == treatment)
    guards = [effect for effect in effects if effect.role == "guardrail" and effect.treatment == treatment]
    margins = {metric.name: metric.margin or 0.0 for metric in design.guardrails}
    allowed = design.alpha * (FINAL_SHARE if mode.over and mode.looked else 1)
    shown = primary.adjusted < allowed
    says = effect_text(primary)
    broken = [guard for guard in guards if guard.better.high < -margins[guard.metric]]
    unsure = [guard for guard in guards if guard.better.low <= -margins[guard.metric]]
    if broken:
        return _Standing(
            "breaks a guardrail",
            f"{treatment} breaks the guardrail {broken[0].metric}: {effect_text(broken[0])}, and at most"
            f" {percent(margins[broken[0].metric])} for the worse is accepted.",
            primary,
        )
    if shown and primary.better.estimate < 0:
        return _Standing("harms", f"{treatment} makes {primary.metric} worse: {says}.", primary)
    if shown and unsure:
        sentence = (
            f"{treatment} improves {primary.metric}: {says}; but whether {unsure[0].metric} stays within its margin of"
            f" {percent(margins[unsure[0].metric])} is not shown: {effect_text(unsure[0])}."
        )
        return _Standing("guardrail open", sentence, primary)
    if shown:
        held = f"; {counted(len(guards), 'guardrail')} {'holds' if len(guards) == 1 else 'hold'}" if guards else ""
        small = ", which may be less than the declared minimum" if primary.better.low < design.primary.minimum_effect else ""
        return _Standing("wins", f"{treatment} improves {primary.metric}: {says}{small}{held}.", primary)
    return _undecided(design, treatment, primary, mode, says)


def _undecided(design: Design, treatment: str, primary: Effect, mode: Mode, says: str) -> _Standing:
    minimum = design.primary.minimum_effect
    if minimum and primary.better.high < minimum:
        return _Standing(
            "futile",
            f"{treatment} does not change {primary.metric} by the {percent(minimum)} that would matter: {says}.",
            primary,
        )
    power = (
        f" With this many units, an effect of {percent(primary.detectable).lstrip('+')} is seen with {design.power:.0%} power."
        if primary.detectable < 10
        else ""
    )
    if primary.control_value == 0 and primary.treatment_value == 0:
        return _Standing(
            "no effect" if mode.over else "open",
            f"No unit of either variant has {primary.metric} yet, so nothing can be compared.",
            primary,
        )
    if mode.over:
        return _Standing("no effect", f"No effect of {treatment} on {primary.metric} is shown: {says}.{power}", primary)
    return _Standing("open", f"Not decided yet: {treatment} on {primary.metric}: {says}.", primary)
