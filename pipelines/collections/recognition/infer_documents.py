"""Which tables and columns are the documents, interactions and users of a collection, and the sentences that go with them."""

from typing import NamedTuple

from pipelines.collections.recognition.column_features import ColumnFeatures
from pipelines.collections.recognition.columns import Column, Table
from pipelines.collections.recognition.fields import Fields, beside_judgments, document_fields, item_texts, user_fields
from pipelines.collections.recognition.groups import Group, overlap, without_repeated
from pipelines.collections.recognition.infer_roles import best_of
from pipelines.collections.recognition.schema_state import SchemaState, listed
from pipelines.collections.recognition.terminal import clean
from pipelines.collections.record import Role
from pipelines.collections.rows import Unfit, seconds_of
from pipelines.errors import InputError

NAMING: dict[str, Role] = {"qrels": "qrels", "interactions": "interactions"}
"""Kinds of tables that name documents."""


class Names(NamedTuple):
    """The ids that judgments and interactions name, as far as they were seen."""

    queries: frozenset[str] = frozenset()
    documents: frozenset[str] = frozenset()


class Chosen(NamedTuple):
    """A table in a role, with its fields."""

    group: Group
    fields: Fields

    @property
    def ids(self) -> Column | None:
        """The column of its ids."""
        columns = self.fields.get("id", ())
        return self.group.table.columns.get(columns[0]) if columns else None


def names_of(finding: SchemaState, sources: list[Group]) -> Names:
    """The ids that are named, where the names of the columns or the user say which these are."""
    documents: set[str] = set()
    queries: set[str] = set()
    for group in sources:
        wished = finding.wishes.of(NAMING[group.kind])
        columns = group.table.columns
        for name in wished.get("document", ()) or group.clues.documents:
            documents |= set(columns[name].different if name in columns else ())
        for name in wished.get("query", ()) or (group.clues.query_id,):
            queries |= set(columns[name].different if name in columns and group.kind == "qrels" else ())
    return Names(frozenset(queries), frozenset(documents))


def add_documents(finding: SchemaState, sources: list[Group], names: Names) -> Chosen:
    """The parts of the documents; where no table holds them alone, they come from beside judgments or interactions.

    Args:
        finding: takes the parts and notes.
        sources: the judgments and interactions that are used.
        names: the ids that these name.

    Raises:
        InputError: there are none.
    """
    main: Chosen | None = None
    for group in _candidates(finding, sources, names):
        whole = main is None or _has_wished(finding, group)
        fields = _documents_in(finding, group, names, sources) if whole else {}
        if not fields.get("text"):
            finding.aside(group, "no column holds texts of documents")
        elif main is None:
            main = Chosen(group, fields)
            finding.add("documents", group.table, fields)
        elif group.forced or (fields["id"], fields["text"]) == (main.fields["id"], main.fields["text"]):
            finding.add("documents", group.table, fields)
        else:
            finding.aside(group, f"other columns than in {main.group.names}, which is taken for the documents")
    main = main or _beside(finding, sources)
    if main is None:
        raise _without_documents(finding, sources)
    finding.note(*_document_notes(main))
    return main


def _candidates(finding: SchemaState, sources: list[Group], names: Names) -> list[Group]:
    """Tables of documents, those with the columns that the user named first; none, where only judgments have those columns."""
    found = best_of(finding.of("documents"), names.documents)
    having = [group for group in found if _has_wished(finding, group)]
    if found and not having and any(_has_wished(finding, group) for group in sources):
        for group in found:
            finding.aside(group, "the columns that were named are not there")
        return []
    return [*having, *(group for group in found if group not in having)]


def _has_wished(finding: SchemaState, group: Group) -> bool:
    wanted = {column for columns in finding.wishes.of("documents").values() for column in columns}
    return wanted <= set(group.table.columns)


def _documents_in(finding: SchemaState, group: Group, names: Names, sources: list[Group]) -> Fields:
    whole, notes = without_repeated(group)
    finding.note(*notes)
    group.table = whole.table
    shares = {column.name: overlap(names.documents, column) for column in group.clues.columns}
    fields = document_fields(group.table, group.clues.columns, shares)
    if any(source.kind == "interactions" for source in sources):
        fields = item_texts(group.table, fields)
    return finding.wished("documents", fields, group.table)


def _beside(finding: SchemaState, sources: list[Group]) -> Chosen | None:
    """Documents in a table that has a judgment or choice in each row: one is there as often as it was judged."""
    for group in sources:
        clues, wishes = group.clues, finding.wishes.of("documents")
        found = wishes.get("id") or _only(document_column(clues, None))
        document = found[0] if found else ""
        fields = {**document_fields(group.table, beside_judgments(clues, document), {}), "id": found}
        fields = finding.wished("documents", fields, group.table)
        if fields.get("text"):
            finding.add("documents", group.table, fields, repeats=True)
            return Chosen(group, fields)
    return None


def _only(name: str) -> tuple[str, ...]:
    return (name,) if name else ()


def _without_documents(finding: SchemaState, sources: list[Group]) -> InputError:
    groups = [*sources, *(group for group in finding.groups if group not in sources)]
    kinds = {"": "nothing that is known", "qrels": "judgments"}
    found = "; ".join(f"{one.names} ({kinds.get(one.kind, one.kind)}: {listed(one.table.columns, 12)})" for one in groups[:6])
    return InputError(
        f"no documents in {found}",
        "a file with a text of each document, and best with an id",
        "add that file, or name its column: --column text=COLUMN",
    )


def _document_notes(chosen: Chosen) -> list[str]:
    columns = chosen.group.table.columns
    texts = [columns[name] for name in chosen.fields.get("text", ()) if name in columns]
    marked = [clean(column.name, 40) for column in texts if column.markup > 0.1]
    return [
        *id_notes(chosen, "documents"),
        f"{', '.join(marked)} has markup in it, which is taken as it is and never run." if marked else "",
    ]


def id_notes(chosen: Chosen, noun: str) -> list[str]:
    """What is to be said of the ids: made here, written as floats, or used twice."""
    ids, names = chosen.ids, chosen.group.names
    if ids is None:
        why = _no_ids(chosen)
        return [
            f"No column of {names} is an id of the {noun}{why}: ids are made from the texts (--column id=COLUMN names one)."
        ]
    name = f"{clean(ids.name, 40)} of {names}"
    repeated = len(ids.texts) - len(ids.different)
    counting = ids.name.startswith("column ") or "unnamed" in ids.meaning.words
    return [
        _float_note(name, ids),
        f"{name} has {repeated} ids again in the first {ids.rows} rows." if repeated and chosen.group.kind == noun else "",
        f"{name} has no name and seems to count rows; it is taken for the id." if counting else "",
    ]


def _no_ids(chosen: Chosen) -> str:
    """What is wrong with the columns that are called as ids are."""
    called = [
        one
        for one in chosen.group.clues.usual
        if one.meaning.attribute == "id" and one.meaning.subject not in ("query", "user")
    ]
    blanks = [clean(one.name, 40) for one in called if one.spaced > 0.1]
    again = [clean(one.name, 40) for one in called if one.unique < 0.99 and one.spaced <= 0.1]
    said = [f"{', '.join(blanks)} has blanks" if blanks else "", f"{', '.join(again)} repeats" if again else ""]
    return f" ({', '.join(filter(None, said))})" if any(said) else ""


def _float_note(name: str, ids: Column) -> str:
    if any(isinstance(value, float) for value in ids.values):
        return f"{name} has floats, which are no ids: write whole numbers, or pass --column id= to make ids from the texts."
    written = f"{name} has ids written as floats, such as {clean(ids.different[0], 20)}: other files must write them so too."
    return written if ids.floats > 0.9 else ""


def document_column(clues: ColumnFeatures, documents: Chosen | None) -> str:
    """The column that names the document: called so; of several, the one whose ids are known and whose pairs don't repeat."""

    def rank(name: str) -> float:
        column = clues.table.columns[name]
        known = overlap(frozenset(column.different), documents and documents.ids) * (0.5 if column.numbers > 0.9 else 3)
        same = 1.5 * (documents is not None and name in documents.fields["id"])
        pairs = clues.table.pairs(clues.query, name) if clues.query else 0
        return (clues.rank(name) >= 2) + same + known + pairs - clues.documents.index(name) / 100

    return max(clues.documents, key=rank, default="")


def add_interactions(finding: SchemaState, choices: Group, documents: Chosen) -> None:
    """The parts of the interactions.

    Raises:
        InputError: no column names the user, the document or the time.
    """
    clues = choices.clues
    found: Fields = {
        "user": tuple(clues.users[:1]),
        "document": _only(document_column(clues, documents)),
        "time": _only(clues.time),
    }
    if clues.value:
        found["value"] = (clues.value,)
    elif clues.event:
        finding.note(f"{clean(clues.event, 40)} of {choices.names} is a word and is not used: each row counts 1.")
    found = finding.wished("interactions", found, choices.table)
    for name in ("user", "document", "time"):
        if not found.get(name):
            raise InputError(
                f"interactions {choices.names} without a {name} (columns {listed(choices.table.columns)})",
                f"a column of the {name}",
                f"name it: --column interactions.{name}=COLUMN",
            )
    finding.note(_time_note(choices.table, found["time"][0]))
    finding.add("interactions", choices.table, found)


def _time_note(table: Table, name: str) -> str:
    for value in table.columns[name].values:
        try:
            seconds_of(value)
        except (Unfit, OverflowError):
            given = f"Times such as {clean(str(value), 40)} in {clean(name, 40)} can't be read"
            return f"{given}: write ISO times, as 2020-12-31T23:59:59, or seconds since 1970."
    return ""


def add_users(finding: SchemaState, choices: Group | None) -> None:
    """The parts of what is known of users, where there are interactions; the first table is used."""
    used = False
    for group in finding.of("users"):
        fields = finding.wished("users", user_fields(group.clues), group.table)
        if choices is None or used or not fields["id"]:
            finding.aside(
                group,
                "users without interactions" if choices is None else "users a second time" if used else "users without ids",
            )
        else:
            used = True
            finding.add("users", group.table, fields)
