"""export_overlay: the champion of an environment becomes the kustomize overlay that Argo CD follows."""

import os
import re
from pathlib import Path

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import InputError, NothingToDo
from pipelines.logs import log
from pipelines.settings import PROJECT, settings
from pipelines.store.artifacts import find, load_exactly
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store

VERSION = 1
MANIFESTS = PROJECT / "images" / "k8s"
REPOSITORY = re.compile(r"https://[^\s@]+|git@[\w.-]+:[\w./?&=-]+")
"""Addresses that kustomize takes for a base. One that may hold a password is none."""


class ExportOverlayParams(Params):
    folder: str = Field(description="Folder for kustomization.yaml, in a clone of the repository that Argo CD follows")
    environment: str = Field(
        "", description="Environment whose champion is meant, one of RATCHET_ENVIRONMENTS; empty: this one"
    )
    base: str = Field(
        "", description="Manifests below it: a folder, or a repository's address as kustomize takes it; empty: images/k8s here"
    )
    openvino_image: str = Field(
        "ratchet/serve-openvino:0.1.0",
        pattern=r"^\S+$",
        description="Image of the servers while the champion, the challenger or the champion before needs OpenVINO",
    )


class ExportOverlayResult(Result):
    release: str
    entry: int
    """The journal's entry that made it champion."""
    file: str
    image: str
    """Of the servers; empty: the base's."""
    changed: bool
    """Whether the file was written: false if it said the same already."""


def export_overlay(params: ExportOverlayParams) -> ExportOverlayResult:
    """Write the overlay that names the champion over the Kubernetes manifests; its text depends on the journal alone."""
    from pipelines.projections.kustomize import FILE, overlay, write_overlay

    chosen = settings(params.environment)
    _check_address(chosen.store_uri)
    store = open_store(chosen)
    journal = Journal(store)
    entry = journal.deployment()
    if entry is None:
        raise NothingToDo(f"no release has been deployed in {store.uri}, so there is no overlay to write")
    load_exactly(store, "release", entry.to)
    folder = Path(params.folder).expanduser()
    image = params.openvino_image if _needs_openvino(journal) else ""
    text = overlay(entry, _base(params.base, folder), store.uri, chosen.environment, image)
    changed = write_overlay(folder, text)
    told = "commit it; Argo CD does the rest" if changed else "it says so already"
    log().info(f"{folder / FILE} names the champion: {told}", release=entry.to, entry=entry.n)
    return ExportOverlayResult(release=entry.to, entry=entry.n, file=str(folder / FILE), image=image, changed=changed)


def _needs_openvino(journal: Journal) -> bool:
    """Whether a release that servers hold has a variant of OpenVINO. A challenger is loaded before it serves."""
    from pipelines.retrieval.release import backends

    held = {journal.routing.champion, journal.routing.challenger, journal.previous_champion()} - {None}
    releases = (find(journal.store, "release", str(name)) for name in held)
    return any("openvino" in backends(release) for release in releases if release)


def _base(base: str, folder: Path) -> str:
    """What the overlay names as its base: a folder by its way from the overlay, so that a clone elsewhere finds it, too."""
    here = Path(base).expanduser() if base else MANIFESTS
    if here.is_dir():
        if not any((here / name).is_file() for name in ("kustomization.yaml", "kustomization.yml", "Kustomization")):
            raise InputError(
                f"--base {base or here}, without a kustomization.yaml", "a folder of kustomize", "pass another --base"
            )
        if here.resolve() == folder.resolve():
            raise InputError(f"--base {base}, which is --folder", "another folder than the overlay's", "pass another --folder")
        return os.path.relpath(here.resolve(), folder.resolve())
    if not REPOSITORY.fullmatch(base):
        raise InputError(
            f"--base {'with an @ in it, not shown here' if '@' in base else base}",
            "a folder, or a repository's address without a password, such as git@host:team/ratchet//images/k8s?ref=v1",
            "correct --base",
        )
    return base


def _check_address(uri: str) -> None:
    """A store's address goes into Git: one that may hold a password does not."""
    if uri.startswith("s3://") and "@" in uri:
        raise InputError("a store's address with an @ in it, not shown here", "an address without a password", "correct it")
