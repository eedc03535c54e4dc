"""Several small releases in one home, and verdicts on them, for tests of what happens to releases afterwards."""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipelines.contract import load_step
from pipelines.corpus.icons import installed_icons
from pipelines.evaluation.measures import CONDENSED, MEASURES
from pipelines.gates.gate_file import read_gate_file
from pipelines.store.artifacts import find, produce
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe
from tests.conftest import Trained, call, embedded_release
from tests.sharing import built_once


@dataclass(frozen=True)
class Releases:
    """Three releases of tiny corpora, made by one encoder."""

    home: Path
    encoder: str
    a: str
    b: str
    c: str

    @property
    def journal(self) -> Journal:
        return Journal(open_store())

    def verdict(self, release: str, champion: str = "", outcome: str = "passed", gate_file: str = "", **said: Any) -> str:
        """A verdict artifact as the gate writes it, by a gate file or as before there were any."""
        sentence = said.pop("sentence", f"{outcome}: nDCG@10 +0.010 [+0.002, +0.018]")
        facts = {"outcome": outcome, "sentence": sentence, "release": release, "champion": champion, **said}
        found = find(open_store(), "release", release)
        asked = {"split": "test", "corpus": found.inputs["corpus"] if found else "", "queries_digest": "0" * 12}
        body = {
            **asked,
            **facts,
            "measure": "nDCG@10",
            "difference": 0.01,
            "low": 0.002,
            "high": 0.018,
            "margin": 0.02,
            "queries": 1500,
        }

        def build(folder: Path) -> dict[str, Any]:
            (folder / "verdict.json").write_text(json.dumps(body))
            (folder / "verdict.md").write_text(f"# Verdict\n\n{sentence}\n")
            return facts

        inputs = {"release": release, "evaluation": self.evaluation(release)}
        rules = {"rules": read_gate_file(gate_file).digest} if gate_file else {}
        version = load_step("gate").version
        recipe = Recipe(kind="verdict", step="gate", version=version, inputs=inputs, params=body | rules)
        return produce(open_store(), recipe, build, {"gate_file": gate_file} if gate_file else None).id

    def evaluation(self, release: str) -> str:
        """An evaluation artifact with every measure's name, as far as the registry reads it."""
        facts = {"measures": {name: {"mean": 0.5} for name in (*MEASURES, CONDENSED)} | {"empty": {"mean": None}}}
        version = load_step("evaluate").version
        recipe = Recipe(kind="evaluation", step="evaluate", version=version, inputs={"release": release}, params={})
        return produce(open_store(), recipe, lambda folder: facts).id

    def promoted(self, release: str, **how: Any) -> str:
        call("promote", verdict=self.verdict(release, self.journal.routing.champion or ""), **how)
        return release

    def deployed(self, release: str, **how: Any) -> str:
        self.promoted(release)
        call("deploy", **how)
        return release


def some_icons(folder: Path, first: int, count: int) -> Path:
    """A collection of a few icons."""
    icons = json.loads((installed_icons() / "metadata" / "icons.json").read_text())
    (folder / "metadata").mkdir(parents=True)
    chosen = {name: icons[name] for name in sorted(icons)[first : first + count]}
    (folder / "metadata" / "icons.json").write_text(json.dumps(chosen))
    shutil.copy(installed_icons() / "metadata" / "categories.yml", folder / "metadata")
    return folder


@pytest.fixture(scope="session")
def _releases_once(_trained_once: Trained, tmp_path_factory: pytest.TempPathFactory) -> Releases:
    def build(folder: Path) -> list[str]:
        shutil.copytree(_trained_once.home, folder / "home", copy_function=os.link)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RATCHET_HOME", str(folder / "home"))
            made = []
            for number in range(3):
                corpus = call("ingest", folder=str(some_icons(folder / str(number), 12 * number, 12))).corpus
                made.append(embedded_release(folder / "home", corpus, _trained_once.encoder).release)
        return made

    folder, ids = built_once(tmp_path_factory, "releases", build)
    assert len(set(ids)) == 3
    return Releases(folder / "home", _trained_once.encoder, *ids)


@pytest.fixture
def releases(_releases_once: Releases, home: Path) -> Releases:
    """A home of this test's own with three releases and an empty journal. Blobs are hard links."""
    shutil.copytree(_releases_once.home, home, copy_function=os.link)
    return Releases(**{**vars(_releases_once), "home": home})


@pytest.fixture
def both(releases: Releases) -> Releases:
    """The same with `a` as champion and `b` as challenger."""
    releases.deployed(releases.a)
    releases.promoted(releases.b)
    return releases
