"""The stack's secrets: made at random, all at once, once; and that no image, step or result has any."""

import base64
import json
import os
import re
import shutil
import stat
import subprocess

import pytest

from tests import warm
from tests.conftest import PROJECT
from tests.images.test_compose import STACK


def make(folder):
    subprocess.run([str(PROJECT / "images/stack/secrets.sh"), str(folder)], check=True, capture_output=True)
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.fixture
def made(tmp_path):
    return make(tmp_path / "secrets")


def test_they_are_those_that_the_stack_asks_for(made, tmp_path):
    assert set(made) == set(STACK["secrets"])
    assert {path.name for path in tmp_path.iterdir() if path.name.startswith("secrets")} == {"secrets"}


def test_the_folder_is_closed_to_other_accounts(made, tmp_path):
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700


def test_each_value_is_its_own(made, tmp_path):
    again = make(tmp_path / "again")
    assert {name for name in made if made[name] == again[name]} == set()
    words = [value for name, value in made.items() if "_" in name and "." not in name and not name.endswith("_database")]
    assert len(set(words)) == len(words)
    assert min(map(len, words)) >= 40


def test_none_ends_with_a_line(made):
    """Airflow takes a command's whole output for the secret."""
    assert [name for name, value in made.items() if value != value.strip()] == []


def test_a_second_call_keeps_them(made, tmp_path):
    assert make(tmp_path / "secrets") == made


def test_an_account_that_a_version_of_before_did_not_have_is_added_and_all_others_stay(made, tmp_path):
    folder = tmp_path / "secrets"
    lines = made["s3.json"].splitlines()
    of_before = "\n".join(line for line in lines if '"name": "server"' not in line)
    (folder / "s3_server.env").unlink()
    (folder / "s3.json").unlink()
    (folder / "s3.json").write_text(of_before)
    now = make(folder)
    assert {name for name in made if now[name] != made[name]} == {"s3.json", "s3_server.env"}
    accounts = {account["name"]: account for account in json.loads(now["s3.json"])["identities"]}
    before = {account["name"]: account for account in json.loads(made["s3.json"])["identities"]}
    assert {name for name in before if accounts[name] != before[name]} == {"server"}
    assert accounts["server"]["actions"] == before["server"]["actions"]
    assert f"AWS_SECRET_ACCESS_KEY={accounts['server']['credentials'][0]['secretKey']}" in now["s3_server.env"]
    assert make(folder) == now
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("secrets")] == ["secrets"]


def test_a_file_of_accounts_that_somebody_wrote_is_not_touched(made, tmp_path):
    file = tmp_path / "secrets/s3.json"
    file.unlink()
    file.write_text('{"identities": []}')
    with pytest.raises(subprocess.CalledProcessError) as failed:
        make(tmp_path / "secrets")
    assert (failed.value.returncode, b"as its last line" in failed.value.stderr) == (2, True)
    assert file.read_text() == '{"identities": []}'


def test_who_shares_a_secret_shares_the_same_one(made):
    for name in ("airflow", "mlflow"):
        password = made[f"{name}_password"]
        assert made[f"{name}_database"] == f"postgresql+psycopg2://{name}:{password}@postgres/{name}"
    assert made["valkey.conf"] == f"requirepass {made['valkey_password']}"
    accounts = {account["name"]: account for account in json.loads(made["s3.json"])["identities"]}
    assert set(accounts) == {"admin", "ratchet", "server", "reader", "mlflow"}
    for name, account in accounts.items():
        (key,) = account["credentials"]
        expected = f"AWS_ACCESS_KEY_ID={key['accessKey']}\nAWS_SECRET_ACCESS_KEY={key['secretKey']}"
        assert made[f"s3_{name}.env"] == expected


def test_the_readers_account_may_not_write(made):
    accounts = {account["name"]: account["actions"] for account in json.loads(made["s3.json"])["identities"]}
    assert accounts["reader"] == ["Read:ratchet", "List:ratchet"]
    assert [action for action in accounts["ratchet"] if not action.endswith(":ratchet")] == []


def test_keys_are_of_the_kind_that_airflow_takes(made):
    assert len(base64.urlsafe_b64decode(made["airflow_fernet_key"])) == 32
    assert len(made["airflow_jwt_secret"]) >= 64
    assert set(json.loads(made["airflow_users.json"])) == {"admin"}


SECRET_FILE = re.compile(r"(^|/)(\.env|secrets?|server\.key|key|id_\w+|kubeconfig|\.ratchet)(/|$)|\.(env|pem|key|p12)$")
"""Names under which people keep secrets."""


def let_in(folder):
    """The files that a build's context has by .dockerignore: it shuts out everything, then names what comes in."""
    lines = [line for line in (folder / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    names = [line.removeprefix("!") for line in lines if line.startswith("!")]
    paths = [path for name in names for path in (folder / name, *(folder / name).rglob("*"))]
    return [str(path.relative_to(folder)) for path in paths if path.is_file() and "__pycache__" not in path.parts]


def copied(dockerfile):
    """What the stages copy from the context, not from another stage."""
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE)
    return {name for line in lines for name in line.split()}


def test_no_image_layer_gets_a_secret(tmp_path):
    """Planted where the stack, the demo and people keep theirs: none of it is in the context; nothing is baked in by name."""
    for name in (".dockerignore", "images/Dockerfile"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(PROJECT / name, tmp_path / name)
    for name in (".env", "secrets/server_key", "key", ".ratchet/secrets/server.key", "kubeconfig", ".venv/x.pem", "build/key"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("hush-hush")
    assert [name for name in let_in(tmp_path) if SECRET_FILE.search(name)] == []
    tracked = [name for name in let_in(PROJECT) if SECRET_FILE.search(name)]
    assert tracked == []
    text = (PROJECT / "images/Dockerfile").read_text()
    assert copied(text) <= {
        "constraints.txt", "pyproject.toml", "images/install.sh", "dags", "images/buckets.py", "images/health.py",
        "images/serve", "feature_repo", "pipelines", "plugins",
    }  # fmt: skip
    assert not re.search(r"^(ARG|ENV).*(KEY|SECRET|PASSWORD|TOKEN|AWS_)", text, re.MULTILINE)


def test_a_secret_in_the_context_is_seen(tmp_path):
    (tmp_path / ".dockerignore").write_text("*\n!images\n")
    (tmp_path / "images").mkdir()
    (tmp_path / "images/server.key").write_text("hush-hush")
    assert [name for name in let_in(tmp_path) if SECRET_FILE.search(name)] == ["images/server.key"]


def test_no_step_shows_a_secret_of_its_environment(home):
    """Its result is Airflow's XCom, its stderr the task's log."""
    names = (
        "RATCHET_SERVER_KEY",
        "RATCHET_VALKEY_PASSWORD",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "MLFLOW_TRACKING_PASSWORD",
    )
    planted = {name: f"planted-{name.lower()}" for name in names}
    for step in ("doctor", "history", "ingest"):
        variables = {
            **os.environ, **planted, "RATCHET_HOME": str(home), "RATCHET_LOG_LEVEL": "debug", "PYTHONPATH": str(PROJECT),
            "RATCHET_RESULT_PATH": str(home.parent / f"{step}.json"),
        }  # fmt: skip
        command = warm.command("-m", "pipelines", step)
        done = subprocess.run(command, cwd=PROJECT, env=variables, capture_output=True, text=True, timeout=120, check=False)
        result = home.parent / f"{step}.json"
        output = done.stdout + done.stderr + (result.read_text() if result.exists() else "")
        assert output
        assert [name for name, secret in planted.items() if secret in output] == []
    files = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert [name for name, secret in planted.items() if secret.encode() in files] == []
