"""A small world with a person and a document planted in it: a corpus of texts, queries and interactions, and its releases.

The encoder's vectors are random, so a release takes seconds; its rankings mean nothing.
"""

import io
import json
import random
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.access.pseudonyms import pseudonym
from pipelines.corpus.documents import Document, Interaction, Query, User
from pipelines.store.journal import Journal
from pipelines.store.objects import Store, open_store
from tests.corpora import write_corpus
from tests.encoders import static_encoder
from tests.sharing import built_once

PERSON, DOCUMENT, TITLE = "zqv-person-7731", "zqv-lamp-8842", "Zqverdigris wall lamp"
"""Names that nothing else in the world has."""
WORDS = "red green oak pine glass steel wool linen chair table lamp shelf stool bench sofa rug clock vase tray bowl".split()
BEGINNING = 1_700_000_000


@dataclass(frozen=True)
class World:
    """The ids of the champion and of its corpus."""

    corpus: str
    release: str

    @property
    def journal(self) -> Journal:
        return Journal(open_store())


def planted_corpus(seed: int = 0, documents: int = 40, users: int = 20) -> str:
    """The corpus; another seed gives another one that holds the same person and document."""
    chance = random.Random(seed)
    names = [f"item-{number:03}" for number in range(documents)]
    texts = {name: " ".join(chance.sample(WORDS, 4)) for name in names}
    rows = [
        Document(id=name, text=text, title=text.title(), facets={"supplier": chance.choice("AB")})
        for name, text in texts.items()
    ]
    rows.append(Document(id=DOCUMENT, text=f"{TITLE}, brass with a linen shade", title=TITLE))
    asked = [Query(id=f"q{number:03}", text=" ".join(chance.sample(WORDS, 2)), split=("train", "test")[number % 2])
             for number in range(80)]  # fmt: skip
    asked.append(Query(id="known", text=TITLE, split="train", synthetic=True))
    judged = [f"{query.id} 0 {name} 1" for query in asked[:-1] for name in sorted(chance.sample([*names, DOCUMENT], 4))]
    judged.append(f"known 0 {DOCUMENT} 1")
    people = [f"user-{number:02}" for number in range(users)] + [PERSON]
    met = [Interaction(user=user, document=name, time=BEGINNING + 1000 * number)
           for user in people for number, name in enumerate([*chance.sample(names, 6), DOCUMENT])]  # fmt: skip
    histories = [
        Query(id=user, text=TITLE, split="test", history=(met[0].document, DOCUMENT), time=BEGINNING + 7000) for user in people
    ]
    judged += [f"{query.id} 0 {names[number]} 1" for number, query in enumerate(histories)]
    asked = sorted([*asked, *histories], key=lambda query: query.id)
    fields = [User(id=user, fields={"town": "Ulm"}) for user in people]
    met.sort(key=lambda row: (row.user, row.time, row.document))
    return write_corpus(rows, asked, sorted(judged), met, sorted(fields, key=lambda user: user.id))


def released(corpus: str) -> str:
    """Train, promote and deploy a release of a corpus, whatever the rules say of its random answers."""
    from pipelines.train import train

    answer = train(corpus=corpus, waive="random answers decide nothing", margin=0.5)
    assert answer["served"], answer
    return str(answer["release"])


@pytest.fixture(scope="session")
def _planted_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, World]:
    def build(folder: Path) -> list[str]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RATCHET_HOME", str(folder / "home"))
            patch.setenv("RATCHET_USER", "tester")
            static_encoder()
            corpus = planted_corpus()
            return [corpus, released(corpus)]

    folder, ids = built_once(tmp_path_factory, "planted", build)
    return folder / "home", World(*ids)


@pytest.fixture
def planted(_planted_once: tuple[Path, World], home: Path) -> World:
    """A home of this test's own whose champion holds the person and the document."""
    shutil.copytree(_planted_once[0], home)
    return _planted_once[1]


KEY = "a-key-of-the-tests"
"""Of the search server: pseudonyms of users are made by it."""
LONG_AGO = "2026-01-05T08:00:00Z"


def planted_everywhere(home: Path, at: str = LONG_AGO, experiment: str = "") -> None:
    """Plant the person and the document in the places that a chain leaves empty; needs a champion."""
    from tests.conftest import call

    store = open_store()
    plant_in_logs(home / "events", at, experiment)
    plant_in_store(store)
    source = home / "shop.csv"
    bad = [f"{DOCUMENT},", f"{PERSON},", f"{DOCUMENT},{TITLE}"]
    source.write_text("\n".join(["id,text", *(f"s{n},oak chair number {n}" for n in range(200)), *bad]) + "\n")
    call("ingest", source=str(source), max_bad_fraction=0.5)
    source.unlink()
    questions = home / "questions.csv"
    questions.write_text(f"query\n{TITLE}\noak chair of {PERSON}\n")
    planned = call("plan_scores", source=str(questions))
    parts = {"queries": planned.queries, "release": planned.release, "k": 5}
    call("commit_scores", **parts, shards=[call("score_shard", **parts, shard=shard).shard for shard in planned.shards])
    questions.unlink()
    call("diff", a=Journal(store).routing.champion and planted_corpus(), b=planted_corpus(seed=5))
    call("export_release", release="champion", file=str(home / "r.bundle"))
    Store(f"bundle://{home}/r.bundle", cache=home / "cache")
    (home / "r.bundle").unlink()
    (home / "reports").mkdir()
    (home / "reports/report-1.html").write_text(f"<td>{PERSON}</td><td>{TITLE}</td>")


def plant_in_features(corpus: str) -> None:
    """Put what is known of the users and the documents of a corpus into the feature store, of the day of its interactions."""
    from tests.conftest import call

    for view in ("user_activity", "document_interactions"):
        call("materialize_view", view=view, corpus=corpus, start="2023-11-14", end="2023-11-15", history=2)


def plant_in_logs(folder: Path, at: str = LONG_AGO, experiment: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    hidden = pseudonym(KEY.encode(), PERSON)
    shown = [
        {"document": name, "position": n + 1, "score": 1.0, "propensity": 1} for n, name in enumerate(("item-001", DOCUMENT))
    ]
    said = {"at": at, "query": "oak", "release": "r", "policy": "champion", "entry": 2, "results": shown}
    said |= {"experiment": experiment, "variant": "a"} if experiment else {}
    rows = [{"request_id": f"r{n}", "user": user, **said} for n, user in enumerate((hidden, "somebody", hidden))]
    clicks = [{"request_id": row["request_id"], "document": name, "position": n, "at": at}
              for row in rows for n, name in enumerate(("item-001", DOCUMENT), 1)]  # fmt: skip
    acts = [{"at": at, "caller": "k", "act": f"GET /v1/search?like={DOCUMENT}&user={PERSON}", "outcome": "refused"}]
    bought = [{"request_id": row["request_id"], "document": DOCUMENT, "value": 49.9, "at": at} for row in rows]
    for name, lines in (("exposures", rows), ("clicks", clicks), ("conversions", bought), ("audit", acts)):
        body = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(body + "cut off\n")


def plant_in_store(store: Store) -> None:
    both = json.dumps({"text": f"{PERSON} bought {TITLE}", "id": DOCUMENT}).encode()
    for path in (
        "trash/7/blobs/" + "a" * 64,
        "checkpoints/abcd/" + "b" * 64,
        "results/dag/run.json",
        "lineage/x",
        "recipes/x.json",
    ):
        store.write(path, both)


def everywhere(folder: Path, words: tuple[str, ...]) -> list[str]:
    """The files below a folder that have one of the words, also where they are compressed."""
    wanted = [word.encode() for word in words]
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and any(word in body for body in _bodies(path) for word in wanted)
    )


def _bodies(path: Path) -> Iterator[bytes]:
    import pyarrow.parquet

    body = path.read_bytes()
    yield body
    if body[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            yield from (archive.read(name) for name in archive.namelist())
    if body[:4] == b"PAR1":
        yield str(pyarrow.parquet.read_table(path).to_pylist()).encode()
