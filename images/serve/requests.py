"""What a request for a list of documents may say, and its checks."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from pipelines.corpus.exposure import Policy, Traffic
from pipelines.corpus.text_rules import LONGEST_HISTORY, document_id, one_line, well_formed
from pipelines.errors import InputError

SEGMENT = re.compile(r"[\w.-]{1,40}=[^=\x00-\x1f]{1,80}")
MOST_SEGMENTS = 8
FILTER = re.compile(r"[^=\x00-\x1f\x7f-\x9f]{1,80}=[^\x00-\x1f\x7f-\x9f]{1,200}")
MOST_FILTERS = 16


def _history(ids: list[str]) -> list[str]:
    if len(ids) > LONGEST_HISTORY:
        raise ValueError(f"at most {LONGEST_HISTORY} ids")
    return ids


def _segment(fields: list[str]) -> list[str]:
    if len(fields) > MOST_SEGMENTS or not all(SEGMENT.fullmatch(field) for field in fields):
        raise ValueError(f"at most {MOST_SEGMENTS} of NAME=VALUE, such as country=DE")
    return fields


def _filter(fields: list[str]) -> list[str]:
    if len(fields) > MOST_FILTERS or not all(FILTER.fullmatch(field) for field in fields):
        raise ValueError(f"at most {MOST_FILTERS} of NAME=VALUE, such as brand=acme")
    return sorted(set(fields))


NamedValue = Annotated[str, AfterValidator(well_formed)]
Id = Annotated[str, AfterValidator(document_id)]
Ids = Annotated[list[Id], AfterValidator(_history)]


class ListRequest(BaseModel):
    """What every request for a list of documents may say."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    k: Annotated[int, Field(ge=1, le=100)] | None = None
    """How many documents; none: as toggled, 10 where nobody did."""
    user: str = Field("", max_length=128)
    """The user's id; only a pseudonym of it is written down."""
    filter: Annotated[list[NamedValue], AfterValidator(_filter)] = []
    """NAME=VALUE of fields that the documents must have; of several values of one field, any."""
    exclude: Ids = []
    """Documents that must not be among the results."""
    release: Policy | None = None
    """The release that answers; none: the one that the user is assigned to, which is the champion where no split runs."""
    segment: Annotated[list[NamedValue], AfterValidator(_segment)] = []
    """NAME=VALUE of what many users have in common, such as country=DE; written down."""
    experiment: str = Field("", max_length=60)
    """An experiment of the caller's own; written down."""
    variant: str = Field("", max_length=60)
    """The variant that it assigned to the user."""
    traffic: Traffic = "live"
    """Whether a person asks; what a program replays or makes up is told apart in the log."""
    explain: bool = False
    """Whether each result has its place and score after each stage of the release."""


class SearchRequest(ListRequest):
    """The parameters of a search: a query text, or ids of documents to find similar ones for."""

    q: Annotated[str, AfterValidator(one_line)] | None = None
    """The query's text, 1 to 512 characters."""
    like: Ids = []
    """In place of a text: documents that the results shall be similar to, the latest last."""


class RecommendRequest(ListRequest):
    """The parameters of recommendations: what the user chose before, the latest last."""

    item: Ids = []
    """Documents that the user chose before, the latest last."""

    @property
    def search(self) -> SearchRequest:
        """The search that answers it."""
        return SearchRequest(like=self.item, **self.model_dump(exclude={"item"}))


def check_query_or_like(parameters: SearchRequest) -> None:
    """Check what one parameter alone can't show.

    Raises:
        InputError: both q and like, or neither.
    """
    if bool(parameters.q) == bool(parameters.like):
        given = "q and like together" if parameters.q else "q nothing, like nothing"
        raise InputError(given, "either a query (q) or ids of documents (like)", "correct it and ask again")


def check_log_fields(parameters: ListRequest) -> None:
    """Check what is only written down.

    Raises:
        InputError: experiment without variant; a segment that names the user.
    """
    if bool(parameters.experiment) != bool(parameters.variant):
        raise InputError("one of experiment and variant", "both, or neither", "send the other, too")
    if parameters.user and any(field.partition("=")[2] == parameters.user for field in parameters.segment):
        raise InputError(
            "a segment that is the user", "what many users share, such as a country", "leave it out: the log keeps no ids"
        )
