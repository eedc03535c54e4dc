"""What 100 M documents cost, computed from the figures of `make bench-embeddings`, for docs/scale.md.

The rate of a GPU is assumed, not measured.
"""

from typing import Any

DOCUMENTS = 100_000_000
SHARDS = 100
PODS = (1, 10, 100)
FLOP_A_TOKEN = 2 * 6 * (4 * 384**2 + 2 * 384 * 1536)
"""MiniLM-L6: six layers of four projections of 384 × 384 and two of 384 × 1536, a multiplication and an addition each."""
GPU_FLOPS = 60e12
"""Assumed: a fifth of the 312 TFLOPS in bf16 that an A100's data sheet names."""


def block(figures: dict[str, Any]) -> str:
    """The measured lines and the table, in Markdown."""
    encode, tokens = figures["encode_documents_per_s"], figures["tokens_a_document"]
    gpu = GPU_FLOPS / FLOP_A_TOKEN
    one_pass = DOCUMENTS / figures["plan_documents_per_s"]
    lines = [
        f"Measured on {figures['refresh_documents']:,} documents of {tokens} tokens: {encode:,.1f} documents/s encoded by one "
        f"machine of 2 cores, {figures['tokenize_tokens_per_s']:,} tokens/s tokenized, {figures['plan_documents_per_s']:,} "
        f"documents/s compared by one process.",
        "",
        f"- Tokens: {DOCUMENTS:,} × {tokens} = {DOCUMENTS * tokens:.3g}.",
        f"- CPU: {DOCUMENTS:,} ÷ {encode:,.1f} /s = {DOCUMENTS / encode / 86400:,.0f} days of one such machine.",
        f"- GPU, assumed: {GPU_FLOPS:.0e} ÷ {FLOP_A_TOKEN / 1e6:.1f} MFLOP a token = {gpu / 1e6:.1f} M tokens/s, so "
        f"{DOCUMENTS * tokens / gpu / 60:,.0f} minutes; to feed one takes "
        f"{gpu / figures['tokenize_tokens_per_s'] * 2:,.0f} cores that tokenize.",
        f"- One pass over the corpus: {DOCUMENTS:,} ÷ {figures['plan_documents_per_s']:,} /s = {one_pass / 60:,.0f} minutes. "
        f"`plan`, `commit_embeddings` and each of {SHARDS} shards make one.",
        "",
        "| pods | in full, CPU as here | 1 % changed | passes of a pod over the corpus | in full, GPU as assumed |",
        "|---|---|---|---|---|",
    ]
    for pods in PODS:
        days = DOCUMENTS / encode / 86400 / pods
        reading = SHARDS / pods * one_pass / 3600
        lines.append(
            f"| {pods} | {days:,.1f} days | {span(days * 24 / 100, 1)} | {SHARDS // pods}: {span(reading, 1)} | "
            f"{span(DOCUMENTS * tokens / gpu / 3600 / pods, 2)} |"
        )
    return "\n".join(lines) + "\n"


def span(hours: float, decimals: int) -> str:
    """Hours, or minutes where the hours would round to 0.

    >>> span(0.3, 1), span(0.014, 1)
    ('0.3 h', '0.8 min')
    """
    shown = f"{hours:,.{decimals}f}"
    return f"{shown} h" if float(shown.replace(",", "")) else f"{hours * 60:.1f} min"
