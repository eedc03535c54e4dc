"""Queries and judgments, which name each other and the documents."""

from pipelines.collections.recognition.column_features import MOST_GRADES, ColumnFeatures, like_id, named
from pipelines.collections.recognition.columns import text_of
from pipelines.collections.recognition.fields import Fields, query_fields, split_fields
from pipelines.collections.recognition.grades import Scale, seen
from pipelines.collections.recognition.groups import Group, overlap, sides
from pipelines.collections.recognition.infer_documents import Chosen, Names, document_column, id_notes
from pipelines.collections.recognition.infer_roles import best_of
from pipelines.collections.recognition.schema_state import SchemaState, listed
from pipelines.collections.recognition.terminal import clean
from pipelines.errors import InputError

KNOWN = 0.2
"""Of the values in a column, the part that are known ids, from which on it is taken for one that names them."""


def add_queries(finding: SchemaState, judged: Group | None, documents: Chosen, names: Names) -> None:
    """The parts of queries and judgments.

    Args:
        finding: takes the parts and notes.
        judged: the judgments that are used.
        documents: what they judge.
        names: the ids that they name.

    Raises:
        InputError: judgments that the user named, or that are called so, can't be used.
    """
    queries = _queries(finding, names)
    judged = judged or _found_by_ids(finding, documents, queries)
    fields = _judged_fields(finding, judged, documents, queries) if judged is not None else {}
    used = [group for group in (queries and queries.group, judged if fields else None) if group is not None]
    side, note = sides(file.name for group in used for file in group.table.files)
    finding.note(note)
    if judged is not None and fields:
        finding.add("qrels", judged.table, fields, side)
        queries = queries or _queries_beside(finding, judged, fields)
        if "query_text" in fields and queries.group is not judged:
            queries = Chosen(queries.group, {**queries.fields, "id": ()})
            finding.note(f"{judged.names} names queries by their texts, so their ids are made from these.")
    if queries is not None:
        finding.note(*([] if fields else _list_notes(queries, documents)))
        finding.note(*(id_notes(queries, "queries") if queries.group is not judged and "query_text" not in fields else ()))
        finding.add("queries", queries.group.table, queries.fields, side, repeats=queries.group is judged)
        if judged is not None and queries.group is not judged and _asks_more(judged, fields, queries):
            more = _queries_beside(finding, judged, fields)
            finding.add("queries", judged.table, more.fields, side, repeats=True)


def _asks_more(judged: Group, fields: Fields, queries: Chosen) -> bool:
    """Whether judgments bring queries of their own, with id and text, that don't contradict the others."""
    id_, text = fields.get("query", ()), judged.clues.query_text
    if not id_ or not text or queries.ids is None:
        return False
    known = _texts_by_id(queries.group, queries.fields["id"][0], queries.fields["text"][0])
    theirs = _texts_by_id(judged, id_[0], text)
    both = theirs.keys() & known.keys()
    return len(both) < len(theirs) and all(theirs[one] == known[one] for one in both)


def _texts_by_id(group: Group, id_: str, text: str) -> dict[str, str]:
    return {text_of(record.fields.get(id_)): text_of(record.fields.get(text)) for record in group.table.records}


def _queries(finding: SchemaState, names: Names) -> Chosen | None:
    """The queries that are used: the user's, else those that judgments name."""
    main: Chosen | None = None
    for group in best_of(finding.of("queries"), names.queries):
        if main is not None:
            finding.aside(group, f"{main.group.names} is used for the queries; --queries names another file")
            continue
        fields = finding.wished("queries", query_fields(group.clues), group.table)
        if fields.get("text"):
            main = Chosen(group, fields)
        else:
            finding.aside(group, "no column holds texts of queries")
    return main


def _list_notes(queries: Chosen, documents: Chosen) -> list[str]:
    """Judgments that are lists within the queries are not read, and are not passed over in silence either."""
    notes = []
    for column in queries.group.clues.columns:
        items = frozenset(str(item) for value in column.values if isinstance(value, list) for item in value)
        if overlap(items, documents.ids) > KNOWN:
            name = f"{clean(column.name, 40)} of {queries.group.names}"
            notes.append(f"{name} lists documents, and is not used: write a row for each judgment, and pass --qrels FILE.")
    return notes


def _queries_beside(finding: SchemaState, judged: Group, fields: Fields) -> Chosen:
    """Queries in the table of the judgments: one is there as often as it was judged."""
    text = fields.get("query_text") or (judged.clues.query_text,)
    found = {"id": fields.get("query", ()), "text": text} | split_fields(judged.clues)
    return Chosen(judged, finding.wished("queries", found, judged.table))


def _found_by_ids(finding: SchemaState, documents: Chosen, queries: Chosen | None) -> Group | None:
    """A table that says nothing by its names, and whose columns hold ids of queries and of documents."""
    if queries is None:
        return None
    for group in finding.of(""):
        columns = [column for column in group.clues.columns if column.code]
        known = [
            max(columns, key=lambda column: overlap(frozenset(column.different), ids), default=None)
            for ids in (queries.ids, documents.ids)
        ]
        query, document = known
        if query is None or document is None or query is document or group.clues.ranked:
            continue
        if (
            min(overlap(frozenset(query.different), queries.ids), overlap(frozenset(document.different), documents.ids))
            >= KNOWN
        ):
            group.kind = "qrels"
            return group
    return None


def _judged_fields(finding: SchemaState, judged: Group, documents: Chosen, queries: Chosen | None) -> Fields:
    """query or query_text, document, grade and split of judgments; empty: they can't be used, and why was noted.

    Raises:
        InputError: the same, of judgments that the user named or that are called so.
    """
    found = finding.wished("qrels", _guessed(finding, judged, documents, queries), judged.table)
    problem = _problem(found, judged, queries)
    if problem is None:
        finding.note(*_grade_notes(finding, judged, found))
        return found
    trec = judged.table.files[0].format == "trec qrels"
    if trec or judged.forced or finding.wishes.of("qrels") or named(judged.table, "qrels"):
        raise problem
    finding.aside(judged, f"it looks like judgments, but {problem.given}; {problem.next_action}")
    return {}


def _guessed(finding: SchemaState, judged: Group, documents: Chosen, queries: Chosen | None) -> Fields:
    clues = judged.clues
    found = {**_query_in(clues, queries), **_document_in(judged, documents), **split_fields(clues)}
    if not ({"query", "query_text"} & set(found) and {"document", "document_text"} & set(found)):
        found |= _by_ids(finding, judged, documents, queries)
    return {**found, "grade": tuple(clues.grades[:1]) or found.get("grade", ())}


def _query_in(clues: ColumnFeatures, queries: Chosen | None) -> Fields:
    if clues.query_id:
        return {"query": (clues.query_id,)}
    if not clues.query_text:
        return {}
    texts = frozenset(clues.table.columns[clues.query_text].different)
    by_id = queries is not None and overlap(texts, queries.ids) > KNOWN
    return {"query" if by_id else "query_text": (clues.query_text,)}


def _document_in(judged: Group, documents: Chosen) -> Fields:
    beside = documents.group is judged
    if beside and not documents.fields["id"]:
        return {"document_text": documents.fields["text"]}
    name = document_column(judged.clues, documents)
    return {"document": (name,)} if name else {}


def _by_ids(finding: SchemaState, judged: Group, documents: Chosen, queries: Chosen | None) -> Fields:
    """Query and document of a table whose columns don't say which is which: by the ids that are known, else by their order."""
    said = ("measure", "time", "link", "segment", "state", "person")
    fit = [one for one in judged.clues.usual if one.name not in judged.clues.grades and one.meaning.attribute not in said]
    counts = [one for one in fit if one.numbers > 0.9 and len(one.different) <= MOST_GRADES and one.unique < 0.5]
    codes = [one for one in fit if (one.code or like_id(one)) and one not in counts[-1:]]
    if len(codes) < 2:
        return {}

    def lean(name: str) -> tuple[float, bool]:
        """How much more the values are the documents' ids than the queries'."""
        values = frozenset(judged.table.columns[name].different)
        return overlap(values, documents.ids) - overlap(values, queries.ids if queries else None), name == codes[1].name

    document = max((one.name for one in codes), key=lean)
    query = min((one.name for one in codes if one.name != document), key=lean)
    finding.note(
        f"In {judged.names}, {clean(query, 40)} is taken for the query and {clean(document, 40)} for the document,"
        " by their values; --column qrels.query=COLUMN --column qrels.document=COLUMN say otherwise."
    )
    grade = tuple(one.name for one in counts[-1:]) if not judged.clues.grades else ()
    return {"query": (query,), "document": (document,), "grade": grade}


def _problem(fields: Fields, judged: Group, queries: Chosen | None) -> InputError | None:
    """Why judgments can't be used."""
    for name in ("query", "document"):
        if not fields.get(name) and not fields.get(f"{name}_text"):
            return InputError(
                f"{judged.names} without a column of {name} ids (columns {listed(judged.table.columns)})",
                f"a column that names the {name}",
                f"name it: --column qrels.{name}=COLUMN",
            )
    if queries is None and not fields.get("query_text") and not judged.clues.query_text:
        return InputError(
            f"{judged.names} names queries by ids, and no file has their texts",
            "a file with these ids and texts",
            "pass --queries FILE",
        )
    return None


def _grade_notes(finding: SchemaState, judged: Group, fields: Fields) -> list[str]:
    """How grades are read.

    Raises:
        InputError: they have no order that is known, and the user gave none.
    """
    if not fields.get("grade"):
        return [f"{judged.names} has no column of grades: each of its rows counts as a relevant document."]
    column, others = judged.table.columns[fields["grade"][0]], judged.clues.grades
    name = clean(column.name, 40)
    several = f"Of the columns {listed(others, 6)}, {name} is used for grades; --column qrels.grade=COLUMN names another."
    notes = [several] if len(others) > 1 and "qrels.grade" not in finding.wishes.columns else []
    if finding.wishes.grades:
        off = [text for text in column.different if Scale.parse(finding.wishes.grades).grade_of(text) is None]
        return [*notes, f"Grades such as {listed(off, 3)} are not on the declared scale."] if off else notes
    if not column.texts:
        return [*notes, f"{name} of {judged.names} is empty in the first rows: a row without a grade is no judgment."]
    try:
        scale = seen(column.different)
    except InputError as error:
        raise InputError(f"{judged.names}, column {name}: {error.given}", error.expected, error.next_action) from None
    worst = f", and {scale.names[0]} is not relevant at all" if scale.names[0] != "0" and scale.names[0].isdigit() else ""
    return [*notes, f"Grades in {name} are read as {scale.shown}{worst}; --grades {scale.turned} says the opposite."]
