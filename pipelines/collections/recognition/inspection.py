"""A layout as plain text for a terminal: what each file and column was taken for, why, and how to say otherwise."""

from collections.abc import Sequence

from pipelines.collections.recognition.columns import Column, Table, text_of
from pipelines.collections.recognition.grades import Scale, seen
from pipelines.collections.recognition.headings import headed
from pipelines.collections.recognition.name_lists import ATTRIBUTES
from pipelines.collections.recognition.terminal import WIDTH, clean, wrapped
from pipelines.collections.record import FIELDS, Layout, Part, Role, Sampled
from pipelines.errors import InputError

ROWS = 3
ORDER: tuple[Role, ...] = tuple(FIELDS)
MANY = 12
"""Names of columns that are not used and are listed; of more, their number."""
NOUNS: dict[Role, str] = {
    "documents": "documents", "queries": "queries", "qrels": "judgments", "interactions": "interactions", "users": "users",
}  # fmt: skip


def shown(layout: Layout, samples: Sequence[Sampled], width: int = WIDTH) -> str:
    """What a collection was taken for, in lines of at most `width` signs."""
    tables = {sample.file.name: _table(sample) for sample in samples}
    lines = [f"Taken for: {layout.name}", ""]
    for role in ORDER:
        parts = layout.of(role)
        if parts:
            lines += [*_role(layout, parts, tables, width), ""]
    if not layout.of("qrels") and not layout.of("interactions"):
        lines += ["judgments     none: nothing is known of the quality until some are given", ""]
    if layout.notes:
        lines += ["To note:", *(line for note in layout.notes for line in wrapped(note, width, "  - ", "    ")), ""]
    return "\n".join([*lines, *_corrections(layout)]) + "\n"


def _table(sample: Sampled) -> Table:
    named, _ = headed(sample)
    return Table((named.file,), named.records)


def _role(layout: Layout, parts: list[Part], tables: dict[str, Table], width: int) -> list[str]:
    role, first = parts[0].role, parts[0]
    table = Table(tuple(part.file for part in parts), [record for part in parts for record in tables[part.file.name].records])
    files = [clean(part.file.name, width - 40) + (f" ({part.split})" if part.split else "") for part in parts]
    more = f" and {len(files) - 6} more" if len(files) > 6 else ""
    lines = [f"{NOUNS[role]:<13} {files[0]}  ({_format(first)})", *(" " * 14 + name for name in files[1:6])]
    lines += [" " * 14 + more.strip()] if more else []
    lines += [line for name in FIELDS[role] if name in first.columns for line in _field(name, first, table, width)]
    if role == "qrels":
        lines.append(f"  scale       {_scale(layout, first, table)}")
    return [*lines, *_examples(first, table, width), *_unused(layout, parts, table, width)]


def _format(part: Part) -> str:
    separated = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}.get(part.file.delimiter, part.file.delimiter)
    form = f"csv, {separated}" if part.file.format == "csv" else part.file.format
    return (
        form
        + (f", {part.file.compression}" if part.file.compression else "")
        + (", a row for each judgment" if part.repeats else "")
    )


def _field(name: str, part: Part, table: Table, width: int) -> list[str]:
    columns = part.columns[name]
    if not columns:
        return [f"  {name:<11} made from the text"]
    named = ", ".join(clean(column, 40) or "(no name)" for column in columns[:8]) + (
        f" and {len(columns) - 8} more" if len(columns) > 8 else ""
    )
    reasons = "" if name == "fields" else "; ".join(dict.fromkeys(_reason(name, table, column) for column in columns))
    return wrapped(f"{named}{f'  ({reasons})' if reasons else ''}", width, f"  {name:<11} ", " " * 14)


def _reason(name: str, table: Table, column: str) -> str:
    found = table.columns.get(column)
    if found is None:
        return "not in the first rows"
    says = "called so" if _called(name, found) else "by its values"
    if name in ("id", "query", "document", "user"):
        return f"{says}, {len(found.different)} different in {found.rows} rows"
    if name in ("text", "title", "query_text", "known"):
        return f"{says}, {found.words:.0f} words on average"
    if name in ("segment", "grade", "split"):
        return f"{says}, {len(found.different)} different: {clean(', '.join(found.different[:6]), 60)}"
    return says


def _called(name: str, column: Column) -> bool:
    words = set(column.meaning.words)
    whose = {"user": "user", "document": "document", "query": "query", "query_text": "query"}.get(name, "")
    if name == "id":
        return column.meaning.attribute == "id"
    if name == "text" and words & ATTRIBUTES["title"]:
        return True
    return bool(words & ATTRIBUTES.get(name, frozenset())) or (column.meaning.subject in (whose, "asked") and bool(whose))


def _scale(layout: Layout, part: Part, table: Table) -> str:
    if layout.grades:
        return f"{Scale.parse(layout.grades).shown} (as declared)"
    columns = part.columns.get("grade", ())
    if not columns:
        return "every row is a relevant document"
    try:
        scale = seen(table.columns[columns[0]].different)
    except (InputError, KeyError):
        return "not known yet: pass --grades worst,…,best"
    return f"{scale.shown} (seen in the first rows; --grades {scale.turned} if it is the other way round)"


def _examples(part: Part, table: Table, width: int) -> list[str]:
    lines = []
    for record in [one for one in table.records if any(one.fields.values())][:ROWS]:
        lines.append(f"  {clean(record.file, 40)}, line {record.line}")
        for name, columns in part.columns.items():
            value = " ".join(filter(None, (text_of(record.fields.get(column)) for column in columns)))
            if name != "fields" and value:
                lines.append(f"    {name:<11} {clean(value, width - 16)}")
    return lines


def _unused(layout: Layout, parts: list[Part], table: Table, width: int) -> list[str]:
    """The columns that no part of the files takes anything from; told once, with the first role that the files have."""
    files = {part.file.name for part in parts}
    beside = [part for part in layout.parts if part.file.name in files]
    if min(ORDER.index(part.role) for part in beside) < ORDER.index(parts[0].role):
        return []
    used = {column for part in beside for columns in part.columns.values() for column in columns}
    rest = [name for name, column in table.columns.items() if name not in used and column.texts]
    more = f" and {len(rest) - MANY} more" if len(rest) > MANY else ""
    names = ", ".join(clean(name, 40) or "(no name)" for name in rest[:MANY]) + more
    return wrapped(names, width, "  not used    ", " " * 14) if rest else []


def _corrections(layout: Layout) -> list[str]:
    """How to say what was guessed wrongly."""
    lines = [
        "To say otherwise:",
        "  --column id=COLUMN --column text=COLUMN --column text=ANOTHER --column segment=   (nothing: none)",
    ]
    if layout.of("qrels"):
        lines.append("  --column qrels.grade=COLUMN --grades 3..0 (from worst to best)")
    if layout.of("interactions"):
        lines.append("  --column interactions.user=COLUMN --column interactions.time=COLUMN")
    return [*lines, "  --queries FILE --qrels FILE   for files of their own"]
