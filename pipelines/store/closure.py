"""What an artifact needs: the artifacts that it was made from, transitively, those that are gone, and how these were made.

`gc` writes the recipe of each artifact that it takes away to `recipes/<id>.json`, so that what is gone can be named and made
again.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from pipelines.errors import CorruptArtifact
from pipelines.store.artifacts import Artifact, find
from pipelines.store.objects import Store
from pipelines.store.recipes import KINDS, Recipe, blob_path

RECIPES = "recipes"
ID = re.compile("[0-9a-f]{20}")
"""An artifact's id. Recipes have other inputs, too: digests of files are longer, machines are words."""


@dataclass
class Closure:
    """Artifacts that belong together. Each comes after those that it was made from."""

    artifacts: dict[str, Artifact] = field(default_factory=dict)
    """By id."""
    gone: dict[str, str] = field(default_factory=dict)
    """What is no longer in the store, or lacks a file: by id, the name of the input that it was."""

    def add(self, store: Store, role: str, name: str) -> None:
        """Add an artifact and all that it was made from, as far as the recipes of what is gone are known."""
        if not ID.fullmatch(name) or name in self.artifacts or name in self.gone:
            return
        artifact = located(store, role, name)
        recipe = artifact.manifest.recipe if artifact else gone_recipe(store, name)
        for input_role, input_name in (recipe.inputs if recipe else {}).items():
            self.add(store, input_role, input_name)
        if artifact and _has_files(artifact):
            self.artifacts[name] = artifact
        else:
            self.gone[name] = role


def closure(store: Store, roots: Mapping[str, str]) -> Closure:
    """The roots and all that they were made from: with a verdict as root, a release and its evidence.

    Args:
        store: that has them.
        roots: ids by the name of their kind, or of an input that they are.

    Raises:
        CorruptArtifact: a manifest can't be read.
    """
    whole = Closure()
    for role, name in roots.items():
        whole.add(store, role, name)
    return whole


def located(store: Store, role: str, name: str) -> Artifact | None:
    """The artifact with an id whose kind is not known; mostly the input's name is that of its kind. None: there is none."""
    kinds = sorted(KINDS, key=lambda kind: kind != role)
    return next((artifact for kind in kinds if (artifact := find(store, kind, name))), None)


def _has_files(artifact: Artifact) -> bool:
    return all(artifact.store.size(blob_path(entry)) == entry.bytes for entry in artifact.manifest.files.values())


def keep_recipe(artifact: Artifact) -> None:
    """Write the recipe of an artifact that is to be taken away."""
    body = artifact.manifest.recipe.model_dump_json(indent=1).encode()
    artifact.store.create(f"{RECIPES}/{artifact.id}.json", body)


def gone_recipe(store: Store, name: str) -> Recipe | None:
    """The recipe of an artifact that gc took away; None: it is not known.

    Raises:
        CorruptArtifact: the file is not the recipe that gc wrote.
    """
    path = f"{RECIPES}/{name}.json"
    try:
        recipe = Recipe.model_validate_json(store.read(path))
    except FileNotFoundError:
        return None
    except ValidationError:
        recipe = None
    if recipe is None or recipe.id != name:
        raise CorruptArtifact(f"{store.uri}/{path}", f"the recipe of {name}", "delete it; the artifact is named without it")
    return recipe


def told(store: Store, role: str, name: str) -> str:
    """How an artifact that is gone was made, in words."""
    artifact = located(store, role, name)
    recipe = artifact.manifest.recipe if artifact else gone_recipe(store, name)
    if recipe is None:
        return f"{role} {name}, whose recipe is not known"
    inputs = ", ".join(f"{role} {name}" for role, name in recipe.inputs.items() if name) or "nothing stored"
    params = ", ".join(f"{name}={value}" for name, value in recipe.params.items() if value not in ("", None, [], {}))
    made = f"{recipe.kind} {name}, which `{recipe.step}` makes from {inputs}"
    return made + (f" with {params}" if params else "")
