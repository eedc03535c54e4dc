"""Policies of degradation: what a champion is held to after its promotion, and what starts where it no longer holds.

    name: shop
    description: What the shop's search is held to.
    cool_down_hours: 24
    rules:
      - name: same queries
        measure: nDCG@10
        queries: common
        margin: 0.02
        repairs: [re-embed, page]

`pipelines/gates/policies/default.yaml` is used where none is named.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from pipelines.errors import InputError, expectation
from pipelines.gates.policies import DEFAULT, FOLDER
from pipelines.wording import printable

Repair = Literal["re-embed", "re-index", "rebuild", "re-judge", "page", "roll back"]
REPAIRS: tuple[Repair, ...] = get_args(Repair)
LARGEST = 1_000_000
"""Bytes of a policy at most."""
NEXT_ACTION = "correct it; docs/degradation.md has the format"


class _Declared(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DegradationRule(_Declared):
    """What the champion is held to in one measure, and what starts where it has fallen by more than the margin."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9 _-]{0,39}$")]
    measure: str = Field("nDCG@10", min_length=1, max_length=80)
    queries: Literal["common", "all"] = "common"
    """common: those that were judged at the promotion, too, paired; all: the mean of today against the mean of then."""
    margin: float = Field(0.02, gt=0, lt=1)
    """The fall of the mean that counts as none."""
    repairs: tuple[Repair, ...] = Field(min_length=1)

    @field_validator("repairs")
    @classmethod
    def _once(cls, repairs: tuple[Repair, ...]) -> tuple[Repair, ...]:
        if len(set(repairs)) < len(repairs):
            raise ValueError("each repair once")
        if "re-judge" in repairs:
            raise ValueError("no re-judge: it is this judgment that it asks for anew")
        return repairs


class Policy(_Declared):
    """The rules of degradation."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
    description: str = Field(min_length=1, max_length=500)
    level: float = Field(0.025, gt=0, lt=0.5)
    """The probability with which any rule calls a champion degraded that is not, by Holm's correction; one-sided."""
    cool_down_hours: float = Field(24, ge=0, le=24 * 366)
    """A repair that was started is not started again before so many hours have passed."""
    rules: tuple[DegradationRule, ...] = Field(min_length=1, max_length=50)

    @field_validator("rules")
    @classmethod
    def _names_differ(cls, rules: tuple[DegradationRule, ...]) -> tuple[DegradationRule, ...]:
        if len({rule.name for rule in rules}) < len(rules):
            raise ValueError("rules of different names")
        return rules


def read_policy(file: str) -> Policy:
    """The policy of a YAML file, or the shipped one for an empty name.

    Raises:
        InputError: the file can't be read, or is no policy; names the rule and the key.
    """
    content = read_content(file, FOLDER / f"{DEFAULT}.yaml", "name, description and rules", NEXT_ACTION)
    try:
        return Policy.model_validate(content)
    except ValidationError as error:
        raise _policy_error(file, content, error) from None


def read_content(file: str, default: Path, expected: str, next_action: str) -> dict[str, Any]:
    """What a policy's YAML file says, unchecked.

    Args:
        file: its path; empty: `default`.
        default: the shipped file.
        expected: the keys that a policy has, for the message.
        next_action: what to do about a file that is none.

    Raises:
        InputError: the file can't be read, or has no keys.
    """
    path = Path(file) if file else default
    try:
        with path.open("rb") as opened:
            body = opened.read(LARGEST + 1)
        content = yaml.safe_load(body) if len(body) <= LARGEST else None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = getattr(error, "problem", None) or getattr(error, "strerror", None) or type(error).__name__
        given = f"policy {printable(file, 200)}: {printable(reason, 200)}"
        raise InputError(given, "a YAML file that can be read", "correct --policy, or the file") from None
    if not isinstance(content, dict):
        given = f"policy {printable(file, 200)} with {type(content).__name__}"
        raise InputError(given, f"{expected}, at most {LARGEST:,} bytes", next_action)
    return content


def _policy_error(file: str, content: dict[str, Any], error: ValidationError) -> InputError:
    first = error.errors()[0]
    place = [str(part) for part in first["loc"]]
    fields = DegradationRule.model_fields if place[:1] == ["rules"] and len(place) > 1 else Policy.model_fields
    if fields is DegradationRule.model_fields:
        rule = content["rules"][int(place[1])]
        name = f" ({printable(rule['name'])})" if isinstance(rule, dict) and "name" in rule else ""
        place[:2] = [f"rule {int(place[1]) + 1}{name}"]
    given = "" if first["type"] == "missing" else f": {printable(first['input'], 80)}"
    expected = {"missing": "a value", "extra_forbidden": f"no such key: one of {', '.join(fields)}"}
    where = " ".join(printable(part) for part in place)
    return InputError(
        f"policy {printable(file, 200)}, {where}{given}",
        expected.get(first["type"], expectation(first["msg"])),
        NEXT_ACTION,
    )
