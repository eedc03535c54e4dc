"""What a room asks for by a type of its own, a step declares: the same names, and defaults in the step alone."""

import inspect

import pytest

from pipelines.collections import IngestOptions
from pipelines.contract import load_step
from pipelines.gates.rules import NonInferiority
from pipelines.index.build import IndexOptions


@pytest.mark.parametrize(("options", "step"), [(IngestOptions, "ingest"), (IndexOptions, "index"), (NonInferiority, "gate")])
def test_a_rooms_options_are_fields_of_a_step_without_defaults_of_their_own(options, step):
    declared = load_step(step)
    fields = declared.params.model_fields | (declared.tuning.model_fields if declared.tuning else {})
    parameters = inspect.signature(options).parameters
    assert parameters.keys() <= fields.keys()
    assert [name for name, parameter in parameters.items() if parameter.default is not inspect.Parameter.empty] == []
