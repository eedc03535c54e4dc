"""The whole train on a real S3 gives the ids that it gives on disk."""

import shutil
import time

from pipelines.store.artifacts import find, load_exactly, produce
from pipelines.store.objects import open_store
from tests.conftest import call, embedded_release
from tests.releases import some_icons


def test_the_train_gives_the_same_ids_on_s3(trained, s3, monkeypatch, tmp_path):
    folder = str(some_icons(tmp_path / "icons", 0, 20))
    encoder = trained.encoder
    local = embedded_release(trained.home, call("ingest", folder=folder).corpus, encoder)
    kept = find(trained.store, "encoder", encoder)
    for name, value in {**s3.environment, "RATCHET_STORE": s3.create_bucket(f"b{time.time_ns()}") + "/a/prefix"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RATCHET_HOME", str(tmp_path / "other"))
    store = open_store()

    def copied(target):
        for name in kept.manifest.files:
            shutil.copy(kept.path(name), target / name)
        return kept.facts

    assert produce(store, kept.manifest.recipe, copied).id == encoder
    remote = embedded_release(tmp_path / "other", call("ingest", folder=folder).corpus, encoder)
    ids = ("corpus", "encoder", "shard", "embeddings", "index", "release")
    assert [getattr(remote, name) for name in ids] == [getattr(local, name) for name in ids]
    assert call("assemble", index=remote.index).found
    there, here = (load_exactly(one, "release", local.release).text("release.json") for one in (store, trained.store))
    assert there == here
