"""That the cluster's page still says what `make proof-first-release` runs, which itself needs Docker and a registry."""

import subprocess

import pytest

from cluster.first_release import PAGE, PARTS, commands, filled
from tests.conftest import PROJECT
from tests.services import S3


def test_the_page_has_commands_in_each_part_which_a_shell_understands():
    found = commands((PROJECT / PAGE).read_text())
    assert len(found) == len(PARTS)
    for old in (True, False):
        script = filled("\n".join(found), "127.0.0.1:1", "s3://ratchet", S3("http://10.0.0.1:2"), "http://10.0.0.1:2", old)
        assert "…" not in script
        assert "registry.example" not in script
        assert script.count("PodDisruptionBudget") == old
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_a_name_that_the_page_no_longer_has_is_noticed():
    text = "\n".join(commands((PROJECT / PAGE).read_text())).replace("s3://bucket/store", "s3://mine/store")
    with pytest.raises(AssertionError, match="no longer says 's3://bucket/store"):
        filled(text, "127.0.0.1:1", "s3://ratchet", S3("http://10.0.0.1:2"), "http://10.0.0.1:2", False)
