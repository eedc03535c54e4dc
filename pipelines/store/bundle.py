"""Bundles: a release with all that it needs and the journal, as one file that is a store of its own.

A bundle is a ZIP without compression: `bundle.json`, then the objects of the store under their paths, files under their sha256.
It appears under its name once it is whole. `bundle:///path` as RATCHET_STORE reads it: it is unpacked into the cache once.
"""

import re
import shutil
import tempfile
import zipfile
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines.errors import CorruptArtifact, InputError, NewerVersion, is_newer
from pipelines.store.recipes import KINDS, digest_file

CARD = "bundle.json"
MEMBER = re.compile(
    rf"{re.escape(CARD)}|journal/\d{{8}}\.json|blobs/[0-9a-f]{{64}}|(?:{'|'.join(KINDS)})/[0-9a-f]{{20}}/manifest\.json"
)
"""What a bundle may hold; nothing else is unpacked."""
LARGEST_CARD = 100_000_000


class BundleCard(BaseModel):
    """`bundle.json`: which release, made by whom and when, of which journal, and every member that follows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layout: Literal[1] = 1
    release: str
    made_at: str
    made_by: str
    journal: str
    """The identity of the journal; empty: it has no entry."""
    members: list[str]


def write_bundle(target: Path, card: BundleCard, members: Iterable[tuple[str, Path | bytes]]) -> int:
    """Write a bundle, which appears at once; returns its size in bytes.

    Args:
        target: the file.
        card: what it holds.
        members: path in the store, and local file or content, of each member that the card names.

    Raises:
        InputError: the folder does not exist or can't be written.
    """
    try:
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as part:
            try:
                with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
                    archive.writestr(CARD, card.model_dump_json(indent=1))
                    for path, content in members:
                        if isinstance(content, Path):
                            archive.write(content, path)
                        else:
                            archive.writestr(path, content)
                Path(part.name).replace(target)
            finally:
                Path(part.name).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{target}: {error.strerror or error}", "a file that can be written", "pass another --file") from None
    return target.stat().st_size


def read_card(path: Path) -> BundleCard:
    """The card of a bundle, checked to name its members.

    Raises:
        NewerVersion: a newer version wrote it.
        InputError: it is no bundle, or only a part of one.
    """
    with _opened(path) as archive:
        return _card(path, archive)


def unpack(path: Path, cache: Path) -> tuple[Path, str]:
    """The folder of a bundle's content, which is a store, and the id of its release. The folder is made once for each content.

    Raises:
        NewerVersion, InputError: see `read_card`.
    """
    with _opened(path) as archive:
        card = _card(path, archive)
        folder = cache / "bundles" / digest_file(path)[:20]
        if not folder.is_dir():
            _extract(path, archive, [CARD, *card.members], folder)
    return folder, card.release


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise _no_bundle(path, str(error)) from None


def _card(path: Path, archive: zipfile.ZipFile) -> BundleCard:
    names = [member.filename for member in archive.infolist()]
    if CARD not in names:
        raise _no_bundle(path, f"it has no {CARD}")
    if archive.getinfo(CARD).file_size > LARGEST_CARD:
        raise _no_bundle(path, f"its {CARD} has more than {LARGEST_CARD:,} bytes")
    try:
        card = BundleCard.model_validate_json(archive.read(CARD))
    except ValidationError as error:
        if is_newer(error, {"layout"}):
            raise NewerVersion(f"bundle {path}", error) from None
        raise _no_bundle(path, f"{CARD}: {error.errors()[0]['msg']}") from None
    except (zipfile.BadZipFile, OSError) as error:
        raise _no_bundle(path, str(error)) from None
    _check_members(path, archive, names, card)
    return card


def _check_members(path: Path, archive: zipfile.ZipFile, names: Collection[str], card: BundleCard) -> None:
    if strange := next((name for name in names if not MEMBER.fullmatch(name)), None):
        raise _no_bundle(path, f"it has a member {strange[:80]!r}")
    if sorted(names) != sorted([CARD, *card.members]):
        raise _no_bundle(path, f"it has {len(names)} members, and {CARD} names {len(card.members)} besides itself")
    if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
        raise _no_bundle(path, "it is compressed")


def _extract(path: Path, archive: zipfile.ZipFile, names: Iterable[str], folder: Path) -> None:
    """Unpack under a temporary name, then rename: another process may unpack the same bundle."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        for name in names:
            archive.extract(name, scratch)
        try:
            scratch.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    except zipfile.BadZipFile as error:
        raise _no_bundle(path, str(error)) from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _no_bundle(path: Path, reason: str) -> CorruptArtifact:
    return CorruptArtifact(f"{path}: {reason}", "a whole file that `export_release` wrote", "export the release again")
