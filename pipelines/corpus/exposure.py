"""The schemas of the server's logs: exposures (what was shown to whom), clicks, and conversions (what came of them).

One JSON object per line, in `exposures.jsonl`, `clicks.jsonl` and `conversions.jsonl`. Clicks and
conversions refer to their exposure by `request_id`.

What was not shown is in logs of its own, which no analysis of exposures reads: searches that a release did not answer, in
`failures.jsonl`, and what the challenger would have answered beside the champion, in `shadow.jsonl`. They hold no query, no
user and no document.
"""

from typing import Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

Policy = Literal["champion", "challenger", "previous"]
"""The role of a release; previous: the champion before, which a rollback returns to."""
ListKind = Literal["search", "similar", "recommendation"]
"""What was asked for: documents for a query or like some others, documents like one, or documents for a user."""
Traffic = Literal["live", "replayed", "simulated"]
"""Whether people searched, or a program did: with queries of people, or with made ones."""


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class ShownDocument(_Event):
    """One document of an exposure."""

    document: str
    position: int = Field(ge=1)
    """1 is the top."""
    score: float
    propensity: float = Field(gt=0, le=1)
    """The probability with which the policy puts this document at this position; 1 for a deterministic policy."""


class Exposure(_Event):
    """One answered search: the query and the documents that were shown."""

    request_id: str = Field(min_length=1)
    at: AwareDatetime
    user: str
    """A keyed hash of the user, never the name itself; empty: unknown."""
    query: str
    """The query's text without personal data; empty where the query is `history`."""
    history: tuple[str, ...] = ()
    """The documents that the results shall be like, the latest last; empty where the query is text."""
    kind: ListKind = "search"
    """What was asked for."""
    filter: tuple[str, ...] = ()
    """What the results were narrowed to, as NAME=VALUE without personal data: of each name one of its values."""
    exclude: tuple[str, ...] = ()
    """Documents that must not be among the results, besides `history`."""
    release: str = Field(min_length=1)
    policy: Policy
    """The role in which the release answered."""
    entry: int = Field(ge=1)
    """The journal entry that gave it this role."""
    results: tuple[ShownDocument, ...]
    """Best first."""
    latency_ms: float | None = Field(None, ge=0)
    """How long the search took, without the network; none in lines of before it was measured."""
    segment: dict[str, str] = {}
    """What the caller or a feature store says of the user by named fields, such as country; never an id."""
    reranked: int | None = Field(None, ge=0)
    """Documents that the release's reranker scored, fewer than its candidates where the time was short; none: it has none."""
    experiment: str = ""
    """The experiment that assigned the user; empty: none."""
    variant: str = ""
    """The variant that the user was assigned to; empty without an experiment."""
    caller: str = ""
    """The id of the key that asked, never the key itself; empty in lines of before it was recorded."""
    traffic: Traffic = "live"
    """As the caller said."""

    @model_validator(mode="after")
    def _query_or_history(self) -> Self:
        about_nobody = self.kind == "recommendation" and not self.query
        if bool(self.query) == bool(self.history) and not about_nobody:
            raise ValueError("either a query or a history")
        if bool(self.experiment) != bool(self.variant):
            raise ValueError("an experiment with its variant, or neither")
        return self


Reason = Literal["refused", "failed"]
"""Why a release did not answer: refused, it lacks what was asked for, as a field of a filter; failed, an error of its own."""


class FailedSearch(_Event):
    """One search that a release was to answer, and did not."""

    at: AwareDatetime
    kind: ListKind
    release: str = Field(min_length=1)
    policy: Policy
    """The role in which the release was to answer."""
    entry: int = Field(ge=1)
    """The journal entry that gave it this role."""
    reason: Reason
    error: str = Field(min_length=1)
    """The name of the error's class."""
    latency_ms: float = Field(ge=0)
    """How long it took to fail, without the network."""
    experiment: str = ""
    """The experiment that assigned the user; empty: none."""
    variant: str = ""
    """The variant that the user was assigned to; empty without an experiment."""
    caller: str = ""
    """The id of the key that asked."""
    traffic: Traffic = "live"
    """As the caller said."""


class ShadowSearch(_Event):
    """One search that the champion answered, ranked by both releases afterwards, one after the other, each alone."""

    request_id: str = Field(min_length=1)
    """Of the exposure, which has the query."""
    at: AwareDatetime
    entry: int = Field(ge=1)
    """The journal entry that gave the releases their roles."""
    champion: str = Field(min_length=1)
    challenger: str = Field(min_length=1)
    champion_ms: float = Field(ge=0)
    """How long the champion took this time, so that both are timed alike."""
    challenger_ms: float = Field(ge=0)
    """How long the challenger took, also to fail."""
    champion_results: int = Field(ge=0)
    """Of the first ten."""
    challenger_results: int = Field(ge=0)
    """0, too, where it failed."""
    overlap: float | None = Field(ge=0, le=1)
    """The share of the first ten that both have, of the longer list; 1: both are empty; none: the challenger failed."""
    reason: Reason | None = None
    """Why the challenger did not answer; none: it did."""
    error: str = ""
    """The name of the error's class; empty: none."""


class Click(_Event):
    """One click on a document of an exposure."""

    request_id: str = Field(min_length=1)
    document: str = Field(min_length=1)
    position: int = Field(ge=1)
    at: AwareDatetime
    caller: str = ""
    """The id of the key that told of it; empty in lines of before it was recorded."""


class Conversion(_Event):
    """One document of an exposure that the user bought, or whatever is wanted."""

    request_id: str = Field(min_length=1)
    document: str = Field(min_length=1)
    value: float | None = Field(None, ge=0)
    """What it was worth, in a unit of the caller; none: unknown."""
    at: AwareDatetime
    caller: str = ""
    """The id of the key that told of it."""
