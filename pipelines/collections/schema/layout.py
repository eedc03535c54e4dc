"""How a collection lies in its files: which file is what, and which column is which field, by their names and first rows."""

import re
from collections.abc import Sequence

from pipelines.collections.record import FilePart, Layout, Sampled
from pipelines.collections.schema.column_features import file_name_says
from pipelines.collections.schema.column_names import words_of
from pipelines.collections.schema.grades import Scale
from pipelines.collections.schema.groups import TableGroup
from pipelines.collections.schema.infer_documents import add_documents, add_interactions, add_users, referenced_ids
from pipelines.collections.schema.infer_judgments import add_queries
from pipelines.collections.schema.infer_roles import assign_roles, interactions_of, judgments_of
from pipelines.collections.schema.overrides import Overrides
from pipelines.collections.schema.schema_state import SchemaState, check_used, group_samples, listed
from pipelines.errors import InputError

UNREAD_IS_REFUSED = frozenset({"qrel", "qrels", "judgments", "judgements"})
"""A file of such a name that is not understood is not passed over."""
MOVIELENS = re.compile(r"(^|/)(u\.(data|item)|(movies|ratings)\.(dat|csv))(\.\w+)?$")


def infer_layout(samples: Sequence[Sampled], overrides: Overrides) -> Layout:
    """The layout that a collection's files seem to have, by the samples alone: no file is read.

    Names of columns in several languages, the shape of values, how often they repeat, and ids that several files share
    speak for a role or a field; what the user says stands above all of it.

    Args:
        samples: the files with their first rows.
        overrides: what the user says.

    Raises:
        InputError: no documents are to be seen, or something that the user named is not there.
    """
    if overrides.grades:
        Scale.parse(overrides.grades)
    state = SchemaState(overrides)
    groups = group_samples(samples, state)
    judged, choices = judgments_of(state, groups), interactions_of(state, groups)
    sources = [group for group in (judged, choices) if group is not None]
    names = referenced_ids(state, sources)
    state.groups = assign_roles(state, groups, names.queries, names.documents)
    documents = add_documents(state, sources, names)
    add_queries(state, judged, documents, names)
    if choices is not None:
        add_interactions(state, choices, documents)
    add_users(state, choices)
    _check_judgments_are_read(state)
    for group in state.of(""):
        state.aside(group, _reason_unused(group))
    check_used(state)
    made_up = [state.headings[name] for name in dict.fromkeys(part.file.name for part in state.parts)]
    notes = (*filter(None, made_up), *state.notes)
    return Layout(_layout_name(state.parts), tuple(state.parts), notes, overrides.grades)


def _check_judgments_are_read(state: SchemaState) -> None:
    """Refuse a file that is called as judgments are and was not understood, where there are no others; note other grades."""
    if any(part.role == "qrels" for part in state.parts):
        return
    used = {part.file.name for part in state.parts}
    for group in state.groups:
        called = set(words_of(group.table.name)) & UNREAD_IS_REFUSED and not group.features.ranked
        graded = group.kind == "queries" and group.features.grades
        if graded and not called:
            needed = "judgments have columns of the query, the document's id and the grade (--column qrels.document=COLUMN)"
            state.note(f"{listed(graded, 3)} of {group.names} is not used: {needed}.")
        if called and (graded or group.table.name not in used):
            raise InputError(
                f"{group.names}, which is called as judgments are and has the columns {listed(group.table.columns)}",
                "a row for each judgment, with columns of the query, the document and the grade",
                "name them: --column qrels.query=COLUMN --column qrels.document=COLUMN, or take the file out of the source",
            )


def _reason_unused(group: TableGroup) -> str:
    if group.features.ranked:
        return "results of a system, and no judgments"
    if group.features.training:
        return "pairs or triplets of texts for training; write queries, documents and judgments to tables of their own"
    if group.features.keyed:
        return "one object; where its keys are ids, write a row for each of them"
    if file_name_says(group.table, "qrels"):
        return "called as judgments are, but no columns of queries, documents and grades are to be seen"
    return "neither texts nor judgments nor interactions are to be seen"


def _layout_name(parts: list[FilePart]) -> str:
    roles = [
        role for role in ("documents", "queries", "qrels", "interactions", "users") if any(part.role == role for part in parts)
    ]
    names = {part.file.name for part in parts}
    columns = {column for part in parts for names_ in part.columns.values() for column in names_}
    if all(part.file.format.startswith("trec ") for part in parts):
        return "TREC collection" if {"docno", "num", "query_id"} & columns else "XML documents"
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
