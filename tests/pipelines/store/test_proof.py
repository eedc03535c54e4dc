"""Races and kills, on disk and on a real S3."""

import uuid

import pytest

from pipelines.store.objects import Store
from proofs import kill_points as proof


@pytest.fixture(params=["disk", "s3"])
def sandbox_for(request, tmp_path):
    """Makes stores of their own for each name."""
    if request.param == "disk":
        return lambda name: proof.local_sandbox(tmp_path / name)
    s3 = request.getfixturevalue("s3")
    bucket = s3.create_bucket(f"proof-{uuid.uuid4().hex[:8]}")
    return lambda name: proof.Sandbox(
        {**s3.environment, "RATCHET_HOME": str(tmp_path / name), "RATCHET_STORE": f"{bucket}/{name}"}
    )


def test_of_20_runs_of_one_id_one_wins_and_its_files_are_whole(sandbox_for):
    assert len(proof.race_artifact(sandbox_for("race"))) == 1


def test_of_20_writers_of_one_entry_one_wins(sandbox_for):
    assert len(proof.race_entry(sandbox_for("race"))) == 1


SAMPLED = 5
"""Every fifth kill point, before and after operations in turn; `make proof-spine` kills at all of them."""


def test_a_kill_at_any_operation_tears_nothing(sandbox_for):
    points, passed = proof.kill_points(sandbox_for, SAMPLED)
    assert points == passed
    assert points >= 2 * (1 + 2 * proof.FILES + 1 + 3) // SAMPLED


def test_a_kill_at_any_moment_tears_nothing(sandbox_for):
    hit, passed = proof.random_kills(sandbox_for)
    assert hit == passed == proof.SIGKILLS


def test_the_proof_can_fail(sandbox_for, monkeypatch):
    """A store that overwrites manifests is found out."""

    def overwrite(self, path, body):
        self.write(path, body)
        return True

    monkeypatch.setattr(Store, "create", overwrite)
    sandbox = sandbox_for("careless")
    with sandbox.activated() as store:
        proof.whole_run(store, "one")
        manifest = f"report/{proof.recipe('one').id}/manifest.json"
        store.write(manifest, store.read(manifest)[:-20])
        with pytest.raises(Exception, match="manifest"):
            proof.nothing_torn(store, "one")
