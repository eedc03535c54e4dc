"""Routes that tell what users did with what they were shown: clicks, and what came of them."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from images.serve.dependencies import Deps, Reporter
from pipelines.corpus.exposure import Click, Conversion
from pipelines.corpus.text_rules import LONGEST_ID

MOST = 64
"""Events that are told at once."""
router = APIRouter()


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    request_id: str = Field(min_length=1, max_length=64)
    document: str = Field(min_length=1, max_length=LONGEST_ID)


class ClickRequest(_Event):
    """A click on a result."""

    position: int = Field(ge=1, le=100)


class ClickEvent(ClickRequest):
    """A click among other events."""

    type: Literal["click"]


class ConversionEvent(_Event):
    """A result that the user bought, or whatever is wanted; `value` is what it was worth."""

    type: Literal["conversion"]
    value: float | None = Field(None, ge=0)


class Events(BaseModel):
    """Several events."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    events: list[Annotated[ClickEvent | ConversionEvent, Field(discriminator="type")]] = Field(min_length=1, max_length=MOST)


@router.post("/v1/clicks")
async def click(body: ClickRequest, dependencies: Deps, caller: Reporter) -> Response:
    """Log a click on a result of an earlier search."""
    event = Click(**body.model_dump(), at=datetime.now(UTC), caller=caller.id)
    await dependencies.run(dependencies.exposure_log.log_events, [event], [])
    dependencies.clicked(body.request_id)
    return JSONResponse(body.model_dump(), 201)


@router.post("/v1/events")
async def events(body: Events, dependencies: Deps, caller: Reporter) -> Response:
    """Log clicks and conversions, all or none of them; they count as so many requests."""
    await dependencies.count(caller, len(body.events))
    now = datetime.now(UTC)
    told = {"at": now, "caller": caller.id}
    clicks = [Click(**event.model_dump(exclude={"type"}), **told) for event in body.events if event.type == "click"]
    conversions = [
        Conversion(**event.model_dump(exclude={"type"}), **told) for event in body.events if event.type == "conversion"
    ]
    await dependencies.run(dependencies.exposure_log.log_events, clicks, conversions)
    for event in clicks:
        dependencies.clicked(event.request_id)
    return JSONResponse({"clicks": len(clicks), "conversions": len(conversions)}, 201)
