"""validate: gate files, policies, suites and declared experiments are read as their steps read them, before any work."""

from collections.abc import Callable
from pathlib import Path

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.logs import log

VERSION = 1


class ValidateParams(Params):
    gate_file: list[str] = Field([], description="Gate files, by name or path")
    policy: list[str] = Field([], description="Policies of degradation")
    suite: list[str] = Field([], description="Suites of checks of the data")
    experiment: list[str] = Field([], description="Declared experiments")


class ValidateResult(Result):
    validated: int
    """Files; without options, all that are shipped."""


def validate(params: ValidateParams) -> ValidateResult:
    """Read files that declare rules, and refuse the first that is none, with its place and what was expected."""
    from pipelines.experiments.design import read_design
    from pipelines.gates.files import gate_file_names
    from pipelines.gates.gate_file import read_gate_file
    from pipelines.gates.policy import read_policy
    from pipelines.quality.suite import DEFAULT, read_suite

    readers: dict[str, Callable[[str], object]] = {
        "gate_file": read_gate_file,
        "policy": read_policy,
        "suite": read_suite,
        "experiment": lambda path: read_design(Path(path)),
    }
    named: dict[str, list[str]] = params.model_dump()
    if not any(named.values()):
        named |= {"gate_file": gate_file_names(), "policy": [""], "suite": [str(DEFAULT)]}
    for kind, files in named.items():
        for file in files:
            readers[kind](file)
            log().info("valid", kind=kind, file=file or "the shipped one")
    return ValidateResult(validated=sum(map(len, named.values())))
