"""Collections that strangers brought, each a folder with `case.md` and `in/`: every one comes out as it must.

`make proof-data` runs them where the folder is at hand. A check looks at what the command line left in the store, or at the
sentence that it refused with.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from pipelines.corpus.documents import Document, Query, documents, qrels, queries
from pipelines.store.artifacts import load_exactly
from pipelines.store.objects import open_store
from tests.conftest import PROJECT
from tests.services import mlflow

FOLDER = PROJECT.parent / "shared" / "strangers"
CLOSE = 1e-4
"""Largest difference of a coordinate between an exported encoder and the folder's own library."""


@dataclass
class Outcome:
    """How a command line ended, and the corpus that it left."""

    code: int
    said: str
    result: dict[str, Any] = field(default_factory=dict)

    @property
    def error(self) -> str:
        return next((line for line in reversed(self.said.splitlines()) if line.startswith("error: ")), "")

    @property
    def documents(self) -> dict[str, Document]:
        return {row.id: row for row in documents(load_exactly(open_store(), "corpus", self.result["corpus"]))}

    @property
    def queries(self) -> dict[str, Query]:
        return {row.id: row for row in queries(load_exactly(open_store(), "corpus", self.result["corpus"]))}

    @property
    def qrels(self) -> dict[str, dict[str, int]]:
        return qrels(load_exactly(open_store(), "corpus", self.result["corpus"]))

    @property
    def text(self) -> str:
        """All files of the corpus as they are stored."""
        corpus = load_exactly(open_store(), "corpus", self.result["corpus"])
        return "".join(corpus.path(name).read_text() for name in corpus.manifest.files)

    def refuses(self, *words: str) -> bool:
        """Whether it ended with exit code 2 and one sentence, which advises no tolerance of bad rows."""
        plain = "Traceback" not in self.said and "--max-bad-fraction" not in self.error
        return self.code == 2 and plain and all(word in self.error for word in words)


def pipelines(command: str, *options: str) -> Outcome:
    """`python -m pipelines COMMAND`, or another module of the project as `.train`."""
    module = ["pipelines" + command] if command.startswith(".") else ["pipelines", command]
    done = subprocess.run([sys.executable, "-m", *module, *options], cwd=PROJECT, capture_output=True, text=True, check=False)
    last = (done.stdout.strip().splitlines() or [""])[-1]
    result = json.loads(last) if done.returncode == 0 and last.startswith("{") else {"answer": last}
    return Outcome(done.returncode, done.stderr, result)


def ingest(source: Path, *options: str) -> Outcome:
    return pipelines("ingest", "--source", str(source), *options)


def named_split(given: Path, _home: Path) -> bool:
    split = {name: query.split for name, query in ingest(given).queries.items()}
    return split == {f"q{number}": "train" if number < 8 else "test" for number in range(12)}


def variants(given: Path, _home: Path) -> bool:
    many, both = ingest(given / "many.csv"), ingest(given)
    heads = {"red-lamp-mini": "Red lamp mini", "steel-rug-mini": "Steel rug mini"}
    titled = all(many.documents[name].title == title and title in many.documents[name].text for name, title in heads.items())
    return titled and len(many.documents) == 6 and len(both.documents) == 17 and many.result["bad_rows"] == 0


def masked(given: Path, _home: Path) -> bool:
    source = given / "tickets.jsonl"
    named = ingest(source, "--mask", "true", "--column", "id=email", "--column", "segment=assigned_to")
    guessed, bare = ingest(source, "--mask", "true"), ingest(source, "--column", "id=email", "--column", "segment=assigned_to")
    clean = all("@" not in one.text and len(one.documents) == 24 for one in (named, guessed))
    found = pipelines("check", "--corpus", bare.result["corpus"], "--previous", "none")
    quiet = pipelines("check", "--corpus", guessed.result["corpus"], "--previous", "none")
    report = load_exactly(open_store(), "report", found.result["report"]).json("checks.json")["personal"]
    parts = {row["part"] for row in report if row["texts"] and row["sure"]}
    return clean and {"document ids", "segments"} <= parts and found.result["warned"] > 0 == quiet.result["warned"]


def own_pooling(given: Path, home: Path) -> bool:
    import numpy as np
    from sentence_transformers import SentenceTransformer

    from pipelines.models.encoder import load_encoder

    folder = home / "cls"
    subprocess.run([sys.executable, str(given / "make_model.py"), str(folder)], check=True)
    exported = pipelines("export_encoder", "--model", str(folder))
    texts = ["a red lamp", "A chair made of oak, for the garden.", "steel"]
    expected = SentenceTransformer(str(folder)).encode(texts, normalize_embeddings=True)
    loaded = load_encoder(load_exactly(open_store(), "encoder", exported.result["encoder"]), "onnx-fp32")
    close = float(np.abs(loaded.encode(texts, "document") - expected).max()) < CLOSE
    return close and pipelines("export_encoder", "--model", str(folder), "--pooling", "mean").refuses("cls")


def by_place(given: Path, _home: Path) -> bool:
    tolerant = ingest(given, "--max-bad-fraction", "0.5", "--held-out", "true")
    return all(one.refuses("places in the file, counted from 1") for one in (ingest(given), tolerant))


def few_negatives(given: Path, _home: Path) -> bool:
    done = ingest(given)
    grades = [grade for judged in done.qrels.values() for grade in judged.values()]
    return (grades.count(1), grades.count(0)) == (120, 30) and "Look at two judgments" in done.said


def off_by_one(given: Path, _home: Path) -> bool:
    return ingest(given, "--held-out", "true").refuses("documents count from 0 where the ids count from 1")


def arrow_stream(given: Path, _home: Path) -> bool:
    return ingest(given).refuses("an Arrow stream")


def by_columns(given: Path, _home: Path) -> bool:
    return ingest(given / "to_json.json").refuses("values lie by columns", 'orient="records"')


def solr(given: Path, _home: Path) -> bool:
    done = ingest(given / "add.xml").documents
    return len(done) == 12 and all(
        name.startswith("SKU-") and row.title and row.title in row.text for name, row in done.items()
    )


def bulk(given: Path, _home: Path) -> bool:
    ids = [json.loads(line)["index"]["_id"] for line in (given / "bulk.ndjson").read_text().splitlines() if '"index"' in line]
    done = ingest(given / "bulk.ndjson")
    return set(done.documents) == set(ids) and len(ids) == 12 and done.result["bad_rows"] == 0


def texts(given: Path, _home: Path) -> bool:
    files = {path.stem: path.read_text() for path in (given / "txt").iterdir()}
    done = ingest(given / "txt").documents
    return set(done) == set(files) and all(row.title == files[name].splitlines()[0] for name, row in done.items())


def comments(given: Path, _home: Path) -> bool:
    rows = [line.split() for line in (given / "qrels.txt").read_text().splitlines() if not line.startswith("#")]
    wanted = {(row[0], row[2]): int(row[3]) for row in rows}
    named = ingest(given, "--qrels", str(given / "qrels.txt"))
    judged = [
        {(query, document): grade for query, grades in one.qrels.items() for document, grade in grades.items()}
        for one in (ingest(given), named)
    ]
    return judged == [wanted, wanted] and len(wanted) == 24


def no_row(given: Path, _home: Path) -> bool:
    read = ingest(given / "comma_at_end.csv")
    return ingest(given / "cp1251.csv").refuses("line 2: invalid UTF-8", "iconv") and len(read.documents) == 12


def separator_line(given: Path, _home: Path) -> bool:
    done = ingest(given / "products.csv")
    return len(done.documents) == 12 and all(row.title for row in done.documents.values()) and not done.result["bad_rows"]


def windows_1252(given: Path, _home: Path) -> bool:
    return ingest(given / "artikel.csv").refuses("invalid UTF-8", "Windows-1252", "iconv -f cp1252")


def words_for_nothing(given: Path, _home: Path) -> bool:
    source = given / "products.csv"
    left = ingest(source, "--max-bad-fraction", "0.5")
    nothing = {"nan", "null", "none", "na", "n/a", ""}
    said = [set(row.text.casefold().split()) <= nothing for row in left.documents.values()]
    return ingest(source).code == 2 and "empty text" in ingest(source).error and not any(said) and len(said) == 19


def header_again(given: Path, _home: Path) -> bool:
    done = ingest(given / "all.csv")
    return len(done.documents) == 12 and "sku" not in done.documents and not done.result["bad_rows"]


def triplets(given: Path, _home: Path) -> bool:
    return ingest(given / "triplets.csv").refuses("pairs of texts for training", "tables of documents", "judgments")


def compact_dates(given: Path, _home: Path) -> bool:
    import csv
    from datetime import UTC, datetime

    right = []
    for name in ("eight", "fourteen"):
        with (given / name / "events.csv").open(newline="") as file:
            written = [row["time"] for row in csv.DictReader(file)]
        moments = [datetime.strptime(one.ljust(14, "0"), "%Y%m%d%H%M%S").replace(tzinfo=UTC) for one in written]
        corpus = load_exactly(open_store(), "corpus", ingest(given / name).result["corpus"])
        stored = [json.loads(line)["time"] for line in corpus.path("interactions.jsonl").read_text().splitlines()]
        right.append(sorted(stored) == sorted(int(moment.timestamp()) for moment in moments))
    return all(right)


def model_of_others(given: Path, home: Path) -> bool:
    """Their alias stays, and the refusal names the setting; under a name of one's own all is well."""
    script = (given / "others.py").read_text()
    with mlflow(home / "mlflow") as url, patch.dict(os.environ, {"RATCHET_MLFLOW_URI": "", "MLFLOW_DISABLE_TELEMETRY": "true"}):
        assert "http://127.0.0.1:5055" in script
        subprocess.run([sys.executable, "-c", script.replace("http://127.0.0.1:5055", url)], check=True)
        trained = pipelines(".train", "--max-text", "1000000")
        os.environ["RATCHET_MLFLOW_URI"] = url
        refused = pipelines("reconcile")
        from mlflow.tracking import MlflowClient

        client = MlflowClient(url)
        theirs = client.get_model_version_by_alias("release", "champion").version
        own = pipelines_with({"RATCHET_MLFLOW_MODEL": "icons-release"}, "reconcile")
        ours = client.get_model_version_by_alias("icons-release", "champion").version
    told = refused.code != 0 and "RATCHET_MLFLOW_MODEL" in refused.error
    return trained.code == 0 and told and str(theirs) == "1" and own.code == 0 and str(ours) == "1"


def pipelines_with(changes: dict[str, str], command: str, *options: str) -> Outcome:
    with patch.dict(os.environ, changes):
        return pipelines(command, *options)


def no_test_query(given: Path, _home: Path) -> bool:
    answer = pipelines(".train", str(given)).result["answer"]
    return "no judgments of test queries (1 train query is judged)" in answer and "--held-out true" in answer


def own_document(given: Path, _home: Path) -> bool:
    trained = pipelines(".train", str(given), "--held-out", "true")
    store = open_store()
    (evaluation,) = [path.name for path in Path(store.uri.removeprefix("file://"), "evaluation").iterdir()]
    run = load_exactly(store, "evaluation", evaluation).path("run.trec").read_text().splitlines()
    return trained.code == 0 and bool(run) and not [line for line in run if line.split()[0] == line.split()[2]]


def nearly_equal_texts(given: Path, _home: Path) -> bool:
    done = ingest(given)
    return len(done.queries) == 12 and len(done.qrels) == 12 and "in another case" in done.said


def a_query_a_line(given: Path, _home: Path) -> bool:
    if pipelines(".train").code:
        return False
    asked = []
    for name, count in (("queries.txt", 2), ("topics.txt", 2)):
        done = pipelines(".score", str(given / name))
        scores = load_exactly(open_store(), "scores", done.result["answer"]) if done.code == 0 else None
        asked.append(scores is not None and scores.facts["queries"] == count)
    return all(asked)


def notes_aside(given: Path, _home: Path) -> bool:
    done = ingest(given)
    return len(done.queries) == 12 and len(done.qrels) == 12 and "notes.txt is left aside" in done.said


CHECKS: dict[str, Callable[[Path, Path], bool]] = {
    "01": named_split, "02": variants, "03": masked, "04": own_pooling, "06": by_place, "07": few_negatives, "08": off_by_one,
    "09": arrow_stream, "10": by_columns, "12": solr, "13": bulk, "14": texts, "15": comments, "17": no_row,
    "19": separator_line, "20": windows_1252, "22": words_for_nothing, "23": header_again, "25": triplets, "27": compact_dates,
    "29": model_of_others, "30": no_test_query, "32": own_document, "34": nearly_equal_texts, "37": a_query_a_line,
    "38": notes_aside,
}  # fmt: skip
"""By the number of the case."""


def strangers(folder: Path, only: Sequence[str] = (), given: Path = FOLDER) -> dict[str, int]:
    """Every case in a home of its own; a case without a check counts as wrong. Nothing where the cases are not at hand.

    Args:
        folder: for the homes.
        only: numbers of the cases to look at; empty: all.
        given: the folder that has the cases.
    """
    cases = sorted(path for path in given.iterdir() if (path / "in").is_dir()) if given.is_dir() else []
    cases = [case for case in cases if not only or case.name.partition("-")[0] in only]
    right = 0
    for case in cases:
        number = case.name.partition("-")[0]
        home = folder / case.name
        home.mkdir(parents=True)
        with patch.dict(os.environ, {"RATCHET_HOME": str(home / "home")}):
            good = number in CHECKS and _checked(CHECKS[number], case / "in", home)
        print(f"{'ok  ' if good else 'FAIL'} {case.name}", flush=True)
        right += good
        shutil.rmtree(home, ignore_errors=True)
    return {"strangers": len(cases), "strangers_right": right} if cases else {}


def _checked(check: Callable[[Path, Path], bool], given: Path, home: Path) -> bool:
    """Whether a case comes out right; a command that left nothing to look at is an answer too, and a wrong one."""
    try:
        return bool(check(given, home))
    except Exception as error:  # noqa: BLE001  # one case does not end the others
        print(f"  {type(error).__name__}: {str(error)[:300]}")
        return False


def main() -> int:
    """Look at the cases; 1: one comes out wrong, 2: there are none."""
    parser = argparse.ArgumentParser(prog="python -m proofs.strangers", description=__doc__)
    parser.add_argument("numbers", nargs="*", help="of the cases to look at; none: all")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="that has the cases")
    options = parser.parse_args()
    os.environ["PYTHONPATH"] = str(PROJECT)
    with tempfile.TemporaryDirectory(prefix="ratchet-strangers-") as scratch:
        figures = strangers(Path(scratch), options.numbers, options.folder)
    if not figures:
        print(f"error: given {options.folder}; expected a folder with these cases; next: pass --folder", file=sys.stderr)
        return 2
    print(figures)
    return int(figures["strangers"] != figures["strangers_right"])


if __name__ == "__main__":
    sys.exit(main())
