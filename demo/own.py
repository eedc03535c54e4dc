"""`make demo DATA=my.csv`: one's own collection, in a home of its own."""

import os
import re
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import click

from pipelines.cli.commands import parse_values
from pipelines.corpus.documents import documents, qrels, queries
from pipelines.errors import InputError
from pipelines.settings import settings
from pipelines.store.artifacts import load_exactly
from pipelines.store.objects import Store
from pipelines.store.recipes import digest
from pipelines.wording import clipped

ICONS = ("beach", "money", "angry")
PLACES = ("source", "queries", "qrels")


class Question(NamedTuple):
    """What the demo asks the server, and how it shows it."""

    shown: str
    asked: dict[str, Any]


def asked(arguments: list[str]) -> dict[str, Any]:
    """Ingest's params from a command line such as `my.csv --column id=sku`; paths become absolute.

    Raises:
        InputError: an option that ingest does not have, or has no value.
    """
    bare = ["--source", *arguments] if arguments and not arguments[0].startswith("-") else arguments
    try:
        conf = parse_values("ingest", bare)
    except click.UsageError as error:
        raise InputError(
            f"{' '.join(arguments)}: {error.format_message()}", "options of ingest", "run `python -m pipelines ingest --help`"
        ) from None
    if conf and not conf.get("source"):
        raise InputError(" ".join(arguments), "a file or folder before the options", "run make demo DATA=FILE OPTIONS='…'")
    return conf | {
        name: str(Path(conf[name]).expanduser().absolute()) for name in PLACES if conf.get(name) and "://" not in conf[name]
    }


def own_home(source: str) -> None:
    """Give a collection a home of its own, since one journal routes for one collection."""
    slug = re.sub(r"[^A-Za-z0-9]+", "-", Path(source).name.partition(".")[0]).strip("-").lower() or "collection"
    os.environ["RATCHET_HOME"] = str(settings().home.absolute() / "collections" / f"{slug}-{digest(source.encode())[:6]}")


def questions(store: Store, champion: str) -> list[Question]:
    """Three questions: the icons' usual ones; else test queries of the corpus, or its first titles where it has none."""
    corpus = load_exactly(store, "corpus", load_exactly(store, "release", champion).inputs["corpus"])
    if corpus.facts.get("layout") == "icons":
        return [Question(text, {"q": text}) for text in ICONS]
    judged = qrels(corpus)
    found = [query for query in queries(corpus, "test") if query.id in judged][:3]
    if not found:
        titles = [one.title or one.text for one in islice(documents(corpus), 3)]
        return [_question(title) for title in titles]
    return [
        Question(clipped(one.text, 60), {"like": list(one.history)}) if one.history else _question(one.text) for one in found
    ]


def _question(text: str) -> Question:
    return Question(clipped(text, 60), {"q": " ".join(text.split())[:500]})
