"""Bad inputs: each ends with a sentence or in a quarantine, in flat memory, and no good row is lost."""

import gzip
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipelines.store.artifacts import load_exactly
from pipelines.store.objects import open_store
from proofs.data_ingest import Answer, ingest

FLAT_MB = 450
"""Peak memory within which every bad input must stay: what an ingest of a few rows takes, and a wide margin."""


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
