"""plan_experiment: how many units and days an experiment needs before it starts."""

from pathlib import Path

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import InputError
from pipelines.logs import log

VERSION = 1


class PlanExperimentParams(Params):
    baseline: float = Field(description="Control's value today: a share such as 0.04, or a mean", gt=0)
    minimum_effect: float = Field(
        0.0, ge=0, lt=10, description="Least relative change that would matter, such as 0.02; 0: the experiment's"
    )
    daily_units: float = Field(
        0.0, ge=0, description="Units that enter the experiment each day, all variants; 0: days are not computed"
    )
    sd: float = Field(0.0, ge=0, description="Standard deviation of a unit's value; 0: the baseline is a share")
    correlation: float = Field(0.0, ge=0, lt=1, description="Correlation with the same value before the start, for CUPED")
    experiment: str = Field(
        "", description="YAML file that declares the experiment: its weights, errors and looks; empty: two equal variants"
    )
    alpha: float = Field(0.05, gt=0, lt=0.5, description="Error that is allowed, two-sided; an experiment's own comes first")
    power: float = Field(
        0.8, ge=0.5, lt=1, description="Probability of seeing the minimum effect; an experiment's own comes first"
    )


class PlanExperimentResult(Result):
    units: int
    """Of all variants, until the planned stop."""
    days: int
    """0: not computed."""
    sequential_units: int
    """Units until the sequence alone, which holds at every look, shows the minimum effect with the same power."""
    detectable_in_14_days: float
    """The relative change that two weeks would show; 0: not computed."""
    sentence: str


def plan_experiment(params: PlanExperimentParams) -> PlanExperimentResult:
    """Say before the start how long an experiment must run to see the minimum effect."""
    from pipelines.experiments.design import read_design
    from pipelines.experiments.planning import Plan, plan
    from pipelines.wording import counted

    design = read_design(Path(params.experiment)) if params.experiment else None
    effect = params.minimum_effect or (design.primary.minimum_effect if design else 0.0)
    if not effect:
        raise InputError("no minimum effect", "the least relative change that would matter", "pass --minimum-effect 0.02")
    if not params.sd and params.baseline >= 1:
        raise InputError(
            f"--baseline {params.baseline:g} without --sd",
            "a share below 1, or a mean with its standard deviation",
            "pass --sd",
        )
    made: Plan = plan(
        params.baseline, params.sd, effect, params.correlation, design, params.alpha, params.power, params.daily_units
    )
    days = f", {counted(made.days, 'day')}" if made.days else ""
    sentence = (
        f"{made.units:,} units{days}: then a change of {effect:.3g} of {params.baseline:g} is seen with {made.power:.0%} power;"
        f" a stop at any time by the sequence alone needs {made.sequential_units:,}"
    )
    log().info(sentence)
    return PlanExperimentResult(
        units=made.units,
        days=made.days,
        sequential_units=made.sequential_units,
        detectable_in_14_days=made.detectable,
        sentence=sentence,
    )
