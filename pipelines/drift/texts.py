"""What is measured of a text: its vector, its tokens, unknown and truncated ones, its language."""

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.drift.rows import BUCKETS, MOST_VALUES, NULL, Column, Floats, Numbers, Rows, banded, column_of, random_features
from pipelines.drift.sampling import unit_numbers
from pipelines.models.encoder import Role, Vectors

UNKNOWN = ("[UNK]", "<unk>", "<UNK>")
WINDOW = 4096


def measure(
    texts: Sequence[str],
    units: Sequence[str],
    columns: Mapping[str, Sequence[str | None]],
    tokenizer: Any,
    vectors: Vectors | None,
    role: Role,
) -> Rows:
    """The rows of texts.

    Args:
        texts: one for each row.
        units: of each row, its user or its document.
        columns: of categories or numbers; one with too many different values is left out.
        tokenizer: of the encoder, which truncates at its longest text; None: tokens are not looked at.
        vectors: unit vectors, (rows, dimensions); None: there are none.
        role: whether these are documents, whose truncated texts matter, or queries.
    """
    numbers, words, ends = tokens_of(texts, tokenizer) if tokenizer is not None else ({}, None, None)
    if role == "query":
        numbers.pop("truncated", None)
    made = {name: column for name, values in columns.items() if (column := _column(values)) is not None}
    if (languages := languages_of(texts)) is not None:
        made["language"] = languages
    features = None if vectors is None else random_features(np.asarray(vectors, np.float32))
    return Rows(np.fromiter(unit_numbers(units), np.int64, len(units)), made, numbers, features, words, ends)


def _column(values: Sequence[str | None]) -> Column | None:
    """A column that can be compared; None: its values are as many as ids or texts have, or one alone."""
    column = column_of(banded(values))
    few = len(column.values) <= min(MOST_VALUES, max(20, len(values) // 4))
    return column if few and column.values != [NULL] else None


def tokens_of(texts: Sequence[str], tokenizer: Any) -> tuple[dict[str, Floats], Numbers, Numbers]:
    """Length, unknown and truncated share of each text, the buckets of all tokens, and where each text's end."""
    unknown = next((tokenizer.token_to_id(name) for name in UNKNOWN if tokenizer.token_to_id(name) is not None), None)
    lengths: list[int] = []
    cut: list[bool] = []
    unknowns: list[float] = []
    buckets: list[Any] = []
    for start in range(0, len(texts), WINDOW):
        for encoding in tokenizer.encode_batch_fast(list(texts[start : start + WINDOW]), add_special_tokens=False):
            ids = np.array(encoding.ids, np.int64)
            lengths.append(len(ids))
            cut.append(bool(encoding.overflowing))
            unknowns.append(float((ids == unknown).mean()) if len(ids) else 0.0)
            buckets.append((ids * 2654435761 >> 7) % BUCKETS)
    numbers = {"length": np.array(lengths, float), "truncated": np.array(cut, float)}
    if unknown is not None:
        numbers["unknown"] = np.array(unknowns)
    return numbers, np.concatenate(buckets) if buckets else np.empty(0, np.int64), np.cumsum(lengths)


def languages_of(texts: Sequence[str]) -> Column | None:
    """The language of each text; None: the packages are not installed, or hardly a text is long enough for one."""
    if importlib.util.find_spec("py3langid") is None:
        return None
    from pipelines.quality.language import language_of

    found = [language_of(text) for text in texts]
    return column_of(found) if sum(one is not None for one in found) >= max(1, len(texts) // 10) else None
