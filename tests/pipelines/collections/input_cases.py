"""Small inputs of kinds that are easily misread, and what must come of each: right values, or a refusal with the reason.

`tests/pipelines/collections/test_input_kinds.py` asserts them one by one, `proofs/data.py` counts them.
"""

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.collections import IngestOptions, stage, write_corpus
from pipelines.errors import InputError
from pipelines.steps.ingest_corpus.ingest import IngestParams

COLOURS = "red green blue oak steel brass woven tall small round folding vintage".split()
THINGS = "lamp chair table sofa rug kettle mug shelf mirror clock bench stool".split()
NAMES = [f"{colour} {thing}" for colour, thing in zip(COLOURS, THINGS, strict=True)]
TEXTS = [f"A {name} made for the {'kitchen garden office'.split()[n % 3]}, number {n}." for n, name in enumerate(NAMES)]


@dataclass
class Ingested:
    """What came of an input."""

    problem: str = ""
    notes: list[str] = field(default_factory=list)
    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    queries: dict[str, dict[str, Any]] = field(default_factory=dict)
    qrels: dict[tuple[str, str], int] = field(default_factory=dict)
    times: list[int] = field(default_factory=list)
    bad: dict[str, int] = field(default_factory=dict)

    def says(self, *words: str) -> bool:
        text = self.problem + "\n".join(self.notes)
        return all(word in text for word in words)

    def refuses(self, *words: str) -> bool:
        return bool(self.problem) and self.says(*words) and "--max-bad-fraction" not in self.problem


@dataclass(frozen=True)
class InputCase:
    name: str
    files: dict[str, str | bytes]
    right: Callable[[Ingested], bool]
    options: dict[str, Any] = field(default_factory=dict)
    source: str = ""


def ingested(case: InputCase, folder: Path) -> Ingested:
    """Write the files of a case and ingest them; no store is needed."""
    source, scratch, target = folder / "source", folder / "scratch", folder / "target"
    for name, content in case.files.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    scratch.mkdir()
    target.mkdir()
    masking: tuple[Any, ...] = ()
    if case.options.get("mask"):
        from pipelines.quality.personal import Masker, is_phone

        masking = (Masker(), is_phone)
    given = IngestParams(source=str(source / case.source), **case.options)
    options = given.model_dump(exclude={"inspect", "mask", "folder", "text"})
    try:
        collection = stage(IngestOptions(**{**options, "column": tuple(given.column)}), scratch, *masking)
    except InputError as error:
        return Ingested(str(error))
    if collection.problem:
        return Ingested(str(collection.problem), collection.notes)
    write_corpus(collection.staging, target)
    read = {path.stem: path.read_text().splitlines() for path in target.iterdir()}
    judged = [line.split() for line in read["qrels"]]
    return Ingested(
        "",
        collection.notes,
        {row["id"]: row for row in map(json.loads, read["documents"])},
        {row["id"]: row for row in map(json.loads, read["queries"])},
        {(query, document): int(grade) for query, _, document, grade in judged},
        [json.loads(line)["time"] for line in read.get("interactions", [])],
        {reason: count for (_, reason), count in collection.staging.quarantine.counts.items()},
    )


def table(header: str, rows: list[list[Any]], between: str = ",") -> str:
    return "\n".join([header, *(between.join(map(str, row)) for row in rows)]) + "\n"


def archive(files: dict[str, str]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return target.getvalue()


def jsonl(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


PRODUCTS = [[f"P{n}", NAMES[n], f'"{TEXTS[n]}"'] for n in range(12)]
CATALOGUE = table("sku,name,description", PRODUCTS)
SIDES = ("TRAIN", "val", "holdout")
BY_TITLE = table("query,title,relevance", [[NAMES[n], NAMES[n - 5], n % 3] for n in range(12)])
BY_NUMBER = table("id,name,description", [[n, NAMES[n], f'"{TEXTS[n]}"'] for n in range(12)])
ID1_ID2 = table("id1,id2,id3", [[n, n, n % 2] for n in range(12)])
IN_CP1252 = table("query,sku,grade", [["Tür", f"P{n}", n % 2] for n in range(12)]).encode("cp1252")
CLICKED = [[1600000000 + n, f"u{n}", NAMES[n], f"P{n}"] for n in range(12)]
RATED = [[NAMES[n], f"P{(n + k) % 12}", k, (k + 1) % 3] for n in range(12) for k in range(3)]
SEVERAL = table("query,result_1,result_2", [[NAMES[n], f"P{n}", f"P{(n + 1) % 12}"] for n in range(12)])
LISTED = [[{"id": f"P{n}", "grade": 3}, {"id": f"P{(n + 1) % 12}", "grade": 0}] for n in range(12)]
RANK_EVAL = [
    {"id": f"q{n}", "request": {"query": {"match": {"title": NAMES[n]}}}, "ratings": [{"_id": f"P{n}", "rating": 3}]}
    for n in range(12)
]
GERMAN = [f"Ein Ding namens {name} für Küche, Garten und Büro, mit der Nummer {n}." for n, name in enumerate(NAMES)]
IN_LANGUAGES = [[f"P{n}", NAMES[n], f"{NAMES[n]} auf Deutsch", f'"{TEXTS[n]}"', f'"{GERMAN[n]}"'] for n in range(12)]
QUERIES = table("query_id,query", [[f"q{n}", NAMES[n]] for n in range(12)])
IDS = {f"P{n}" for n in range(12)}
CORPUS = jsonl([{"_id": f"P{n}", "title": NAMES[n], "text": TEXTS[n]} for n in range(12)])
BEIR = {"corpus.jsonl": CORPUS, "queries.jsonl": jsonl([{"_id": f"q{n}", "text": NAMES[n]} for n in range(12)])}
SHOP = "Handle,Title,Body (HTML),Vendor,Option1 Name,Option1 Value,Variant SKU"
VARIANTS = table(
    SHOP,
    [
        [NAMES[n].replace(" ", "-"), NAMES[n] if size == "S" else "", f'"{TEXTS[n]}"' if size == "S" else "",
         ("Acme", "Globex")[n % 2] if size == "S" else "", "Size" if size == "S" else "", size, f"P{n}-{size}"]
        for n in range(6) for size in "SML"
    ],
)  # fmt: skip
PLAIN = table(
    SHOP, [[NAMES[n].replace(" ", "-"), NAMES[n], f'"{TEXTS[n]}"', "Acme", "Size", "S", f"P{n}-S"] for n in range(6, 12)]
)
TICKETS = jsonl(
    [
        {"email": f"person{n}@example.org", "subject": f"Lamp number {n} is broken",
         "assigned_to": f"{'abe'[n % 3]}nn@example.org",
         "message": f"My lamp {n} arrived broken, write to person{n}@example.org please."} for n in range(24)
    ]
)  # fmt: skip
NUMBERS = {
    "countries": [str((4915112345600, 33612345600, 447911123400)[n % 3] + n) for n in range(24)],
    "national": [str(612345600 + n) for n in range(24)],
    "articles": "4006381333931 5901234123457 036000291452 9780306406157 4912345678904 4400000000008".split(),
    "running": [str(20240000000 + n) for n in range(24)],
}


def contacts(name: str, kind: str) -> dict[str, str]:
    """Documents with ids of digits, one of them twice with another text, and judgments that name them."""
    ids = NUMBERS[kind]
    rows = [[id_, f"Contact {THIRTY[n]}"] for n, id_ in enumerate(ids)]
    judged = [[f"{THIRTY[n]}", id_, 1] for n, id_ in enumerate(ids)]
    return {
        "docs.csv": table(f"{name},text", [*rows, [ids[0], "Contact with another text"]]),
        "qrels.csv": table("query,document,grade", judged),
    }


THIRTY = [f"{COLOURS[n % 12]} {THINGS[n * 5 % 12]} {940 - 7 * n}" for n in range(30)]
NUMBERED = table("id,text", [[n + 1, f"{THIRTY[n]} with brass parts"] for n in range(30)])
GAPS = [n for n in range(1, 60) if n % 3 and n % 7][:30]
NEGATIVES = {
    "docs.csv": table(
        "id,text",
        [[f"s{n}", f'"The paper that asked how a {THIRTY[n]} is cleaned and kept"'] for n in range(30)]
        + [[f"r{n}x{k}", f'"Results on care, part {k}: {THIRTY[n].split()[1]} surfaces"'] for n in range(30) for k in range(4)],
    ),
    "queries.csv": table("id,text", [[f"q{n}", f"how is a {THIRTY[n]} cleaned and kept"] for n in range(30)]),
    "qrels.txt": "".join(
        "".join(f"q{n} 0 r{n}x{k} 1\n" for k in range(4)) + f"q{n} 0 s{n} 0\n" for n in range(30)
    ),
}  # fmt: skip
EVENTS = [(n % 20, n * 7 % 12, n) for n in range(240)]
CHOICES = "user_id,item_id,time"
ITEMS = table("item_id,title", [[n, name] for n, name in enumerate(NAMES)])
ACTIONS = "".join(
    json.dumps({"index": {"_index": "p", "_id": f"P{n}"}})
    + "\n"
    + json.dumps({"title": NAMES[n], "description": TEXTS[n]})
    + "\n"
    for n in range(12)
)
ARTICLES = "Artikel;Bezeichnung;Beschreibung\n" + "".join(
    f"A{n};Stuhl für Küche {n};Ein schöner Stuhl für die Küche Nummer {n}\n" for n in range(12)
)
CUPS = "".join(f"Y{n},cup {n},A cup of clay number {n}.\n" for n in range(92))
CAFES = "".join(f"Z{n},café {n},A table for a café number {n}.\n" for n in range(4)).encode("cp1252")
CYRILLIC = table("id,title,text", [[n, f"Красная лампа {n}", f"Тёплая красная лампа для комнаты {n}"] for n in range(12)])
FIELDS = "".join(
    f'<doc>\n <field name="id">P{n}</field>\n <field name="name">{NAMES[n]}</field>\n'
    f' <field name="features">{TEXTS[n]}</field>\n</doc>\n'
    for n in range(12)
)
ARROW = b"\xff\xff\xff\xff" + bytes(200)
HUGGING_FACE = {
    "dataset_dict.json": '{"splits": ["train"]}',
    "train/dataset_info.json": json.dumps({"features": {"id": {"dtype": "string"}, "text": {"dtype": "string"}}}),
    "train/state.json": json.dumps({"_data_files": [{"filename": "data.arrow"}]}),
}
TRIPLETS = table("anchor,positive,negative", [[NAMES[n], f'"{TEXTS[n]}"', f'"{TEXTS[n - 5]}"'] for n in range(12)])


def whole(result: Ingested) -> bool:
    """The twelve products with their ids and titles."""
    titled = all(result.documents[f"P{n}"].get("title") == NAMES[n] for n in range(12) if f"P{n}" in result.documents)
    return set(result.documents) == IDS and titled


def splits(result: Ingested) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {"train": set(), "test": set()}
    for query in result.queries.values():
        found[query["split"]].add(query["id"])
    return found


def judged(first: int, last: int) -> str:
    return table("query-id\tcorpus-id\tscore", [[f"q{n}", f"P{n}", 1] for n in range(first, last)], "\t")


def named_split(result: Ingested) -> bool:
    return splits(result) == {"train": {f"q{n}" for n in range(8)}, "test": {f"q{n}" for n in range(8, 12)}}


CASES = [
    InputCase(
        "01 splits named by files",
        {**BEIR, "qrels/train.tsv": judged(0, 6), "qrels/dev.tsv": judged(6, 8), "qrels/test.tsv": judged(8, 12)},
        named_split,
    ),
    InputCase(
        "01 queries of two splits",
        {
            "corpus.jsonl": CORPUS,
            "queries.train.tsv": table("id\ttext", [[f"q{n}", NAMES[n]] for n in range(8)], "\t"),
            "queries.test.tsv": table("id\ttext", [[f"q{n}", NAMES[n]] for n in range(8, 12)], "\t"),
            "qrels.tsv": judged(0, 12),
        },
        named_split,
    ),
    InputCase(
        "02 rows of variants",
        {"many.csv": VARIANTS},
        lambda result: set(result.documents) == {name.replace(" ", "-") for name in NAMES[:6]}
        and result.documents["red-lamp"]["title"] == "red lamp"
        and not result.bad
        and result.says("12 rows of variants"),
    ),
    InputCase(
        "02 files with equal headers",
        {"few.csv": PLAIN, "many.csv": VARIANTS},
        lambda result: set(result.documents) == {name.replace(" ", "-") for name in NAMES} and not result.bad,
    ),
    InputCase(
        "03 masked in ids and segments",
        {"tickets.jsonl": TICKETS},
        lambda result: len(result.documents) == 24 and "@" not in json.dumps([result.documents, result.queries]),
        {"mask": True},
    ),
    InputCase(
        "03 masked where the user names the id",
        {"tickets.jsonl": TICKETS},
        lambda result: len(result.documents) == 24 and "@" not in json.dumps([result.documents, result.queries]),
        {"mask": True, "column": ["id=email", "segment=assigned_to"]},
    ),
    *(
        InputCase(
            f"03 masked where ids are phone numbers, {kind}",
            contacts(name, kind),
            lambda result: (
                len(result.documents) == 24
                and all(id_.startswith("p-") for id_ in result.documents)
                and {document for _, document in result.qrels} == set(result.documents)
                and result.says("The ids of documents are taken for phone numbers")
            ),
            {"mask": True, "column": [f"id={name}"], "max_bad_fraction": 0.1, "grades_checked": False},
        )
        for name, kind in (("contact", "countries"), ("phone", "national"), ("mobile_no", "running"))
    ),
    *(
        InputCase(
            f"03 masked where ids are numbers, {kind}",
            contacts("number", kind),
            lambda result, ids=tuple(NUMBERS[kind]): set(result.documents) == set(ids)
            and result.says("taken for no phone numbers, and stay"),
            {"mask": True, "column": ["id=number"], "max_bad_fraction": 0.2, "grades_checked": False},
        )
        for kind in ("articles", "running", "national")
    ),
    InputCase(
        "06 queries by place",
        {
            "docs.csv": table("id,text", [[f"d{n}", THIRTY[n]] for n in range(30)]),
            "queries.csv": table("id,text", [[GAPS[n], THIRTY[n]] for n in range(30)]),
            "qrels.txt": "".join(f"{n + 1} 0 d{n} 1\n" for n in range(30)),
        },
        lambda result: result.refuses("queries are places in the file, counted from 1"),

    ),
    InputCase(
        "07 few mined negatives",
        NEGATIVES,
        lambda result: len(result.qrels) == 150 and result.says("Look at two judgments"),
    ),
    InputCase(
        "08 documents counted from 0",
        {
            "docs.csv": NUMBERED,
            "queries.csv": table("id,text", [[f"q{n}", f"{THIRTY[n]} with brass parts"] for n in range(30)]),
            "qrels.csv": table("query_id,doc_id,grade", [[f"q{n}", n, 1] for n in range(30)]),
        },
        lambda result: result.refuses("documents count from 0 where the ids count from 1"),
        {"max_bad_fraction": 0.1},
    ),
    InputCase(
        "08 judgments that say nothing",
        {
            "docs.csv": NUMBERED,
            "queries.csv": table("id,text", [[f"q{n}", THIRTY[n]] for n in range(30)]),
            "qrels.csv": table("query_id,doc_id,grade", [[f"q{n}", (n + 11) % 30 + 1, 1] for n in range(30)]),
        },
        lambda result: len(result.qrels) == 30 and result.says("check that judgments name the queries and documents"),
    ),
    InputCase(
        "09 an Arrow stream alone",
        {**HUGGING_FACE, "train/data.arrow": ARROW},
        lambda result: result.refuses("an Arrow stream"),
    ),
    InputCase(
        "10 JSON by columns",
        {"all.json": json.dumps({"sku": {str(n): f"P{n}" for n in range(12)}, "name": {str(n): NAMES[n] for n in range(12)}})},
        lambda result: result.refuses("values lie by columns (sku, name)", 'orient="records"'),
    ),
    InputCase(
        "10 JSON of lists",
        {"all.json": json.dumps({"sku": [f"P{n}" for n in range(12)], "name": NAMES})},
        lambda result: result.refuses("values lie by columns (sku, name)", 'orient="records"'),
    ),
    InputCase("12 Solr documents", {"add.xml": f"<add>\n{FIELDS}</add>\n"}, whole),
    InputCase("13 Elasticsearch's bulk format", {"bulk.ndjson": ACTIONS}, whole),
    InputCase(
        "14 a folder of texts",
        {f"P{n}.txt": f"{NAMES[n]}\n\n{TEXTS[n]}\nIt comes, as always, alone.\n" for n in range(12)},
        lambda result: whole(result) and result.documents["P0"]["text"].endswith("alone."),
    ),
    InputCase(
        "15 judgments with comments",
        {
            "docs.csv": CATALOGUE,
            "queries.tsv": "".join(f"q{n}\t{NAMES[n]}\n" for n in range(12)),
            "qrels.txt": "# judged by Ann\n" + "".join(f"q{n} 0 P{n} {n % 3}\n" for n in range(12)),
        },
        lambda result: len(result.qrels) == 12 and result.qrels["q2", "P2"] == 2,
    ),
    InputCase(
        "15 judgments that are not understood",
        {"docs.csv": CATALOGUE, "queries.csv": QUERIES, "qrels.csv": table("remark", [["good"], ["bad"], ["good"]])},
        lambda result: result.refuses("qrels.csv", "called as judgments are"),
    ),
    InputCase(
        "17 another encoding",
        {"all.csv": CYRILLIC.encode("cp1251")},
        lambda result: result.refuses("line 2: invalid UTF-8", "save it as UTF-8"),
    ),
    InputCase("17 a comma at the end", {"all.csv": CATALOGUE.replace('"\n', '",\n')}, whole),
    InputCase(
        "17 rows with a cell too many",
        {"all.csv": table("sku,name", [[f"P{n}", NAMES[n], "x"] for n in range(12)])},
        lambda result: result.refuses("line 2: 3 cells for 2 columns"),
    ),
    InputCase("19 Excel's separator", {"all.csv": "\ufeffsep=;\n" + table("sku;name;description", PRODUCTS, ";")}, whole),
    InputCase("19 a title above the header", {"all.csv": "Report created on 2024-01-02\n\n" + CATALOGUE}, whole),
    InputCase(
        "20 Windows-1252 and semicolons",
        {"artikel.csv": ARTICLES.encode("cp1252")},
        lambda result: result.refuses("line 2: invalid UTF-8", "Windows-1252", "iconv -f cp1252"),
    ),
    InputCase(
        "20 few lines in Windows-1252",
        {"all.csv": (CATALOGUE + CUPS).encode() + CAFES},
        lambda result: result.refuses("3.7%", "invalid UTF-8", "Windows-1252", "iconv -f cp1252"),
    ),
    InputCase(
        "20 few lines in Windows-1252 below others with an id of before",
        {"all.csv": (CATALOGUE + CUPS + CUPS[: CUPS.index("Y6")]).encode() + CAFES * 4},
        lambda result: result.refuses("duplicate id", "iconv -f cp1252"),
        {"max_bad_fraction": 0.05},
    ),
    InputCase(
        "20 a few ids again",
        {"all.csv": CATALOGUE + CUPS + CUPS[: CUPS.index("Y6")]},
        lambda result: result.says("duplicate id", "correct them, or pass --max-bad-fraction"),
    ),
    InputCase(
        "22 words for nothing",
        {"all.csv": CATALOGUE + "X1,nan,NaN\nX2,NULL,#N/A\nnan,a hat,A hat of wool\n"},
        lambda result: whole(result) and result.bad == {"empty text": 2, "missing id": 1},
        {"max_bad_fraction": 0.3},
    ),
    InputCase(
        "23 the header again",
        {"all.csv": CATALOGUE + "sku,name,description\n"},
        lambda result: whole(result) and not result.bad and result.says("1 header lines"),
    ),
    InputCase(
        "25 triplets for training",
        {"triplets.csv": TRIPLETS},
        lambda result: result.refuses("pairs of texts for training"),
    ),
    InputCase(
        "27 dates of 8 digits",
        {"items.csv": ITEMS, "events.csv": table("user_id,item_id,time", [[u, i, 20220401 + n % 28] for u, i, n in EVENTS])},
        lambda result: min(result.times) == 1648771200 and max(result.times) == 1648771200 + 27 * 86400,
    ),
    InputCase(
        "27 dates of 14 digits",
        {
            "items.csv": ITEMS,
            "events.csv": table("user_id,item_id,time", [[u, i, f"202204{n % 28 + 1:02}080000"] for u, i, n in EVENTS]),
        },
        lambda result: min(result.times) == 1648771200 + 8 * 3600,
    ),
    InputCase(
        "30 no judged query is tested",
        {
            "docs.csv": "id,title,text\n1,Red lamp,A red lamp for the bedside table\n2,Oak chair,A chair made of oak\n",
            "queries.csv": "id,text\nq1,lamp for bed\n",
            "qrels.csv": "query_id,doc_id,grade\nq1,1,1\n",
        },
        lambda result: len(result.qrels) == 1 and result.says("the judged query is a train query", "--held-out true"),
    ),
    InputCase(
        "32 queries that are documents",
        {
            "corpus.jsonl": CORPUS,
            "queries.jsonl": jsonl([{"_id": f"P{n}", "text": TEXTS[n]} for n in range(12)]),
            "qrels/test.tsv": table("query-id\tcorpus-id\tscore", [[f"P{n}", f"P{(n + 1) % 12}", 1] for n in range(12)], "\t"),
        },
        lambda result: len(result.qrels) == 12 and result.says("12 queries have the id and the text of a document"),
    ),
    InputCase(
        "34 query texts in another case",
        {
            "docs.csv": CATALOGUE,
            "queries.csv": table("query_id,query", [[n, NAMES[n].title()] for n in range(12)]),
            "judged.csv": table("query,sku,grade", [[NAMES[n], f"P{n}", n % 3] for n in range(12)]),
        },
        lambda result: len(result.qrels) == 12 and result.says("12 judgments write their query in another case"),
    ),
    InputCase(
        "38 notes beside judged queries",
        {
            "products.csv": table("product_id,title,text", PRODUCTS),
            "examples.csv": table(
                "query,query_id,product_id,label", [[NAMES[n], n, f"P{n}", "ESCI"[n % 4]] for n in range(12)]
            ),
            "notes.txt": "exported from the data base on Monday\nask Ann for the second half of it\nlabels are old\n",
        },
        lambda result: {row["text"] for row in result.queries.values()} == set(NAMES) and len(result.qrels) == 12,
    ),
    InputCase(
        "08 documents counted from 0, all of them known",
        {
            "docs.csv": table("id,text", [[n, f"{THIRTY[n]} with brass parts"] for n in range(30)]),
            "queries.csv": table("id,text", [[f"q{n}", f"{THIRTY[n]} with brass parts"] for n in range(1, 30)]),
            "qrels.csv": table("query_id,doc_id,grade", [[f"q{n}", n - 1, 1] for n in range(1, 30)]),
        },
        lambda result: len(result.qrels) == 29 and result.says("Perhaps", "documents count from 0"),
    ),
    InputCase(
        "09 a schema beside an Avro file",
        {"schema.json": '{"fields": [{"name": "id"}, {"name": "text"}]}', "all.avro": b"Obj\x01" + bytes(200)},
        lambda result: result.refuses("all.avro, an Avro file", "schema.json"),
    ),
    InputCase(
        "12 a Solr response",
        {
            "answer.xml": '<response>\n<lst name="responseHeader"><int name="status">0</int></lst>\n<result name="response">\n'
            + FIELDS.replace("field name", "str name").replace("</field>", "</str>") + "</result>\n</response>\n"
        },
        whole,
    ),
    InputCase(
        "17 JSON lines with commas",
        {"all.jsonl": jsonl([{"id": f"P{n}", "title": NAMES[n]} for n in range(12)]).replace("}\n", "},\n")},
        lambda result: result.refuses("line 1: not JSON", "an object a line"),
    ),
    InputCase(
        "subtitles",
        {"film.srt": "".join(f"{n}\n00:00:{n:02},000 --> 00:00:{n:02},900\n{NAMES[n]}\n\n" for n in range(12))},
        lambda result: result.refuses("subtitles"),
    ),
    InputCase(
        "SMART collections",
        {"cran.all": "".join(f".I {n}\n.T\n{NAMES[n]}\n.W\n{TEXTS[n]}\n" for n in range(12))},
        lambda result: result.refuses("SMART"),
    ),
    InputCase(
        "02 rows of variants in merged cells",
        {
            "all.csv": table(
                "Produkt,Beschreibung,Groesse,Artikelnummer",
                [
                    [NAMES[n] if size == "S" else "", f'"{TEXTS[n]}"' if size == "S" else "", size, f"P{n}-{size}"]
                    for n in range(6) for size in "SML"
                ],
            )
        },
        lambda result: [row["title"] for row in result.documents.values()] == NAMES[:6] and not result.bad,
    ),
    InputCase(
        "02 rows of variants without an id",
        {
            "all.csv": table(
                "productKey,sku,name.en,description.en",
                [
                    [f"P{n}" if not k else "", f"P{n}-{k}", NAMES[n] if not k else "", f'"{TEXTS[n]}"' if not k else ""]
                    for n in range(12) for k in range(3)
                ],
            )
        },
        lambda result: whole(result) and result.says("24 rows of variants"),
    ),
    InputCase(
        "10 polars' columns",
        {"all.json": json.dumps({"columns": [{"name": "sku", "datatype": "String", "values": sorted(IDS)}]})},
        lambda result: result.refuses("values lie by columns"),
    ),
    InputCase(
        "13 a deletion among the actions",
        {"bulk.ndjson": ACTIONS + json.dumps({"delete": {"_id": "P99"}}) + "\n"},
        lambda result: whole(result) and not result.bad,
    ),
    InputCase(
        "14 an archive of texts",
        {"all.zip": archive({f"P{n}.txt": f"{NAMES[n]}\n\n{TEXTS[n]}\n" for n in range(12)})},
        whole,
    ),
    InputCase(
        "14 e-mails",
        {f"P{n}.eml": f"From: Ann <a@example.org>\nSubject: {NAMES[n]}\n\n{TEXTS[n]}\n" for n in range(12)},
        lambda result: whole(result) and "example.org" not in json.dumps(result.documents),
    ),
    InputCase(
        "14 transcripts",
        {f"P{n}.txt": "".join(f"{'Ann' if k % 2 else 'Bob'}: {THIRTY[n + k]} is fine\n" for k in range(9)) for n in range(12)},
        lambda result: set(result.documents) == IDS,
    ),
    InputCase(
        "14 a text a line, with commas",
        {"texts.txt": "".join(f"{text}\n" for text in TEXTS)},
        lambda result: {row["text"] for row in result.documents.values()} == set(TEXTS),
    ),
    InputCase(
        "15 comments behind judgments",
        {"docs.csv": CATALOGUE, "queries.csv": QUERIES, "qrels.txt": "".join(f"q{n} 0 P{n} 1 # sure\n" for n in range(12))},
        lambda result: len(result.qrels) == 12,
    ),
    InputCase(
        "15 judgments that are a run",
        {"docs.csv": CATALOGUE, "queries.csv": QUERIES, "qrels.txt": "".join(f"q{n} Q0 P{n} 1 9.5 bm25\n" for n in range(12))},
        lambda result: result.refuses("qrels.txt", "a ranked run", "called as judgments are"),
    ),
    InputCase(
        "22 more words for nothing",
        {"all.csv": CATALOGUE + "X1,-,—\nX2,(null),<null>\nX3,n.a.,N.A.\nX4,undefined,undefined\n"},
        lambda result: whole(result) and result.bad == {"empty text": 4},
        {"max_bad_fraction": 0.3},
    ),
    InputCase("23 the header again in another case", {"all.csv": CATALOGUE + "SKU,Name,Description\n"}, whole),
    InputCase(
        "25 triples without a header line",
        {"triples.train.tsv": "".join(f"{NAMES[n]}\t{TEXTS[n]}\t{TEXTS[n - 5]}\n" for n in range(12))},
        lambda result: result.refuses("pairs of texts for training", "tables of documents"),
    ),
    InputCase(
        "25 lists of positives",
        {"all.jsonl": jsonl([{"query": NAMES[n], "pos": [TEXTS[n]], "neg": [TEXTS[n - 5]]} for n in range(12)])},
        lambda result: result.refuses("pairs of texts for training", "tables of documents"),
    ),
    InputCase(
        "25 scored pairs",
        {"all.tsv": table("sentence_A\tsentence_B\tscore", [[TEXTS[n], TEXTS[n - 5], n / 12] for n in range(12)], "\t")},
        lambda result: result.refuses("pairs of texts for training"),
    ),
    InputCase(
        "25 candidates of a system",
        {"top1000.dev.tsv": "".join(f"{n}\t{70 + n}\t{NAMES[n]}\t{TEXTS[n - k]}\n" for n in range(12) for k in range(3))},
        lambda result: result.refuses("results of a system"),
    ),
    InputCase(
        "25 pairs of query and answer",
        {"all.csv": table("query,answer", [[NAMES[n], f'"{TEXTS[n]}"'] for n in range(12)])},
        lambda result: len(result.qrels) == len(result.documents) == 12
        and {row["text"] for row in result.queries.values()} == set(NAMES),
    ),
    InputCase(
        "27 weeks",
        {"items.csv": ITEMS, "events.csv": table(CHOICES, [[u, i, f"2022-W{n % 50 + 1:02}"] for u, i, n in EVENTS])},
        lambda result: min(result.times) == 1641168000,
    ),
    InputCase(
        "27 times as people write them",
        {"items.csv": ITEMS, "events.csv": table(CHOICES, [[u, i, f"{n % 28 + 1:02}.04.2022"] for u, i, n in EVENTS])},
        lambda result: result.refuses("write ISO times"),
    ),
    InputCase(
        "judgments of broken JSON alone",
        {"docs.csv": CATALOGUE, "queries.csv": QUERIES, "qrels.jsonl": '{"query_id": "q1", P1, 1}\n' * 12},
        lambda result: result.refuses("qrels.jsonl", "not JSON", "called as judgments are"),
    ),
    InputCase(
        "judgments as a list in each row",
        {"docs.csv": CATALOGUE, "judged.jsonl": jsonl([{"query": NAMES[n], "results": LISTED[n]} for n in range(12)])},
        lambda result: result.refuses("results of judged.jsonl", "each pair as a row"),
    ),
    InputCase(
        "a request of Elasticsearch's ranking evaluation",
        {"docs.csv": CATALOGUE, "rank_eval.json": json.dumps({"requests": RANK_EVAL})},
        lambda result: not result.qrels and len(result.queries) == 12 and result.says("ratings of rank_eval.json lists"),
    ),
    InputCase(
        "several documents in a row of judgments",
        {"docs.csv": CATALOGUE, "judged.csv": SEVERAL},
        lambda result: result.refuses("result_1, result_2", "--column qrels.document=result_1"),
    ),
    InputCase(
        "several documents in a row, one of them named",
        {"docs.csv": CATALOGUE, "judged.csv": SEVERAL},
        lambda result: len(result.qrels) == 12,
        {"column": ["qrels.document=result_2"]},
    ),
    InputCase(
        "numbers of documents, queries and grades in columns that are told apart by a number",
        {"docs.csv": BY_NUMBER, "queries.csv": table("id1,query", [[n, NAMES[n]] for n in range(12)]), "qrels.csv": ID1_ID2},
        lambda result: len(result.qrels) == 12,
        {"column": ["qrels.query=id1", "qrels.grade=id3"]},
    ),
    InputCase(
        "preferences between two documents",
        {"docs.csv": CATALOGUE, "judged.csv": SEVERAL.replace("result_1,result_2", "product_a,product_b")},
        lambda result: result.refuses("product_a, product_b", "each pair as a row"),
    ),
    InputCase(
        "relevant documents as a list beside each query",
        {"docs.csv": CATALOGUE, "ask.jsonl": jsonl([{"query": name, "relevant": ["P1", "P2"]} for name in NAMES])},
        lambda result: not result.qrels and len(result.queries) == 12 and result.says("relevant of ask.jsonl lists documents"),
    ),
    InputCase(
        "a grade in a list of one",
        {"docs.csv": CATALOGUE, "judged.jsonl": jsonl([{"query": q, "sku": p, "grade": [k]} for q, p, k, _ in RATED])},
        lambda result: len(result.qrels) == 36 and set(result.qrels.values()) == {0, 1, 2},
        {"grades_checked": False},
    ),
    InputCase(
        "numbers in lists beside questions are no documents",
        {"docs.csv": BY_NUMBER, "gold/questions.jsonl": jsonl([{"query": q, "answers": [{"at": 5}]} for q in NAMES])},
        lambda result: len(result.queries) == 12 and not result.says("lists documents"),
    ),
    InputCase(
        "who judged and where it stood are no grades",
        {"docs.csv": CATALOGUE, "log.csv": table("query,sku,annotator_id,assessor_id", RATED)},
        lambda result: len(result.qrels) == 36 and not result.says("--column qrels.grade"),
    ),
    InputCase(
        "judgments as Python prints them",
        {"docs.csv": CATALOGUE, "qrels.jsonl": "".join(f"{({'query': name, 'sku': 'P1'})}\n" for name in NAMES)},
        lambda result: result.refuses("qrels.jsonl", "as Python prints them", "called as judgments are"),
    ),
    InputCase(
        "judgments in Windows-1252 alone",
        {"docs.csv": CATALOGUE, "judgments.csv": IN_CP1252},
        lambda result: result.refuses("judgments.csv", "invalid UTF-8", "iconv -f cp1252"),
    ),
    InputCase(
        "questions with the id of their document",
        {"docs.csv": CATALOGUE, "golden.csv": table("question,doc_id", [[NAMES[n], f"P{n}"] for n in range(12)])},
        lambda result: result.says("golden.csv is left aside", "if its rows are judgments, pass it as --qrels"),
    ),
    InputCase(
        "grades by single people",
        {"docs.csv": CATALOGUE, "judged.csv": table("query,sku,rater1,rater2", RATED)},
        lambda result: result.refuses("rater1, rater2", "--column qrels.grade=rater1"),
    ),
    InputCase(
        "grades in a column that is called otherwise",
        {"docs.csv": CATALOGUE, "judged.csv": table("query,sku,anna,ben", RATED)},
        lambda result: len(result.qrels) == 36 and result.says("anna, ben", "--column qrels.grade=COLUMN, if they are grades"),
    ),
    InputCase(
        "documents that were clicked beside queries",
        {"docs.csv": CATALOGUE, "log.csv": table("time,user_id,query,clicked_item", CLICKED)},
        lambda result: not result.qrels and result.says("clicked_item of log.csv names documents", "clicks judge nothing"),
    ),
    InputCase(
        "documents of which no row can be read beside others",
        {"books.csv": ARTICLES.encode("cp1252"), "ratings.csv": table(CHOICES, [[u, i, n] for u, i, n in EVENTS])},
        lambda result: result.refuses("no documents in ratings.csv", "no row of books.csv", "iconv -f cp1252"),
    ),
    InputCase(
        "texts in the language of their title",
        {"docs.csv": table("sku,title_en,title_de,description_en,description_de", IN_LANGUAGES)},
        lambda result: all("number" in row["text"] and "Nummer" not in row["text"] for row in result.documents.values()),
    ),
    InputCase(
        "objects as Python prints them",
        {"items.json": "".join(f"{({'id': f'P{n}', 'title': NAMES[n], 'text': TEXTS[n]})}\n" for n in range(12))},
        lambda result: result.refuses("as Python prints them", "ast.literal_eval"),
    ),
    InputCase(
        "judgments that name documents by their titles",
        {"docs.csv": CATALOGUE, "judgments.csv": BY_TITLE},
        lambda result: result.refuses("judgments.csv", "called as judgments are"),
    ),
    InputCase(
        "grades beside queries",
        {"docs.csv": CATALOGUE, "asked.csv": BY_TITLE},
        lambda result: len(result.queries) == 12 and result.says("relevance of asked.csv is not used"),
    ),
    InputCase(
        "a split column in other words",
        {
            "docs.csv": CATALOGUE,
            "queries.csv": table("id,text,split", [[f"q{n}", NAMES[n], SIDES[n // 4]] for n in range(12)]),
            "qrels.csv": table("query_id,doc_id,grade", [[f"q{n}", f"P{n}", 1] for n in range(12)]),
        },
        named_split,
    ),
    InputCase(
        "a split column in words that name no side",
        {
            "docs.csv": CATALOGUE,
            "queries.csv": table("id,text,split", [[f"q{n}", NAMES[n], ("train", "eval")[n % 2]] for n in range(12)]),
            "qrels.csv": table("query_id,doc_id,grade", [[f"q{n}", f"P{n}", 1] for n in range(12)]),
        },
        lambda result: len(result.qrels) == 12 and result.says("such as eval, name no side"),
    ),
    InputCase(
        "one list that is called JSONL",
        {"all.jsonl": json.dumps([{"id": f"P{n}", "title": NAMES[n], "text": TEXTS[n]} for n in range(12)])},
        whole,
    ),
    InputCase(
        "a header of qrels behind a hash",
        {
            "docs.csv": CATALOGUE,
            "queries.csv": QUERIES,
            "qrels.txt": "#qid iter docid rel\n" + "".join(f"q{n} 0 P{n} {n % 3}\n" for n in range(12)),
        },
        lambda result: len(result.qrels) == 12 and not result.bad,
    ),
    InputCase(
        "a pointer in place of data",
        {"all.csv": f"version https://s3.example.org/spec/v1\noid sha256:{'4d' * 32}\nsize 12345\n"},
        lambda result: result.refuses("Git LFS pointer", "git lfs pull"),
    ),
    InputCase(
        "a pointer in place of judgments",
        {"docs.csv": CATALOGUE, "queries.csv": QUERIES, "qrels.tsv": "version https://s3.example.org/spec/v1\nsize 9\n"},
        lambda result: result.refuses("qrels.tsv", "git lfs pull"),
    ),
    InputCase(
        "a page in place of data",
        {"all.csv": "<!DOCTYPE html>\n<html><body>\n<h1>403 Forbidden</h1>\n</body></html>\n"},
        lambda result: result.refuses("a web page"),
    ),
    InputCase(
        "a page of an older server in place of data",
        {"all.csv": '<!DOCTYPE HTML PUBLIC "-//IETF//DTD HTML 2.0//EN">\n<HTML><TITLE>404 Not Found</TITLE></HTML>\n'},
        lambda result: result.refuses("a web page"),
    ),
    InputCase(
        "ids that are floats",
        {
            "docs.csv": CATALOGUE,
            "queries.csv": QUERIES,
            "qrels.jsonl": jsonl([{"query_id": f"q{n}", "doc_id": float(n), "grade": 1} for n in range(12)]),
        },
        lambda result: result.refuses("document id is a float", "whole numbers: 7, not 7.0"),
    ),
    InputCase(
        "ids padded with zeros elsewhere",
        {
            "docs.csv": table("id,title,text", [[f"{n:05}", NAMES[n], f'"{TEXTS[n]}"'] for n in range(1, 12)]),
            "queries.csv": QUERIES,
            "qrels.csv": table("query_id,doc_id,grade", [[f"q{n}", n, 1] for n in range(1, 12)]),
        },
        lambda result: result.refuses("padded with zeros", "write the ids of these qrels as the documents have them"),
    ),
    InputCase(
        "a text that is too long",
        {"all.csv": CATALOGUE + f"X,long,{'x ' * 600_000}\n"},
        lambda result: result.refuses("text too long", "raise --max-text"),
    ),
    InputCase(
        "NUL characters in JSON",
        {"all.jsonl": jsonl([{"id": f"P{n}", "title": NAMES[n], "text": TEXTS[n] + "\0"} for n in range(12)])},
        lambda result: result.refuses("a NUL character", "without NUL characters"),
    ),
]  # fmt: skip
