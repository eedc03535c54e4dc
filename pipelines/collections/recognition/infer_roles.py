"""Which tables of texts are documents and which are queries, and which of several sets is used."""

from pipelines.collections.recognition.groups import ASKS, Group, asking, grouped, overlap, without_repeated
from pipelines.collections.recognition.schema_state import SchemaState, listed
from pipelines.errors import InputError


def judgments_of(finding: SchemaState, groups: list[Group]) -> Group | None:
    """The judgments that are used: the user's before others, graded before bare pairs, agreed before single people's."""
    found = grouped(group for group in groups if group.kind == "qrels")
    if not found:
        return None
    best = max(found, key=lambda one: (one.forced, bool(one.clues.grades), not one.clues.raters, len(one.table.records)))
    for group in found:
        if group is not best:
            why = "single people's judgments" if group.clues.raters else "a second set of judgments"
            finding.aside(group, f"{why} beside {best.names}, which is used; --qrels names another one")
    return best


def interactions_of(finding: SchemaState, groups: list[Group]) -> Group | None:
    """The interactions that are used: the user's before others, those with a time, then those with a value.

    Raises:
        InputError: the user says that a table has interactions, and it has no time.
    """
    found = grouped(group for group in groups if group.kind == "interactions")
    if not found:
        return None
    best = max(found, key=lambda one: (one.forced, bool(one.clues.time), bool(one.clues.value), len(one.table.records)))
    for group in found:
        if group is not best:
            finding.aside(group, f"users and items beside {best.names}, which is used")
    if not best.clues.time and "time" not in finding.wishes.of("interactions"):
        _leave_timeless(finding, best)
        return None
    best, notes = without_repeated(best)
    finding.note(*notes)
    return best


def _leave_timeless(finding: SchemaState, group: Group) -> None:
    if group.forced or finding.wishes.of("interactions"):
        raise InputError(
            f"{group.names}: interactions without a time, columns {listed(group.table.columns)}",
            "the moment of each interaction, by which the next item is told",
            "name its column: --column interactions.time=COLUMN",
        )
    finding.aside(
        group, "users and items without a time, by which the next item is told; --column interactions.time=COLUMN names it"
    )


def settle(finding: SchemaState, groups: list[Group], asked: frozenset[str], judged: frozenset[str]) -> list[Group]:
    """The groups, each table of texts made documents or queries.

    Args:
        finding: for notes and the user's wishes.
        groups: of single files.
        asked: the ids of queries that judgments name.
        judged: the ids of documents that judgments or interactions name.
    """
    scored: list[tuple[float, Group]] = []
    for group in groups:
        if group.kind == "texts":
            scored.append((asking(group.table, asked, judged), group))
            group.kind = "queries" if scored[-1][0] >= ASKS else "documents"
    scored.sort(key=lambda one: one[0])
    _heed(finding, [*(group for _, group in scored), *(group for group in groups if group.kind in ("queries", "users", ""))])
    kinds = [group.kind for group in groups]
    if scored and not {"documents", "interactions"} & set(kinds) and not _with_texts(groups):
        scored[0][1].kind = "documents"
    elif asked and "queries" not in kinds and kinds.count("documents") > 1 and len(scored) > 1:
        scored[-1][1].kind = "queries"
        name = scored[-1][1].names
        finding.note(f"{name} is taken for the queries, because nothing else looks like them; --queries says otherwise.")
    return grouped(groups)


def _heed(finding: SchemaState, groups: list[Group]) -> None:
    """Make documents of the first table with the columns that the user named, where no table of documents has them."""
    wanted = {column for columns in finding.wishes.of("documents").values() for column in columns}
    having = [group for group in groups if wanted and not group.forced and wanted <= set(group.table.columns)]
    if having and not any(group.kind == "documents" for group in having):
        having[0].kind = "documents"


def _with_texts(groups: list[Group]) -> bool:
    """Whether judgments have their documents' texts beside them."""
    return any(group.kind == "qrels" and group.clues.texts for group in groups)


def best_of(groups: list[Group], ids: frozenset[str]) -> list[Group]:
    """Groups in the order in which they are wanted: the user's, those that others name, those with more to read."""

    def rank(group: Group) -> tuple[bool, bool, float]:
        named = max((overlap(ids, column) for column in group.clues.columns if column.code), default=0)
        read = sum(min(column.words, 100) * column.filled for column in group.clues.columns if column.wordy)
        return group.forced, named > 0.02, read * min(len(group.table.records), 50)

    return sorted(groups, key=rank, reverse=True)
