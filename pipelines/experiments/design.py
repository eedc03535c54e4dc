"""The declaration of an experiment: one YAML file that is written before the start, or what is assumed where there is none."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pipelines.corpus.exposure import Traffic
from pipelines.errors import InputError, expectation
from pipelines.wording import printable

Kind = Literal["proportion", "mean", "ratio", "slow_share", "quantile"]
Direction = Literal["increase", "decrease"]
FIELDS = ("unit", "variant", "time", "event", "count", "request", "position", "propensity", "target_propensity", "measured_at")
"""What a column of a log may be besides an outcome, a segment or a covariate."""
FINAL_SHARE = 0.8
"""Of the error that is allowed, what the fixed test at the planned stop may spend where daily looks could have stopped before.

The 95 % confidence sequence, which decides until then, has excluded a true 0 before the stop in at most 2 % of runs. Together
with a final test at 0.8 · 5 % = 4 % that is below 5 %, however often one looked: `docs/experiments.md` has the simulation.
"""
Name = Annotated[str, Field(pattern=r"^[\w .%@()/+-]{1,60}$")]


class _Declared(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class Metric(_Declared):
    """One metric: what is compared between the variants."""

    name: Name
    kind: Kind = "proportion"
    column: str = ""
    """The outcome's column; empty: `name`, or where `event` is named, its rows are counted."""
    denominator: str = ""
    """Of a ratio: its column; empty: rows are counted."""
    event: str = ""
    """Only rows whose event is this one."""
    direction: Direction = "increase"
    """What is better."""
    minimum_effect: float = Field(0.0, ge=0, lt=10)
    """The least relative change that would matter: the experiment is planned for it, and futility is judged by it."""
    margin: float | None = Field(None, gt=0, lt=10)
    """Of a guardrail: the relative change for the worse that is still accepted."""
    winsorize: float | None = Field(None, gt=0.5, lt=1)
    """The quantile of all units at which a unit's value is capped; the estimand is then the mean of the capped value."""
    covariate: str = ""
    """A column with the same quantity before the start, for CUPED."""
    threshold: float | None = Field(None, gt=0)
    """Of `slow_share`: milliseconds above which a request is slow, fixed before the start."""
    quantile: float | None = Field(None, gt=0, lt=1)
    """Of `quantile`: which; of `slow_share`: of control's requests, where no threshold was fixed."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.kind == "quantile" and self.quantile is None:
            raise ValueError("a quantile for a metric of kind quantile, such as quantile: 0.95")
        if self.kind == "slow_share" and self.threshold is None and self.quantile is None:
            raise ValueError("a threshold in milliseconds for a metric of kind slow_share, such as threshold: 300")
        if self.winsorize is not None and self.kind != "mean":
            raise ValueError("winsorize for means only")
        if self.covariate and self.kind not in ("proportion", "mean", "ratio"):
            raise ValueError("a covariate for proportions, means and ratios only")
        return self

    @property
    def source(self) -> str:
        """The column of the outcome; empty: rows are counted."""
        return self.column or ("" if self.event else self.name)


class Covariate(_Declared):
    """The window before the start whose events serve as covariates, where the log has them."""

    window_days: int = Field(gt=0, le=366)
    """Days before `start`: a unit's events in them are its covariate; they enter no outcome."""


class Design(_Declared):
    """One experiment."""

    id: Name
    hypothesis: str = Field("", max_length=2000)
    unit: Literal["user", "session", "query", "row"] = "user"
    variants: dict[str, float] = Field(min_length=2, max_length=20)
    """The names of the variants and their weights in the assignment."""
    control: str = ""
    """The variant that the others are compared with; empty: the first."""
    salt: str = Field("", max_length=200)
    """With it and the unit's id the variant is drawn: see `assignment`."""
    start: datetime | None = None
    planned_stop: datetime | None = None
    looks: Literal["daily", "end"] = "daily"
    """Whether someone may stop it before the planned stop; `end`: the only look that counts is the last."""
    alpha: float = Field(0.05, gt=0, lt=0.5)
    power: float = Field(0.8, ge=0.5, lt=1)
    primary: Metric
    guardrails: tuple[Metric, ...] = Field((), max_length=20)
    secondary: tuple[Metric, ...] = Field((), max_length=20)
    segments: tuple[str, ...] = Field((), max_length=10)
    covariate: Covariate | None = None
    maturity_days: int = Field(0, ge=0, le=366)
    """Units whose first exposure is more recent have not had the time for their outcome and are left out."""
    expected_units: int | None = Field(None, gt=0)
    """Units at the planned stop, for which the confidence sequence is tuned; empty: projected from the first days' traffic."""
    traffic: Traffic = "live"
    log: str = ""
    """The log's path, relative to this file, or s3://; `server`: the search server's own."""
    columns: dict[str, str] = {}
    """Which column is what, where the guess is wrong: unit, variant, time, event, count, request, position …"""

    @field_validator("variants")
    @classmethod
    def _weights(cls, weights: dict[str, float]) -> dict[str, float]:
        if any(weight <= 0 for weight in weights.values()):
            raise ValueError("weights above 0")
        return weights

    @field_validator("start", "planned_stop")
    @classmethod
    def _aware(cls, moment: datetime | None) -> datetime | None:
        return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment

    @field_validator("columns")
    @classmethod
    def _fields(cls, columns: dict[str, str]) -> dict[str, str]:
        if unknown := sorted(columns.keys() - set(FIELDS)):
            raise ValueError(f"fields of columns: {', '.join(FIELDS)}; not {', '.join(unknown)}")
        return columns

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.control and self.control not in self.variants:
            raise ValueError(f"a control that is one of the variants {', '.join(self.variants)}")
        if self.start and self.planned_stop and self.planned_stop <= self.start:
            raise ValueError("a planned_stop after start")
        names = [metric.name for metric in self.metrics]
        if len(set(names)) < len(names):
            raise ValueError("metrics whose names differ")
        if any(metric.margin is None for metric in self.guardrails):
            raise ValueError("a margin for each guardrail, such as margin: 0.02")
        if self.covariate and not self.start:
            raise ValueError("a start, before which the covariate's window lies")
        return self

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """All metrics, the primary first."""
        return (self.primary, *self.guardrails, *self.secondary)

    @property
    def baseline(self) -> str:
        """The control variant."""
        return self.control or next(iter(self.variants))

    @property
    def treatments(self) -> tuple[str, ...]:
        """The variants that are compared with control."""
        return tuple(name for name in self.variants if name != self.baseline)

    @property
    def final_alpha(self) -> float:
        """The error that the test at the planned stop may make."""
        return self.alpha * (FINAL_SHARE if self.looks == "daily" else 1)


def read_design(path: Path) -> Design:
    """The experiment that a YAML file declares.

    Raises:
        InputError: it can't be read, is no YAML, or does not declare an experiment; unknown keys are refused.
    """
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text)
    except (OSError, ValueError) as error:
        raise InputError(f"experiment {path}: {error}", "a YAML file that can be read", "check the path") from None
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        where = f" line {place.line + 1}" if place else ""
        raise InputError(f"experiment {path}{where}, which is no YAML", "keys and values", "correct that line") from None
    if not isinstance(content, dict):
        raise InputError(f"experiment {path}, which holds no keys", "id, variants, primary …", "see docs/experiments.md")
    return design_of(content, str(path))


def log_of(design: Design | None, file: str) -> str:
    """The place of the log that a declaration names, which is relative to its file.

    Raises:
        InputError: there is no declaration, or it names no log.
    """
    if design is None or not design.log:
        raise InputError("neither --log nor an experiment with a log", "a log to analyze", "pass --log FILE")
    return design.log if "://" in design.log or design.log == "server" else str(Path(file).parent / design.log)


def design_of(content: dict[str, Any], place: str) -> Design:
    """A declared experiment from its keys.

    Raises:
        InputError: a key is unknown, or a value does not fit.
    """
    try:
        return Design.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            given, expected = f"{place} with the unknown key {where!r}", "keys that an experiment has"
        elif first["type"] == "missing":
            given, expected = f"{place} without {where}", "this key"
        else:
            value = printable(first["input"], 80) if not isinstance(first["input"], dict) else "these values"
            given, expected = f"{place}{f', {where}: {value}' if where else ''}", expectation(first["msg"])
        raise InputError(given, expected, "correct the file; docs/experiments.md lists the keys") from None


def plain_name(text: str) -> str:
    """A column's or a value's name as metrics may be called.

    >>> plain_name("is<b>bought</b>?")
    'is b bought /b'
    """
    return re.sub(r"[^\w .%@()/+-]+", " ", text).strip()[:60] or "metric"
