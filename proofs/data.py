"""`make proof-data`: formats that round-trip, bad inputs that are handled, flat memory; writes build/proof/data.json."""

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from pipelines.corpus.documents import Document, Qrel, Query, documents, qrels, queries
from pipelines.corpus.icons import read_icons
from pipelines.store.artifacts import load_exactly
from pipelines.store.objects import open_store
from proofs.strangers import strangers
from tests.conftest import PROJECT
from tests.figures import write_figures
from tests.pipelines.collections.input_cases import CASES, ingested
from tests.services import seaweedfs

SEED = 20261124
GOALS = {"rss_ratio_1m_100k": "≤ 1.2"}
CHORUS = PROJECT.parent / "shared" / "data" / "chorus"
FLAT_MB = 450
"""Peak memory within which every bad input must stay: what an ingest of a few rows takes, and a wide margin."""
Real = tuple[list[Document], list[Query], list[Qrel]]
Table = list[dict[str, Any]]


@dataclass(frozen=True)
class Answer:
    """How the command line ended."""

    code: int
    result: dict[str, Any]
    said: str
    peak_mb: float
    seconds: float


def ingest(*options: str) -> Answer:
    """`python -m pipelines ingest` as a user runs it, with its peak memory, or this process's own where that is larger.

    The system counts a process's memory from its fork on. A shell in between starts small, so what the step itself
    measures and keeps in its manifest is its own.
    """
    started = time.monotonic()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        command = ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-m", "pipelines", "ingest", *options]
        child = subprocess.Popen(command, stdout=out, stderr=err, cwd=PROJECT)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        answer, said = out.read().decode(), err.read().decode(errors="replace")
    result = json.loads(answer) if child.returncode == 0 else {}
    return Answer(child.returncode, result, said, used.ru_maxrss / 1024, time.monotonic() - started)


# --- formats ------------------------------------------------------------------------------------------------------------


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


# --- bad inputs ---------------------------------------------------------------------------------------------------------

GOOD = "".join(f"p{number},Lamp number {number},A lamp for the table\n" for number in range(400))
HEAD = "id,name,description\n"


@dataclass(frozen=True)
class Bad:
    """One bad input: how to make it, what must be said, and how many good rows must survive (None: it must be refused)."""

    name: str
    make: Callable[[Path], Path]
    says: str
    survive: int | None


def file(content: str | bytes, name: str = "given.csv") -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make


def long_line(folder: Path) -> Path:
    path = folder / "given.csv"
    with path.open("wb") as target:
        target.write((HEAD + GOOD).encode())
        for _ in range(2048):
            target.write(b"x" * (1 << 20))
        target.write(b"\nlast,Last lamp,The last one\n")
    return path


def bomb(folder: Path) -> Path:
    path = folder / "given.csv.zip"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("given.csv", "w", force_zip64=True) as target,
    ):
        target.write(HEAD.encode())
        for _ in range(4096):
            target.write(b"a,b,c\n" * 175_000)
    return path


def empty_rows(folder: Path) -> Path:
    path = folder / "given.csv"
    path.write_bytes((HEAD + GOOD).encode() + b"\n" * 10_000_000)
    return path


def link_outside(folder: Path) -> Path:
    inside = folder / "inside"
    inside.mkdir()
    (folder / "secret.csv").write_text(HEAD + "secret,A secret,Do not read this\n")
    (inside / "given.csv").write_text(HEAD + GOOD)
    (inside / "link.csv").symlink_to(folder / "secret.csv")
    return inside


def judged(queries_: str, judgments: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        inside = folder / "inside"
        inside.mkdir()
        (inside / "documents.csv").write_text(HEAD + GOOD)
        (inside / "queries.csv").write_text(queries_)
        (inside / "qrels.csv").write_text(judgments)
        return inside

    return make


ASKED = "query_id,query\n" + "".join(f"q{number},lamp number {number}\n" for number in range(40))
RELEVANT = "query_id,document_id,grade\n" + "".join(f"q{number},p{number},1\n" for number in range(40))
FLOATS = "".join(json.dumps({"id": number + 0.5, "name": f"Lamp {number}"}) + "\n" for number in range(99))
LINES = "".join(json.dumps({"id": f"p{number}", "name": f"Lamp {number}"}) + "\n" for number in range(400))
TURNED = "query_id,document_id,grade\n" + "".join(f"q{n},p{n},0\nq{n},p{n + 50},3\n" for n in range(40))
BAD = (
    Bad("a 2 GB line", long_line, "too long", 401),
    Bad("a zip bomb", bomb, "expand", None),
    Bad("a quote that never closes", file(HEAD + 'open,"Lamp,An open quote\n' + GOOD), "quote that never closes", 400),
    Bad("mixed encodings", file((HEAD + GOOD).encode() + "late,Lämp,Grün\n".encode("latin-1")), "invalid UTF-8", 400),
    Bad("a byte order mark", file(b"\xef\xbb\xbf" + (HEAD + GOOD).encode()), "", 400),
    Bad("carriage returns", file((HEAD + GOOD).replace("\n", "\r\n")), "", 400),
    Bad("duplicate columns", file("id,name,name\n" + GOOD), "name", None),
    Bad("ids that are floats", file(FLOATS, "given.jsonl"), "float", None),
    Bad("10 M empty rows", empty_rows, "", 400),
    Bad("a link out of the folder", link_outside, "", 400),
    Bad("formula cells", file(HEAD + GOOD + "f1,=cmd|'/c calc'!A1,@SUM(1)\n"), "", 401),
    Bad("script in text", file(HEAD + GOOD + "s1,<script>alert(1)</script>,\"<img src=x onerror=alert(1)>\"\n"), "", 401),
    Bad("missing ids", file(HEAD + GOOD + ",No id,Nothing\n"), "missing id", 400),
    Bad("duplicate ids", file(HEAD + GOOD + "p1,Once more,Again\n"), "duplicate id", 400),
    Bad("empty texts", file(HEAD + GOOD + "e1,,\n"), "empty text", 400),
    Bad("too many cells", file(HEAD + GOOD + "e1,a,b,c,d\n"), "cells", 400),
    Bad("a torn JSON line", file(LINES + '{"id": "t', "given.jsonl"), "not JSON", 400),
    Bad("half of it bad", file(HEAD + GOOD + ",x,y\n" * 400), "missing id", None),
    Bad("an empty file", file(""), "empty", None),
    Bad("only a header", file(HEAD), "", None),
    Bad("a picture", file(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 50, "given.csv"), "", None),
    Bad("a broken gz", file(gzip.compress((HEAD + GOOD).encode())[:-20], "given.csv.gz"), "", None),
    Bad("no parquet", file(b"PAR1 not really PAR1", "given.parquet"), "", None),
    Bad("judgments of unknown documents", judged(ASKED, RELEVANT + "q1,nowhere,1\n"), "unknown document", None),
    Bad("another numbering", judged(ASKED, RELEVANT.replace("\nq", "\n")), "another prefix", None),
    Bad("grades outside the scale", judged(ASKED, RELEVANT + "q1,p2,7\n"), "outside the scale", None),
    Bad("grades turned round", judged(ASKED, TURNED), "BM25 ranks the worse ones better", None),
    Bad("nothing there", lambda folder: folder / "nowhere.csv", "nowhere.csv", None),
)  # fmt: skip
OPTIONS = {"grades outside the scale": ("--grades", "0..1"), "judgments of unknown documents": ()}


def handled(bad: Bad, folder: Path) -> bool:
    """Whether a bad input ends as it must: a sentence or a quarantine, flat memory, nothing lost and nothing run."""
    source = bad.make(folder)
    answer = ingest("--source", str(source), *OPTIONS.get(bad.name, ()))
    right = "Traceback" not in answer.said and answer.peak_mb < FLAT_MB
    if bad.survive is None:
        right &= answer.code == 2 and "error: given " in answer.said and bad.says in answer.said
    else:
        right &= answer.code == 0 and answer.result["documents"] == bad.survive and "secret" not in answer.said
        right &= not bad.says or bad.says in quarantined(answer)
    shown = answer.said.strip().splitlines()[-1][:160] if answer.said.strip() else ""
    took = f"exit {answer.code}, {answer.peak_mb:.0f} MB, {answer.seconds:.0f} s"
    print(f"{'ok  ' if right else 'FAIL'} {bad.name}: {took}  {shown}", flush=True)
    return right


def quarantined(answer: Answer) -> str:
    return load_exactly(open_store(), "report", answer.result["report"]).text("quarantine.csv")


def bad_inputs(folder: Path) -> dict[str, int]:
    """Every bad input in a folder of its own."""
    passed = 0
    for number, bad in enumerate(BAD):
        own = folder / str(number)
        own.mkdir(parents=True)
        passed += handled(bad, own)
        shutil.rmtree(own)
    return {"bad_inputs": len(BAD), "bad_inputs_handled": passed}


# --- kinds of inputs that are easily misread ----------------------------------------------------------------------------


def misread_inputs(folder: Path) -> dict[str, int]:
    """The cases of the tests, each in a folder of its own."""
    right = 0
    for number, case in enumerate(CASES):
        (folder / str(number)).mkdir(parents=True)
        good = case.right(ingested(case, folder / str(number)))
        print(f"{'ok  ' if good else 'FAIL'} {case.name}", flush=True)
        right += good
    return {"misread_inputs": len(CASES), "misread_inputs_right": right}


# --- scale --------------------------------------------------------------------------------------------------------------


def scale(folder: Path) -> dict[str, float]:
    """Peak memory and speed of an ingest of 100 k and of 1 M rows of the same kind."""
    found = {}
    for count in (100_000, 1_000_000):
        path = folder / f"{count}.csv"
        write_many(path, count)
        answer = ingest("--source", str(path))
        assert answer.result["documents"] == count, answer.said[-500:]
        peak = load_exactly(open_store(), "corpus", answer.result["corpus"]).manifest.cost["peak_memory_mb"]
        found[count] = (peak, answer.seconds)
        path.unlink()
    (small, _), (large, seconds) = found.values()
    return {
        "rss_100k_mb": small,
        "rss_1m_mb": large,
        "rss_ratio_1m_100k": round(large / small, 3),
        "rows_per_s": round(1_000_000 / seconds),
    }


def write_many(path: Path, count: int) -> None:
    """Products whose names are the icons' labels, recombined by seed."""
    words = sorted({word for one in read_icons(None, "label")[0] for word in one.text.split()})
    chance = random.Random(SEED)
    with path.open("w", encoding="utf-8", newline="") as target:
        sheet = csv.writer(target)
        sheet.writerow(("sku", "name", "description", "category"))
        for number in range(count):
            chosen = chance.choices(words, k=12)
            sheet.writerow((f"p{number:08}", " ".join(chosen[:3]), " ".join(chosen), chosen[0][:1]))


def main() -> int:
    home = Path(tempfile.mkdtemp(prefix="ratchet-proof-"))
    os.environ["RATCHET_HOME"] = str(home / "home")
    os.environ["PYTHONPATH"] = str(PROJECT)
    try:
        # Bad inputs first: their bound is on the peak memory of all child processes so far.
        figures = bad_inputs(home / "bad") | misread_inputs(home / "misread") | strangers(home / "strangers")
        figures |= {**round_trips(home / "formats"), **scale(home)}
    finally:
        shutil.rmtree(home, ignore_errors=True)
    write_figures("proof/data", figures, seed=SEED, runs=1, goals=GOALS)
    whole = figures["bad_inputs"] == figures["bad_inputs_handled"] and figures["formats"] == figures["formats_roundtrip"]
    whole &= figures["misread_inputs"] == figures["misread_inputs_right"]
    whole &= figures.get("strangers") == figures.get("strangers_right")
    return 0 if whole and figures["rss_ratio_1m_100k"] <= 1.2 else 1


if __name__ == "__main__":
    sys.exit(main())
