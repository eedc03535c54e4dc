"""A layout as plain text for a terminal: what each file and column was taken for, why, and which options change it."""

from collections.abc import Sequence

from pipelines.collections.record import FIELDS, FilePart, Layout, Role, Sampled
from pipelines.collections.schema.columns import SampleColumn, SampleTable, cell_text
from pipelines.collections.schema.grades import Scale, infer_scale
from pipelines.collections.schema.headings import name_columns
from pipelines.collections.schema.name_lists import ATTRIBUTES
from pipelines.collections.schema.schema_state import listed
from pipelines.collections.schema.terminal import WIDTH, clean, wrapped
from pipelines.errors import InputError

ROWS = 3
ORDER: tuple[Role, ...] = tuple(FIELDS)
MANY = 12
"""Names of columns that are not used and are listed; of more, their number."""
NOUNS: dict[Role, str] = {
    "documents": "documents", "queries": "queries", "qrels": "judgments", "interactions": "interactions", "users": "users",
}  # fmt: skip


def describe_layout(layout: Layout, samples: Sequence[Sampled], width: int = WIDTH) -> str:
    """What a collection was taken for, in lines of at most `width` signs."""
    tables = {sample.file.name: _table(sample) for sample in samples}
    lines = [f"Taken for: {layout.name}", ""]
    for role in ORDER:
        parts = layout.of(role)
        if parts:
            lines += [*_role_lines(layout, parts, tables, width), ""]
    if not layout.of("qrels") and not layout.of("interactions"):
        lines += ["judgments     none: nothing is known of the quality until some are given", ""]
    if layout.notes:
        lines += ["To note:", *(line for note in layout.notes for line in wrapped(note, width, "  - ", "    ")), ""]
    return "\n".join([*lines, *_correction_lines(layout)]) + "\n"


def taken_for(layout: Layout) -> list[str]:
    """What was taken for what, a sentence for each role and its columns."""
    files: dict[str, list[str]] = {}
    for part in layout.parts:
        columns = ", ".join(f"{name}={'+'.join(columns) or 'made from the text'}" for name, columns in part.columns.items())
        files.setdefault(f"taken for the {NOUNS[part.role]}: {clean(columns, 300)}.", []).append(part.file.name)
    return [f"{listed(names, 3)} {'is' if len(names) == 1 else 'are'} {what}" for what, names in files.items()]


def _table(sample: Sampled) -> SampleTable:
    named, _ = name_columns(sample)
    return SampleTable((named.file,), named.records)


def _role_lines(layout: Layout, parts: list[FilePart], tables: dict[str, SampleTable], width: int) -> list[str]:
    role, first = parts[0].role, parts[0]
    table = SampleTable(
        tuple(part.file for part in parts), [record for part in parts for record in tables[part.file.name].records]
    )
    files = [clean(part.file.name, width - 40) + (f" ({part.split})" if part.split else "") for part in parts]
    more = f" and {len(files) - 6} more" if len(files) > 6 else ""
    lines = [f"{NOUNS[role]:<13} {files[0]}  ({_format_name(first)})", *(" " * 14 + name for name in files[1:6])]
    lines += [" " * 14 + more.strip()] if more else []
    lines += [line for name in FIELDS[role] if name in first.columns for line in _field_lines(name, first, table, width)]
    if role == "qrels":
        lines.append(f"  scale       {_scale_line(layout, first, table)}")
    return [*lines, *_example_lines(first, table, width), *_unused_columns(layout, parts, table, width)]


def _format_name(part: FilePart) -> str:
    separated = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}.get(part.file.delimiter, part.file.delimiter)
    form = f"csv, {separated}" if part.file.format == "csv" else part.file.format
    return (
        form
        + (f", {part.file.compression}" if part.file.compression else "")
        + (", a row for each judgment" if part.repeats else "")
    )


def _field_lines(name: str, part: FilePart, table: SampleTable, width: int) -> list[str]:
    columns = part.columns[name]
    if not columns:
        return [f"  {name:<11} made from the text"]
    named = ", ".join(clean(column, 40) or "(no name)" for column in columns[:8]) + (
        f" and {len(columns) - 8} more" if len(columns) > 8 else ""
    )
    reasons = "" if name == "fields" else "; ".join(dict.fromkeys(_reason_for(name, table, column) for column in columns))
    return wrapped(f"{named}{f'  ({reasons})' if reasons else ''}", width, f"  {name:<11} ", " " * 14)


def _reason_for(name: str, table: SampleTable, column: str) -> str:
    sample = table.columns.get(column)
    if sample is None:
        return "not in the first rows"
    says = "called so" if _is_called_so(name, sample) else "by its values"
    if name in ("id", "query", "document", "user"):
        return f"{says}, {len(sample.different)} different in {sample.rows} rows"
    if name in ("text", "title", "query_text", "known"):
        return f"{says}, {sample.words:.0f} words on average"
    if name in ("segment", "grade", "split"):
        return f"{says}, {len(sample.different)} different: {clean(', '.join(sample.different[:6]), 60)}"
    return says


def _is_called_so(name: str, column: SampleColumn) -> bool:
    words = set(column.meaning.words)
    whose = {"user": "user", "document": "document", "query": "query", "query_text": "query"}.get(name, "")
    if name == "id":
        return column.meaning.attribute == "id"
    if name == "text" and words & ATTRIBUTES["title"]:
        return True
    return bool(words & ATTRIBUTES.get(name, frozenset())) or (column.meaning.subject in (whose, "question") and bool(whose))


def _scale_line(layout: Layout, part: FilePart, table: SampleTable) -> str:
    if layout.grades:
        return f"{Scale.parse(layout.grades).shown} (as declared)"
    columns = part.columns.get("grade", ())
    if not columns:
        return "every row is a relevant document"
    try:
        scale = infer_scale(table.columns[columns[0]].different)
    except (InputError, KeyError):
        return "not known yet: pass --grades worst,…,best"
    return f"{scale.shown} (seen in the first rows; --grades {scale.turned} if it is the other way round)"


def _example_lines(part: FilePart, table: SampleTable, width: int) -> list[str]:
    lines = []
    for record in [record for record in table.records if any(record.fields.values())][:ROWS]:
        lines.append(f"  {clean(record.file, 40)}, line {record.line}")
        for name, columns in part.columns.items():
            value = " ".join(filter(None, (cell_text(record.fields.get(column)) for column in columns)))
            if name != "fields" and value:
                lines.append(f"    {name:<11} {clean(value, width - 16)}")
    return lines


def _unused_columns(layout: Layout, parts: list[FilePart], table: SampleTable, width: int) -> list[str]:
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


def _correction_lines(layout: Layout) -> list[str]:
    lines = [
        "To say otherwise:",
        "  --column id=COLUMN --column text=COLUMN --column text=ANOTHER --column segment=   (nothing: none)",
    ]
    if layout.of("qrels"):
        lines.append("  --column qrels.grade=COLUMN --grades 3..0 (from worst to best)")
    if layout.of("interactions"):
        lines.append("  --column interactions.user=COLUMN --column interactions.time=COLUMN")
    return [*lines, "  --queries FILE --qrels FILE   for files of their own"]
