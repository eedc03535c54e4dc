"""An environment's champion as a kustomize overlay over the Kubernetes manifests: what Argo CD follows in a Git repository.

One file, `kustomization.yaml`, so that it is replaced as a whole. It names the release, the journal's entry that made it
champion and the store, and nothing secret. The release is an annotation of the StatefulSet, not of its pods, so that a
promotion restarts no server: servers follow the journal of the store that the overlay names. Only for another image do
they start anew.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

import yaml

from pipelines.errors import InputError
from pipelines.store.journal import Entry

FILE = "kustomization.yaml"
HEADER = (
    "# Written by `python -m pipelines export_overlay`, which replaces it. What serves is moved in the journal, not here.\n"
)
SERVE, SETTINGS = ("apps/v1", "StatefulSet", "serve"), ("v1", "ConfigMap", "ratchet")
"""What is patched: version, kind and name, in whatever namespace the base puts it."""


def overlay(entry: Entry, base: str, store: str, environment: str, image: str = "") -> str:
    """The overlay's text, which depends on the arguments alone.

    Args:
        entry: of the journal, that made the release champion.
        base: what it lies over, as kustomize names it: a folder, relative to the overlay's, or a repository's address.
        store: its URI; that of a folder is left out, since a path of this machine says nothing to a pod.
        environment: its name; empty: none.
        image: of the servers; empty: the base's.
    """
    about = {"release": entry.to, "entry": str(entry.n), "champion-since": entry.at, "environment": environment}
    annotations = {f"ratchet/{name}": value for name, value in about.items() if value}
    servers: dict[str, Any] = {"metadata": {"annotations": annotations}}
    if image:
        servers["spec"] = {"template": {"spec": {"containers": [{"name": "serve", "image": image}]}}}
    patches = [_patch(SERVE, servers)]
    if store.startswith("s3://"):
        patches.append(_patch(SETTINGS, {"data": {"RATCHET_STORE": store}}))
    content = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [base],
        "patches": patches,
    }
    return HEADER + yaml.dump(content, Dumper=_Blocks, sort_keys=False, width=120)


def write_overlay(folder: Path, text: str) -> bool:
    """Create or replace the overlay's file as a whole; false: it says so already.

    Raises:
        InputError: the folder can't be written, or somebody else's file of that name is there.
    """
    path = folder / FILE
    try:
        there = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        if there == text:
            return False
        if there and not there.startswith(HEADER):
            raise InputError(f"{path}, which another hand wrote", "a folder of the overlay's own", "pass another --folder")
        folder.mkdir(parents=True, exist_ok=True)
        _replace(path, text)
    except OSError as error:
        raise InputError(f"--folder {folder} ({error.strerror})", "a folder that can be written", "pass another") from None
    return True


def _replace(path: Path, text: str) -> None:
    """Readers see the file of before or this one, whenever this is killed."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _patch(of: tuple[str, str, str], change: dict[str, Any]) -> dict[str, Any]:
    """A strategic merge patch of one resource."""
    version, kind, name = of
    metadata = {"name": name, **change.get("metadata", {})}
    merged = {
        "apiVersion": version,
        "kind": kind,
        "metadata": metadata,
        **{key: change[key] for key in change if key != "metadata"},
    }
    return {"target": {"kind": kind, "name": name}, "patch": yaml.safe_dump(merged, sort_keys=False)}


class _Blocks(yaml.SafeDumper):
    """Texts of several lines as blocks, so that a change of the release is a change of one line."""


def _block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Blocks.add_representer(str, _block)
