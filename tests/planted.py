"""A small world with a person and a document planted in it: a corpus of texts, queries and interactions, and its releases.

The encoder's vectors are random, so a release takes seconds; its rankings mean nothing.
"""

import random
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.corpus.documents import Document, Interaction, Query, User
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store
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
