"""What every test may ask for: a fresh home, and a home in which the default collection is a release already."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.contract import load_step
from pipelines.corpus.icons import installed_icons
from pipelines.store.objects import Store, open_store
from tests import warm
from tests.planted import _planted_once, planted  # noqa: F401  # fixtures
from tests.services import S3, seaweedfs
from tests.sharing import built_once, shared_folder

PROJECT = Path(__file__).resolve().parents[1]


def call(step: str, **values: Any) -> Any:
    """Run a step in this process, in the store that the environment names."""
    return load_step(step).call(values)


@dataclass(frozen=True)
class Trained:
    """The ids of a release of the icons collection and its parts."""

    home: Path
    corpus: str
    encoder: str
    shard: str
    embeddings: str
    index: str
    release: str

    @property
    def store(self) -> Store:
        return open_store()


@pytest.fixture(scope="session", autouse=True)
def _warm_programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with warm.in_folder(shared_folder(tmp_path_factory)):
        yield


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith(("RATCHET_", "AWS_")) and "BUNDLE" not in name]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("RATCHET_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A fresh, empty RATCHET_HOME, already in the environment."""
    return tmp_path / "home"


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """One SeaweedFS for all tests; each makes a bucket of its own."""
    with seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server


@pytest.fixture(scope="session")
def _trained_once(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    def build(folder: Path) -> dict[str, str]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RATCHET_HOME", str(folder))
            corpus = call("ingest").corpus
            encoder = call("export_encoder").encoder
            return {key: str(value) for key, value in vars(embedded_release(folder, corpus, encoder)).items()}

    folder, ids = built_once(tmp_path_factory, "trained", build)
    return Trained(**{**ids, "home": folder})


def embedded_release(folder: Path, corpus: str, encoder: str) -> Trained:
    """Embed, index and assemble; the ids of all parts."""
    shard = call("embed", corpus=corpus, encoder=encoder).shard
    embeddings = call("commit_embeddings", corpus=corpus, encoder=encoder, shards=[shard]).embeddings
    index = call("index", embeddings=embeddings).index
    release = call("assemble", index=index).release
    return Trained(folder, corpus, encoder, shard, embeddings, index, release)


@pytest.fixture
def trained(_trained_once: Trained, home: Path) -> Trained:
    """A home of this test's own that holds a release of the icons. Blobs are hard links: copy before you damage one."""
    shutil.copytree(_trained_once.home, home, copy_function=os.link)
    return Trained(**{**vars(_trained_once), "home": home})


@pytest.fixture(scope="session")
def _served_once(_trained_once: Trained, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    from pipelines.train import train

    def build(folder: Path) -> str:
        shutil.copytree(_trained_once.home, folder / "home", copy_function=os.link)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RATCHET_HOME", str(folder / "home"))
            answer = train()
        assert answer["served"], answer
        return str(answer["release"])

    folder, release = built_once(tmp_path_factory, "served", build)
    return folder / "home", release


@pytest.fixture
def served(_served_once: tuple[Path, str], _trained_once: Trained, home: Path) -> Trained:
    """A home whose champion is a release of the icons, with the stages that are best by their dev queries."""
    shutil.copytree(_served_once[0], home, copy_function=os.link)
    return replace(_trained_once, home=home, release=_served_once[1])


@pytest.fixture
def icons_folder(tmp_path: Path) -> Callable[..., Path]:
    """Make a folder like the package's, with the icons that `keep(name)` keeps, after `edit(icons)`."""
    return lambda name, *how, **named: write_icons(tmp_path / name, *how, **named)


def write_icons(
    folder: Path, keep: Callable[[str], bool] = lambda name: True, edit: Callable[[dict[str, Any]], None] | None = None
) -> Path:
    """Write the icons that `keep(name)` keeps, after `edit(icons)`, as their package has them; the folder."""
    metadata = folder / "metadata"
    metadata.mkdir(parents=True)
    icons = json.loads((installed_icons() / "metadata" / "icons.json").read_text())
    icons = {key: icon for key, icon in icons.items() if keep(key)}
    if edit:
        edit(icons)
    (metadata / "icons.json").write_text(json.dumps(icons))
    shutil.copy(installed_icons() / "metadata" / "categories.yml", metadata)
    return folder
