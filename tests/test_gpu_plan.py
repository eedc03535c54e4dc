"""The plan of `make proof-gpu`, on a CPU: every stage gives its figures, within its time, and nothing claims a GPU."""

import time

import pytest

from proofs import gpu


@pytest.fixture
def bench():
    made = gpu.Bench.__new__(gpu.Bench)
    made.sizes, made.cuda, made.figures = gpu.REHEARSED, False, {}
    return made


def test_without_a_gpu_it_says_so_and_what_to_do(monkeypatch, capsys):
    monkeypatch.setattr(gpu, "has_gpu", lambda: False)
    assert gpu.main([]) == 2
    assert "given a machine without a CUDA device; expected one, with its driver; next: run it there" in capsys.readouterr().err


def test_every_stage_gives_its_figures(home):
    figures = gpu.run(gpu.Bench(gpu.REHEARSED, cuda=False), time.monotonic() + gpu.LIMIT_S)
    assert figures["left_out"] == []
    assert figures["unable"] == []
    assert figures["fp32_fidelity"] > 0.999
    assert {f"{name}_fidelity_low" for name in ("bf16", "fp16")} <= figures.keys()
    assert all(
        figures[f"{name}_{tokens}_texts_per_s"] > 0 for name in ("bf16", "fp16") for tokens in gpu.REHEARSED.batch_tokens
    )
    assert figures["index_agreement"] == 1, "one device only"
    assert figures["index_cpu_recall_at_10"] > 0.9
    assert set(gpu.GOALS) <= figures.keys()


def test_a_stage_without_time_is_left_out_and_named(bench):
    assert gpu.run(bench, time.monotonic() - 1) == {"left_out": ["fidelity", "speed", "index"]}
    assert sum(stage.least_s for stage in gpu.PLAN) < gpu.LIMIT_S
