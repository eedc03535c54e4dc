"""The feature views that `feature_repo` declares, each with the SQL that gives its rows as of a moment."""

import importlib
import pkgutil
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from pipelines.errors import InputError
from pipelines.features.importing import import_feast
from pipelines.settings import install_command, missing_packages
from pipelines.store.recipes import canonical, digest

if TYPE_CHECKING:
    from types import ModuleType

    from feast import Entity, FeatureView

SQL_TYPES: Mapping[str, str] = {"Int64": "BIGINT", "Float64": "DOUBLE", "String": "VARCHAR", "Bool": "BOOLEAN"}
"""Of each type that a feature may have in Feast, the type in SQL."""
TIME = "event_timestamp"
"""The column with the moment that a row is for: nothing from then on has entered it."""
REPOSITORY = "feature_repo"
TABLE = re.compile(r"[a-z_][a-z0-9_]*")
OWN = ("documents", "users", "shown", "chosen", "computed", "arriving")
"""Names that no table of others may have."""


@dataclass(frozen=True)
class View:
    """One feature view."""

    name: str
    key: str
    """The column that names the entity: `document_id` or `user_id`."""
    features: Mapping[str, str]
    """Feast's type of each feature."""
    sql: str
    ttl: timedelta
    """How old a value may be that is still used."""
    tables: tuple[str, ...]
    """Tables that the SQL reads besides documents, users, shown and chosen."""
    declared: "FeatureView"
    entity: "Entity"

    @property
    def definition(self) -> str:
        """The sha256 of what decides its values: a changed view gives other artifacts."""
        return digest(canonical({"key": self.key, "features": dict(self.features), "sql": self.sql}))


def declared_views() -> dict[str, View]:
    """All views by name.

    Raises:
        InputError: Feast is not installed, a file can't be imported, or a view lacks something.
    """
    return {name: declared_view(name) for name in view_names()}


def view_names() -> list[str]:
    """The names of the views. A file that can't be imported may declare one, so it is among them.

    Raises:
        InputError: Feast is not installed.
    """
    _check_installed()
    return [name for name in repository_files() if _may_declare(name)]


def repository_files() -> list[str]:
    """The names of the files in which views may be, by which alone, and without Feast, a view's name can be checked."""
    return [module.name for module in pkgutil.iter_modules(importlib.import_module(REPOSITORY).__path__)]


def declared_view(name: str) -> View:
    """The view of that name, whatever is wrong with the files of others.

    Raises:
        InputError: Feast is not installed, there is no such view, its file can't be imported, or the view lacks something.
    """
    _check_installed()
    declared = _declared(name) if name in repository_files() else []
    if not declared:
        raise InputError(
            f"feature view {name!r}", f"one of {', '.join(view_names())}", f"correct it, or add {REPOSITORY}/{name}.py"
        )
    views = [_view(name, view) for view in declared]  # each is named as the file is, or refused
    return views[0]


def _check_installed() -> None:
    lacking = missing_packages("features")
    if lacking:
        raise InputError(f"no {', '.join(lacking)}", "the extra `features`", f"run `{install_command('features')}`")


def _may_declare(name: str) -> bool:
    try:
        return bool(_declared(name))
    except InputError:
        return True


def _declared(name: str) -> list["FeatureView"]:
    import_feast()
    from feast import FeatureView

    return [value for value in vars(_imported(name)).values() if isinstance(value, FeatureView)]


def _imported(name: str) -> "ModuleType":
    try:
        return importlib.import_module(f"{REPOSITORY}.{name}")
    except Exception as error:  # noqa: BLE001  # a person's file: whatever is wrong with it
        raise InputError(
            f"{REPOSITORY}/{name}.py, which can't be imported: {type(error).__name__}: {error}",
            "a file that declares one feature view",
            "correct it; docs/add-a-feature.md has an example",
        ) from None


def _view(file: str, declared: "FeatureView") -> View:
    features = {field.name: str(field.dtype) for field in declared.features}
    sql, ttl = declared.tags.get("sql", ""), declared.ttl
    tables = tuple(declared.tags.get("tables", "").split())
    entities = [entity for entity in vars(_imported("entities")).values() if getattr(entity, "name", "") in declared.entities]
    lacking = {
        f"a name that is not the file's ({declared.name})": declared.name != file,
        "no SQL": not sql.strip(),
        f"{len(entities)} entities of entities.py": len(entities) != 1,
        "no ttl": not ttl,
        f"types {', '.join(sorted({*features.values()} - {*SQL_TYPES}))}": not {*features.values()} <= {*SQL_TYPES},
        "no features": not features,
        f"tables {', '.join(tables)}": not all(map(TABLE.fullmatch, tables)) or len({*tables, *OWN}) < len(tables) + len(OWN),
    }
    wrong = [what for what, is_so in lacking.items() if is_so]
    if wrong or ttl is None:
        raise InputError(
            f"{REPOSITORY}/{file}.py, whose view has {', '.join(wrong)}",
            f"the file's name, one entity, a ttl, tags={{'sql': …}}, features of {', '.join(SQL_TYPES)}, and tables by names "
            "that are not taken, such as price_changes",
            "correct it; docs/add-a-feature.md has an example",
        )
    return View(declared.name, entities[0].join_key, features, sql, ttl, tables, declared, entities[0])
