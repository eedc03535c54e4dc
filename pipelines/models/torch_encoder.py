"""The encoder as a torch module, for export, reference vectors and the torch variants. Serving never imports it."""

from pathlib import Path
from typing import Any

from pipelines.errors import InputError


def sentence_encoder(model: Path, pooling: str) -> Any:
    """The encoder in folder `model` as a torch module in fp32, in evaluation mode.

    Its forward pass takes token ids, attention mask and token types, each int64 (texts, tokens), and returns unit vectors,
    float32 (texts, dimensions).

    Args:
        model: a folder with `config.json` and `model.safetensors`.
        pooling: "cls": the first token's vector; else the mean of the tokens' vectors.

    Raises:
        InputError: the weights can't be loaded.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModel
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    try:
        body = AutoModel.from_pretrained(model, local_files_only=True).eval().float()
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputError(f"{model}: {str(error)[:200]}", "weights that transformers can load", "check the folder") from None

    class SentenceEncoder(torch.nn.Module):  # type: ignore[misc]  # torch is not followed by mypy
        """BERT body, pooling and normalization to length 1."""

        def __init__(self) -> None:
            super().__init__()
            self.body, self.config = body, body.config

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
            hidden = self.body(
                input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
            ).last_hidden_state.float()  # pooled in fp32, whatever the layers compute in
            if pooling == "cls":
                pooled = hidden[:, 0]
            else:
                mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
                pooled = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
            return torch.nn.functional.normalize(pooled, dim=1)

    return SentenceEncoder().eval()
