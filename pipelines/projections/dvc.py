"""An artifact's files as DVC imports from the store, as `dvc import-url --no-download` writes them.

DVC finds files in its caches by md5 and the store names files by sha256, so the store can't be a DVC remote. An import points
at a file of any name: `deps` has its place and checksum, `outs` its name in the project. It has one of each, so an artifact of
several files becomes several `.dvc` files.
"""

import hashlib
import json
import os
from pathlib import Path, PurePosixPath
from typing import Any

from pipelines.errors import CorruptArtifact, InputError
from pipelines.settings import settings
from pipelines.store.artifacts import Artifact
from pipelines.store.objects import Store
from pipelines.store.recipes import blob_path

MANIFEST = "manifest.json"
UNSIGNED = ("frozen", "meta", "size")
"""Fields outside of the checksum by which DVC detects an edited `.dvc` file."""


def imports(artifact: Artifact, folder: Path) -> dict[str, dict[str, Any]]:
    """The content of the `.dvc` file of each file of the artifact, by the file's name; the manifest is one of them.

    It holds no credentials: DVC uses those of the user who pulls.

    Args:
        artifact: whose files.
        folder: where the `.dvc` files will lie.

    Raises:
        CorruptArtifact: a file is not in the store as the manifest says, or would land outside of its folder.
    """
    return {name: _stage(artifact, name, folder) for name in (*artifact.manifest.files, MANIFEST)}


def project_of(folder: Path) -> Path | None:
    """The DVC project that a folder is in, None if it is in none."""
    here = folder.resolve()
    return next((above for above in (here, *here.parents) if (above / ".dvc").is_dir()), None)


def _stage(artifact: Artifact, name: str, folder: Path) -> dict[str, Any]:
    inside = PurePosixPath(name)
    if inside.is_absolute() or ".." in inside.parts:
        raise CorruptArtifact(
            f"file {name!r} of {artifact.uri}", "a name inside of the artifact", "run the step that made it again"
        )
    place = _in_folder(artifact, name, (folder / inside).parent) if artifact.store.local else _in_bucket(artifact, name)
    stage = {"frozen": True, "deps": [place], "outs": [{"hash": "md5", "path": inside.name}]}
    about = {"kind": artifact.kind, "id": artifact.id, "file": name}
    return {"md5": _checksum(stage), **stage, "meta": {"ratchet": about}}


def _in_folder(artifact: Artifact, name: str, folder: Path) -> dict[str, Any]:
    store = artifact.store.local or Path()
    path = (store / artifact.kind / artifact.id / name if name == MANIFEST else artifact.path(name)).resolve()
    with path.open("rb") as file:
        md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    project = project_of(folder)  # within which DVC writes relative paths
    place = os.path.relpath(path, folder.resolve()) if project and project in path.parents else str(path)
    return {"md5": md5, "size": path.stat().st_size, "hash": "md5", "path": place}


def _in_bucket(artifact: Artifact, name: str) -> dict[str, Any]:
    entry = artifact.manifest.files.get(name)
    path = blob_path(entry) if entry else f"{artifact.kind}/{artifact.id}/{name}"
    size, etag = _head(artifact.store, path)
    if entry and size != entry.bytes:
        raise artifact.store.corrupt(f"{artifact.kind}/{artifact.id}/{name}", entry)
    if not etag:
        raise InputError(f"{artifact.store.uri}/{path} without an ETag", "a server that gives one", "export from another store")
    endpoint = settings().s3_endpoint
    address = {"fs_config": {"endpointurl": endpoint}} if endpoint else {}
    return {"etag": etag, "size": size, "hash": "md5", "path": f"{artifact.store.uri}/{path}", **address}


def _head(store: Store, path: str) -> tuple[int, str]:
    """Size and ETag of an object; -1 if there is none."""
    import obstore

    try:
        with store.operation("head", path):
            meta = obstore.head(store.backend, path)
    except FileNotFoundError:
        return -1, ""
    return int(meta["size"]), (meta["e_tag"] or "").strip('"')


def _checksum(stage: dict[str, Any]) -> str:
    """The checksum that DVC expects in its file: md5 of the signed fields as sorted JSON."""
    content = json.dumps(_signed(stage), sort_keys=True).encode()
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _signed(value: Any) -> Any:
    if isinstance(value, list):
        return [_signed(item) for item in value]
    if isinstance(value, dict):
        return {key: _signed(item) for key, item in value.items() if key not in UNSIGNED}
    return value
