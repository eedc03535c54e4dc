"""Checkpoints of an unfinished training in the store, so that a retry, on any machine, goes on where the last one stopped.

`<store>/checkpoints/<artifact id>/<checkpoint>/<file>` holds the trainer's own files; `complete.json`, written last, names each
with its sha256. A checkpoint without it is passed over. One with another file than it names is removed, to be written anew.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from pipelines.logs import log
from pipelines.store.objects import Store
from pipelines.store.recipes import digest

FOLDER, COMPLETE, STATE = "checkpoints", "complete.json", "trainer_state.json"


@dataclass(frozen=True)
class TrainingCheckpoints:
    """The checkpoints of one artifact's training."""

    store: Store
    artifact: str

    @property
    def prefix(self) -> str:
        return f"{FOLDER}/{self.artifact}"

    def save(self, folder: Path) -> None:
        """Store the checkpoints that the trainer keeps in `folder`, and remove those that it no longer keeps."""
        kept = sorted(folder.glob("checkpoint-*"))
        stored = {name for name in self.store.names(f"{self.prefix}/") if self._complete(name)}
        for checkpoint in kept:
            if checkpoint.name not in stored:
                self._save(checkpoint)
        for name in stored - {checkpoint.name for checkpoint in kept}:
            self._remove(name)

    def restore(self, folder: Path) -> str | None:
        """Fetch all complete checkpoints into `folder`; the path of the latest whose best one is there, too; none: no such."""
        fetched = [name for name in self.store.names(f"{self.prefix}/") if self._fetch(name, folder / name)]
        usable = [name for name in fetched if _best(folder / name) in ("", *fetched)]
        latest = max(usable, key=lambda name: int(name.rpartition("-")[2]), default="")
        if not latest:
            return None
        log().info("training goes on", checkpoint=latest)
        return str(folder / latest)

    def remove(self) -> None:
        """Delete all of them, once the artifact is committed."""
        for file in list(self.store.listed(f"{self.prefix}/")):
            self.store.delete(file.path)

    def _complete(self, name: str) -> dict[str, str]:
        try:
            read: dict[str, str] = json.loads(self.store.read(f"{self.prefix}/{name}/{COMPLETE}"))
        except (FileNotFoundError, ValueError):
            return {}
        return read

    def _save(self, checkpoint: Path) -> None:
        digests = {}
        for file in sorted(path for path in checkpoint.rglob("*") if path.is_file()):
            body, name = file.read_bytes(), str(file.relative_to(checkpoint))
            digests[name] = digest(body)
            self.store.write(f"{self.prefix}/{checkpoint.name}/{name}", body)
        self.store.write(f"{self.prefix}/{checkpoint.name}/{COMPLETE}", json.dumps(digests).encode())

    def _fetch(self, name: str, target: Path) -> bool:
        for file, expected in (files := self._complete(name)).items():
            try:
                body = self.store.read(f"{self.prefix}/{name}/{file}")
            except FileNotFoundError:
                body = b""
            if digest(body) != expected:
                log().warning("a checkpoint can't be used and is passed over", checkpoint=name, file=file)
                shutil.rmtree(target, ignore_errors=True)
                self._remove(name)
                return False
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            (target / file).write_bytes(_placed(body, target.parent) if file == STATE else body)
        return bool(files)

    def _remove(self, name: str) -> None:
        self.store.delete(f"{self.prefix}/{name}/{COMPLETE}")
        for file in list(self.store.listed(f"{self.prefix}/{name}/")):
            self.store.delete(file.path)


def _best(checkpoint: Path) -> str:
    """The name of the best checkpoint up to this one; empty: none was measured."""
    described = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    return Path(described.get("best_model_checkpoint") or "").name


def _placed(state: bytes, folder: Path) -> bytes:
    """The trainer's state with the path of its best checkpoint in this folder: it names the one of the run that wrote it."""
    described = json.loads(state)
    if best := described.get("best_model_checkpoint"):
        described["best_model_checkpoint"] = str(folder / Path(best).name)
    return json.dumps(described).encode()
