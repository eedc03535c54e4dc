"""Formats that round-trip: what `ingest` makes of the icons in each of them, and of a shop's own files."""

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from pipelines.corpus.documents import Document, Qrel, Query, documents, qrels, queries
from pipelines.corpus.icons import read_icons
from pipelines.store.artifacts import load_exactly
from pipelines.store.objects import open_store
from proofs.data_ingest import Answer, ingest
from tests.corpora import CHORUS
from tests.services import seaweedfs

Real = tuple[list[Document], list[Query], list[Qrel]]
Table = list[dict[str, Any]]


def tables(real: Real) -> dict[str, Table]:
    """The rows as a person would keep them in three tables."""
    return {
        "documents": [{"id": one.id, "title": one.title, "category": one.segment} for one in real[0]],
        "queries": [{"query_id": one.id, "query": one.text} for one in real[1]],
        "qrels": [{"query_id": one.query, "document_id": one.document, "grade": one.grade} for one in real[2]],
    }


def as_csv(rows: Table, delimiter: str = ",") -> bytes:
    target = io.StringIO(newline="")
    sheet = csv.DictWriter(target, rows[0].keys(), delimiter=delimiter)
    sheet.writeheader()
    sheet.writerows(rows)
    return target.getvalue().encode()


def as_jsonl(rows: Table) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def as_parquet(rows: Table) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    target = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows), target)
    return target.getvalue()


def as_zstd(content: bytes) -> bytes:
    import pyarrow as pa

    target = pa.BufferOutputStream()
    with pa.CompressedOutputStream(target, "zstd") as stream:
        stream.write(content)
    return bytes(target.getvalue())


def as_zip(content: bytes, name: str) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return target.getvalue()


def files_of(real: Real, ending: str, write: Callable[[Table], bytes]) -> dict[str, bytes]:
    return {f"{name}.{ending}": write(rows) for name, rows in tables(real).items()}


def beir(real: Real) -> dict[str, bytes]:
    rows = [{"_id": one.id, "title": one.title, "text": one.segment, "metadata": {}} for one in real[0]]
    judged = [{"query-id": one.query, "corpus-id": one.document, "score": one.grade} for one in real[2]]
    asked = [{"_id": one.id, "text": one.text, "metadata": {}} for one in real[1]]
    return {"corpus.jsonl": as_jsonl(rows), "queries.jsonl": as_jsonl(asked), "qrels/test.tsv": as_csv(judged, "\t")}


def trec(real: Real) -> dict[str, bytes]:
    shown = [
        f"<DOC>\n<DOCNO> {one.id} </DOCNO>\n<TITLE>{one.title}</TITLE>\n<TEXT>\n{one.segment}\n</TEXT>\n</DOC>\n"
        for one in real[0]
    ]
    asked = [f"<top>\n<num> Number: {one.id}\n<title> {one.text}\n<desc> Description:\n</top>\n\n" for one in real[1]]
    judged = [one.line() + "\n" for one in real[2]]
    return {
        "docs.trec": "".join(shown).encode(),
        "topics.txt": "".join(asked).encode(),
        "qrels.txt": "".join(judged).encode(),
    }


def formats(real: Real) -> dict[str, tuple[dict[str, bytes], str]]:
    """Files by format, and whether their documents' text is the title alone or title and segment."""
    plain = files_of(real, "csv", as_csv)
    packed: dict[str, Callable[[bytes], bytes]] = {
        "gz": gzip.compress,
        "bz2": bz2.compress,
        "xz": lzma.compress,
        "zst": as_zstd,
    }
    found = {
        "csv": (plain, "title"),
        "csv with semicolons": (files_of(real, "csv", lambda rows: as_csv(rows, ";")), "title"),
        "tsv": (files_of(real, "tsv", lambda rows: as_csv(rows, "\t")), "title"),
        "jsonl": (files_of(real, "jsonl", as_jsonl), "title"),
        "json": (files_of(real, "json", lambda rows: json.dumps(rows).encode()), "title"),
        "parquet": (files_of(real, "parquet", as_parquet), "title"),
        "beir": (beir(real), "both"),
        "trec": (trec(real), "both"),
        "csv.zip": ({f"{name}.zip": as_zip(content, name) for name, content in plain.items()}, "title"),
    }
    for ending, pack in packed.items():
        found[f"csv.{ending}"] = ({f"{name}.{ending}": pack(content) for name, content in plain.items()}, "title")
    return found


def comes_back(answer: Answer, real: Real, text: str) -> bool:
    """Whether the corpus says what the files say: texts and segments, queries and judgments."""
    if answer.code:
        print(answer.said[-500:])
        return False
    corpus = load_exactly(open_store(), "corpus", answer.result["corpus"])
    wanted = {one.id: one.title if text == "title" else f"{one.title} {one.segment}".strip() for one in real[0]}
    judged: dict[str, dict[str, int]] = {}
    for one in real[2]:
        judged.setdefault(one.query, {})[one.document] = one.grade
    pairs = [
        ({one.id: one.text for one in documents(corpus)}, wanted),
        ({one.id: one.title for one in documents(corpus)}, {one.id: one.title for one in real[0]}),
        ({one.id: one.text for one in queries(corpus)}, {one.id: one.text for one in real[1]}),
        (qrels(corpus), judged),
    ]
    for have, want in pairs:
        if have != want:
            print(
                "differs:",
                [(key, have.get(key), want.get(key)) for key in {**have, **want} if have.get(key) != want.get(key)][:3],
            )  # type: ignore[attr-defined]
    return all(have == want for have, want in pairs)


def round_trips(folder: Path) -> dict[str, int]:
    """Every format of the icons, the last from S3; and the shop's own files where they are at hand."""
    real = read_icons(None, "label")
    passed = total = 0
    for name, (files, text) in formats(real).items():
        target = folder / name.replace(" ", "-")
        for path, content in files.items():
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            (target / path).write_bytes(content)
        good = comes_back(ingest("--source", str(target)), real, text)
        print(f"{'ok  ' if good else 'FAIL'} {name}", flush=True)
        passed, total = passed + good, total + 1
    beyond = [("s3", lambda: from_s3(folder, real)), ("electronics", electronics)]
    for name, check in beyond if CHORUS.exists() else beyond[:1]:
        good = check()
        print(f"{'ok  ' if good else 'FAIL'} {name}", flush=True)
        passed, total = passed + good, total + 1
    return {"formats": total, "formats_roundtrip": passed}


def from_s3(folder: Path, real: Real) -> bool:
    import boto3

    with seaweedfs(folder / "seaweedfs") as server, patch.dict(os.environ, server.environment):
        server.create_bucket("given")
        client = boto3.client("s3", endpoint_url=os.environ["RATCHET_S3_ENDPOINT"])
        for name, content in files_of(real, "csv", as_csv).items():
            client.put_object(Bucket="given", Key=f"shop/{name}", Body=content)
        return comes_back(ingest("--source", "s3://given/shop"), real, "title")


def electronics() -> bool:
    """The shop's four archives and its judgments, against what Python's own readers find in them."""
    products = {}
    for path in sorted(CHORUS.glob("*.json.zip")):
        with zipfile.ZipFile(path) as archive:
            products |= {one["id"]: one for one in json.loads(archive.read(archive.namelist()[0]))}
    with (CHORUS / "Broad_Query_Set_rated.csv").open(encoding="utf-8-sig", newline="") as file:
        rated = {(row["query"], row["docid"]): int(row["rating"]) for row in csv.DictReader(file)}
    answer = ingest("--source", str(CHORUS))
    if answer.code:
        print(answer.said[-500:])
        return False
    corpus = load_exactly(open_store(), "corpus", answer.result["corpus"])
    texts = {one.id: one.text for one in queries(corpus)}
    judged = {(texts[query], one): grade for query, grades in qrels(corpus).items() for one, grade in grades.items()}
    titles = {one.id: one.title for one in documents(corpus)}
    return titles == {one: product["title"].strip() for one, product in products.items()} and judged == rated
