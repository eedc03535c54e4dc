"""What a bench says of its goals, and that pages show the figures that the benches and proofs wrote."""

import inspect
import json
import re
import shutil
import subprocess
import sys

import pytest

from benches import embeddings, scale
from proofs import pages
from proofs.kill_points import random_kills
from tests.conftest import PROJECT
from tests.figures import write_figures


@pytest.mark.parametrize("path", pages.pages(), ids=lambda path: path.name)
def test_pages_show_the_figures_of_the_last_runs(path):
    text = path.read_text()
    assert pages.filled(text) == text, "run make figures"
    assert text.count("<!-- figures:") == text.count("<!-- /figures -->") == len(pages.BLOCK.findall(text))


def test_every_block_is_on_a_page():
    shown = {name for path in pages.pages() for _, name, _ in pages.BLOCK.findall(path.read_text())}
    assert shown == {path.stem for path in (PROJECT / "proofs/blocks").glob("*.md")}


def test_a_block_takes_its_figures_from_the_files(monkeypatch):
    context = pages.context()
    context["bench_spine"]["step_overhead_s"] = 7.126
    monkeypatch.setattr(pages, "context", lambda: context)
    page = "before\n<!-- figures: spine -->\nstale\n<!-- /figures -->\nafter\n"
    filled = pages.filled(page)
    assert "| 7.13 s | ≤ 1 s |" in filled
    assert "stale" not in filled
    assert (filled.startswith("before\n"), filled.endswith("<!-- /figures -->\nafter\n")) == (True, True)


def test_every_fault_of_the_last_run_is_on_its_page():
    rows = re.findall(r"^\| \d+ \| .* \| passed \| \d+ \|", (PROJECT / "docs/faults.md").read_text(), re.MULTILINE)
    found = pages.context()["proof_faults"]
    assert len(rows) == found["faults_passed"] == found["faults_total"]


def test_a_proof_names_the_seed_that_it_uses():
    assert pages.context()["proof_spine"]["seed"] == inspect.signature(random_kills).parameters["seed"].default
    assert 'write_figures("proof/spine", figures, seed=SEED' in (PROJECT / "proofs/spine.py").read_text()


def test_the_bench_prints_nothing_of_airflow(home):
    code = "from benches import spine; spine.RUNS = 1; spine.step_overhead_s()"
    answer = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, timeout=120, check=True)
    assert answer.stdout + answer.stderr == ""


def test_a_bench_says_of_each_goal_whether_it_is_met(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tests.figures.PROJECT", tmp_path)
    figures = {"quick_s": 0.5, "slow_s": 2.5, "rate": 30, "other": 1}
    write_figures("bench/x", figures, seed=7, runs=1, goals={"quick_s": "≤ 1", "slow_s": "≤ 2", "rate": "≥ 20"})
    printed = capsys.readouterr().out
    results = {line.split("│")[1].strip(): line.split("│")[4].strip() for line in printed.splitlines() if line.count("│") > 4}
    assert results == {"quick_s": "yes", "slow_s": "NO", "rate": "yes", "other": ""}
    assert "2 of 3 goals met; missed: slow_s" in printed
    assert json.loads((tmp_path / "build/bench/x.json").read_text())["seed"] == 7


def test_the_arithmetic_of_scale():
    figures = {
        "refresh_documents": 1000,
        "tokens_a_document": 50.0,
        "encode_documents_per_s": 100.0,
        "tokenize_tokens_per_s": 200_000,
        "plan_documents_per_s": 50_000,
    }
    block = scale.block(figures)
    assert "CPU: 100,000,000 ÷ 100.0 /s = 12 days" in block
    assert "100,000,000 × 50.0 = 5e+09" in block
    assert "÷ 21.2 MFLOP a token = 2.8 M tokens/s, so 29 minutes; to feed one takes 28 cores" in block
    assert "100,000,000 ÷ 50,000 /s = 33 minutes" in block
    assert "| 10 | 1.2 days | 0.3 h | 10: 5.6 h | 0.05 h |" in block


def test_short_spans_are_shown_in_minutes():
    assert [scale.span(hours, 1) for hours in (2000, 0.3, 0.014)] == ["2,000.0 h", "0.3 h", "0.8 min"]


def test_a_whole_run_of_the_encoders_bench_adds_its_machine_to_the_page_once(tmp_path, monkeypatch):
    folder, page = tmp_path / "docs/figures", tmp_path / "docs/performance.md"
    shutil.copytree(PROJECT / "docs/figures", folder)
    (tmp_path / "README.md").touch()
    page.write_text("<!-- figures: encoding -->\n<!-- /figures -->\n")
    before = {path.name for path in folder.iterdir()}
    run = json.loads((folder / "bench-embeddings.json").read_text())
    monkeypatch.setattr(embeddings, "machine", lambda: "8 cores of a new one (AVX2), 64 GiB")
    for module in (embeddings, pages):
        monkeypatch.setattr(module, "PROJECT", tmp_path)
    for speedup in (1.71, 1.72):
        written = tmp_path / "embeddings.json"
        written.write_text(json.dumps({**run, "machine": embeddings.machine(), "speedup_vs_sentence_transformers": speedup}))
        embeddings.add_to_page(written)
    (added,) = {path.name for path in folder.iterdir()} - before
    assert added == "bench-embeddings-8-cores-of-a-new-one-avx2-64-gib.json"
    assert "| 8 cores of a new one (AVX2), 64 GiB |" in page.read_text()
    assert "1.72 ×" in page.read_text()
    assert "1.71 ×" not in page.read_text()
    (folder / "bench-embeddings-7.json").write_text((folder / added).read_text())  # single groups, on the same machine
    embeddings.add_to_page(written)
    assert {path.name for path in folder.iterdir()} - before == {added}
