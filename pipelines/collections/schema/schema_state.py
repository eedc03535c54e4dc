"""The state of schema inference: tables and their kinds, the user's overrides, notes."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pipelines.collections.quarantine import remedy
from pipelines.collections.record import BadRow, FilePart, Role, Sampled
from pipelines.collections.schema.column_features import Kind, kind_of
from pipelines.collections.schema.columns import SampleTable
from pipelines.collections.schema.fields import Fields
from pipelines.collections.schema.groups import TableGroup
from pipelines.collections.schema.headings import name_columns
from pipelines.collections.schema.overrides import Overrides, homes
from pipelines.collections.schema.terminal import clean
from pipelines.errors import InputError

OVERRIDE_ORDER: tuple[Role, ...] = ("qrels", "interactions", "users", "queries", "documents")
"""The order in which roles claim a table by the columns that the user named for them: judgments may have other roles beside."""


@dataclass
class SchemaState:
    """The tables, parts and notes so far."""

    overrides: Overrides
    groups: list[TableGroup] = field(default_factory=list)
    parts: list[FilePart] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    headings: dict[str, str] = field(default_factory=dict)
    """What was made up for the columns of files without a header line, by file; told of those that are used."""
    unread: list[BadRow] = field(default_factory=list)
    """The first bad row of each file without any other."""
    variants: set[str] = field(default_factory=set)
    """Files whose rows without text belong to the row above."""

    def of(self, kind: Kind) -> list[TableGroup]:
        return [group for group in self.groups if group.kind == kind]

    def note(self, *sentences: str) -> None:
        self.notes += [sentence for sentence in sentences if sentence and sentence not in self.notes]

    def aside(self, group: TableGroup, why: str) -> None:
        self.note(f"{group.names} {'is' if len(group.table.files) == 1 else 'are'} left aside: {why}.")

    def with_overrides(self, role: Role, fields: Fields, table: SampleTable) -> Fields:
        """The fields with what the user says of them; a field without columns is not there, except that ids are then made.

        Raises:
            InputError: the table has not all of the columns.
        """
        for name, columns in self.overrides.of(role).items():
            missing = [column for column in columns if column not in table.columns]
            if missing and len(homes(name)) > 1 and f"{role}.{name}" not in self.overrides.columns:
                continue  # said without a role, and so perhaps of another table
            if missing:
                raise unknown_column(name, missing[0], table.columns, table.name)
            fields = {**fields, name: columns}
        held = fields.get("known", ())
        if held and "text" not in self.overrides.of(role):
            fields = {**fields, "text": tuple(column for column in fields["text"] if column not in held)}
        return {name: columns for name, columns in fields.items() if columns or name == "id"}

    def add(
        self,
        role: Role,
        table: SampleTable,
        fields: Fields,
        side: dict[str, Literal["", "train", "dev", "test"]] | None = None,
        repeats: bool = False,
    ) -> None:
        for file in table.files:
            variants = role == "documents" and file.name in self.variants
            self.parts.append(FilePart(role, file, fields, (side or {}).get(file.name, ""), repeats, variants))


def group_samples(samples: Sequence[Sampled], state: SchemaState) -> list[TableGroup]:
    """A group for each file with rows, of the kind that the user says or it says itself.

    Raises:
        InputError: there is none, or a file or column that the user named is not there.
    """
    names = [sample.file.name for sample in samples]
    roles = _roles_by_file(names, state.overrides.roles)
    candidates = (_group_of(sample, state, roles.get(sample.file.name)) for sample in samples)
    groups = [group for group in candidates if group is not None]
    if not groups:
        bad = [row for sample in samples for row in sample.bad]
        reasons = "; ".join(f"{clean(row.file, 80)} line {row.line}: {row.reason}" for row in bad[:3])
        raise InputError(
            f"no row that could be read in {listed(names) or 'the source'}{f': {reasons}' if reasons else ''}",
            "at least one file with rows",
            remedy(bad) if bad else "check the source",
        )
    _check_columns(state.overrides, [group.table for group in groups])
    return groups


def _roles_by_file(names: list[str], overrides: dict[str, Role]) -> dict[str, Role]:
    """The roles that the user gave, by file; a file is named whole, or by the end of its path where none is called so."""
    by_file: dict[str, Role] = {}
    for ending, role in overrides.items():
        meant = [ending] if ending in names else [name for name in names if name.endswith("/" + ending)]
        if not meant:
            raise InputError(f"{clean(ending, 80)} as {role}", f"one of the files: {listed(names)}", "check the file's name")
        by_file |= dict.fromkeys(meant, role)
    return by_file


def _group_of(sample: Sampled, state: SchemaState, role: Role | None) -> TableGroup | None:
    named, note = name_columns(sample)
    table = SampleTable((named.file,), named.records)
    if not any(column.texts for column in table.columns.values()):
        why = sample.bad[0].reason if sample.bad else "there is no row with a value in it"
        state.note(f"{clean(sample.file.name, 80)} is left aside: {why}.")
        state.unread += sample.bad[:1]
        return None
    state.headings[sample.file.name] = note
    return TableGroup(role or _overridden_kind(state.overrides, table) or kind_of(table), table, role is not None)


def _overridden_kind(overrides: Overrides, table: SampleTable) -> Kind:
    """The role for which the user named a column of this table; a role whose file the user named is not looked for here."""
    for role in (role for role in OVERRIDE_ORDER if role not in overrides.roles.values()):
        named = {column for name, columns in overrides.columns.items() if name.startswith(f"{role}.") for column in columns}
        if named and named <= set(table.columns):
            return role
    return ""


def _check_columns(overrides: Overrides, tables: list[SampleTable]) -> None:
    there = dict.fromkeys(name for table in tables for name in table.columns)
    for name, columns in overrides.columns.items():
        for column in columns:
            if column not in there:
                raise unknown_column(name, column, there, tables[0].name if len(tables) == 1 else f"the {len(tables)} files")


def check_used(state: SchemaState) -> None:
    """Refuse what the user said of a role that no file has.

    Raises:
        InputError: names the field.
    """
    there = {part.role for part in state.parts}
    for name, columns in state.overrides.columns.items():
        roles = _roles_of_field(name)
        if columns and not there & set(roles):
            raise InputError(
                f"--column {clean(name, 40)}={clean(columns[0], 80)} where no file is taken for {' or '.join(roles)}",
                f"a file of {' or '.join(roles)}; there are {', '.join(sorted(there))}",
                "name the columns of its other fields as well, each with its role, as in --column qrels.query=COLUMN",
            )


def _roles_of_field(name: str) -> list[str]:
    role, dot, _ = name.partition(".")
    return [role] if dot else [str(role) for role in homes(name)]


def unknown_column(name: str, column: str, there: Iterable[str], where: str) -> InputError:
    """A column that is not there, with those that are."""
    names = list(there)
    close = difflib.get_close_matches(column, names, 1, 0.5)
    return InputError(
        f"--column {clean(name, 40)}={clean(column, 80)}",
        f"a column of {clean(where, 80)}: {listed(names)}",
        f"perhaps --column {clean(name, 40)}={clean(close[0], 80)}" if close else "name one of these columns",
    )


def listed(names: Iterable[str], most: int = 30) -> str:
    """Names for a message: clipped, without control characters, and not too many."""
    cleaned = [clean(name, 60) for name in names]
    return ", ".join(cleaned[:most]) + (f" and {len(cleaned) - most} more" if len(cleaned) > most else "")
