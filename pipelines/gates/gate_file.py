"""Gate files: the rules that a release must pass, in YAML, checked as a whole before any work.

    name: shop
    description: What a release of the shop must pass.
    rules:
      - name: quality
        comparison: champion
        measure: nDCG@10
        margin: 0.02

Passing all blocking rules is an intersection–union test: a release that fails one truly passes them all no more often than that
one, so the level of no rule is corrected (R. L. Berger and J. C. Hsu, "Bioequivalence trials, intersection–union tests and
equivalence confidence sets", Statistical Science 11, 1996). An equal release is held up by each rule, though. So each of K
blocking rules must pass it with probability 1 − (1 − power) / K, and all of them then do with at least `power`.
"""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipelines.errors import InputError, expectation
from pipelines.evaluation import latency, off_policy
from pipelines.evaluation.measures import MEASURES, check_measure
from pipelines.evaluation.perturbations import PERTURBATIONS
from pipelines.gates.files import DEFAULT, FOLDER, gate_file_names
from pipelines.store.recipes import canonical, digest
from pipelines.wording import printable

Comparison = Literal["champion", "anchor", "baseline", "absolute", "latency", "logs", "perturbed", "segments", "exposure"]
Part = Literal[
    "corpus", "encoder", "embeddings", "index", "stages", "lexical", "known_queries", "recommender", "reranker", "blend"
]
MEASURES_OF: Mapping[Comparison, tuple[str, ...]] = {
    "latency": latency.MEASURES,
    "logs": off_policy.MEASURES,
    "perturbed": MEASURES,
}
"""Comparisons with measures of their own; the others take any of rankings. Of perturbed queries these are stored."""
RULE_NAME = r"^[a-z][a-z0-9 _-]{0,39}$"
FRESH_QUERIES = "fresh queries"
"""The name of the row that a verdict has besides those of the file's rules, see `reuse`."""
LARGEST = 1_000_000
"""Bytes of a gate file at most."""
GATE_FILE = "gate_file.json"
"""The file of a verdict that keeps its rules, so that it can be decided again."""
OPTIONS = {"measure": "measure", "margin": "margin", "confidence": "level"}
"""Options of the step `gate` that are older than gate files, and the key of the main rule that each replaces."""
NEXT_ACTION = "correct it; docs/evaluation.md has the format"


class Rule(BaseModel):
    """One rule of a gate file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: Annotated[str, Field(pattern=RULE_NAME)]
    comparison: Comparison
    """What the release is compared with."""
    measure: str = "nDCG@10"
    margin: float = Field(0.02, gt=0, lt=1)
    """The loss that counts as none."""
    level: float = Field(0.95, ge=0.8, le=0.999)
    """Confidence of the two-sided interval."""
    least: float | None = Field(None, gt=0, le=1)
    """Of an absolute rule: what the measure must reach."""
    perturbations: list[str] = []
    """Of a perturbed rule: how queries are typed differently, such as typo and casing."""
    most_drop: float | None = Field(None, gt=0, le=1)
    """Of a perturbed rule: what a perturbation may cost the measure at most, whatever it costs the champion."""
    by: str = Field("", max_length=100)
    """Of a rule on segments or exposure: the field of queries or documents that divides them."""
    least_queries: int = Field(30, ge=2)
    """Of a rule on segments: queries that a segment must have to be judged."""
    scope: list[Part] = []
    """Applies only to releases that differ from the champion in one of these parts; empty: to all."""
    severity: Literal["blocks", "warns"] = "blocks"
    on_undecided: Literal["ask", "stop"] = "ask"
    """What follows where it can't decide: a person is asked, or the release stays where it is."""

    @model_validator(mode="after")
    def _fields_fit(self) -> "Rule":
        if self.comparison not in MEASURES_OF:
            check_measure(self.measure)
        elif self.measure not in MEASURES_OF[self.comparison]:
            expected = ", ".join(MEASURES_OF[self.comparison])
            raise ValueError(f"a measure of `comparison: {self.comparison}`: {expected}; not {printable(self.measure)}")
        if (self.comparison == "absolute") != (self.least is not None):
            raise ValueError("`least` for a rule with `comparison: absolute`, and for no other")
        if (self.comparison == "perturbed") != bool(self.perturbations) or (self.most_drop and self.comparison != "perturbed"):
            raise ValueError(
                "`perturbations`, and perhaps `most_drop`, for a rule with `comparison: perturbed`, and for no other"
            )
        if unknown := [name for name in self.perturbations if name not in PERTURBATIONS]:
            raise ValueError(f"perturbations of {', '.join(PERTURBATIONS)}, and not {printable(unknown[0])}")
        if (self.comparison in ("segments", "exposure")) != bool(self.by):
            raise ValueError("`by` for a rule with `comparison: segments` or `exposure`, and for no other")
        return self

    def is_held_by(self, other: "Rule") -> bool:
        """Whether `other` says as much of a champion that is the anchor."""
        alike = other.comparison == "champion" and other.severity == "blocks" and not other.scope
        return alike and other.measure == self.measure and other.margin <= self.margin

    def applies(self, changed: Collection[str]) -> bool:
        """Whether a release that differs from the champion in these parts is judged by the rule."""
        return not self.scope or bool(set(self.scope) & set(changed))


class GateFile(BaseModel):
    """The rules that decide on a release."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
    description: Annotated[str, Field(min_length=1, max_length=500)]
    power: float = Field(0.8, ge=0.5, le=0.99)
    """The probability with which a release that equals the champion must pass all blocking rules."""
    most_challengers: int = Field(20, ge=1, le=10_000)
    """How many challengers the same test queries may judge before a person is asked or fresh queries are needed."""
    rules: list[Rule]

    @model_validator(mode="after")
    def _rules_fit(self) -> "GateFile":
        names = [rule.name for rule in self.rules]
        if len(set(names)) < len(names):
            raise ValueError(f"rules of different names, and {max(names, key=names.count)} comes twice")
        if FRESH_QUERIES in names:
            raise ValueError(f"another name than {FRESH_QUERIES}, under which each verdict counts challengers")
        if not any(rule.comparison == "champion" and rule.severity == "blocks" for rule in self.rules):
            raise ValueError("a rule that blocks and whose comparison is champion")
        for rule in self.rules:
            if rule.comparison == "anchor" and not any(map(rule.is_held_by, self.rules)):
                raise ValueError(
                    f"beside {rule.name} a rule that blocks by {rule.measure} against the champion, no wider margin"
                )
        return self

    @property
    def digest(self) -> str:
        """20 hexadecimal digits of all that decides, without comments, layout and path."""
        return digest(canonical(self.model_dump(mode="json")))[:20]

    @property
    def main(self) -> Rule:
        """The first blocking rule that compares with the champion: its figures are the verdict's."""
        return next(rule for rule in self.rules if rule.comparison == "champion" and rule.severity == "blocks")

    def overridden(self, options: dict[str, Any], power: float | None) -> "GateFile":
        """The file with options of the step instead of what its main rule says; rules of its measure and margin follow it.

        Args:
            options: `measure`, `margin` or `level`, those that were passed.
            power: instead of the file's; none: the file's.

        Raises:
            InputError: rules that no option changes do not fit those that one does.
        """
        judged_alike = (self.main.measure, self.main.margin)
        rules = [
            rule.model_copy(update={key: value for key, value in options.items() if key != "level" or rule == self.main})
            if rule.comparison in ("champion", "anchor") and (rule.measure, rule.margin) == judged_alike
            else rule
            for rule in self.rules
        ]
        changed = self.model_copy(update={"rules": rules, **({"power": power} if power is not None else {})})
        try:
            return GateFile.model_validate(changed.model_dump())
        except ValidationError as error:
            given = ", ".join(f"{key} {value}" for key, value in options.items())
            expected = expectation(error.errors()[0]["msg"])
            raise InputError(f"gate file {self.name} with {given}", expected, "write it into the file instead") from None


def check_rule_name(name: str) -> None:
    """Refuse what can't be the name of a rule, so that no entry sets aside what no gate file has.

    Raises:
        InputError: see above.
    """
    if not re.fullmatch(RULE_NAME, name):
        expected = "the name of a rule: a small letter, then small letters, digits, blanks, - and _"
        raise InputError(f"--rule {printable(name)!r}", expected, "take it from the table of rules in a verdict's report")


def read_gate_file(name: str) -> GateFile:
    """A shipped gate file by its name, or one by its path.

    Raises:
        InputError: there is none, it can't be read, or it is not a gate file; names the rule and the key.
    """
    if name in gate_file_names():
        path = FOLDER / f"{name}.yaml"
    elif name.endswith((".yaml", ".yml")):
        path = Path(name)
    else:
        expected = f"one of {', '.join(gate_file_names())}, or the path of a YAML file"
        raise InputError(f"gate file {printable(name)!r}", expected, f"pass --gate-file {DEFAULT}")
    try:
        with path.open("rb") as file:
            body = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        raise InputError(
            f"gate file {printable(name, 200)}: {error}", "a YAML file that can be read", "correct --gate-file"
        ) from None
    return parse_gate_file(body, printable(path.name, 200))


def parse_gate_file(body: bytes, source: str) -> GateFile:
    """Parse a gate file; `source` is its name in messages.

    Raises:
        InputError: it is not a gate file; names the rule and the key.
    """
    if len(body) > LARGEST:
        raise InputError(f"gate file {source} of more than {LARGEST:,} bytes", "a list of rules", NEXT_ACTION)
    try:
        content = yaml.safe_load(body)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        reason = printable(getattr(error, "problem", None) or type(error).__name__, 200)
        raise InputError(f"gate file {source}: {reason}", "YAML", NEXT_ACTION) from None
    if not isinstance(content, dict):
        raise InputError(f"gate file {source} with {type(content).__name__}", "name, description and rules", NEXT_ACTION)
    try:
        return GateFile.model_validate(content)
    except ValidationError as error:
        raise _gate_file_error(source, content, error) from None


def _gate_file_error(source: str, content: dict[str, Any], error: ValidationError) -> InputError:
    first = error.errors()[0]
    place, *keys = first["loc"] or ("",)
    where, key, fields = f"gate file {source}", str(place), GateFile.model_fields
    if place == "rules" and keys:
        rule = content["rules"][keys[0]]
        name = f" ({printable(rule['name'])})" if isinstance(rule, dict) and "name" in rule else ""
        where, fields = f"{where}, rule {int(keys[0]) + 1}{name}", Rule.model_fields
        key = str(keys[1]) if keys[1:] else ""
    given = {"missing": "nothing", "value_error": ""}.get(first["type"], printable(first["input"], 80))
    expected = {
        "missing": "a value",
        "extra_forbidden": f"no such key: one of {', '.join(fields)}",
    }.get(first["type"], expectation(first["msg"]))
    given = ": ".join(part for part in (printable(key), given) if part)
    return InputError(f"{where}{', ' if given else ''}{given}", expected, NEXT_ACTION)


def rules_with_options(name: str, values: Mapping[str, Any], defaults: Mapping[str, Any]) -> GateFile:
    """The gate file with the options of the step `gate` that differ from their defaults instead of what it says.

    Raises:
        InputError: see `read_gate_file` and `GateFile.overridden`.
    """
    passed = {option for option in (*OPTIONS, "power") if values[option] != defaults[option]}
    options = {OPTIONS[option]: values[option] for option in passed & OPTIONS.keys()}
    return read_gate_file(name).overridden(options, values["power"] if "power" in passed else None)
