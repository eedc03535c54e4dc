"""The encoder as a torch module, for export, reference vectors and the torch variants. Serving never imports it."""

import inspect
import json
from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from pipelines.errors import InputError
from pipelines.models.folder import Layer


def sentence_encoder(model: Path, pooling: str, layers: Path | None = None) -> Any:
    """The encoder in folder `model` as a torch module in fp32, in evaluation mode.

    Its forward pass takes token ids, attention mask and token types, each int64 (texts, tokens), padded at the end if at all,
    and returns unit vectors, float32 (texts, dimensions). Its attribute `head` computes in fp32 whatever the body computes in.

    Args:
        model: a folder with `config.json` and `model.safetensors`.
        pooling: modes of `folder.POOLINGS`, joined by +; their vectors are joined in this order.
        layers: the layers between pooling and normalization, as `write_layers` wrote them.

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
    typed = "token_type_ids" in inspect.signature(body.forward).parameters

    class SentenceEncoder(torch.nn.Module):  # type: ignore[misc]  # torch is not followed by mypy
        """Transformer body, pooling, layers and normalization to length 1."""

        def __init__(self) -> None:
            super().__init__()
            self.body, self.config, self.head = body, body.config, torch.nn.Sequential(*(read_layers(layers) if layers else ()))

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
            types = {"token_type_ids": token_type_ids} if typed else {}
            hidden = self.body(input_ids=input_ids, attention_mask=attention_mask, **types).last_hidden_state
            pooled = pool(hidden.float(), attention_mask, pooling)  # pooled in fp32, whatever the body computes in
            return torch.nn.functional.normalize(self.head(pooled), dim=1)

    return SentenceEncoder().eval()


def pool(hidden: Any, attention_mask: Any, pooling: str) -> Any:
    """Token vectors, float32 (texts, tokens, n), become one a text, (texts, n × modes), as by sentence-transformers' Pooling.

    >>> import torch
    >>> pool(torch.tensor([[[1.0], [2.0], [6.0]]]), torch.tensor([[1, 1, 1]]), "cls+max+mean+lasttoken").tolist()
    [[1.0, 6.0, 3.0, 6.0]]
    >>> pool(torch.tensor([[[1.0], [4.0], [9.0]]]), torch.tensor([[1, 1, 0]]), "weightedmean+lasttoken+max").tolist()
    [[3.0, 4.0, 4.0]]
    """
    import torch

    mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
    found = []
    for mode in pooling.split("+"):
        if mode == "cls":
            found.append(hidden[:, 0])
        elif mode == "max":
            found.append(hidden.masked_fill(mask == 0, float("-inf")).amax(1))
        elif mode == "lasttoken":
            last = attention_mask.sum(1).sub(1).clamp(min=0).reshape(-1, 1, 1).expand(-1, 1, hidden.shape[2])
            found.append(hidden.gather(1, last).squeeze(1))
        else:
            weights = mask * torch.cumsum(mask, 1) if mode == "weightedmean" else mask
            total = weights.sum(1).clamp(min=1e-9)
            found.append((hidden * weights).sum(1) / (total.sqrt() if mode == "mean_sqrt_len_tokens" else total))
    return found[0] if len(found) == 1 else torch.cat(found, 1)


def write_layers(layers: Sequence[Layer], target: Path) -> None:
    """Write the layers into one file: their weights, and their kinds and activations as its metadata.

    Raises:
        InputError: their weights can't be loaded.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file, save_file

    tensors: dict[str, Any] = {}
    for number, layer in enumerate(layers):
        if layer.weights:
            binary = layer.weights.suffix == ".bin"
            try:
                loaded = torch.load(layer.weights, "cpu", weights_only=True) if binary else load_file(layer.weights)
            except (OSError, RuntimeError, UnpicklingError, SafetensorError) as error:
                raise InputError(
                    f"{layer.weights}: {str(error)[:200]}", "weights of torch", "download the model again"
                ) from None
            tensors |= {f"{number}.{name}": tensor.float().contiguous() for name, tensor in loaded.items()}
    described = [{"kind": layer.kind, "activation": layer.activation, "residual": layer.residual} for layer in layers]
    save_file(tensors, target, {"layers": json.dumps(described)})


def read_layers(path: Path) -> list[Any]:
    """The layers that `write_layers` wrote, as torch modules in fp32.

    Raises:
        InputError: weights or an activation that this torch does not have.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            described = json.loads(file.metadata()["layers"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
        return [
            _torch_layer(
                layer, {name.partition(".")[2]: tensor for name, tensor in tensors.items() if name.startswith(f"{number}.")}
            )
            for number, layer in enumerate(described)
        ]
    except (SafetensorError, KeyError, RuntimeError, AttributeError, TypeError, ValueError) as error:
        raise InputError(f"{path}: {str(error)[:200]}", "layers that torch can load", "check the model's folder") from None


def _torch_layer(described: dict[str, Any], weights: dict[str, Any]) -> Any:
    import torch

    class Normalize(torch.nn.Module):  # type: ignore[misc]  # torch is not followed by mypy
        def forward(self, vectors: Any) -> Any:
            return torch.nn.functional.normalize(vectors, dim=1)

    class Dense(torch.nn.Module):  # type: ignore[misc]  # torch is not followed by mypy
        """A linear layer with an activation, and the input added to the output where it is a residual one."""

        def __init__(self) -> None:
            super().__init__()
            wide, narrow = weights["linear.weight"].shape
            self.linear = torch.nn.Linear(narrow, wide, bias="linear.bias" in weights)
            self.activation = getattr(torch.nn, described["activation"].rpartition(".")[2])()
            if "residual.weight" in weights:
                self.residual = torch.nn.Linear(narrow, wide, bias=False)

        def forward(self, vectors: Any) -> Any:
            out = self.activation(self.linear(vectors))
            if not described["residual"]:
                return out
            return out + (self.residual(vectors) if "residual.weight" in weights else vectors)

    class LayerNorm(torch.nn.Module):  # type: ignore[misc]  # torch is not followed by mypy
        def __init__(self) -> None:
            super().__init__()
            self.norm = torch.nn.LayerNorm(weights["norm.weight"].shape[0])

        def forward(self, vectors: Any) -> Any:
            return self.norm(vectors)

    layer: Any = {"Normalize": Normalize, "Dense": Dense, "LayerNorm": LayerNorm}[described["kind"]]()
    layer.load_state_dict(weights)
    return layer.eval()
