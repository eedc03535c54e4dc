"""How a collection lies in its files: which file is what, and which column is which field, by their names and first rows."""

import re
from collections.abc import Sequence

from pipelines.collections.recognition.column_features import named
from pipelines.collections.recognition.grades import Scale
from pipelines.collections.recognition.groups import Group
from pipelines.collections.recognition.infer_documents import add_documents, add_interactions, add_users, names_of
from pipelines.collections.recognition.infer_judgments import add_queries
from pipelines.collections.recognition.infer_roles import interactions_of, judgments_of, settle
from pipelines.collections.recognition.inspection import shown
from pipelines.collections.recognition.overrides import Overrides, parse_columns
from pipelines.collections.recognition.schema_state import SchemaState, check_used, gather
from pipelines.collections.record import Layout, Part, Sampled

__all__ = ["Overrides", "parse_columns", "recognize", "shown"]
MOVIELENS = re.compile(r"(^|/)(u\.(data|item)|(movies|ratings)\.(dat|csv))(\.\w+)?$")


def recognize(samples: Sequence[Sampled], wishes: Overrides) -> Layout:
    """The layout that a collection's files seem to have. Nothing but what is given enters: no file is read.

    Names of columns in several languages, the shape of values, how often they repeat, and ids that several files share
    speak for a role or a field; what the user says stands above all of it.

    Args:
        samples: the files with their first rows.
        wishes: what the user says.

    Raises:
        InputError: no documents are to be seen, or something that the user named is not there.
    """
    if wishes.grades:
        Scale.parse(wishes.grades)
    finding = SchemaState(wishes)
    groups = gather(samples, finding)
    judged, choices = judgments_of(finding, groups), interactions_of(finding, groups)
    sources = [group for group in (judged, choices) if group is not None]
    names = names_of(finding, sources)
    finding.groups = settle(finding, groups, names.queries, names.documents)
    documents = add_documents(finding, sources, names)
    add_queries(finding, judged, documents, names)
    if choices is not None:
        add_interactions(finding, choices, documents)
    add_users(finding, choices)
    for group in finding.of(""):
        finding.aside(group, _why(group))
    check_used(finding)
    made_up = [finding.headings[name] for name in dict.fromkeys(part.file.name for part in finding.parts)]
    notes = (*filter(None, made_up), *finding.notes)
    return Layout(_name(finding.parts), tuple(finding.parts), notes, wishes.grades)


def _why(group: Group) -> str:
    """Why a table is none of the roles."""
    if group.clues.ranked:
        return "results of a system, and no judgments"
    if group.clues.keyed:
        return "one object; where its keys are ids, write a row for each of them"
    if named(group.table, "qrels"):
        return "called as judgments are, but no columns of queries, documents and grades are to be seen"
    return "neither texts nor judgments nor interactions are to be seen"


def _name(parts: list[Part]) -> str:
    """What a collection is called, by its parts."""
    roles = [
        role for role in ("documents", "queries", "qrels", "interactions", "users") if any(part.role == role for part in parts)
    ]
    names = {part.file.name for part in parts}
    columns = {column for part in parts for found in part.columns.values() for column in found}
    if all(part.file.format.startswith("trec ") for part in parts):
        return "TREC collection"
    if {"_id", "query-id", "corpus-id"} <= columns:
        return "BEIR folder"
    if "interactions" in roles and len([name for name in names if MOVIELENS.search(name)]) >= 2:
        return "MovieLens"
    if any(name.endswith(".inter") for name in names):
        return "RecBole atomic files"
    if len(names) == 1:
        return f"one table of {_joined(roles)}"
    return f"{_joined(roles)} in {len(names)} files"


def _joined(roles: list[str]) -> str:
    words = ["judgments" if role == "qrels" else role for role in roles]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
