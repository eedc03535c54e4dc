"""The plan of `make proof-gpu`, on a CPU: every stage gives its figures, within its time, and nothing claims a GPU."""

import time

import pytest

from proofs import gpu
from tests.tiny_models import tiny_bert, with_first_token


@pytest.fixture
def bench():
    made = gpu.Bench.__new__(gpu.Bench)
    made.sizes, made.cuda, made.figures = gpu.REHEARSED, False, {}
    return made


def test_without_a_gpu_it_says_so_and_what_to_do(monkeypatch, capsys):
    monkeypatch.setattr(gpu, "has_gpu", lambda: False)
    assert gpu.main([]) == 2
    assert "given a machine without a CUDA device; expected one, with its driver; next: run it there" in capsys.readouterr().err


def test_every_stage_gives_its_figures(home, tmp_path):
    model, written = tiny_bert(tmp_path / "tiny"), []
    with_first_token(model)
    bench = gpu.Bench(gpu.REHEARSED, cuda=False, model=str(model))
    figures = gpu.run(bench, time.monotonic() + gpu.LIMIT_S, written.append)
    assert [len(one) for one in written[:-1]] == sorted({len(one) for one in written}), "each stage adds to what is kept"
    assert written[-1] == figures
    assert figures["left_out"] == []
    assert figures["unable"] == []
    assert figures["fp32_fidelity"] > 0.999
    assert {f"{name}_fidelity_low" for name in ("bf16", "fp16")} <= figures.keys()
    assert all(
        figures[f"{name}_{tokens}_texts_per_s"] > 0 for name in ("bf16", "fp16") for tokens in gpu.REHEARSED.batch_tokens
    )
    assert figures["index_cpu_recall_at_10"] > 0.9
    assert set(gpu.GOALS) - figures.keys() == {"index_agreement"}, "an index is not compared with itself"


def test_a_stage_without_time_is_left_out_and_named(bench):
    written = []
    left_out = gpu.run(bench, time.monotonic() - 1, written.append)["left_out"]
    assert written[-1]["left_out"] == left_out, "the file says so, too"
    assert left_out == [f"{name}: too little time was left" for name in ("fidelity", "speed", "index")]
    assert sum(stage.least_s for stage in gpu.PLAN) < gpu.LIMIT_S


def test_a_stage_that_fails_is_named_and_the_others_give_their_figures(bench, monkeypatch):
    def fails(_):
        raise RuntimeError("CUDA error: no kernel image is available")

    monkeypatch.setattr(gpu, "PLAN", (gpu.Stage("speed", 0, fails), gpu.Stage("index", 0, lambda _: [{"index_cpu_s": 1}])))
    written = []
    figures = gpu.run(bench, time.monotonic() + 60, written.append)
    assert figures["index_cpu_s"] == 1
    assert figures["left_out"] == ["speed: RuntimeError: CUDA error: no kernel image is available"]
    assert written[0]["left_out"] == figures["left_out"]


def test_a_stage_that_takes_too_long_is_stopped_and_keeps_its_figures(bench, monkeypatch):
    def endless(_):
        yield {"cpu_fp32_texts_per_s": 7}
        for _ in range(10_000):
            try:
                time.sleep(0.001)
            except Exception:  # noqa: BLE001  # as a library may do
                continue
        yield {"bf16_2048_texts_per_s": 9}

    monkeypatch.setattr(gpu, "PLAN", (gpu.Stage("speed", 0, endless), gpu.Stage("index", 1, lambda _: [{"index_cpu_s": 1}])))
    written = []
    figures = gpu.run(bench, time.monotonic() + 0.1, written.append)
    assert figures["left_out"] == ["speed: TimeIsUpError: the time was up", "index: too little time was left"]
    assert figures.keys() - {"speed_s", "left_out"} == {"cpu_fp32_texts_per_s"}
    assert written[-1] == figures
