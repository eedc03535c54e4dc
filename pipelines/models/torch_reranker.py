"""The reranker as a torch module, for export, reference scores and the torch variants. Serving never imports it."""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.errors import InputError


def pair_scorer(model: Path) -> Any:
    """The cross-encoder in folder `model` as a torch module in fp32, in evaluation mode.

    Its forward pass takes token ids, attention mask and token types, each int64 (pairs, tokens), padded at the end if at all,
    and returns a logit for each pair, float (pairs, 1).

    Raises:
        InputError: the weights can't be loaded, or give another number of scores than one a pair.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForSequenceClassification
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    try:
        body = AutoModelForSequenceClassification.from_pretrained(model, local_files_only=True).eval().float()
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputError(f"{model}: {str(error)[:200]}", "weights that transformers can load", "check the folder") from None
    if body.config.num_labels != 1:
        raise InputError(
            f"{model}, a model with {body.config.num_labels} labels",
            "one label: the score of a pair",
            "train it with one label (num_labels=1)",
        )
    typed = "token_type_ids" in inspect.signature(body.forward).parameters

    class PairScorer(torch.nn.Module):  # type: ignore[misc]  # torch is not followed by mypy
        """Transformer body and its head of one label."""

        def __init__(self) -> None:
            super().__init__()
            self.body, self.config = body, body.config

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
            types = {"token_type_ids": token_type_ids} if typed else {}
            return self.body(input_ids=input_ids, attention_mask=attention_mask, **types).logits

    return PairScorer().eval()


def library_scores(model: Path, max_length: int, pairs: Sequence[tuple[str, str]]) -> Any:
    """The pairs' logits by sentence-transformers' CrossEncoder in fp32, one pair at a time: float32, (pairs,).

    This is what the folder's scores are by definition.

    Raises:
        InputError: the library is not installed, or does not load the folder.
    """
    import numpy as np

    try:
        from sentence_transformers import CrossEncoder
    except ModuleNotFoundError as error:
        raise InputError(
            f"{model}, without the module {error.name}",
            "the library that says what its scores are",
            "install sentence-transformers",
        ) from None
    from torch.nn import Identity

    try:
        library = CrossEncoder(str(model.absolute()), device="cpu", max_length=max_length, local_files_only=True)
    except Exception as error:  # noqa: BLE001  # whatever a stranger's folder makes the library raise
        raise InputError(
            f"{model}: {str(error)[:200]}", "a folder that CrossEncoder of sentence-transformers loads", "train it again"
        ) from None
    scores = library.predict(list(pairs), batch_size=1, show_progress_bar=False, activation_fn=Identity())
    return np.asarray(scores, np.float32).reshape(len(pairs), -1)[:, 0]
