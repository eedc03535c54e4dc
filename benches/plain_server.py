"""The server that `make bench-serve` compares with: FastAPI and sentence-transformers, as one would write them in an afternoon.

`python -m benches.plain_server DOCUMENTS PORT`, with the documents as JSON lines of id and text.
"""

import json
import sys
from typing import Any

import faiss
import numpy as np
import uvicorn
from fastapi import FastAPI
from sentence_transformers import SentenceTransformer

from pipelines.models.sources import MINILM, model_folder

model = SentenceTransformer(str(model_folder(MINILM)), device="cpu")
app = FastAPI()
with open(sys.argv[1], encoding="utf-8") as file:  # noqa: PTH123
    documents = [json.loads(line) for line in file]
vectors = np.asarray(model.encode([document["text"] for document in documents], normalize_embeddings=True))
index = faiss.IndexFlatIP(vectors.shape[1])
index.add(vectors)


@app.get("/v1/search")
def search(q: str, k: int = 10) -> list[dict[str, Any]]:
    scores, rows = index.search(model.encode([q], normalize_embeddings=True), k)
    return [{"id": documents[row]["id"], "score": float(score)} for row, score in zip(rows[0], scores[0], strict=True)]


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
