"""What a sentence-transformers folder says of itself: pooling, layers after it, prompts, longest text, lower case.

It is read from the folder's JSON files before anything is hashed or loaded; what cannot be carried over is refused by name.
Format: `modules.json` and the files that it names, as sentence-transformers 6 reads them.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.errors import InputError
from pipelines.store.recipes import canonical, digest, digest_file

POOLINGS = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
"""In the order in which a folder of several modes joins them."""
FLAGS = {
    f"pooling_mode_{name}": mode
    for name, mode in zip(
        ("cls_token", "max_tokens", "mean_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"),
        POOLINGS,
        strict=True,
    )
}
PLAIN_KEYS = {"max_seq_length", "do_lower_case", "modality_config", "unpad_inputs"}
"""Keys of the transformer's configuration that are read here, or change no vector of a text."""
PLAIN_VALUES = {"transformer_task": "feature-extraction", "module_output_name": "token_embeddings"}
PLAIN_TEXT = {"method": "forward", "method_output_name": "last_hidden_state"}
SENTENCE = "sentence_embedding"
OFFSET = {"camembert", "data2vec-text", "ibert", "longformer", "luke", "mpnet", "roberta", "xlm-roberta", "xlm-roberta-xl"}
"""Types of models, as transformers names them, that count a text's positions from the one after the padding token's."""
LONGEST = 512
"""Tokens of a text beyond which no encoder is exported."""


@dataclass(frozen=True)
class Layer:
    """A layer after pooling: `Dense`, `LayerNorm` or `Normalize`, its torch activation, and the file of its weights."""

    kind: str
    weights: Path | None = None
    activation: str = ""
    residual: bool = False


@dataclass(frozen=True)
class ModelFolder:
    """A model folder, read. `own`: whether it has `modules.json`, so that it says how texts become vectors."""

    folder: Path
    model: Path
    """Where the transformer lies: the folder itself, or one within it."""
    own: bool = False
    pooling: str = "mean"
    layers: tuple[Layer, ...] = ()
    normalized: bool = False
    query_prefix: str = ""
    document_prefix: str = ""
    max_length: int | None = None
    lower_case: bool = False


def read_folder(folder: Path) -> ModelFolder:
    """What `folder` says of itself; a folder without `modules.json` says nothing.

    Raises:
        InputError: a file is not as the library writes it, or names something that an exported encoder cannot do.
    """
    if not (folder / "modules.json").is_file():
        return ModelFolder(folder, folder)
    try:
        return _read_modules(folder, _json(folder / "modules.json", list))
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{folder}: {error}", "configuration files as sentence-transformers writes them", "save the model again"
        ) from None


def _read_modules(folder: Path, modules: Any) -> ModelFolder:
    try:
        parts = [(module["type"].rpartition(".")[2], module["type"], folder / module["path"]) for module in modules]
    except (TypeError, KeyError, AttributeError):
        raise InputError(
            f"{folder}/modules.json without types and paths", "a list of modules", "save the model again"
        ) from None
    foreign = next((name for _, name, _ in parts if not name.startswith("sentence_transformers.")), "")
    if foreign:
        raise _cannot(folder, f"module {foreign}")
    if [kind for kind, _, _ in parts[:2]] != ["Transformer", "Pooling"]:
        first = next((name for (kind, name, _), due in zip(parts, ("Transformer", "Pooling"), strict=False) if kind != due), "")
        raise _cannot(folder, f"module {first}" if first else "no module Pooling")
    model = parts[0][2]
    query, document = _prompts(folder)
    layers = tuple(layer for kind, name, path in parts[2:] for layer in _layer(folder, kind, name, path))
    normalized = bool(layers) and layers[-1].kind == "Normalize"
    _check_similarity(folder, normalized)
    transformer = _transformer(folder, model)
    return ModelFolder(
        folder=folder,
        model=model,
        own=True,
        pooling=_pooling(folder, parts[1][2], bool(query or document)),
        layers=layers[:-1] if normalized else layers,
        normalized=normalized,
        query_prefix=query,
        document_prefix=document,
        max_length=_max_length(model, transformer),
        lower_case=bool(transformer.get("do_lower_case")) and not _lowers(model / "tokenizer.json"),
    )


def layers_digest(layers: Sequence[Layer]) -> str:
    """The sha256 of layers: their kinds, activations and weights; empty for none."""
    described = [
        [layer.kind, layer.activation, layer.residual, digest_file(layer.weights) if layer.weights else ""] for layer in layers
    ]
    return digest(canonical(described)) if described else ""


def _cannot(folder: Path, what: str) -> InputError:
    return InputError(
        f"{folder}: {what}",
        "a Transformer, a Pooling, then Dense, LayerNorm, Dropout or Normalize, which an exported encoder can do",
        "choose a model without it, or have its vectors learned by one of these (distillation)",
    )


def _json(path: Path, kind: type = dict) -> Any:
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else kind()
    except ValueError as error:
        raise InputError(f"{path}: {error}", "JSON", "save the model again") from None
    if not isinstance(content, kind):
        expected = "a JSON object" if kind is dict else "a JSON list"
        raise InputError(f"{path} with {json.dumps(content)[:80]}", expected, "save the model again")
    return content


def _pooling(folder: Path, path: Path, prompted: bool) -> str:
    """The modes of pooling, joined by + in the order of their parts of the vector."""
    config = _json(path / "config.json")
    modes = config.get("pooling_mode") or [mode for flag, mode in FLAGS.items() if config.get(flag)] or "mean"
    names = [modes] if isinstance(modes, str) else list(modes)
    unknown = [name for name in names if name not in POOLINGS]
    if unknown:
        raise _cannot(folder, f"pooling {unknown[0]}")
    if prompted and config.get("include_prompt", True) is False:
        raise _cannot(folder, "pooling without the prompt's tokens (include_prompt)")
    return "+".join(names)


def _layer(folder: Path, kind: str, name: str, path: Path) -> list[Layer]:
    config = _json(path / "config.json")
    keys = {config.get("module_input_name") or SENTENCE, config.get("module_output_name") or SENTENCE}
    if kind == "Dropout":
        return []
    if kind not in {"Dense", "LayerNorm", "Normalize"} or keys != {SENTENCE}:
        raise _cannot(folder, f"module {name}" + (f" of {', '.join(sorted(keys))}" if keys != {SENTENCE} else ""))
    if kind == "Normalize":
        return [Layer(kind)]
    activation = str(config.get("activation_function", "torch.nn.modules.activation.Tanh")) if kind == "Dense" else ""
    if activation and not activation.startswith("torch.nn."):
        raise _cannot(folder, f"activation {activation}")
    weights = next((path / file for file in ("model.safetensors", "pytorch_model.bin") if (path / file).is_file()), None)
    if not weights:
        raise InputError(f"{path} without weights", "model.safetensors or pytorch_model.bin", "download the whole model")
    return [Layer(kind, weights, activation, bool(config.get("use_residual")))]


def _prompts(folder: Path) -> tuple[str, str]:
    """The prompts of queries and of documents; where a side has none, the default prompt."""
    config = _json(folder / "config_sentence_transformers.json")
    prompts = {name: text for name, text in (config.get("prompts") or {}).items() if text}
    if not all(isinstance(text, str) for text in prompts.values()):
        raise ValueError(f"prompts {json.dumps(prompts)[:80]}")
    default = prompts.get(config.get("default_prompt_name") or "", "")
    document = next((prompts[name] for name in ("document", "passage", "corpus") if name in prompts), default)
    return prompts.get("query", default), document


def _check_similarity(folder: Path, normalized: bool) -> None:
    """Refuse a similarity that cosine does not rank like: vectors of any length by their dot product or their distance."""
    similarity = _json(folder / "config_sentence_transformers.json").get("similarity_fn_name") or "cosine"
    if similarity == "cosine" or (normalized and similarity in {"dot", "euclidean"}):
        return
    raise InputError(
        f"{folder}: similarity {similarity} of vectors {'of length 1' if normalized else 'that are not of length 1'}",
        "cosine, by which vectors are ranked here (dot and euclidean rank alike after a module Normalize)",
        "choose the model's variant for cosine",
    )


def _transformer(folder: Path, model: Path) -> dict[str, Any]:
    """The transformer's configuration; refused where it does anything else than token vectors of a text."""
    names = sorted(model.glob("sentence_*_config.json"), key=lambda path: (path.name != "sentence_bert_config.json", path.name))
    config: dict[str, Any] = _json(names[0]) if names else {}
    for key, value in config.items():
        if key not in PLAIN_KEYS and value and value != PLAIN_VALUES.get(key):
            raise _cannot(folder, f"{key} {json.dumps(value)[:80]} of the transformer")
    if (config.get("modality_config") or {}).get("text", PLAIN_TEXT) != PLAIN_TEXT:
        raise _cannot(folder, f"modality_config {json.dumps(config['modality_config'])[:80]} of the transformer")
    return config


def _max_length(model: Path, transformer: dict[str, Any]) -> int | None:
    """Tokens of a text that the folder keeps; none: it does not say."""
    limits = [
        transformer.get("max_seq_length") or _json(model / "tokenizer_config.json").get("model_max_length"),
        _positions(model),
    ]
    known = [int(limit) for limit in limits if limit and limit > 0]
    return min(known) if known else None


def positions(model: Path) -> int:
    """Tokens that a model has positions for, at most LONGEST."""
    return min(_positions(model) or LONGEST, LONGEST)


def _positions(model: Path) -> int | None:
    config = _json(model / "config.json")
    most = config.get("max_position_embeddings")
    if not isinstance(most, int) or most <= 0:
        return None
    offset = 1 + int(config.get("pad_token_id") or 1) if config.get("model_type") in OFFSET else 0
    return max(most - offset, 1)


def _lowers(tokenizer: Path) -> bool:
    """Whether a tokenizer has a step of its own that lowers letters."""
    normalizer = _json(tokenizer).get("normalizer") or {}
    return any(part.get("type") == "Lowercase" for part in (normalizer, *normalizer.get("normalizers", [])))
