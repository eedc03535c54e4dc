"""The two logs that the server writes and experiments read: what was shown to whom, and what was chosen of it.

One JSON object a line, in `exposures.jsonl` and `clicks.jsonl`. A click names the exposure it answers by `request_id`.
"""

from typing import Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

Policy = Literal["champion", "challenger"]


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class ShownDocument(_Event):
    """One document as it was shown."""

    document: str
    position: int = Field(ge=1)
    """1 is the top."""
    score: float
    propensity: float = Field(gt=0, le=1)
    """The probability with which the policy puts this document at this position; 1 where nothing is left to chance."""


class Exposure(_Event):
    """One answered search."""

    request_id: str = Field(min_length=1)
    at: AwareDatetime
    user: str
    """A keyed hash of who asked, never the name itself; empty: nobody said."""
    query: str
    """The words that were asked with; empty: `history` was."""
    history: tuple[str, ...] = ()
    """The documents that the results are like, the latest last; empty: words were asked with."""
    release: str = Field(min_length=1)
    policy: Policy
    """The role in which the release answered."""
    entry: int = Field(ge=1)
    """The journal entry that gave it this role."""
    results: tuple[ShownDocument, ...]
    """Best first."""

    @model_validator(mode="after")
    def _asked_by_one(self) -> Self:
        if bool(self.query) == bool(self.history):
            raise ValueError("either a query or a history")
        return self


class Click(_Event):
    """One document chosen from an exposure."""

    request_id: str = Field(min_length=1)
    document: str = Field(min_length=1)
    position: int = Field(ge=1)
    at: AwareDatetime
