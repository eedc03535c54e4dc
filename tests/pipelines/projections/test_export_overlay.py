"""export_overlay: the champion as the kustomize overlay that Argo CD follows; rendered by kubectl where there is one."""

import copy
import errno
import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from pipelines.__main__ import main
from pipelines.errors import InputError
from pipelines.projections.kustomize import FILE, overlay, write_overlay
from pipelines.retrieval.release import backends
from pipelines.store.artifacts import load, produce
from pipelines.store.journal import Entry, Routing
from pipelines.store.objects import open_store
from tests.conftest import PROJECT, call
from tests.images.test_manifests import BY_NAME, VERSIONS
from tests.releases import _releases_once, releases  # noqa: F401

RELEASE = "ab" * 10
ENTRY = Entry(
    n=7, at="2026-11-23T14:05:00Z", who="ada", why="it ranks better", action="deploy", from_=None, to=RELEASE, verdict=None,
    routing=Routing(champion=RELEASE), parent="0" * 64,
)  # fmt: skip
ANNOTATIONS = {
    "ratchet/release": RELEASE, "ratchet/entry": "7", "ratchet/champion-since": "2026-11-23T14:05:00Z",
    "ratchet/environment": "prod",
}  # fmt: skip
RERANKED = [
    {"stage": "dense", "artifact": "", "weight": 1.0, "method": None, "queries": "all"},
    {"stage": "rerank", "artifact": "cd" * 10, "variant": "openvino-int8-nncf", "candidates": 50, "first_stage": 1.0},
]
STORE = "s3://search/prod"


def altered(release, **change):
    """The release with something else in its card."""
    artifact = load(open_store(), "release", release)
    recipe = artifact.manifest.recipe.model_copy(update={"params": {**artifact.manifest.recipe.params, **change}})

    def build(folder):
        (folder / "release.json").write_text(json.dumps(artifact.json("release.json") | change))
        return artifact.facts

    return produce(open_store(), recipe, build).id


def backends_of(release):
    return backends(load(open_store(), "release", release))


def refused(capsys, *options):
    assert main(["export_overlay", *options]) == 2
    told = capsys.readouterr().err
    assert "Traceback" not in told
    return told


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl here, so nothing renders the overlay")
def test_it_renders_to_the_manifests_with_the_release(tmp_path):
    validate = pytest.importorskip("kubernetes_validate")
    shutil.copytree(PROJECT / "images" / "k8s", tmp_path / "base")
    (tmp_path / "prod").mkdir()
    (tmp_path / "prod" / FILE).write_text(overlay(ENTRY, "../base", STORE, "prod"))
    done = subprocess.run(["kubectl", "kustomize", tmp_path / "prod"], capture_output=True, text=True, check=True)
    rendered = {f"{one['kind']}/{one['metadata']['name']}": one for one in yaml.safe_load_all(done.stdout)}
    expected = copy.deepcopy(BY_NAME)
    expected["StatefulSet/serve"]["metadata"]["annotations"] = ANNOTATIONS
    expected["ConfigMap/ratchet"]["data"]["RATCHET_STORE"] = STORE
    assert rendered == expected, "nothing else changes: no pod starts anew"
    for resource in rendered.values():
        for version in VERSIONS:
            validate.validate(resource, version, strict=True)


def test_each_patch_is_of_a_resource_that_is_there_and_valid_for_kubernetes():
    validate = pytest.importorskip("kubernetes_validate")
    patches = yaml.safe_load(overlay(ENTRY, "../base", STORE, "prod"))["patches"]
    for patch in patches:
        change = yaml.safe_load(patch["patch"])
        patched = copy.deepcopy(BY_NAME[f"{patch['target']['kind']}/{patch['target']['name']}"])
        assert (change.pop("apiVersion"), change.pop("kind")) == (patched["apiVersion"], patched["kind"])
        for key, value in change.items():
            patched[key] |= value
        for version in VERSIONS:
            validate.validate(patched, version, strict=True)
    assert len(patches) == 2


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl here, so nothing renders the overlay")
def test_its_image_is_the_servers_whatever_the_base_calls_it(tmp_path):
    """A base sets the registry by kustomize's own field; a patch of the overlay comes after it."""
    image = "registry.example/ratchet/serve-openvino:7"
    shutil.copytree(PROJECT / "images" / "k8s", tmp_path / "k8s")
    (tmp_path / "base").mkdir()
    registry = {"resources": ["../k8s"], "images": [{"name": "ratchet/serve", "newName": "registry.example/ratchet/serve"}]}
    (tmp_path / "base" / FILE).write_text(yaml.safe_dump(registry))
    (tmp_path / "prod").mkdir()
    rendered = {}
    for given in ("", image):
        (tmp_path / "prod" / FILE).write_text(overlay(ENTRY, "../base", STORE, "prod", given))
        done = subprocess.run(["kubectl", "kustomize", tmp_path / "prod"], capture_output=True, text=True, check=True)
        servers = next(one for one in yaml.safe_load_all(done.stdout) if one["kind"] == "StatefulSet")
        rendered[given] = servers["spec"]["template"]["spec"]["containers"]
    ((plain,), (changed,)) = rendered.values()
    assert plain["image"] == "registry.example/ratchet/serve:0.1.0"
    assert changed == {**plain, "image": image}


@pytest.mark.parametrize("held_as", ["champion", "challenger", "previous"])
def test_servers_get_the_image_with_openvino_while_a_release_that_they_hold_needs_it(releases, tmp_path, held_as):  # noqa: F811
    needing = altered(releases.a, query_variant="openvino-fp32")
    assert (backends_of(releases.a), backends_of(needing)) == ({"onnxruntime"}, {"openvino"})
    assert backends_of(altered(releases.a, stages=RERANKED)) == {"onnxruntime", "openvino"}
    releases.deployed(releases.b)
    assert call("export_overlay", folder=str(tmp_path / "o")).image == ""
    if held_as == "challenger":
        call("promote", verdict=releases.verdict(needing, releases.b))
    else:
        releases.deployed(needing)
    if held_as == "previous":
        releases.deployed(releases.c)
    options = {"openvino_image": "r/serve-openvino:7"}
    assert call("export_overlay", folder=str(tmp_path / "o"), **options).image == "r/serve-openvino:7"
    assert "image: r/serve-openvino:7" in (tmp_path / "o" / FILE).read_text()
    if held_as == "previous":
        releases.deployed(releases.b)
        assert call("export_overlay", folder=str(tmp_path / "o")).image == "", "nobody holds it any more"


def test_it_follows_the_journal_and_is_written_once(releases, tmp_path, capsys):  # noqa: F811
    folder = tmp_path / "gitops" / "prod"
    assert main(["export_overlay", "--folder", str(folder)]) == 4, "there is no champion yet"
    assert not folder.exists()
    releases.deployed(releases.a)
    first = call("export_overlay", folder=str(folder))
    text = (folder / FILE).read_text()
    assert (first.release, first.entry, first.changed) == (releases.a, 2, True)
    assert not call("export_overlay", folder=str(folder)).changed
    releases.deployed(releases.b)
    assert call("export_overlay", folder=str(folder)).release == releases.b
    call("rollback", why="clicks fell")
    back = call("export_overlay", folder=str(folder))
    assert (back.release, back.entry, back.changed) == (releases.a, 5, True)
    differing = [
        (old, new) for old, new in zip(text.splitlines(), (folder / FILE).read_text().splitlines(), strict=True) if old != new
    ]
    assert all("ratchet/entry" in old or "champion-since" in old for old, _ in differing), "a release is a change of its lines"
    assert [path.name for path in folder.iterdir()] == [FILE], "nothing half-written stays"
    base = yaml.safe_load(text)["resources"][0]
    assert (folder / base).resolve() == PROJECT / "images" / "k8s"
    assert str(releases.home) not in text, "a folder of this machine means nothing to a pod"


def test_an_environments_champion_is_named(releases, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setenv("RATCHET_ENVIRONMENTS", json.dumps({"staging": {"store": f"file://{tmp_path}/staging"}}))
    releases.deployed(releases.a)
    call("copy_release", to="staging")
    with monkeypatch.context() as there:
        there.setenv("RATCHET_ENVIRONMENT", "staging")
        releases.deployed(releases.a)
    releases.deployed(releases.b)
    call(
        "export_overlay",
        folder=str(tmp_path / "o"),
        environment="staging",
        base="https://x/team/ratchet//images/k8s?ref=v1",
    )
    content = yaml.safe_load((tmp_path / "o" / FILE).read_text())
    annotations = yaml.safe_load(content["patches"][0]["patch"])["metadata"]["annotations"]
    assert (annotations["ratchet/release"], annotations["ratchet/environment"]) == (releases.a, "staging")
    assert content["resources"] == ["https://x/team/ratchet//images/k8s?ref=v1"]


def test_what_is_no_overlays_place_is_refused_and_left(releases, tmp_path, capsys, monkeypatch):  # noqa: F811
    releases.deployed(releases.a)
    own = tmp_path / "own"
    own.mkdir()
    (own / FILE).write_text("resources: [mine.yaml]\n")
    assert "which another hand wrote" in refused(capsys, "--folder", str(own))
    assert (own / FILE).read_text() == "resources: [mine.yaml]\n"
    (tmp_path / "file").write_text("")
    assert "a folder that can be written" in refused(capsys, "--folder", str(tmp_path / "file" / "prod"))
    assert "without a kustomization.yaml" in refused(capsys, "--folder", str(tmp_path / "o"), "--base", str(tmp_path))
    assert "which is --folder" in refused(capsys, "--folder", str(own), "--base", str(own))
    assert "a repository's address" in refused(capsys, "--folder", str(tmp_path / "o"), "--base", "/nowhere")
    told = refused(capsys, "--folder", str(tmp_path / "o"), "--base", "https://ann:hush-hush@host/r")
    assert "hush-hush" not in told
    monkeypatch.setenv("RATCHET_ENVIRONMENTS", json.dumps({"prod": {"store": "s3://ann:hush-hush@host/x"}}))
    told = refused(capsys, "--folder", str(tmp_path / "o"), "--environment", "prod")
    assert "hush-hush" not in told
    monkeypatch.delenv("RATCHET_ENVIRONMENTS")
    monkeypatch.setenv("RATCHET_STORE", "s3://ann:hush-hush@host/x")
    told = refused(capsys, "--folder", str(tmp_path / "o"))
    assert "hush-hush" not in told
    assert not (tmp_path / "o").exists()


def test_a_write_that_fails_leaves_the_file_of_before(tmp_path, monkeypatch):
    before, after = (overlay(entry, "../base", STORE, "prod") for entry in (ENTRY, ENTRY.model_copy(update={"n": 8})))
    assert write_overlay(tmp_path, before)

    def full(path, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(Path, "replace", full)
        with pytest.raises(InputError, match="No space left on device"):
            write_overlay(tmp_path, after)
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert (tmp_path / FILE).read_text() == before
    assert write_overlay(tmp_path, after)
    assert (tmp_path / FILE).read_text() == after


def test_a_champion_that_was_deleted_is_told(releases, tmp_path):  # noqa: F811
    releases.deployed(releases.a)
    (open_store().local / "release" / releases.a / "manifest.json").unlink()
    with pytest.raises(InputError, match=f"release {releases.a}"):
        call("export_overlay", folder=str(tmp_path / "o"))
    assert not (tmp_path / "o").exists()
