"""The default collection: the icons of the package `fontawesomefree`, with their curated search terms.

A search term is a query, and the icons that have it are its relevant documents; terms never enter a document's text.
"""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pipelines.corpus.documents import Document, Qrel, Query, query_id, split_of, write_qrels, write_rows
from pipelines.errors import InputError
from pipelines.settings import install_command

Text = Literal["label", "label+category"]


def read_icons(folder: Path | None, text: Text) -> tuple[list[Document], list[Query], list[Qrel]]:
    """The icons as documents, their terms as queries, and the judgments.

    Args:
        folder: a folder with `metadata/icons.json` and `metadata/categories.yml`; None: the installed package.
        text: the text of a document. "label+category" is known to rank worse and serves as an example of a regression.

    Raises:
        InputError: the package is not installed, or its metadata is not as expected.
    """
    metadata = (folder or installed_icons()) / "metadata"
    try:
        icons: dict[str, Any] = json.loads((metadata / "icons.json").read_text(encoding="utf-8"))
        categories = _categories(metadata / "categories.yml")
        documents = [_document(name, icon, categories.get(name, []), text) for name, icon in sorted(icons.items())]
        judged = sorted(set(_judgments(icons)))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(
            f"{metadata}: {error!r}",
            "icons.json and categories.yml of fontawesomefree 6",
            "give the package's unchanged folder",
        ) from None
    terms = sorted({term for term, _ in judged})
    queries = [Query(id=query_id(term), text=term, split=split_of(term)) for term in terms]
    return documents, queries, [Qrel(query=query_id(term), document=name, grade=1) for term, name in judged]


def write_icons(folder: Path | None, text: Text, target: Path) -> dict[str, int]:
    """Write the icons as the files of a corpus; returns the number of documents, queries and judgments.

    Raises:
        InputError: there are no icons, the package is not installed, or its metadata is not as expected.
    """
    documents, queries, judged = read_icons(folder, text)
    if not documents:
        raise InputError(f"icons in {folder} without documents", "at least one document", "check --folder")
    return {
        "documents": write_rows(target / "documents.jsonl", documents),
        "queries": write_rows(target / "queries.jsonl", queries),
        "judgments": write_qrels(target / "qrels.txt", judged),
    }


def installed_icons() -> Path:
    """The folder of the installed package.

    Raises:
        InputError: it is not installed.
    """
    package = importlib.util.find_spec("fontawesomefree")
    if package is None or package.origin is None:
        raise InputError("collection icons", "the package fontawesomefree", f"run `{install_command('demo')}`")
    return Path(package.origin).parent / "static" / "fontawesomefree"


def _categories(path: Path) -> dict[str, list[str]]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C parser is ten times as fast
    try:
        categories = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506  # a safe loader, in C
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None
    by_icon: dict[str, list[str]] = {}
    for category in categories.values():
        for name in category["icons"]:
            by_icon.setdefault(str(name), []).append(category["label"])
    return by_icon


def _document(name: str, icon: dict[str, Any], categories: list[str], text: Text) -> Document:
    label = icon["label"]
    style = icon["free"][0]
    return Document(
        id=name,
        text=label if text == "label" else " ".join([label, *categories]),
        title=label,
        segment=categories[0] if categories else "Brands" if style == "brands" else "Other",
        picture=icon["svg"][style]["raw"],
    )


def _judgments(icons: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, icon in icons.items():
        for term in icon["search"]["terms"]:
            normalized = " ".join(str(term).lower().split())
            if normalized and normalized != str(icon["label"]).lower():
                yield normalized, name
