"""Releases whose parts or documents are spoilt in one way each."""

import json
import os
import shutil
from pathlib import Path

import pytest

from pipelines.corpus.icons import installed_icons
from pipelines.store.artifacts import load_exactly, produce
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe
from tests.conftest import Trained, call, embedded_release
from tests.images.serve.browser import browser
from tests.sharing import built_once

__all__ = ["browser"]
HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
HOSTILE_PICTURE = (
    "<svg xmlns='http://www.w3.org/2000/svg' onload=\"document.title='owned'\"><script>document.title='owned'</script></svg>"
)


def route(champion: str | None, challenger: str | None = None, action: str = "deploy") -> int:
    """Write the journal entry that routes so; returns its number."""
    routing = Routing(champion=champion, challenger=challenger)
    return Journal(open_store()).append(action, champion or challenger or "", "for a test", routing).n  # type: ignore[arg-type]


def replaced(kind: str, artifact_id: str, name: str, body: bytes, **inputs: str) -> str:
    """A copy of an artifact, under an id of its own, in which one file (and some inputs) are others."""
    store = open_store()
    original = load_exactly(store, kind, artifact_id)  # type: ignore[arg-type]
    recipe = original.manifest.recipe
    spoilt = Recipe(**{**recipe.model_dump(), "inputs": {**recipe.inputs, **inputs}, "version": recipe.version + 1})

    def build(folder: Path) -> dict[str, object]:
        for file in original.manifest.files:
            (folder / file).write_bytes(original.path(file).read_bytes())
        (folder / name).write_bytes(body)
        return original.facts

    return produce(store, spoilt, build).id


@pytest.fixture(scope="session")
def _small_once(_trained_once: Trained, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    def build(home: Path) -> str:
        metadata = tmp_path_factory.mktemp("icons") / "metadata"
        shutil.copytree(_trained_once.home, home, copy_function=os.link, dirs_exist_ok=True)
        shutil.copytree(installed_icons() / "metadata", metadata)
        icons = {name: icon for name, icon in json.loads((metadata / "icons.json").read_text()).items() if name in SMALL}
        pictures = {style: {"raw": HOSTILE_PICTURE} for style in icons["water"]["free"]}
        icons["water"].update(label="beach " + HOSTILE, svg=pictures)
        (metadata / "icons.json").write_text(json.dumps(icons))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RATCHET_HOME", str(home))
            corpus = call("ingest", folder=str(metadata.parent)).corpus
            return embedded_release(home, corpus, _trained_once.encoder).release

    return built_once(tmp_path_factory, "small", build)


@pytest.fixture
def small(trained: Trained, _small_once: tuple[Path, str]) -> str:
    """A release of 24 icons by the same encoder; one of them has a hostile title and picture."""

    def link(source: str, target: str) -> None:
        if not Path(target).exists():
            os.link(source, target)

    shutil.copytree(_small_once[0], trained.home, copy_function=link, dirs_exist_ok=True)
    return _small_once[1]


SMALL = {
    "umbrella-beach", "house", "moon", "bath", "city", "road", "ferry", "school", "sailboat", "water", "sun", "anchor",
    "apple-whole", "bicycle", "book", "bridge", "bus", "camera", "car", "cat", "cloud", "coins", "dog", "dove",
}  # fmt: skip


@pytest.fixture
def swapped_tokenizer(trained: Trained) -> str:
    """A release whose encoder's tokenizer has two pieces of its vocabulary exchanged everywhere."""
    store = open_store()
    tokenizer = load_exactly(store, "encoder", trained.encoder).json("tokenizer.json")
    vocabulary = tokenizer["model"]["vocab"]
    words = [word for word in vocabulary if word.isalpha()]
    ids = [vocabulary[word] for word in words]
    vocabulary.update(zip(words, [*ids[1:], ids[0]], strict=True))
    encoder = replaced("encoder", trained.encoder, "tokenizer.json", json.dumps(tokenizer).encode())
    # Its parts name each other, as if vectors of one encoder had been filed under another: only the probes can tell.
    embedded = replaced("embeddings", trained.embeddings, "README", b"", encoder=encoder)
    index = replaced("index", trained.index, "README", b"", embeddings=embedded)
    card = load_exactly(store, "release", trained.release).json("release.json")
    card.update(encoder=encoder, embeddings=embedded, index=index)
    return replaced("release", trained.release, "release.json", json.dumps(card).encode())
