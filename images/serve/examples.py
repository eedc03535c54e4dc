"""An example of each route that programs use, for `/openapi.json`. A test asks them and compares the answers' shapes."""

from dataclasses import dataclass, field
from typing import Any

RELEASE = "8f14e45fceea167a5a36"
REQUEST = "0b7c5e2a9d3f4c61a1f0d2e3b4c5d6e7"


@dataclass(frozen=True)
class Example:
    """A request's parameters or body, and how it is answered."""

    answer: dict[str, Any]
    query: dict[str, Any] = field(default_factory=dict)
    """By parameter of the path or the query."""
    body: dict[str, Any] | None = None
    status: int = 200


def _result(document: str, title: str, position: int, score: float) -> dict[str, Any]:
    return {"id": document, "title": title, "segment": "", "score": score, "position": position, "picture": ""}


def _list(query: str, like: list[str]) -> dict[str, Any]:
    return {
        "request_id": REQUEST,
        "release": RELEASE,
        "query": query,
        "like": [{"id": document, "title": document.replace("-", " ")} for document in like],
        "results": [_result("blue-chair", "blue chair", 1, 0.91), _result("red-sofa", "red sofa", 2, 0.64)],
    }


_RERANKED = {"candidates": 20, "scored": 20, "late": False}
_EVENT = {"request_id": REQUEST, "document": "blue-chair"}
EXAMPLES: dict[tuple[str, str], Example] = {
    ("GET", "/v1/search"): Example(
        {**_list("red chair", []), "reranked": _RERANKED}, query={"q": "red chair", "k": 2, "exclude": ["red-chair"]}
    ),
    ("POST", "/v1/search/batch"): Example(
        {"answers": [{**_list("red chair", []), "reranked": _RERANKED}, _list("", ["red-chair"])]},
        body={"searches": [{"q": "red chair", "k": 2}, {"like": ["red-chair"], "k": 2, "user": "ann"}]},
    ),
    ("GET", "/v1/similar/{document_id}"): Example(
        _list("", ["red-chair"]), query={"document_id": "red-chair", "k": 2, "exclude": ["pink-lamp"]}
    ),
    ("GET", "/v1/recommend"): Example(
        _list("", ["red-chair", "red-lamp"]), query={"item": ["red-chair", "red-lamp"], "k": 2, "user": "ann"}
    ),
    ("POST", "/v1/recommend/batch"): Example(
        {"answers": [_list("", ["red-chair"])]}, body={"recommendations": [{"item": ["red-chair"], "k": 2, "user": "ann"}]}
    ),
    ("POST", "/v1/embed"): Example(
        {
            "release": RELEASE,
            "encoder": "c4ca4238a0b923820dcc",
            "variant": "onnx-fp32",
            "dimensions": 3,
            "vectors": [[0.6, 0.0, 0.8]],
        },
        body={"texts": ["red chair"], "role": "query", "user": "ann"},
    ),
    ("POST", "/v1/rerank"): Example(
        {
            "release": RELEASE,
            "variant": "onnx-fp32",
            "reranked": {"candidates": 2, "scored": 2, "late": False},
            "results": [{"id": "red-chair", "score": 0.83}, {"id": "blue-lamp", "score": -0.2}],
        },
        body={"query": "red chair", "documents": ["blue-lamp", "red-chair"], "user": "ann"},
    ),
    ("POST", "/v1/clicks"): Example({**_EVENT, "position": 1}, body={**_EVENT, "position": 1}, status=201),
    ("POST", "/v1/events"): Example(
        {"clicks": 1, "conversions": 1},
        body={"events": [{"type": "click", **_EVENT, "position": 1}, {"type": "conversion", **_EVENT, "value": 49.9}]},
        status=201,
    ),
    ("POST", "/v1/signin-links"): Example(
        {"url": "http://127.0.0.1:8089/signin?token=q83vEjRWeJCrze8SNFZ4kKvN7xI", "lasts_s": 900}, status=201
    ),
}
"""By method and path, as `/openapi.json` writes it."""
