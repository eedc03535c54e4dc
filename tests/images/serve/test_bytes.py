"""What /v1/search runs is byte for byte what the manifests name."""

import os
from hashlib import sha256
from pathlib import Path

import pytest

from pipelines.retrieval.release import ReleaseCard, stored_parts
from pipelines.retrieval.stages.table import stage_artifacts
from pipelines.store.artifacts import load
from pipelines.store.objects import open_store
from tests.conftest import PROJECT, call
from tests.images.serve.conftest import route
from tests.images.serve.server import running_server
from tests.rerankers import _reranking_once, reranking

__all__ = ["_reranking_once", "reranking"]
HOOK = """
import os, sys

def note(event, arguments, log=os.open({log!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)):
    if event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
        os.write(log, os.fsencode(arguments[0]) + b"\\n")

sys.addaudithook(note)
"""
MODEL_FILES = (".onnx", ".xml", ".bin", ".safetensors", ".pt", ".faiss", ".npy", "tokenizer.json", "vocab.txt")


@pytest.fixture
def opened(tmp_path):
    """Environment of a server that notes every file that it opens, and what it has noted."""
    log = tmp_path / "opened"
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(HOOK.format(log=str(log)))
    environment = {"PYTHONPATH": f"{tmp_path / 'hook'}{os.pathsep}{PROJECT}", "RATCHET_EVENTS": str(tmp_path / "events")}
    return environment, lambda: {Path(line) for line in log.read_text().splitlines()}


def named(release):
    """By sha256, all files that the manifests of the release and its parts name: kind and file name."""
    store = open_store()
    artifact, parts = load(store, "release", release), stored_parts(store, release)
    card = ReleaseCard.model_validate(artifact.json("release.json"))
    stages = stage_artifacts(store, card.stages, card.parts).values()
    every = [artifact, parts.corpus, parts.encoder, parts.embeddings, parts.index, *stages]
    return {entry.sha256: (part.kind, name) for part in every for name, entry in part.manifest.files.items()}


def served(home, environment, query):
    with running_server(home, RATCHET_RERANK_MS="0", **environment) as server:
        server.wait(lambda status: status["ready"])
        return server.search(query, k=5).raise_for_status().json()


def check(home, files, expected, opened):
    """Each blob that was opened is one that the manifests name, with these bytes; `expected` are among them."""
    blobs = {path for path in opened if path.parent == home / "store" / "blobs"}
    assert {path.name: sha256(path.read_bytes()).hexdigest() for path in blobs} == {path.name: path.name for path in blobs}
    loaded = {files.get(path.name) for path in blobs}
    assert None not in loaded, "a blob that no manifest of the release names"
    assert expected <= loaded
    elsewhere = {path for path in opened - blobs if path.name.endswith(MODEL_FILES)}
    assert elsewhere == set(), "part of a model that is not the store's"


def test_of_encoder_index_and_documents(trained, opened):
    environment, notes = opened
    route(trained.release)
    files = named(trained.release)
    assert served(trained.home, environment, "beach")["release"] == trained.release
    expected = {("release", "release.json"), ("encoder", "model.onnx"), ("encoder", "tokenizer.json"), ("index", "index.faiss")}
    check(trained.home, files, expected, notes())


def test_of_a_reranker(reranking, home, opened):
    environment, notes = opened
    release = call("assemble", index=reranking.index, reranker=reranking.report).release
    route(release)
    files = named(release)
    assert served(home, environment, "red chair")["reranked"]["scored"] == 20
    expected = {("reranker_variants", "model.onnx"), ("reranker_variants", "tokenizer.json")}
    check(home, files, expected, notes())
