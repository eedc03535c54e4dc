"""The stack's secrets: made at random, all at once, once."""

import base64
import json
import stat
import subprocess

import pytest

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


def test_who_shares_a_secret_shares_the_same_one(made):
    for name in ("airflow", "mlflow"):
        password = made[f"{name}_password"]
        assert made[f"{name}_database"] == f"postgresql+psycopg2://{name}:{password}@postgres/{name}"
    assert made["valkey.conf"] == f"requirepass {made['valkey_password']}"
    accounts = {account["name"]: account for account in json.loads(made["s3.json"])["identities"]}
    assert set(accounts) == {"admin", "ratchet", "reader", "mlflow"}
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
