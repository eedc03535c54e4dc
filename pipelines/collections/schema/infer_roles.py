"""Schema inference for roles: which tables are documents, queries, judgments or interactions, and which of several is used."""

from pipelines.collections.schema.groups import (
    QUERY_SCORE,
    TableGroup,
    merge_groups,
    overlap,
    query_score,
    without_duplicate_files,
)
from pipelines.collections.schema.schema_state import SchemaState, listed
from pipelines.errors import InputError


def judgments_of(state: SchemaState, groups: list[TableGroup]) -> TableGroup | None:
    """The judgments that are used: the user's before others, graded before bare pairs, agreed before single people's."""
    candidates = merge_groups(group for group in groups if group.kind == "qrels")
    if not candidates:
        return None
    best = max(
        candidates,
        key=lambda group: (group.forced, bool(group.features.grades), not group.features.raters, len(group.table.records)),
    )
    for group in candidates:
        if group is not best:
            why = "single people's judgments" if group.features.raters else "a second set of judgments"
            state.aside(group, f"{why} beside {best.names}, which is used; --qrels names another one")
    return best


def interactions_of(state: SchemaState, groups: list[TableGroup]) -> TableGroup | None:
    """The interactions that are used: the user's before others, those with a time, then those with a value.

    Raises:
        InputError: the user says that a table has interactions, and it has no time.
    """
    candidates = merge_groups(group for group in groups if group.kind == "interactions")
    if not candidates:
        return None
    best = max(
        candidates,
        key=lambda group: (group.forced, bool(group.features.time), bool(group.features.value), len(group.table.records)),
    )
    for group in candidates:
        if group is not best:
            state.aside(group, f"users and items beside {best.names}, which is used")
    if not best.features.time and "time" not in state.overrides.of("interactions"):
        _leave_timeless(state, best)
        return None
    best, notes = without_duplicate_files(best)
    state.note(*notes)
    return best


def _leave_timeless(state: SchemaState, group: TableGroup) -> None:
    if group.forced or state.overrides.of("interactions"):
        raise InputError(
            f"{group.names}: interactions without a time, columns {listed(group.table.columns)}",
            "the moment of each interaction, by which the next item is told",
            "name its column: --column interactions.time=COLUMN",
        )
    state.aside(
        group, "users and items without a time, by which the next item is told; --column interactions.time=COLUMN names it"
    )


def assign_roles(
    state: SchemaState, groups: list[TableGroup], query_ids: frozenset[str], document_ids: frozenset[str]
) -> list[TableGroup]:
    """The groups, each table of texts made documents or queries.

    Args:
        state: for notes and the user's overrides.
        groups: of single files.
        query_ids: the ids of queries that judgments name.
        document_ids: the ids of documents that judgments or interactions name.
    """
    scored: list[tuple[float, TableGroup]] = []
    for group in groups:
        if group.kind == "texts":
            scored.append((query_score(group.table, query_ids, document_ids), group))
            group.kind = "queries" if scored[-1][0] >= QUERY_SCORE else "documents"
    scored.sort(key=lambda entry: entry[0])
    others = [group for group in groups if group.kind in ("queries", "users", "")]
    _apply_column_overrides(state, [*(group for _, group in scored), *others])
    kinds = [group.kind for group in groups]
    beside = any(group.kind == "qrels" and group.features.query_text for group in groups)
    if scored and not {"documents", "interactions"} & set(kinds) and not _with_texts(groups):
        scored[0][1].kind = "documents"
    elif query_ids and not beside and "queries" not in kinds and kinds.count("documents") > 1 and len(scored) > 1:
        scored[-1][1].kind = "queries"
        name = scored[-1][1].names
        state.note(f"{name} is taken for the queries, because nothing else looks like them; --queries says otherwise.")
    return merge_groups(groups)


def _apply_column_overrides(state: SchemaState, groups: list[TableGroup]) -> None:
    """Make documents of the first table with the columns that the user named, where no table of documents has them."""
    named = {column for columns in state.overrides.of("documents").values() for column in columns}
    having = [group for group in groups if named and not group.forced and named <= set(group.table.columns)]
    if having and not any(group.kind == "documents" for group in having):
        having[0].kind = "documents"


def _with_texts(groups: list[TableGroup]) -> bool:
    return any(group.kind == "qrels" and group.features.texts for group in groups)


def ranked_groups(groups: list[TableGroup], ids: frozenset[str]) -> list[TableGroup]:
    """Groups by preference: the user's, those that others name, those with more to read."""

    def rank(group: TableGroup) -> tuple[bool, bool, float]:
        named = max((overlap(ids, column) for column in group.features.columns if column.code), default=0)
        read = sum(min(column.words, 100) * column.filled for column in group.features.columns if column.wordy)
        return group.forced, named > 0.02, read * min(len(group.table.records), 50)

    return sorted(groups, key=rank, reverse=True)
