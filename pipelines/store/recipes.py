"""Recipes, whose hash is an artifact's id, and manifests, which name an artifact's files."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict


@dataclass(frozen=True)
class KindInfo:
    """Properties of a kind of artifact: whether each has a page for people, `report.html`."""

    has_report: bool = False


KINDS: Mapping[str, KindInfo] = {
    "corpus": KindInfo(),
    "encoder": KindInfo(),
    "shard": KindInfo(),
    "embeddings": KindInfo(),
    "index": KindInfo(),
    "lexical": KindInfo(),
    "known_queries": KindInfo(),
    "recommender": KindInfo(),
    "reranker": KindInfo(),
    "reranker_variants": KindInfo(),
    "blend": KindInfo(has_report=True),
    "release": KindInfo(),
    "evaluation": KindInfo(has_report=True),
    "latency": KindInfo(has_report=True),
    "off_policy": KindInfo(has_report=True),
    "perturbations": KindInfo(),
    "robustness": KindInfo(has_report=True),
    "verdict": KindInfo(has_report=True),
    "degradation": KindInfo(has_report=True),
    "snapshot": KindInfo(),
    "drift": KindInfo(has_report=True),
    "experiment": KindInfo(has_report=True),
    "report": KindInfo(has_report=True),
    "features": KindInfo(),
    "queries": KindInfo(),
    "scores": KindInfo(),
}
"""Every kind of artifact, which is a folder of the store. A kind that is added here is known everywhere."""
if TYPE_CHECKING:
    Kind = str
else:
    Kind = Literal[tuple(KINDS)]


def canonical(value: Any) -> bytes:
    """JSON whose bytes depend on the value alone.

    >>> canonical({"b": 1, "a": [True, None]})
    b'{"a":[true,null],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest(value: bytes) -> str:
    """The sha256 of `value`, 64 hexadecimal digits."""
    return hashlib.sha256(value).hexdigest()


def digest_file(path: Path) -> str:
    """The sha256 of a file, read in chunks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class FileEntry(BaseModel):
    """One file of an artifact: its content's sha256 and its size in bytes."""

    model_config = ConfigDict(frozen=True)

    sha256: str
    bytes: int


class Recipe(BaseModel):
    """The identity of an artifact: the step and its version, the inputs and the semantic params.

    >>> Recipe(kind="index", step="index", version=1, inputs={"embeddings": "ab"}, params={"kind": "flat"}).id
    '79d1475d926558716484'
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    step: str
    version: int
    inputs: dict[str, str]
    params: dict[str, Any]

    @property
    def id(self) -> str:
        """20 hexadecimal digits of the recipe's sha256."""
        return digest(canonical(self.model_dump()))[:20]


class Manifest(BaseModel):
    """The record of one artifact. Only `recipe` is identity; the rest was observed when it was made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layout: Literal[1] = 1
    id: str
    recipe: Recipe
    files: dict[str, FileEntry]
    facts: dict[str, Any]
    tuning: dict[str, Any]
    provenance: dict[str, Any]
    cost: dict[str, float]


def blob_path(entry: FileEntry) -> str:
    """The path of a file's content in the store; artifacts with equal files share it."""
    return f"blobs/{entry.sha256}"
