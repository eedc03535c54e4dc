"""The two log schemas refuse what an analysis could not trust."""

import math

import pytest
from pydantic import ValidationError

from pipelines.corpus.exposure import Click, Exposure

SHOWN = {"document": "d", "position": 1, "score": 0.5, "propensity": 1.0}
EXPOSURE = {
    "request_id": "r", "at": "2026-11-23T14:00:00Z", "user": "", "query": "beach", "release": "a", "policy": "champion",
    "entry": 1, "results": [SHOWN],
}  # fmt: skip
CLICK = {"request_id": "r", "document": "d", "position": 1, "at": "2026-11-23T14:00:00Z"}


def test_round_trip():
    liked = {**EXPOSURE, "query": "", "history": ["d1", "d2"]}
    for model, given in ((Exposure, EXPOSURE), (Exposure, liked), (Click, CLICK)):
        event = model.model_validate(given)
        assert model.model_validate_json(event.model_dump_json()) == event


@pytest.mark.parametrize(
    "wrong",
    [
        {"policy": "latest"}, {"entry": 0}, {"at": "2026-11-23T14:00:00"}, {"query": ""}, {"history": ["d"]}, {"release": ""},
        {"more": 1},
        {"results": [{**SHOWN, "propensity": 0}]}, {"results": [{**SHOWN, "propensity": 1.01}]},
        {"results": [{**SHOWN, "score": math.nan}]}, {"results": [{**SHOWN, "position": 0}]},
    ],
)  # fmt: skip
def test_exposures_that_are_refused(wrong):
    with pytest.raises(ValidationError):
        Exposure.model_validate({**EXPOSURE, **wrong})


@pytest.mark.parametrize("wrong", [{"position": 0}, {"at": "today"}, {"document": ""}, {"request_id": ""}, {"user": "ann"}])
def test_clicks_that_are_refused(wrong):
    with pytest.raises(ValidationError):
        Click.model_validate({**CLICK, **wrong})
