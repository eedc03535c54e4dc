"""Policies of drift: how often an alarm may be false, from which size on a change counts, and what it starts.

    name: shop
    description: What the shop's search looks out for.
    days_per_false_alarm: 120
    areas:
      embeddings: {watch: 0.02, act: 0.05, repairs: [re-embed, page]}

`pipelines/drift/policies/default.yaml` is used where none is named. Repairs are those of `pipelines.gates.policy`.
"""

from typing import Annotated, Any, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pipelines.drift.policies import DEFAULT, FOLDER
from pipelines.drift.signals import Area
from pipelines.errors import InputError, expectation
from pipelines.gates.policy import Repair, read_content
from pipelines.wording import printable

AREAS: tuple[Area, ...] = get_args(Area)
NEXT_ACTION = "correct it; docs/drift.md has the format"


class _Declared(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class AreaPolicy(_Declared):
    """From which size on a change of an area counts, and what it starts."""

    watch: float = Field(0.01, ge=0, lt=1)
    """The smallest effect that is an alarm: a share of rows, or a relative change."""
    act: float = Field(0.05, gt=0, lt=10)
    """The effect from which on an alarm starts the repairs."""
    repairs: tuple[Repair, ...] = ("page",)

    @field_validator("repairs")
    @classmethod
    def _once(cls, repairs: tuple[Repair, ...]) -> tuple[Repair, ...]:
        if len(set(repairs)) < len(repairs):
            raise ValueError("each repair once")
        return repairs

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.watch > self.act:
            raise ValueError("watch of at most act")
        return self


class DriftPolicy(_Declared):
    """The areas that are looked at, and the rate of false alarms of all of them together."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
    description: str = Field(min_length=1, max_length=500)
    days_per_false_alarm: float = Field(120, ge=2, le=100_000)
    window_days: int = Field(60, ge=14, le=400)
    """Past days that are the baseline at most."""
    cool_down_hours: float = Field(24, ge=0, le=24 * 366)
    """A repair that was started is not started again before so many hours have passed."""
    areas: dict[Area, AreaPolicy] = Field(min_length=1)

    @property
    def level(self) -> float:
        """The probability of any false alarm on a quiet day."""
        return 1 / self.days_per_false_alarm


def read_drift_policy(file: str) -> DriftPolicy:
    """The policy of a YAML file, or the shipped one for an empty name.

    Raises:
        InputError: the file can't be read, or is no policy; names the area and the key.
    """
    content = read_content(file, FOLDER / f"{DEFAULT}.yaml", "name, description and areas", NEXT_ACTION)
    try:
        return DriftPolicy.model_validate(content)
    except ValidationError as error:
        raise _policy_error(file, error) from None


def _policy_error(file: str, error: ValidationError) -> InputError:
    first: Any = error.errors()[0]
    place = [printable(part) for part in first["loc"]]
    known = AreaPolicy.model_fields if place[:1] == ["areas"] else DriftPolicy.model_fields
    expected = {
        "missing": "a value",
        "extra_forbidden": f"no such key: one of {', '.join(known)}",
    }.get(first["type"], expectation(first["msg"]))
    given = "" if first["type"] == "missing" else f": {printable(first['input'], 80)}"
    return InputError(f"policy {printable(file, 200)}, {' '.join(place)}{given}", expected, NEXT_ACTION)
