"""A trained encoder or reranker as a model of MLflow's pyfunc flavour: `mlflow.pyfunc.load_model("models:/ID").predict(table)`.

The model in MLflow names the store and the artifact; nothing is copied, and nothing is unpickled. RATCHET_STORE, where it is
set, names the store instead.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

from pipelines.errors import InputError
from pipelines.models.encoder import load_encoder
from pipelines.models.reranker import files_within
from pipelines.settings import settings
from pipelines.store.artifacts import Artifact, find
from pipelines.store.objects import Store, open_store

FILE = "artifact.json"


class EncoderModel:
    """Encodes texts as queries."""

    def __init__(self, artifact: Artifact) -> None:
        self.encoder = load_encoder(artifact, "onnx-fp32")

    def predict(self, model_input: Any) -> Any:
        """Unit vectors of the column `text` of a table, float32, (rows, dimensions)."""
        return self.encoder.encode([str(text) for text in model_input["text"]], "query")


class RerankerModel:
    """Scores pairs of a query and a document."""

    def __init__(self, artifact: Artifact) -> None:
        from sentence_transformers import CrossEncoder

        with tempfile.TemporaryDirectory(prefix="ratchet-reranker-") as scratch:
            folder, length = files_within(artifact, Path(scratch)), artifact.json("reranker.json")["max_length"]
            self.model = CrossEncoder(str(folder), device="cpu", max_length=length, local_files_only=True)

    def predict(self, model_input: Any) -> Any:
        """The score of each row's `query` and `document`, float32, (rows,)."""
        pairs = list(zip(map(str, model_input["query"]), map(str, model_input["document"]), strict=True))
        return self.model.predict(pairs, show_progress_bar=False)


def _load_pyfunc(data_path: str) -> EncoderModel | RerankerModel:
    """What MLflow calls with the path of the model's data.

    Raises:
        InputError: the store does not have the artifact.
    """
    path = Path(data_path)
    named = json.loads((path / FILE if path.is_dir() else path).read_text(encoding="utf-8"))
    current = settings()
    store = open_store(current) if current.store else Store(named["store"], named["s3_endpoint"], current.home / "cache")
    artifact = find(store, named["kind"], named["id"])
    if artifact is None:
        raise InputError(
            f"{named['kind']} {named['id']} in {store.uri}",
            f"the store that the {named['kind']} is in",
            "set RATCHET_STORE to an address of it that this machine reaches",
        )
    return EncoderModel(artifact) if artifact.kind == "encoder" else RerankerModel(artifact)
