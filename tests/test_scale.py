"""The page on scale says what the bench measured, and computes rightly with it."""

import json

from benches import scale

FOUND = {
    "refresh_documents": 1000, "tokens_a_document": 50.0, "encode_documents_per_s": 100.0, "tokenize_tokens_per_s": 200_000,
    "plan_documents_per_s": 50_000,
}  # fmt: skip


def test_the_arithmetic():
    said = scale.block(FOUND)
    assert "CPU: 100,000,000 ÷ 100.0 /s = 12 days" in said
    assert "100,000,000 × 50.0 = 5e+09" in said
    assert "÷ 21.2 MFLOP a token = 2.8 M tokens/s, so 29 minutes; to feed one takes 28 cores" in said
    assert "100,000,000 ÷ 50,000 /s = 33 minutes" in said
    assert "| 10 | 1.2 days | 0.3 h | 10: 5.6 h | 0.05 h |" in said


def test_short_spans_are_shown_in_minutes():
    assert [scale.span(hours, 1) for hours in (2000, 0.3, 0.014)] == ["2,000.0 h", "0.3 h", "0.8 min"]


def test_the_page_shows_what_the_bench_wrote():
    found, page = json.loads(scale.FIGURES.read_text()), scale.PAGE.read_text()
    assert scale.block(found) in page, "run python -m benches.scale"
    assert f"{found['rss_ratio_1m_100k']:.3f} ×" in page
