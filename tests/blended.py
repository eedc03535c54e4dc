"""A shop in which how often a document is chosen of the times that it is shown tells what is relevant, and nothing else does.

The documents of a topic have one text, so no retriever can order them. Each has an appeal: users choose it with that
probability when it is shown, and it is relevant for a query of its topic with that probability, drawn anew. The less appeal a
document has, the more often it is shown, so that popularity misleads.
"""

import random
from datetime import UTC, datetime, timedelta

from pipelines.corpus.documents import Document, Interaction, Query
from tests.corpora import write_corpus

DAY, DAYS = 86_400, 40
MATERIALS = "oak pine glass steel wool linen paper stone brass cork".split()
THINGS = "chair table lamp shelf stool bench sofa rug clock vase".split()
COPIES = 6
"""Documents of each topic."""
FEATURE = "document_interactions.ctr_30d"


def planted_shop(seed: int = 0, useful: bool = True) -> str:
    """The corpus, whose interactions end with today; where the rate is not useful, what is chosen says nothing of relevance."""
    chance = random.Random(seed)
    end = int(datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0).timestamp())
    documents, queries, judged, met = [], [], [], []
    for number, (material, thing) in enumerate((material, thing) for material in MATERIALS for thing in THINGS):
        query = Query(
            id=f"q{number:03}", text=f"{material} {thing}", split="test" if number % 5 > 2 else "train", dev=number % 5 <= 2
        )
        queries.append(query)
        for copy in chance.sample(range(COPIES), COPIES):
            name, appeal = f"{number:03}-{copy}", chance.random()
            documents.append(Document(id=name, text=query.text, title=name))
            judged.append(f"{query.id} 0 {name} {int(chance.random() < (appeal if useful else 0.5))}")
            for _ in range(5 + int(35 * (1 - appeal))):
                at = end - DAYS * DAY + chance.randrange(DAYS * DAY)
                value = 1.0 if chance.random() < appeal else 0.0
                met.append(Interaction(user=f"u{chance.randrange(300):03}", document=name, time=at, value=value))
    met.sort(key=lambda one: (one.user, one.time, one.document))
    return write_corpus(documents, queries, sorted(judged), met, facts={"min_value": 0.5})


def today() -> str:
    """The end of the day before, as materialize_view has it by default."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0).isoformat()


def yesterday() -> str:
    return (datetime.fromisoformat(today()) - timedelta(days=1)).isoformat()
