"""The step contract: frozen, flat models for what goes into a step and what comes out.

A step is `def embed(params: EmbedParams, tuning: EmbedTuning) -> EmbedResult` in a file `embed.py` of one of the folders of
`steps/`, beside `VERSION = 1`. Only URIs, ids and numbers pass between steps.
"""

import importlib
import inspect
import pkgutil
import time
from collections.abc import Callable, Collection
from contextvars import ContextVar
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines.errors import InputError, expectation

COST = "step_cost"
"""What a step cost, as JSON: after a dot the ending of a file beside the result that it leaves, and the name of an XCom."""

_started: ContextVar[float | None] = ContextVar("started", default=None)


def step_started() -> float | None:
    """When the running step was called, in seconds since 1970; none outside a step."""
    return _started.get()


class _Contract(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class Added:
    """Marks a field of Params that was added after artifacts had been made without it: `Annotated[int, Added()]`.

    It enters a recipe only where it differs from its default, so artifacts that were made before keep their ids.
    """


class Params(_Contract):
    """The semantic options of a step: every field changes the meaning of the output."""

    def recipe_params(self, exclude: Collection[str] = ()) -> dict[str, Any]:
        """The params that name the artifact: all but `exclude` and added fields at their default.

        Args:
            exclude: fields that enter the recipe as inputs, or not at all.
        """
        fields = type(self).model_fields
        unset = {
            name
            for name, field in fields.items()
            if any(isinstance(mark, Added) for mark in field.metadata) and getattr(self, name) == field.default
        }
        return self.model_dump(exclude={*exclude, *unset})


class Tuning(_Contract):
    """The other options of a step, such as threads: no field changes the meaning of the output or enters an id."""


class Result(_Contract):
    """The output of a step: ids, URIs and numbers, printed as one JSON line."""


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
            raise self._input_error(error) from None
        started = _started.set(time.time())
        try:
            return self.function(*models)
        finally:
            _started.reset(started)

    def _input_error(self, error: ValidationError) -> InputError:
        first = error.errors()[0]
        option = "--" + "-".join(str(part) for part in first["loc"][:1]).replace("_", "-")
        given = "nothing" if first["type"] == "missing" else repr(first["input"])
        expected = "a value" if first["type"] == "missing" else expectation(first["msg"])
        return InputError(f"{self.name} {option}: {given}", expected, f"run `python -m pipelines {self.name} --help`")


def step_modules() -> dict[str, str]:
    """The module of every step by the step's name, sorted by name: one file each, in the folders of `pipelines/steps`.

    Raises:
        ValueError: two files have one name, so that a command would mean two steps.
    """
    modules: dict[str, str] = {}
    for folder in pkgutil.iter_modules(importlib.import_module("pipelines.steps").__path__, "pipelines.steps."):
        for module in pkgutil.iter_modules(importlib.import_module(folder.name).__path__, f"{folder.name}."):
            name = module.name.rpartition(".")[2]
            if name in modules:
                raise ValueError(f"two steps are called {name}: {modules[name]} and {module.name}")
            modules[name] = module.name
    return dict(sorted(modules.items()))


def step_names() -> list[str]:
    """The name of every step, sorted."""
    return list(step_modules())


def load_step(name: str) -> Step:
    """The step called `name`.

    Raises:
        InputError: there is no such step.
    """
    modules = step_modules()
    if name not in modules:
        raise InputError(f"step {name!r}", f"one of {', '.join(modules)}", "run `python -m pipelines` for the list")
    return step_in(importlib.import_module(modules[name]))


def step_in(module: ModuleType) -> Step:
    """The step that `module` (a file of `pipelines/steps`) declares."""
    name = module.__name__.rpartition(".")[2]
    function = getattr(module, name)
    hints = inspect.get_annotations(function, eval_str=True)
    return Step(name, module.VERSION, function, hints["params"], hints.get("tuning"), hints["return"])
