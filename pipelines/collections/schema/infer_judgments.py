"""Schema inference for queries and judgments: their tables, fields and notes."""

import re

from pipelines.collections.schema.column_features import MOST_GRADES, ColumnFeatures, file_name_says, looks_like_id
from pipelines.collections.schema.column_names import words_of
from pipelines.collections.schema.columns import SampleColumn, cell_text
from pipelines.collections.schema.fields import Fields, query_fields, split_fields
from pipelines.collections.schema.grades import Scale, infer_scale
from pipelines.collections.schema.groups import TableGroup, file_splits, overlap
from pipelines.collections.schema.infer_documents import ReferencedIds, RoleTable, document_column, id_notes
from pipelines.collections.schema.infer_roles import ranked_groups
from pipelines.collections.schema.name_lists import RATERS, RELEVANCE, SPLIT_NAMES
from pipelines.collections.schema.schema_state import SchemaState, listed
from pipelines.collections.schema.terminal import clean
from pipelines.errors import InputError

KNOWN = 0.2
"""Of the values in a column, the part that are known ids, from which on it is taken for one that names them."""


def add_queries(state: SchemaState, judged: TableGroup | None, documents: RoleTable, names: ReferencedIds) -> None:
    """The parts of queries and judgments.

    Args:
        state: takes the parts and notes.
        judged: the judgments that are used.
        documents: what they judge.
        names: the ids that they name.

    Raises:
        InputError: judgments that the user named, or that are called so, can't be used.
    """
    queries = _choose_queries(state, names)
    if queries is not None and _has_ids_of_documents(state, queries, documents, names):
        queries = RoleTable(queries.group, {**queries.fields, "id": ()})
    judged = judged or _judgments_by_ids(state, documents, queries)
    fields = _judgment_fields(state, judged, documents, queries) if judged is not None else {}
    used = [group for group in (queries and queries.group, judged if fields else None) if group is not None]
    side, note = file_splits(file.name for group in used for file in group.table.files)
    state.note(note, *(_split_note(group) for group in used))
    if judged is not None and fields:
        state.add("qrels", judged.table, fields, side)
        queries = queries or _queries_beside(state, judged, fields)
        if "query_text" in fields and queries.group is not judged:
            queries = RoleTable(queries.group, {**queries.fields, "id": ()})
            state.note(f"{judged.names} names queries by their texts, so their ids are made from these.")
    if queries is not None:
        state.note(*([] if fields else _list_notes(queries, documents)))
        state.note(*(id_notes(queries, "queries") if queries.group is not judged and "query_text" not in fields else ()))
        state.add("queries", queries.group.table, queries.fields, side, repeats=queries.group is judged)
        if judged is not None and queries.group is not judged and _has_more_queries(judged, fields, queries):
            more = _queries_beside(state, judged, fields)
            state.add("queries", judged.table, more.fields, side, repeats=True)


def _split_note(group: TableGroup) -> str:
    """That a column is called split and names other sides than are known; empty: none does."""
    called = [column for column in group.features.columns if column.meaning.words == ("split",)]
    words = listed([text for column in called for text in column.different if text.lower() not in SPLIT_NAMES], 3)
    divided = "name no side, so queries are divided by their text: write train, dev or test"
    return f"Words in split of {group.names}, such as {words}, {divided}." if words else ""


def _has_more_queries(judged: TableGroup, fields: Fields, queries: RoleTable) -> bool:
    """Whether judgments bring queries of their own, with id and text, that don't contradict the others."""
    id_, text = fields.get("query", ()), judged.features.query_text
    if not id_ or not text or queries.ids is None:
        return False
    known = _texts_by_id(queries.group, queries.fields["id"][0], queries.fields["text"][0])
    beside = _texts_by_id(judged, id_[0], text)
    both = beside.keys() & known.keys()
    return len(both) < len(beside) and all(beside[query] == known[query] for query in both)


def _texts_by_id(group: TableGroup, id_: str, text: str) -> dict[str, str]:
    return {cell_text(record.fields.get(id_)): cell_text(record.fields.get(text)) for record in group.table.records}


def _choose_queries(state: SchemaState, names: ReferencedIds) -> RoleTable | None:
    """The queries that are used: the user's, else those that judgments name."""
    main: RoleTable | None = None
    for group in ranked_groups(state.of("queries"), names.queries):
        if main is not None:
            state.aside(group, f"{main.group.names} is used for the queries; --queries names another file")
            continue
        fields = state.with_overrides("queries", query_fields(group.features), group.table)
        if fields.get("text"):
            main = RoleTable(group, fields)
        else:
            state.aside(group, "no column holds texts of queries")
    return main


def _has_ids_of_documents(state: SchemaState, queries: RoleTable, documents: RoleTable, names: ReferencedIds) -> bool:
    """Whether what was taken for the queries' ids are documents: called so, known as such, and no query by the judgments."""
    column = queries.ids
    if column is None or column.meaning.subject != "document" or "id" in state.overrides.of("queries"):
        return False
    return overlap(names.queries, column) == 0 and overlap(frozenset(column.different), documents.ids) > KNOWN


def _list_notes(queries: RoleTable, documents: RoleTable) -> list[str]:
    """What names documents beside the queries is not read, a list of them or one that was clicked; a note says so.

    Raises:
        InputError: there are lists, and the file is called as judgments are.
    """
    clicked = queries.group.features.document
    ids = frozenset(queries.group.table.columns[clicked].different) if clicked else frozenset()
    listing = [column.name for column in queries.group.table.columns.values() if _lists_documents(column, documents)]
    names = f"{listed(listing, 3)} of {queries.group.names}"
    if listing and not queries.group.forced and file_name_says(queries.group.table, "qrels"):
        raise InputError(
            f"judgments as a list in each row, in {names}",
            "a row for each judgment",
            "write each pair as a row, or pass the file as --queries",
        )
    notes = []
    if listing:
        notes.append(f"{names} lists documents, and is not used: write a row for each judgment, and pass --qrels FILE.")
    if clicked not in queries.fields.get("id", ()) and overlap(ids, documents.ids) > KNOWN:
        named = f"{clean(clicked, 40)} of {queries.group.names} names documents, and is not used"
        notes.append(f"{named}: clicks judge nothing; if its rows are judgments, pass the file as --qrels.")
    return notes


def _lists_documents(column: SampleColumn, documents: RoleTable) -> bool:
    """Whether values are lists of the documents' ids, or of objects that have one each."""
    items: dict[str, set[str]] = {}
    for item in (item for value in column.values if isinstance(value, list) for item in value):
        for key, value in item.items() if isinstance(item, dict) else [("", item)]:
            if isinstance(value, (str, int)):
                items.setdefault(key, set()).add(str(value))
    return any(
        overlap(frozenset(ids), documents.ids) > KNOWN
        for key, ids in items.items()
        if not all(map(str.isdecimal, ids)) or set(words_of(key or column.name)) & (RELEVANCE | {"id", "ids"})
    )


def _queries_beside(state: SchemaState, judged: TableGroup, fields: Fields) -> RoleTable:
    """Queries in the table of the judgments: one is there as often as it was judged."""
    text = fields.get("query_text") or (judged.features.query_text,)
    query_columns = {"id": fields.get("query", ()), "text": text} | split_fields(judged.features)
    return RoleTable(judged, state.with_overrides("queries", query_columns, judged.table))


def _judgments_by_ids(state: SchemaState, documents: RoleTable, queries: RoleTable | None) -> TableGroup | None:
    """A table that says nothing by its names, and whose columns hold ids of queries and of documents."""
    if queries is None:
        return None
    for group in state.of(""):
        columns = [column for column in group.features.columns if column.code]
        known = [
            max(columns, key=lambda column: overlap(frozenset(column.different), ids), default=None)
            for ids in (queries.ids, documents.ids)
        ]
        query, document = known
        if query is None or document is None or query is document or group.features.ranked:
            continue
        if (
            min(overlap(frozenset(query.different), queries.ids), overlap(frozenset(document.different), documents.ids))
            >= KNOWN
        ):
            group.kind = "qrels"
            return group
    return None


def _judgment_fields(state: SchemaState, judged: TableGroup, documents: RoleTable, queries: RoleTable | None) -> Fields:
    """query or query_text, document, grade and split of judgments; empty: they can't be used, and why was noted.

    Raises:
        InputError: the same, of judgments that the user named or that are called so.
    """
    fields = state.with_overrides("qrels", _infer_fields(state, judged, documents, queries), judged.table)
    problem = _missing_fields(fields, judged, queries)
    if problem is None:
        _check_one_document_a_row(state, judged, fields, documents)
        state.note(*_grade_notes(state, judged, fields))
        return fields
    trec = judged.table.files[0].format == "trec qrels"
    if trec or judged.forced or state.overrides.of("qrels") or file_name_says(judged.table, "qrels"):
        raise problem
    state.aside(judged, f"it looks like judgments, but {problem.given}; {problem.next_action}")
    return {}


def _infer_fields(state: SchemaState, judged: TableGroup, documents: RoleTable, queries: RoleTable | None) -> Fields:
    features = judged.features
    fields = {**_query_field(features, queries), **_document_field(judged, documents), **split_fields(features)}
    if not ({"query", "query_text"} & set(fields) and {"document", "document_text"} & set(fields)):
        fields |= _fields_by_ids(state, judged, documents, queries)
    return {**fields, "grade": tuple(features.grades[:1]) or fields.get("grade", ())}


def _query_field(features: ColumnFeatures, queries: RoleTable | None) -> Fields:
    if features.query_id:
        return {"query": (features.query_id,)}
    if not features.query_text:
        return {}
    texts = frozenset(features.table.columns[features.query_text].different)
    by_id = queries is not None and overlap(texts, queries.ids) > KNOWN
    return {"query" if by_id else "query_text": (features.query_text,)}


def _document_field(judged: TableGroup, documents: RoleTable) -> Fields:
    beside = documents.group is judged
    if beside and not documents.fields["id"]:
        return {"document_text": documents.fields["text"]}
    name = document_column(judged.features, documents)
    return {"document": (name,)} if name else {}


def _fields_by_ids(state: SchemaState, judged: TableGroup, documents: RoleTable, queries: RoleTable | None) -> Fields:
    """Query and document of a table whose columns don't say which is which: by the ids that are known, else by their order."""
    other_attributes = ("measure", "time", "link", "segment", "state", "person")
    fit = [
        column
        for column in judged.features.usual
        if column.name not in judged.features.grades and column.meaning.attribute not in other_attributes
    ]
    counts = [column for column in fit if column.numbers > 0.9 and len(column.different) <= MOST_GRADES and column.unique < 0.5]
    codes = [column for column in fit if (column.code or looks_like_id(column)) and column not in counts[-1:]]
    if len(codes) < 2:
        return {}

    def lean(name: str) -> tuple[float, bool]:
        """How much more the values are the documents' ids than the queries'."""
        values = frozenset(judged.table.columns[name].different)
        return overlap(values, documents.ids) - overlap(values, queries.ids if queries else None), name == codes[1].name

    document = max((column.name for column in codes), key=lean)
    query = min((column.name for column in codes if column.name != document), key=lean)
    state.note(
        f"In {judged.names}, {clean(query, 40)} is taken for the query and {clean(document, 40)} for the document,"
        " by their values; --column qrels.query=COLUMN --column qrels.document=COLUMN say otherwise."
    )
    grade = tuple(column.name for column in counts[-1:]) if not judged.features.grades else ()
    return {"query": (query,), "document": (document,), "grade": grade}


def _missing_fields(fields: Fields, judged: TableGroup, queries: RoleTable | None) -> InputError | None:
    for name in ("query", "document"):
        if not fields.get(name) and not fields.get(f"{name}_text"):
            return InputError(
                f"{judged.names} without a column of {name} ids (columns {listed(judged.table.columns)})",
                f"a column that names the {name}",
                f"name it: --column qrels.{name}=COLUMN",
            )
    if queries is None and not fields.get("query_text") and not judged.features.query_text:
        return InputError(
            f"{judged.names} names queries by ids, and no file has their texts",
            "a file with these ids and texts",
            "pass --queries FILE",
        )
    return None


def _check_one_document_a_row(state: SchemaState, judged: TableGroup, fields: Fields, documents: RoleTable) -> None:
    """Refuse rows that name several documents, in columns that are told apart by a number: one of them would be judged."""
    if "document" in state.overrides.of("qrels"):
        return
    named = fields.get("document", ())
    base = {_without_number(name) for name in named}
    used = {name for columns in fields.values() for name in columns}
    several = [
        column.name
        for column in judged.features.usual
        if column.name in named
        or (
            column.name not in used
            and _without_number(column.name) in base
            and judged.features.rank(column.name) >= 2  # numbers that are no ids are ids of documents by chance
            and overlap(frozenset(column.different), documents.ids) > KNOWN
        )
    ]
    if len(several) > 1:
        raise InputError(
            f"{judged.names} with several documents in a row: {listed(several, 4)}",
            "a row for each judgment, with one document",
            f"write each pair as a row, or name the column that is judged: --column qrels.document={clean(several[0], 40)}",
        )


def _without_number(name: str) -> str:
    """A column's name without what tells it from its like.

    >>> _without_number("result_2"), _without_number("product_b"), _without_number("doc2_id"), _without_number("sku")
    ('result_', 'product_', 'doc_id', 'sku')
    """
    return re.sub(r"\d+|(?<=[\s_-])[a-c]$", "", name.lower())


def _overlooked_grades(judged: TableGroup, fields: Fields) -> list[str]:
    """That a column which is not called as grades are may hold them; empty: none may.

    Raises:
        InputError: columns are called as the people are who gave them.
    """
    used = {name for names in fields.values() for name in names}
    few = [
        column.name
        for column in judged.features.usual
        if column.name not in used
        and column.numbers > 0.9
        and 2 <= len(column.different) <= MOST_GRADES
        and column.unique < 0.5
        and column.meaning.attribute not in ("id", "key", "time", "measure", "split", "state", "link", "event")
    ]
    raters = [name for name in few if set(words_of(re.sub(r"\d+", " ", name))) & (RATERS - {"user", "person"})]
    if len(raters) > 1:
        raise InputError(
            f"{judged.names} with the grades of single people ({listed(raters, 4)}), and no column of grades",
            "one grade for each query and document",
            f"name it: --column qrels.grade={clean(raters[0], 40)}, or add a column with their median",
        )
    return [f"Few different numbers are in {listed(few, 4)}: --column qrels.grade=COLUMN, if they are grades."] if few else []


def _grade_notes(state: SchemaState, judged: TableGroup, fields: Fields) -> list[str]:
    """How grades are read.

    Raises:
        InputError: they have no order that is known, and the user gave none.
    """
    if not fields.get("grade"):
        return [
            f"{judged.names} has no column of grades: each of its rows counts as a relevant document.",
            *_overlooked_grades(judged, fields),
        ]
    column, others = judged.table.columns[fields["grade"][0]], judged.features.grades
    name = clean(column.name, 40)
    several = f"Of the columns {listed(others, 6)}, {name} is used for grades; --column qrels.grade=COLUMN names another."
    notes = [several] if len(others) > 1 and "qrels.grade" not in state.overrides.columns else []
    if state.overrides.grades:
        off = [text for text in column.different if Scale.parse(state.overrides.grades).grade_of(text) is None]
        return [*notes, f"Grades such as {listed(off, 3)} are not on the declared scale."] if off else notes
    if not column.texts:
        return [*notes, f"{name} of {judged.names} is empty in the first rows: a row without a grade is no judgment."]
    try:
        scale = infer_scale(column.different)
    except InputError as error:
        raise InputError(f"{judged.names}, column {name}: {error.given}", error.expected, error.next_action) from None
    worst = f", and {scale.names[0]} is not relevant at all" if scale.names[0] != "0" and scale.names[0].isdigit() else ""
    return [*notes, f"Grades in {name} are read as {scale.shown}{worst}; --grades {scale.turned} says the opposite."]
