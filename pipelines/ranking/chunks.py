"""Long texts as chunks: windows of tokens with overlap, each a text of its own; a document scores as its best chunk.

The maximum over passages is what ranks long documents best among simple ways to pool (Dai and Callan, SIGIR 2019).
"""

from collections.abc import Iterable, Sequence
from typing import Any

Ranking = list[tuple[str, float]]
MARK = "#"


def chunks(tokenizer: Any, document: str, text: str, tokens: int, overlap: int = 32) -> list[tuple[str, str]]:
    """Id and text of each chunk: at most `tokens` tokens, the last `overlap` of one being the first of the next.

    A text that fits is one chunk. Ids are `document#0`, `document#1`, …; texts are cut where tokens begin and end, so that
    nothing but white space between two tokens is lost.

    Args:
        tokenizer: of the tokenizers library; its truncation does not matter.
        document: the document's id.
        text: its text.
        tokens: what the model takes, with its special tokens.
        overlap: tokens that two neighbours share.

    Raises:
        ValueError: no step forward is left between the overlap and the window.
    """
    window = tokens - tokenizer.num_special_tokens_to_add(False)
    if not 0 <= overlap < window:
        raise ValueError(f"overlap {overlap} in windows of {window} tokens")
    offsets = _offsets(tokenizer, text)
    starts = range(0, max(1, len(offsets) - overlap), window - overlap)
    cut = [text[offsets[start][0] : offsets[min(start + window, len(offsets)) - 1][1]] if offsets else text for start in starts]
    whole = len(cut) == 1
    return [(f"{document}{MARK}{number}", text if whole else piece) for number, piece in enumerate(cut)]


def _offsets(tokenizer: Any, text: str) -> list[tuple[int, int]]:
    """Where each token stands in the text, whatever the length at which the tokenizer truncates."""
    truncation = tokenizer.truncation
    tokenizer.no_truncation()
    try:
        found: list[tuple[int, int]] = tokenizer.encode(text, add_special_tokens=False).offsets
    finally:
        if truncation:
            tokenizer.enable_truncation(**truncation)
    return found


def parent(chunk: str) -> str:
    """The document of a chunk.

    >>> parent("a#b#12")
    'a#b'
    """
    return chunk.rpartition(MARK)[0]


def pooled(rankings: Iterable[Sequence[tuple[str, float]]], k: int) -> list[Ranking]:
    """Rankings of chunks, best first, as rankings of the k best documents by their best chunk.

    Ask the index for so many chunks that k documents are among them: k × the chunks of the longest document are enough.

    >>> pooled([[("b#1", 0.9), ("a#0", 0.8), ("b#0", 0.7), ("c#0", 0.1)]], 2)
    [[('b', 0.9), ('a', 0.8)]]
    """
    best: list[Ranking] = []
    for ranking in rankings:
        scores: dict[str, float] = {}
        for chunk, score in ranking:
            scores[parent(chunk)] = max(score, scores.get(parent(chunk), score))
        best.append(sorted(scores.items(), key=lambda pair: -pair[1])[:k])
    return best
