"""Schema inference for documents, interactions and users: their tables, fields and notes."""

from typing import NamedTuple

from pipelines.collections.quarantine import remedy
from pipelines.collections.record import Role
from pipelines.collections.rows import InvalidRow, seconds_of
from pipelines.collections.schema.column_features import ColumnFeatures
from pipelines.collections.schema.columns import SampleColumn, SampleTable
from pipelines.collections.schema.fields import (
    Fields,
    as_columns,
    columns_of_documents,
    document_fields,
    item_texts,
    user_fields,
)
from pipelines.collections.schema.groups import TableGroup, heads_of_variants, overlap, without_duplicate_files
from pipelines.collections.schema.infer_roles import ranked_groups
from pipelines.collections.schema.schema_state import SchemaState, listed
from pipelines.collections.schema.terminal import clean
from pipelines.errors import InputError

NAMING: dict[str, Role] = {"qrels": "qrels", "interactions": "interactions"}
"""Kinds of tables that name documents."""


FIRST_TIME = 631_152_000
"""1990 in seconds since 1970: a smaller number is a year, a week or a day and no second."""


class ReferencedIds(NamedTuple):
    """The ids that judgments and interactions name, as far as they were seen."""

    queries: frozenset[str] = frozenset()
    documents: frozenset[str] = frozenset()


class RoleTable(NamedTuple):
    """A table in a role, with its fields."""

    group: TableGroup
    fields: Fields

    @property
    def ids(self) -> SampleColumn | None:
        columns = self.fields.get("id", ())
        return self.group.table.columns.get(columns[0]) if columns else None


def referenced_ids(state: SchemaState, sources: list[TableGroup]) -> ReferencedIds:
    """The ids that are named, where the names of the columns or the user say which these are."""
    documents: set[str] = set()
    queries: set[str] = set()
    for group in sources:
        with_overrides = state.overrides.of(NAMING[group.kind])
        columns = group.table.columns
        for name in with_overrides.get("document", ()) or group.features.documents:
            documents |= set(columns[name].different if name in columns else ())
        for name in with_overrides.get("query", ()) or (group.features.query_id,):
            queries |= set(columns[name].different if name in columns and group.kind == "qrels" else ())
    return ReferencedIds(frozenset(queries), frozenset(documents))


def add_documents(state: SchemaState, sources: list[TableGroup], names: ReferencedIds) -> RoleTable:
    """The parts of the documents; where no table holds them alone, they come from beside judgments or interactions.

    Args:
        state: takes the parts and notes.
        sources: the judgments and interactions that are used.
        names: the ids that these name.

    Raises:
        InputError: there are none.
    """
    main: RoleTable | None = None
    for group in _document_groups(state, sources, names):
        whole = main is None or _has_overridden_columns(state, group)
        fields = _infer_document_fields(state, group, names, sources) if whole else {}
        if not fields.get("text"):
            state.aside(group, "no column holds texts of documents")
        elif main is None:
            main = RoleTable(group, fields)
            state.add("documents", group.table, fields)
        elif group.forced or (fields["id"], fields["text"]) == (main.fields["id"], main.fields["text"]):
            state.add("documents", group.table, fields)
        else:
            judging = group.features.query_text and group.features.document
            hint = "; if its rows are judgments, pass it as --qrels" if judging else ""
            state.aside(group, f"other columns than in {main.group.names}, which is taken for the documents{hint}")
    main = main or _documents_beside(state, sources)
    if main is None:
        raise _no_documents_error(state, sources)
    state.note(*_document_notes(main))
    return main


def _document_groups(state: SchemaState, sources: list[TableGroup], names: ReferencedIds) -> list[TableGroup]:
    """Tables of documents, those with the columns that the user named first; none, where only judgments have those columns."""
    groups = ranked_groups(state.of("documents"), names.documents)
    having = [group for group in groups if _has_overridden_columns(state, group)]
    if groups and not having and any(_has_overridden_columns(state, group) for group in sources):
        for group in groups:
            state.aside(group, "the columns that were named are not there")
        return []
    return [*having, *(group for group in groups if group not in having)]


def _has_overridden_columns(state: SchemaState, group: TableGroup) -> bool:
    named = {column for columns in state.overrides.of("documents").values() for column in columns}
    return named <= set(group.table.columns)


def _infer_document_fields(state: SchemaState, group: TableGroup, names: ReferencedIds, sources: list[TableGroup]) -> Fields:
    whole, notes = without_duplicate_files(group)
    state.note(*notes)
    group.table = whole.table
    key, table = heads_of_variants(group.table)
    features = ColumnFeatures(table)
    shares = {column.name: overlap(names.documents, column) + (column.name == key) for column in features.columns}
    fields = document_fields(table, features.columns, shares)
    if key and fields["id"] == (key,):
        state.note(f"Rows of {group.names} that repeat {clean(key, 40)} without title and text are variants: no document each.")
    elif not key and table is not group.table:
        state.variants |= {file.name for file in group.table.files}
        state.note(f"Rows of {group.names} without title and text are variants of the row above: no document each.")
    if any(source.kind == "interactions" for source in sources):
        fields = item_texts(group.table, fields)
    return state.with_overrides("documents", fields, group.table)


def _documents_beside(state: SchemaState, sources: list[TableGroup]) -> RoleTable | None:
    """Documents in a table that has a judgment or choice in each row: one is there as often as it was judged."""
    for group in sources:
        features, overrides = group.features, state.overrides.of("documents")
        id_columns = overrides.get("id") or as_columns(document_column(features, None))
        document = id_columns[0] if id_columns else ""
        fields = {**document_fields(group.table, columns_of_documents(features, document), {}), "id": id_columns}
        fields = state.with_overrides("documents", fields, group.table)
        if fields.get("text"):
            state.add("documents", group.table, fields, repeats=True)
            return RoleTable(group, fields)
    return None


def _no_documents_error(state: SchemaState, sources: list[TableGroup]) -> InputError:
    groups = [*sources, *(group for group in state.groups if group not in sources)]
    training = any(group.features.training for group in groups)
    ranked = any(group.features.ranked for group in groups)
    unknown = "pairs of texts for training" if training else "results of a system" if ranked else "nothing that is known"
    kinds = {"": unknown, "qrels": "judgments"}
    files = "; ".join(
        f"{group.names} ({kinds.get(group.kind, group.kind)}: {listed(group.table.columns, 12)})" for group in groups[:6]
    )
    unread = "".join(f"; no row of {clean(row.file, 80)} can be read: {row.reason}" for row in state.unread[:6])
    tables = "write tables of documents (each positive and negative), queries and judgments (a positive 1, a negative 0)"
    advice = tables if training else "add that file, or name its column: --column text=COLUMN"
    return InputError(
        f"no documents in {files}{unread}",
        "a file with a text of each document, and best with an id",
        f"{remedy(state.unread)}; or {advice}" if unread else advice,
    )


def _document_notes(documents: RoleTable) -> list[str]:
    columns = documents.group.table.columns
    texts = [columns[name] for name in documents.fields.get("text", ()) if name in columns]
    marked = [clean(column.name, 40) for column in texts if column.markup > 0.1]
    return [
        *id_notes(documents, "documents"),
        f"{', '.join(marked)} has markup in it, which is taken as it is and never run." if marked else "",
    ]


def id_notes(role_table: RoleTable, noun: str) -> list[str]:
    """What is to be said of the ids: made here, written as floats, or used twice."""
    ids, names = role_table.ids, role_table.group.names
    if ids is None:
        why = _id_problems(role_table)
        return [
            f"No column of {names} is an id of the {noun}{why}: ids are made from the texts (--column id=COLUMN names one)."
        ]
    name = f"{clean(ids.name, 40)} of {names}"
    repeated = len(ids.texts) - len(ids.different)
    counting = ids.name.startswith("column ") or "unnamed" in ids.meaning.words
    return [
        _float_note(name, ids),
        f"{name} has {repeated} ids again in the first {ids.rows} rows." if repeated and role_table.group.kind == noun else "",
        f"{name} has no name and seems to count rows; it is taken for the id." if counting else "",
    ]


def _id_problems(role_table: RoleTable) -> str:
    called = [
        column
        for column in role_table.group.features.usual
        if column.meaning.attribute == "id" and column.meaning.subject not in ("query", "user")
    ]
    blanks = [clean(column.name, 40) for column in called if column.spaced > 0.1]
    again = [clean(column.name, 40) for column in called if column.unique < 0.99 and column.spaced <= 0.1]
    problems = [f"{', '.join(blanks)} has blanks" if blanks else "", f"{', '.join(again)} repeats" if again else ""]
    return f" ({', '.join(filter(None, problems))})" if any(problems) else ""


def _float_note(name: str, ids: SampleColumn) -> str:
    if any(isinstance(value, float) for value in ids.values):
        return f"{name} has floats, which are no ids: write whole numbers, or pass --column id= to make ids from the texts."
    written = f"{name} has ids written as floats, such as {clean(ids.different[0], 20)}: other files must write them so too."
    return written if ids.floats > 0.9 else ""


def document_column(features: ColumnFeatures, documents: RoleTable | None) -> str:
    """The column that names the document: called so; of several, the one whose ids are known and whose pairs don't repeat."""

    def rank(name: str) -> float:
        column = features.table.columns[name]
        known = overlap(frozenset(column.different), documents and documents.ids) * (0.5 if column.numbers > 0.9 else 3)
        same = 1.5 * (documents is not None and name in documents.fields["id"])
        pairs = features.table.pairs(features.query, name) if features.query else 0
        return (features.rank(name) >= 2) + same + known + pairs - features.documents.index(name) / 100

    return max(features.documents, key=rank, default="")


def add_interactions(state: SchemaState, choices: TableGroup, documents: RoleTable) -> None:
    """The parts of the interactions.

    Raises:
        InputError: no column names the user, the document or the time.
    """
    features = choices.features
    fields: Fields = {
        "user": tuple(features.users[:1]),
        "document": as_columns(document_column(features, documents)),
        "time": as_columns(features.time),
    }
    if features.value:
        fields["value"] = (features.value,)
    elif features.event:
        state.note(f"{clean(features.event, 40)} of {choices.names} is a word and is not used: each row counts 1.")
    fields = state.with_overrides("interactions", fields, choices.table)
    for name in ("user", "document", "time"):
        if not fields.get(name):
            raise InputError(
                f"interactions {choices.names} without a {name} (columns {listed(choices.table.columns)})",
                f"a column of the {name}",
                f"name it: --column interactions.{name}=COLUMN",
            )
    state.note(_time_note(choices.table, fields["time"][0]))
    state.add("interactions", choices.table, fields)


def _time_note(table: SampleTable, name: str) -> str:
    for value in table.columns[name].values:
        try:
            if abs(seconds_of(value)) < FIRST_TIME:
                example = (
                    f"Times such as {clean(str(value), 40)} in {clean(name, 40)} would lie before 1990 as seconds since 1970"
                )
                return f"{example}: only their order is used; write ISO times if they are dates."
        except (InvalidRow, OverflowError):
            example = f"Times such as {clean(str(value), 40)} in {clean(name, 40)} can't be read"
            return f"{example}: write ISO times, as 2020-12-31T23:59:59, or seconds since 1970."
    return ""


def add_users(state: SchemaState, choices: TableGroup | None) -> None:
    """The parts of what is known of users, where there are interactions; the first table is used."""
    used = False
    for group in state.of("users"):
        fields = state.with_overrides("users", user_fields(group.features), group.table)
        if choices is None or used or not fields["id"]:
            state.aside(
                group,
                "users without interactions" if choices is None else "users a second time" if used else "users without ids",
            )
        else:
            used = True
            state.add("users", group.table, fields)
