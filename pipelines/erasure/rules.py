"""How each kind of artifact may hold somebody: a kind without a line here can't be erased from, and a test fails."""

import csv
import io
import json
from collections.abc import Collection, Iterator, Mapping
from typing import Literal

from pipelines.erasure.subject import Subject, readable
from pipelines.errors import InputError
from pipelines.store.artifacts import Artifact

Rule = Literal["rows", "made from", "content", "both"]
RULES: Mapping[str, Rule] = {
    "corpus": "rows",
    "encoder": "made from",
    "shard": "both",
    "embeddings": "made from",
    "index": "made from",
    "lexical": "made from",
    "known_queries": "made from",
    "recommender": "made from",
    "reranker": "made from",
    "reranker_variants": "made from",
    "blend": "made from",
    "release": "made from",
    "evaluation": "content",
    "latency": "content",
    "off_policy": "content",
    "perturbations": "content",
    "robustness": "content",
    "verdict": "content",
    "degradation": "content",
    "snapshot": "both",
    "drift": "content",
    "experiment": "content",
    "report": "content",
    "features": "both",
    "queries": "content",
    "scores": "content",
}
"""rows: read row by row. made from: numbers that nobody can read, so it holds whoever is in what it was made from.
content: files that are read as a whole, for names and for words. both: made from, and read.
A shard is read since its recipe may name documents by a digest alone."""
ROWS = "rows.jsonl"
"""The file that tells whose vectors a shard has."""
VECTORS = ("shard", "embeddings")
"""Kinds whose files of vectors later ones go on using."""


def rule_of(kind: str) -> Rule:
    """The rule of a kind.

    Raises:
        InputError: it has none, so that nobody could be erased from its artifacts.
    """
    if kind not in RULES:
        raise InputError(f"artifacts of kind {kind}, which has no erasure rule", f"one of {', '.join(RULES)}", "add its rule")
    return RULES[kind]


def holders(
    artifacts: Mapping[str, Artifact], subject: Subject, in_rows: Collection[str], gone: Collection[str]
) -> dict[str, Artifact]:
    """The artifacts that hold the subject, by id.

    Args:
        artifacts: all of the store.
        subject: who or what.
        in_rows: ids of the corpora that have rows of it.
        gone: ids of artifacts that held it and are deleted; a process may have made something from them meanwhile.
    """
    read = {name: artifact for name, artifact in artifacts.items() if rule_of(artifact.kind) in ("content", "both")}
    found = {name: artifact for name, artifact in read.items() if holds(artifact, subject)}
    found |= {name: artifacts[name] for name in in_rows if name in artifacts}
    while True:  # inputs come in no order
        made = {
            name: artifact
            for name, artifact in artifacts.items()
            if name not in found and _made_from(artifact, {*found, *gone})
        }
        if subject.kind == "document":
            made |= {artifact.id: artifact for artifact in _sharing_vectors(artifacts, found)}
        if not made:
            return found
        found |= made


def _made_from(artifact: Artifact, found: Collection[str]) -> bool:
    return rule_of(artifact.kind) in ("made from", "both") and any(name in found for name in artifact.inputs.values())


def _sharing_vectors(artifacts: Mapping[str, Artifact], found: Mapping[str, Artifact]) -> Iterator[Artifact]:
    """Embeddings that use a file of vectors of those that hold the document: its vector is in there, though no row names it."""
    files = {
        entry.sha256
        for artifact in found.values()
        for name, entry in artifact.manifest.files.items()
        if artifact.kind in VECTORS and name.endswith(".npy") and name != "places.npy"
    }
    for artifact in artifacts.values():
        own = {entry.sha256 for entry in artifact.manifest.files.values()}
        if artifact.kind in VECTORS and artifact.id not in found and files & own:
            yield artifact


def holds(artifact: Artifact, subject: Subject) -> bool:
    """Whether the manifest or a file of an artifact holds the subject, read as text.

    Not read are vectors, and for a user the rows of vectors: they name documents alone, one of which may have the user's id.
    """
    if subject.found_in(readable(artifact.manifest.model_dump_json().encode())):
        return True
    passed_over = (".npy", ROWS) if subject.kind == "user" else (".npy",)
    texts = (name for name in artifact.manifest.files if not name.endswith(passed_over))
    bodies = ((name, artifact.path(name).read_bytes()) for name in texts)
    return any(subject.found_in(readable(body)) or (name.endswith(".csv") and _in_csv(body, subject)) for name, body in bodies)


def _in_csv(body: bytes, subject: Subject) -> bool:
    """Whether a table holds the subject in a column of ids, or in what the quarantine keeps of a source's row."""
    rows = csv.DictReader(io.StringIO(body.decode("utf-8-sig", "replace"), newline=""))
    return any(subject.in_row(row.get("given") or "") or subject.found_in(_cells(row)) for row in rows)


def _cells(row: Mapping[str, str]) -> str:
    """A row as JSON, without the apostrophes that keep a spreadsheet from rewriting ids such as 007."""
    return json.dumps(row, ensure_ascii=False).replace("\"'", '"')
