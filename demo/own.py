"""`make demo DATA=my.csv`: the demo on your own collection, in a home of its own."""

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

ICON_QUERIES = ("beach", "money", "angry")
PATH_PARAMS = ("source", "queries", "qrels")


class DemoQuery(NamedTuple):
    """A query that the demo sends to the server: its printed label and the parameters of the search."""

    label: str
    parameters: dict[str, Any]


def ingest_params(arguments: list[str]) -> dict[str, Any]:
    """Params of `ingest` from a command line such as `my.csv --column id=sku`; paths become absolute.

    Raises:
        InputError: an option that ingest does not have, or has no value.
    """
    options = ["--source", *arguments] if arguments and not arguments[0].startswith("-") else arguments
    try:
        conf = parse_values("ingest", options)
    except click.UsageError as error:
        raise InputError(
            f"{' '.join(arguments)}: {error.format_message()}", "options of ingest", "run `python -m pipelines ingest --help`"
        ) from None
    if conf and not conf.get("source"):
        raise InputError(" ".join(arguments), "a file or folder before the options", "run make demo DATA=FILE OPTIONS='…'")
    return conf | {
        name: str(Path(conf[name]).expanduser().absolute())
        for name in PATH_PARAMS
        if conf.get(name) and "://" not in conf[name]
    }


def use_own_home(source: str) -> None:
    """Set RATCHET_HOME to a folder for this collection alone, since one journal routes for one collection."""
    slug = re.sub(r"[^A-Za-z0-9]+", "-", Path(source).name.partition(".")[0]).strip("-").lower() or "collection"
    os.environ["RATCHET_HOME"] = str(settings().home.absolute() / "collections" / f"{slug}-{digest(source.encode())[:6]}")


def demo_queries(store: Store, champion: str) -> list[DemoQuery]:
    """Three queries: fixed ones for the icons, otherwise judged test queries of the corpus, or titles where it has none."""
    corpus = load_exactly(store, "corpus", load_exactly(store, "release", champion).inputs["corpus"])
    if corpus.facts.get("layout") == "icons":
        return [DemoQuery(text, {"q": text}) for text in ICON_QUERIES]
    judged = qrels(corpus)
    test_queries = [query for query in queries(corpus, "test") if query.id in judged][:3]
    if not test_queries:
        return [_text_query(document.title or document.text) for document in islice(documents(corpus), 3)]
    return [
        DemoQuery(clipped(query.text, 60), {"like": list(query.history)}) if query.history else _text_query(query.text)
        for query in test_queries
    ]


def _text_query(text: str) -> DemoQuery:
    return DemoQuery(clipped(text, 60), {"q": " ".join(text.split())[:500]})
