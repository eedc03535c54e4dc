"""Toggles: what of the search server can be changed at once, without a release and without a restart.

The journal has them as entries of action `toggle`. The server writes what holds into a file of flags, in the form that flagd
reads, and asks an OpenFeature provider for them.
"""

import json
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines.errors import InputError, expectation
from pipelines.store.journal import ToggleValue

PREFIX = "ratchet-"
"""Of the flags' keys, since a company's provider has flags of others, too."""


class Toggles(BaseModel):
    """The toggles with a value each."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    rerank: bool = True
    """Whether releases that have a reranker rerank."""
    rerank_ms: float = Field(200, ge=0, le=60_000)
    """Milliseconds of a search in which it may rerank; 0: no limit."""
    k: int = Field(10, ge=1, le=100)
    """Results of a search that does not say how many."""

    @property
    def rerank_s(self) -> float:
        """The time to rerank in, in seconds; 0: no limit."""
        return self.rerank_ms / 1000

    def changed(self, values: Mapping[str, ToggleValue]) -> "Toggles":
        """These with other values; what is no toggle of this version, or out of its range, is left as it is."""
        toggles = self
        for name, value in values.items():
            try:
                toggles = Toggles.model_validate({**toggles.model_dump(), name: value}, strict=True)
            except ValidationError:
                continue
        return toggles


def parsed(name: str, text: str) -> ToggleValue:
    """The value of a toggle that a person wrote.

    >>> parsed("rerank", "off"), parsed("k", "20"), parsed("rerank_ms", "50")
    (False, 20, 50.0)

    Raises:
        InputError: it is none for this toggle.
    """
    try:
        value: ToggleValue = getattr(Toggles.model_validate_strings({name: text}), name)
    except ValidationError as error:
        expected = expectation(error.errors()[0]["msg"])
        raise InputError(f"--name {name} with --value {text[:80]!r}", expected, "correct it") from None
    return value


def flag_of(name: str) -> str:
    """The key of a toggle's flag.

    >>> flag_of("rerank_ms")
    'ratchet-rerank-ms'
    """
    return PREFIX + name.replace("_", "-")


def flags_file(toggles: Toggles) -> str:
    """The toggles as flagd reads flags, by its reference of flag definitions: one variant each, which is the default."""
    flags = {
        flag_of(name): {"state": "ENABLED", "variants": {"set": value}, "defaultVariant": "set"}
        for name, value in toggles.model_dump().items()
    }
    return json.dumps({"flags": flags}, indent=1)
