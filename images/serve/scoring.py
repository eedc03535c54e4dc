"""Routes that compute with a release's models: vectors of texts, scores of documents. Nothing of it is written down."""

import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from images.serve.auth import Caller
from images.serve.dependencies import Dependencies, Deps, Embedder
from images.serve.errors import NotFound, Overloaded, TooLate, reason_of
from images.serve.metrics import Act
from images.serve.requests import Ids
from images.serve.routing import assigned
from pipelines.corpus.exposure import Policy
from pipelines.corpus.text_rules import CONTROL_CHARACTERS, WHITE_SPACE, one_line
from pipelines.errors import InputError
from pipelines.retrieval.release import Release
from pipelines.retrieval.stages.rerank import Reranked

MOST_TEXTS = 16
"""Texts whose vectors are asked for at once: more would make answers that a slow reader keeps in memory."""
LONGEST_TEXT = 8_192
router = APIRouter()


def _text(text: str) -> str:
    """A document's text may have lines."""
    if not text.strip() or CONTROL_CHARACTERS.search(WHITE_SPACE.sub(" ", text)):
        raise ValueError(f"1 to {LONGEST_TEXT} characters that are not all blank, without control characters")
    return text


Text = Annotated[str, Field(max_length=LONGEST_TEXT), AfterValidator(_text)]


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    user: str = Field("", max_length=128)
    """The user's id, by which a split assigns a release; written down nowhere."""
    release: Policy | None = None
    """The release that answers; none: the one that answers the user's searches, which is the champion where no split runs."""


class EmbedRequest(_Request):
    """Texts whose vectors are asked for."""

    texts: list[Text] = Field(min_length=1, max_length=MOST_TEXTS)
    role: Literal["query", "document"] = "query"
    """Which of the encoder's prefixes the texts get."""


class RerankRequest(_Request):
    """A query, and documents of the release or texts that are scored for it."""

    query: Annotated[str, AfterValidator(one_line)]
    documents: Ids = []
    """Ids of documents of the release, or else:"""
    texts: list[Text] = Field([], max_length=50)
    """Texts to order, as they are."""


@router.post("/v1/embed")
async def embed(body: EmbedRequest, dependencies: Deps, caller: Embedder) -> Response:
    """Unit vectors of texts by the release's encoder; they count as so many requests."""
    await dependencies.count(caller, len(body.texts))
    return await _computed("embed", body, dependencies, caller, lambda release: _embedded(release, body))


@router.post("/v1/rerank")
async def rerank(body: RerankRequest, dependencies: Deps, caller: Embedder) -> Response:
    """Documents or texts in the order of the release's reranker, best first; those that it had no time for come last."""
    if bool(body.documents) == bool(body.texts):
        given = "documents and texts together" if body.texts else "documents nothing, texts nothing"
        raise InputError(given, "either ids of documents or texts", "correct it and ask again")
    rerank_s = dependencies.toggles().rerank_s
    deadline = time.monotonic() + rerank_s if rerank_s else None
    return await _computed("rerank", body, dependencies, caller, lambda release: _reranked(release, body, deadline))


async def _computed(
    act: Act, body: _Request, dependencies: Dependencies, caller: Caller, compute: Callable[[Release], dict[str, Any]]
) -> Response:
    """What the release that answers the user computes, which is counted by release."""
    release = assigned(dependencies.watcher.state, body.user or caller.user, body.release).release
    try:
        answer = await dependencies.run(compute, release)
    except TooLate:
        dependencies.metrics.computed(release.id, "failed")
        raise
    except Overloaded:
        raise  # no release was asked
    except Exception as error:
        dependencies.metrics.computed(release.id, reason_of(error))
        raise
    dependencies.metrics.computed(release.id, act)
    return JSONResponse(answer)


def _embedded(release: Release, body: EmbedRequest) -> dict[str, Any]:
    encoder = release.encoder
    vectors = encoder.encode(body.texts, body.role)
    return {
        "release": release.id,
        "encoder": release.card.encoder,
        "variant": encoder.variant,
        "dimensions": encoder.card.dimensions,
        "vectors": [[float(str(value)) for value in vector] for vector in vectors],  # the shortest that is the same float32
    }


def _reranked(release: Release, body: RerankRequest, deadline: float | None) -> dict[str, Any]:
    stage = release.ranker.rerank if release.ranker else None
    if stage is None:
        raise NotFound(f"rerank by release {release.id[:8]}", "a release with a reranker", "take /v1/search")
    known = release.known(body.documents)
    if body.documents and not known:
        raise NotFound(
            f"documents {', '.join(body.documents)[:80]!r}", f"one of release {release.id[:8]}", "take ids from a search"
        )
    texts = body.texts or [stage.texts[document] for document in known]
    scores = stage.shared.scores(body.query, texts, deadline)
    counted = Reranked(len(texts), len(scores))
    order = sorted(range(len(texts)), key=lambda row: (-float(scores[row]), row) if row < len(scores) else (float("inf"), row))
    return {
        "release": release.id,
        "variant": stage.card.variant,
        "reranked": counted.counts,
        "results": [_result(row, known, scores) for row in order],
    }


def _result(row: int, known: Sequence[str], scores: Any) -> dict[str, Any]:
    """One row: the place of the text in the request, or the id of the document, with its score."""
    named = {"id": known[row]} if known else {"text": row}
    return {**named, "score": float(str(scores[row])) if row < len(scores) else None}
