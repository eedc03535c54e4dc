"""A release as a model of MLflow's pyfunc flavour: `mlflow.pyfunc.load_model("models:/release@champion").predict(queries)`.

The model in MLflow names the store and the release; nothing is copied, and nothing is unpickled. It ranks on any machine that
has Ratchet and reaches the store, as the search server does. RATCHET_STORE, where it is set, names the store instead.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import InputError
from pipelines.settings import settings
from pipelines.store.artifacts import find
from pipelines.store.objects import Store, open_store

if TYPE_CHECKING:
    from pipelines.retrieval.release import Release

FILE = "store.json"
K = 10


class RankingModel:
    """Ranks documents for queries, by one release."""

    def __init__(self, release: "Release") -> None:
        self.release = release

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """The best documents of each query, as a table of pandas: query, rank, document, title and score, best first.

        Args:
            model_input: texts, as a list or as the first column of a table.
            params: `k`, how many documents for each query.
        """
        import pandas as pd  # type: ignore[import-untyped,unused-ignore]

        column = model_input.iloc[:, 0] if isinstance(model_input, pd.DataFrame) else model_input
        queries = [str(query) for query in column]
        k = int((params or {}).get("k", K))
        rows = [
            {
                "query": query,
                "rank": rank,
                "document": document,
                "title": self.release.documents[document].title,
                "score": score,
            }
            for query, ranking in zip(queries, self.release.search(queries, k), strict=True)
            for rank, (document, score) in enumerate(ranking, 1)
        ]
        return pd.DataFrame(rows, columns=["query", "rank", "document", "title", "score"])


def _load_pyfunc(data_path: str) -> RankingModel:
    """What MLflow calls with the path of the model's data.

    Raises:
        InputError: the store does not have the release.
    """
    from pipelines.retrieval.release import load_release

    path = Path(data_path)
    named = json.loads((path / FILE if path.is_dir() else path).read_text(encoding="utf-8"))
    current = settings()
    store = open_store(current) if current.store else Store(named["store"], named["s3_endpoint"], current.home / "cache")
    if find(store, "release", named["release"]) is None:
        raise InputError(
            f"release {named['release']} in {store.uri}",
            "the store that the release is in",
            "set RATCHET_STORE to an address of it that this machine reaches",
        )
    return RankingModel(load_release(store, named["release"]))
