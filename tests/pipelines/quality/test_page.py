"""docs/data-quality.md: its commands run, its suite is one, and it names every table and column."""

import os
import re
import shlex
import subprocess

from pipelines.quality.expectations import check_suite, known_expectations
from pipelines.quality.language import LANGUAGES, MOST_TEXTS
from pipelines.quality.suite import parse_suite
from pipelines.quality.tables import TABLES
from tests import warm
from tests.conftest import PROJECT

PAGE = (PROJECT / "docs/data-quality.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


ALONE = """
import socket
def refuse(*given, **named): raise AssertionError(f"the network was asked: {given}")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
"""
PIPELINES = """
import runpy
runpy.run_module("pipelines", run_name="__main__", alter_sys=True)
"""
COLD = 'ratchet() { .venv/bin/python -m pipelines "$@"; }'


def test_commands_without_a_network(tmp_path):
    """`check` imports what it needs without a network, too; the other commands have it imported already."""
    (tmp_path / "sitecustomize.py").write_text(ALONE)
    (tmp_path / "without_network.py").write_text(ALONE + PIPELINES)
    script = "set -euo pipefail\n" + "\n".join(blocks("sh"))
    assert COLD in script
    others = f'{shlex.join(warm.command("-m", "without_network"))} "$@"'
    script = script.replace(COLD, f'cold{COLD}; ratchet() {{ if [ "$1" = check ]; then coldratchet "$@"; else {others}; fi; }}')
    given = {**os.environ, "PYTHONPATH": str(tmp_path)}
    answer = subprocess.run(
        ["bash", "-c", script], cwd=PROJECT, env=given, capture_output=True, text=True, timeout=280, check=False
    )
    assert answer.returncode == 0, answer.stderr[-2000:]
    assert "Traceback" not in answer.stderr
    assert "which is there" in answer.stderr
    assert '"proposed":13' in answer.stdout


def test_masking_of_the_page(capsys):
    (code,) = blocks("python")
    exec(code, {})
    assert capsys.readouterr().out.startswith("<PERSON>, <PHONE_NUMBER>, <EMAIL_ADDRESS>\nCounter(")


def test_suite_of_the_page():
    (text,) = blocks("yaml")
    suite = parse_suite(text.encode(), "the page")
    check_suite(suite)
    assert suite.checks[-1].check.mostly == 0.99


def test_every_table_and_column_is_on_the_page():
    listed = {
        name: re.findall(r"`(\w+)`", columns)
        for name, columns in re.findall(r"^\| `(\w+)`: [^|]+\| (.+) \|$", PAGE, re.MULTILINE)
    }
    assert listed == {name: list(table.columns) for name, table in TABLES.items()}


def test_numbers_of_the_page():
    assert f"{len(LANGUAGES)} widely" in PAGE
    assert f"{MOST_TEXTS:,} texts of a table" in PAGE
    assert len(known_expectations()) == 50
    assert "Fifty expectations" in PAGE
