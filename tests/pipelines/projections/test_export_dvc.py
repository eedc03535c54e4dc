"""export_dvc: what the files say, what is refused, and, where DVC is at hand, DVC itself fetching an artifact by them."""

import hashlib
import os
import shutil
import subprocess

import pytest
import yaml

from pipelines.corpus.documents import Document, Query
from pipelines.errors import CorruptArtifact, InputError
from pipelines.store.artifacts import load, produce
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe
from tests import warm
from tests.conftest import PROJECT, call
from tests.corpora import write_corpus

DVC = shutil.which("dvc")
FILES = ["documents.jsonl", "qrels.txt", "queries.jsonl", "manifest.json"]
without_dvc = pytest.mark.skipif(not DVC, reason="no dvc on the PATH: install dvc and dvc-s3 into an environment of their own")


@pytest.fixture
def corpus(home):
    return write_corpus([Document(id="d1", text="a red lamp")], [Query(id="q1", text="lamp", split="test")], ["q1 0 d1 1"])


def read(folder, name):
    return yaml.safe_load((folder / f"{name}.dvc").read_text())


def test_each_file_is_an_import_from_the_store(corpus, tmp_path):
    result = call("export_dvc", kind="corpus", artifact=corpus[:8], folder=str(tmp_path / "c"))
    assert result.files == [f"{name}.dvc" for name in FILES]
    artifact = load(open_store(), "corpus", corpus)
    for name in FILES:
        told = read(tmp_path / "c", name)
        (dep,), (out,) = told["deps"], told["outs"]
        content = (tmp_path / dep["path"]).read_bytes()
        assert dep["md5"] == hashlib.md5(content).hexdigest()
        assert dep["size"] == len(content)
        assert out == {"hash": "md5", "path": name}
        assert told["frozen"] is True
        assert told["meta"]["ratchet"] == {"kind": "corpus", "id": corpus, "file": name}
    assert artifact.manifest.files["qrels.txt"].sha256 in read(tmp_path / "c", "qrels.txt")["deps"][0]["path"]
    assert (tmp_path / "c" / ".gitignore").read_text() == "/documents.jsonl\n/manifest.json\n/qrels.txt\n/queries.jsonl\n"


def test_within_a_project_the_path_is_relative(corpus, tmp_path, home):
    (tmp_path / ".dvc").mkdir()
    call("export_dvc", kind="corpus", artifact=corpus, folder=str(tmp_path / "a" / "b"))
    path = read(tmp_path / "a" / "b", "documents.jsonl")["deps"][0]["path"]
    assert path.startswith("../../home/store/blobs/")
    assert (tmp_path / "a" / "b" / path).exists()


def test_a_second_export_writes_nothing_over(corpus, tmp_path):
    folder = tmp_path / "c"
    call("export_dvc", kind="corpus", artifact=corpus, folder=str(folder))
    call("export_dvc", kind="corpus", artifact=corpus, folder=str(folder))
    (folder / "qrels.txt.dvc").write_text("precious")
    with pytest.raises(InputError, match=r"qrels.txt.dvc, which is there already"):
        call("export_dvc", kind="corpus", artifact=corpus, folder=str(folder))
    assert (folder / "qrels.txt.dvc").read_text() == "precious"


def test_files_in_folders_of_an_artifact(home, tmp_path):
    def build(folder):
        (folder / "variants").mkdir()
        (folder / "variants" / "fp32.onnx").write_text("weights")
        return {}

    made = produce(open_store(), Recipe(kind="encoder", step="t", version=1, inputs={}, params={}), build)
    call("export_dvc", kind="encoder", artifact=made.id, folder=str(tmp_path / "c"))
    assert read(tmp_path / "c" / "variants", "fp32.onnx")["outs"][0]["path"] == "fp32.onnx"
    assert (tmp_path / "c" / "variants" / ".gitignore").read_text() == "/fp32.onnx\n"


def test_a_damaged_or_hostile_artifact(corpus, tmp_path, home):
    store = open_store()
    entry = load(store, "corpus", corpus).manifest.files["qrels.txt"]
    (store.local / "blobs" / entry.sha256).unlink()
    with pytest.raises(CorruptArtifact, match=r"qrels.txt"):
        call("export_dvc", kind="corpus", artifact=corpus, folder=str(tmp_path / "c"))
    manifest = store.local / "corpus" / corpus / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"qrels.txt": {', '"../../qrels.txt": {'))
    with pytest.raises(CorruptArtifact, match=r"a name inside of the artifact"):
        call("export_dvc", kind="corpus", artifact=corpus, folder=str(tmp_path / "c"))
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["corpus", "feedfeed"], "corpus 'feedfeed', which is not in"),
        (["copus", "feedfeed"], "--kind: 'copus'"),
        (["corpus"], "--artifact: nothing"),
        (["release", "../../etc"], "release '../../etc'"),
    ],
)
def test_bad_input(home, arguments, words):
    command = warm.command("-m", "pipelines", "export_dvc", *arguments)
    answer = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert words in answer.stderr
    assert "Traceback" not in answer.stderr


def in_project(folder, *command):
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env={**os.environ, "DVC_NO_ANALYTICS": "1"}, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def fetched_by_dvc(corpus, folder):
    """Pull and update the exported files with DVC, as somebody who has nothing but them."""
    folder.mkdir(exist_ok=True)
    in_project(folder, "git", "init", "-q")
    in_project(folder, DVC, "init", "-q")
    call("export_dvc", kind="corpus", artifact=corpus, folder=str(folder / "c"))
    assert "changed checksum" not in in_project(folder, DVC, "status")
    in_project(folder, DVC, "pull")
    artifact = load(open_store(), "corpus", corpus)
    for name in artifact.manifest.files:
        assert (folder / "c" / name).read_bytes() == artifact.path(name).read_bytes()
    assert "documents.jsonl\n" not in in_project(folder, "git", "status", "--short", "-uall")
    in_project(folder, DVC, "update", *(f"c/{name}.dvc" for name in FILES))
    assert "up to date" in in_project(folder, DVC, "status")


@without_dvc
@pytest.mark.parametrize("inside", [False, True])
def test_dvc_pulls_from_a_folder(tmp_path, monkeypatch, inside):
    monkeypatch.setenv("RATCHET_HOME", str(tmp_path / ("project/home" if inside else "home")))
    corpus = write_corpus([Document(id="d1", text="a red lamp")], [], ["q1 0 d1 1"])
    fetched_by_dvc(corpus, tmp_path / "project")


def test_on_s3(s3, tmp_path, monkeypatch):
    for name, value in {**s3.environment, "RATCHET_STORE": s3.create_bucket("exported") + "/some/where"}.items():
        monkeypatch.setenv(name, value)
    corpus = write_corpus([Document(id="d1", text="a red lamp")], [], ["q1 0 d1 1"])
    call("export_dvc", kind="corpus", artifact=corpus, folder=str(tmp_path / "c"))
    (dep,) = read(tmp_path / "c", "documents.jsonl")["deps"]
    content = load(open_store(), "corpus", corpus).path("documents.jsonl").read_bytes()
    assert dep["path"].startswith("s3://exported/some/where/blobs/")
    assert (dep["etag"], dep["size"]) == (hashlib.md5(content).hexdigest(), len(content))
    assert dep["fs_config"] == {"endpointurl": s3.endpoint}
    said = "".join(path.read_text() for path in (tmp_path / "c").iterdir())
    assert s3.secret_key not in said
    assert s3.access_key not in said
    if DVC:
        fetched_by_dvc(corpus, tmp_path / "project")
