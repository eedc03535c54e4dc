"""The step contract: frozen, flat models for what goes into a step and what comes out.

A step is `def embed(params: EmbedParams, tuning: EmbedTuning) -> EmbedResult` in `steps/embed.py`,
beside `VERSION = 1`. Only URIs, ids and numbers pass between steps.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Collection
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines.errors import InputError, expectation


class _Contract(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class Added:
    """Marks a field of Params that came after artifacts had been made without it: `Annotated[int, Added()]`.

    It enters a recipe only where it differs from its default, so what was made before it came keeps its id.
    """


class Params(_Contract):
    """What a step is asked to do. Every field changes the meaning of the output."""

    def recipe_params(self, exclude: Collection[str] = ()) -> dict[str, Any]:
        """The params that name the artifact: all but `exclude` and added fields at their default.

        Args:
            exclude: fields that enter the recipe as inputs, or not at all.
        """
        fields = type(self).model_fields
        silent = {
            name
            for name, field in fields.items()
            if any(isinstance(mark, Added) for mark in field.metadata) and getattr(self, name) == field.default
        }
        return self.model_dump(exclude={*exclude, *silent})


class Tuning(_Contract):
    """How fast or on what a step works. No field changes the meaning of the output, none enters an id."""


class Result(_Contract):
    """What a step answers: ids, URIs and numbers, printed as one JSON line."""


@dataclass(frozen=True)
class Step:
    """One step as its file declares it."""

    name: str
    version: int
    function: Callable[..., Result]
    params: type[Params]
    tuning: type[Tuning] | None
    result: type[Result]

    @property
    def summary(self) -> str:
        """The first line of the step's docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    def call(self, values: dict[str, Any]) -> Result:
        """Run the step with `values` split between its Params and its Tuning.

        Raises:
            InputError: a value does not fit its field.
        """
        tuned = set(self.tuning.model_fields) if self.tuning else set()
        try:
            models: list[Params | Tuning] = [self.params(**{key: values[key] for key in values if key not in tuned})]
            if self.tuning:
                models.append(self.tuning(**{key: values[key] for key in values if key in tuned}))
        except ValidationError as error:
            raise self._refusal(error) from None
        return self.function(*models)

    def _refusal(self, error: ValidationError) -> InputError:
        first = error.errors()[0]
        option = "--" + "-".join(str(part) for part in first["loc"][:1]).replace("_", "-")
        given = "nothing" if first["type"] == "missing" else repr(first["input"])
        expected = "a value" if first["type"] == "missing" else expectation(first["msg"])
        return InputError(f"{self.name} {option}: {given}", expected, f"run `python -m pipelines {self.name} --help`")


def step_names() -> list[str]:
    """Every step there is: one file each."""
    folder = importlib.import_module("pipelines.steps").__path__
    return sorted(module.name for module in pkgutil.iter_modules(folder))


def load_step(name: str) -> Step:
    """The step called `name`.

    Raises:
        InputError: there is no such step.
    """
    if name not in step_names():
        raise InputError(f"step {name!r}", f"one of {', '.join(step_names())}", "run `python -m pipelines` for the list")
    return step_in(importlib.import_module(f"pipelines.steps.{name}"))


def step_in(module: ModuleType) -> Step:
    """The step that `module` (a file of `pipelines/steps`) declares."""
    name = module.__name__.rpartition(".")[2]
    function = getattr(module, name)
    hints = inspect.get_annotations(function, eval_str=True)
    return Step(name, module.VERSION, function, hints["params"], hints.get("tuning"), hints["return"])
