"""What a bench says of its goals, and that documents say what the benches and proofs wrote."""

import inspect
import json
import re
import subprocess
import sys

import pytest

from benches import embeddings
from proofs.kill_points import random_kills
from tests.conftest import PROJECT
from tests.figures import write_figures

FIGURES = {
    name: json.loads((PROJECT / f"docs/figures/{name}.json").read_text())
    for name in (
        "bench-spine",
        "bench-embeddings",
        "bench-embeddings-avx512",
        "bench-cluster",
        "proof-spine",
        "proof-gate",
        "proof-faults",
        "proof-embeddings",
        "proof-first-release",
    )
}
ROWS = {
    "a step through StepOperator over the bare command line": "step_overhead_s",
    "parsing all DAGs, beyond Airflow's own imports": "dagbag_parse_s",
    "labels encoded, ONNX fp32": "encode_docs_per_s",
    "search server over the bare encode and FAISS calls, p50": "search_p50_ratio",
    "the same, p99": "search_p99_ratio",
    "the whole chain of DAGs when nothing changed": "no_change_chain_s",
}
BATCH = {
    "plan_scores, one process": "batch_plan_s",
    "score_shard, all shards one after the other": "batch_score_s",
    "commit_scores, one process": "batch_commit_s",
    "the Parquet files": "batch_mb",
}
CLUSTER = {
    "a pod of a step over `kubectl run` of the same image": "pod_overhead_s",
    "the whole chain of DAGs as pods when nothing changed": "no_change_chain_s",
    "the image `serve`": "serve_image_mb",
    "the image `serve`, from `docker run` to its first answer": "serve_start_s",
}
METHODS = {
    "the wider of t and Hall (used)": "ours",
    "Student's t": "student_t",
    "bootstrap, percentile": "percentile",
    "bootstrap, BCa": "bca",
}


def table(document, rows):
    """The cells of each row that begins with one of `rows`."""
    lines = (PROJECT / document).read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return {line[0]: line[1:] for line in cells if line[0] in rows}


def rounded(value, shown):
    """A figure with as many decimals as the document shows of it."""
    return f"{value:,.{len(shown.partition('.')[2])}f}"


def number(cell):
    return re.match(r"[\d.,]+", cell)[0]


def test_readme_shows_what_the_bench_wrote():
    shown = table("README.md", ROWS)
    assert shown.keys() == ROWS.keys()
    for row, key in ROWS.items():
        assert number(shown[row][0]) == rounded(FIGURES["bench-spine"][key], number(shown[row][0])), row


def test_readme_tells_what_the_proof_of_the_spine_wrote():
    found = FIGURES["proof-spine"]
    text = " ".join((PROJECT / "README.md").read_text().split())
    assert f"race one id or one journal entry {found['race_winners']} wins" in text
    assert f"{found['kill_points_passed']} of {found['kill_points']} kills" in text
    assert f"{found['planted_refused']} of {found['planted']} harms" in text


def test_evaluation_page_shows_what_the_proof_of_the_gate_wrote():
    found = FIGURES["proof-gate"]
    shown = table("docs/evaluation.md", METHODS)
    assert shown.keys() == METHODS.keys()
    for row, method in METHODS.items():
        for cell, key, worst, unit in zip(
            shown[row],
            ("coverage", "false_pass", "false_reject", "power"),
            (min, max, max, min),
            (100, 100, 100, 1),
            strict=True,
        ):
            value = worst(given for name, given in found.items() if re.fullmatch(rf"{method}_.*_\d+_{key}", name))
            assert number(cell) == rounded(value * unit, number(cell)), (row, key)


def test_a_proof_names_the_seed_that_it_uses():
    assert FIGURES["proof-spine"]["seed"] == inspect.signature(random_kills).parameters["seed"].default
    shown = (PROJECT / "proofs/spine.py").read_text()
    assert 'write_figures("proof/spine", figures, seed=SEED' in shown


def test_the_bench_prints_nothing_of_airflow(home):
    code = "from tests.bench import spine; spine.RUNS = 1; spine.step_overhead_s()"
    answer = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, timeout=120, check=True)
    assert answer.stdout + answer.stderr == ""


def test_a_bench_says_of_each_goal_whether_it_is_met(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tests.figures.PROJECT", tmp_path)
    figures = {"quick_s": 0.5, "slow_s": 2.5, "rate": 30, "other": 1}
    write_figures("bench/x", figures, seed=7, runs=1, goals={"quick_s": "≤ 1", "slow_s": "≤ 2", "rate": "≥ 20"})
    said = capsys.readouterr().out
    found = {line.split("│")[1].strip(): line.split("│")[4].strip() for line in said.splitlines() if line.count("│") > 4}
    assert found == {"quick_s": "yes", "slow_s": "NO", "rate": "yes", "other": ""}
    assert "2 of 3 goals met; missed: slow_s" in said
    assert json.loads((tmp_path / "build/bench/x.json").read_text())["seed"] == 7


def test_batch_page_extrapolates_what_the_bench_wrote():
    found = FIGURES["bench-embeddings"]
    assert found["batch_queries"] == 100_000
    shown = table("docs/batch-scoring.md", BATCH)
    assert shown.keys() == BATCH.keys()
    for row, key in BATCH.items():
        measured, extrapolated = shown[row]
        assert number(measured) == rounded(found[key], number(measured)), row
        assert number(extrapolated) == rounded(found[key] * 100, number(extrapolated)), row
    text, hours = " ".join((PROJECT / "docs/batch-scoring.md").read_text().split()), found["batch_score_s"] * 100 / 3600
    serial = (found["batch_plan_s"] + found["batch_commit_s"]) * 100 / 60
    for words in (
        f"That is {found['batch_queries_per_s']:,.0f} queries a second",
        f"{found['batch_score_s']:,.0f} s × 100 / 3,600 = {hours:.1f} hours on one machine of 2 cores, "
        f"{2 * hours:.1f} core-hours",
        f"it is {hours:.1f} / N hours",
        f"with 20 pods {hours / 20 * 60:.0f} + {serial:.0f} minutes",
        f"at 0.05 (an assumption; put in yours) {2 * hours * 0.05:.2f}",
    ):
        assert words in text, words


def test_indexes_page_shows_the_memory_that_the_bench_wrote():
    found = FIGURES["bench-embeddings"]
    assert found["index_documents"] == 100_000
    shown = table("docs/indexes.md", {f"`{one}`" for one in ("flat", "hnsw", "ivf-sq8", "ivf-pq")})
    assert len(shown) == 4
    for row, cells in shown.items():
        assert number(cells[-1]) == rounded(found[f"index_mb_{row.strip('`')}"], number(cells[-1])), row


def test_performance_page_shows_each_goal_and_what_the_bench_wrote():
    page = (PROJECT / "docs/performance.md").read_text()
    rows = {key: cells for key, *cells in re.findall(r"^\| `(\w+)`[^|]*" + r"\|([^|]*)" * 3 + r"\|$", page, re.MULTILINE)}
    assert rows.keys() == embeddings.GOALS.keys() | {"gemm_share", "batch_queries_per_s"}
    for key, cells in rows.items():
        *measured, goal = (cell.strip() for cell in cells)
        for cell, figures in zip(measured, ("bench-embeddings", "bench-embeddings-avx512"), strict=True):
            assert number(cell) == rounded(FIGURES[figures][key], number(cell)), (key, figures)
        assert goal.startswith(embeddings.GOALS.get(key, "")), key


@pytest.mark.parametrize(("figures", "mark"), [("bench-embeddings", ", AVX2"), ("bench-embeddings-avx512", "")])
def test_performance_page_shows_every_variant_that_the_bench_measured(figures, mark):
    found = {f"`{row['variant']}`{mark}": row for row in FIGURES[figures]["variants"]}
    shown = table("docs/performance.md", found)
    assert len(shown) == len(found)
    for cell, (rate, kept, _, mates, *_) in shown.items():
        row = found[cell]
        assert number(rate) == rounded(row["docs_per_s"], number(rate)), cell
        assert number(kept) == rounded(100 * row["retention"], number(kept)), cell
        assert mates == f"{row['mates']:.0e}", cell


def test_embeddings_page_tells_what_the_proof_of_embeddings_wrote():
    found = FIGURES["proof-embeddings"]
    text = " ".join((PROJECT / "docs/embeddings.md").read_text().split())
    assert f"{found['kill_points_passed']} of {found['kill_points']} kills" in text
    assert found["vectors_lost"] == 0
    assert f"{found['history_max_abs']:.1e}" in text
    assert f"{100 * found['history_top10_equal_ratio']:.0f} % of the queries" in text
    for version, counts in ((name, found[name]) for name in found if re.fullmatch(r"history_\d.*", name)):
        row = version.removeprefix("history_")
        assert f"| {row} | {' | '.join(re.findall(r'[0-9]+', counts))} |" in text, row


def test_faults_page_tells_what_the_last_run_wrote():
    found = FIGURES["proof-faults"]
    page = (PROJECT / "docs/faults.md").read_text()
    assert (
        len(re.findall(r"^\| \d+ \| .* \| passed \| \d+ \|", page, re.MULTILINE))
        == found["faults_passed"]
        == found["faults_total"]
    )
    for harm in ("vectors_lost", "torn_artifacts", "orphan_pods", "shards_redone"):
        assert found[harm] == 0, harm


def test_readme_and_cluster_page_show_what_a_pod_costs():
    found = FIGURES["bench-cluster"]
    for document in ("README.md", "docs/kubernetes.md"):
        shown = table(document, CLUSTER)
        assert shown.keys() == CLUSTER.keys(), document
        for row, key in CLUSTER.items():
            assert number(shown[row][0]) == rounded(found[key], number(shown[row][0])), row


def test_cluster_page_tells_what_the_comparison_of_processes_and_pods_wrote():
    page = " ".join((PROJECT / "docs/kubernetes.md").read_text().split())
    found = json.loads((PROJECT / "docs/figures/proof-parity.json").read_text())
    for words in (
        f"{found['files_equal']} of {found['files']} files equal",
        f"{found['vectors_max_abs_difference']:.1e}",
        f"{100 * found['top10_equal_ratio']:.1f} % of the queries",
        f"{found['shards_cluster']} shards",
    ):
        assert words in page, words
    assert found["verdict_equal"] == found["champion_equal"] == 1


def test_cluster_page_tells_how_long_the_walk_along_it_took():
    page = " ".join((PROJECT / "docs/kubernetes.md").read_text().split())
    found = FIGURES["proof-first-release"]
    assert f"took {found['walk_s']:.0f} s" in page
    assert f"{found['chain_s']:.0f} s of them" in page
    assert found["results"] >= 1
