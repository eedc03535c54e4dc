"""What the user says of a layout: which column is which field, how grades are ordered, what a file is."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field

from pipelines.collections.record import FIELDS, Role
from pipelines.errors import InputError

EXPECTED = "FIELD=COLUMN or ROLE.FIELD=COLUMN"


@dataclass(frozen=True)
class Overrides:
    """What need not be inferred."""

    columns: dict[str, list[str]] = field(default_factory=dict)
    """`id` or `qrels.grade` to the columns it is taken from; an empty list: the field is not there."""
    grades: str = ""
    """From worst to best, as `Scale.parse` reads it."""
    roles: dict[str, Role] = field(default_factory=dict)
    """By the name of a file."""

    def of(self, role: Role) -> dict[str, tuple[str, ...]]:
        """The columns that the user named for one role, by field."""
        plain = {name: columns for name, columns in self.columns.items() if "." not in name and role in homes(name)}
        named = {name.partition(".")[2]: columns for name, columns in self.columns.items() if name.startswith(f"{role}.")}
        return {name: tuple(columns) for name, columns in (plain | named).items()}


def homes(name: str) -> list[Role]:
    """The roles that a field without one speaks of: documents where they have it, else every role that does.

    >>> homes("id"), homes("document")
    (['documents'], ['qrels', 'interactions'])
    """
    return ["documents"] if name in FIELDS["documents"] else [role for role, fields in FIELDS.items() if name in fields]


def parse_columns(options: Iterable[str]) -> dict[str, list[str]]:
    """The columns that options name, such as `id=sku`, `qrels.grade=label`; a field named twice is taken from both columns.

    >>> parse_columns(["id=sku", "text=name", "text=description", "segment="])
    {'id': ['sku'], 'text': ['name', 'description'], 'segment': []}

    Raises:
        InputError: an option is none, or names an unknown role or field.
    """
    columns_by_field: dict[str, list[str]] = {}
    for option in options:
        name, sign, column = option.partition("=")
        name = name.strip()
        _check(option, name if sign else "", column)
        columns = columns_by_field.setdefault(name, [])
        columns += [column] if column and column not in columns else []
    return columns_by_field


def _check(option: str, name: str, column: str) -> None:
    role, dot, plain = name.rpartition(".")
    given = f"--column {option[:80]!r}"
    fields = list(dict.fromkeys(field_ for fields in FIELDS.values() for field_ in fields))
    if not name:
        raise InputError(given, EXPECTED, "pass --column id=sku, say, or --column qrels.grade=label")
    if dot and role not in FIELDS:
        raise InputError(given, f"a role: {', '.join(FIELDS)}", f"pass --column documents.{plain}=COLUMN, say")
    known = next((known for key, known in FIELDS.items() if key == role), tuple(fields))
    if plain not in known:
        turned = column in fields
        close = difflib.get_close_matches(plain, known, 1)
        likely = f"{column}={name}" if turned else f"{role}{dot}{close[0] if close else known[0]}={column or 'COLUMN'}"
        raise InputError(
            given, f"{EXPECTED}, a field{f' of {role}' if role else ''}: {', '.join(known)}", f"perhaps --column {likely}"
        )
