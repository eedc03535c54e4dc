"""export_dvc: an artifact becomes `.dvc` files that point at the store."""

from pathlib import Path

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import InputError
from pipelines.logs import log
from pipelines.store.artifacts import load
from pipelines.store.objects import open_store
from pipelines.store.recipes import Kind

VERSION = 1


class ExportDvcParams(Params):
    kind: Kind = Field(description="Kind of the artifact, such as corpus or release")
    artifact: str = Field(description="Artifact id, or its first digits")
    folder: str = Field("", description="Folder inside a DVC project for the .dvc files; empty: KIND-ID here")


class ExportDvcResult(Result):
    artifact: str
    folder: str
    files: list[str]
    bytes: int


def export_dvc(params: ExportDvcParams) -> ExportDvcResult:
    """Write a `.dvc` file for each file of an artifact; `dvc pull` in a DVC project then fetches it from the store."""
    import yaml

    from pipelines.projections.dvc import imports, project_of

    artifact = load(open_store(), params.kind, params.artifact)
    folder = Path(params.folder or f"{artifact.kind}-{artifact.id[:8]}")
    stages = imports(artifact, folder)
    texts = {folder / f"{name}.dvc": yaml.safe_dump(stage, sort_keys=False) for name, stage in stages.items()}
    texts |= {
        path / ".gitignore": "".join(sorted(f"/{file.stem}\n" for file in texts if file.parent == path))
        for path in {file.parent for file in texts}
    }
    for path, text in texts.items():
        _check_free(path, text)
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    if project_of(folder) is None:
        log().warning("no DVC project here yet: run `git init` and `dvc init` in the folder above", folder=str(folder))
    log().info(f"`dvc pull` in {folder} fetches the files; commit what was written there", artifact=artifact.uri)
    return ExportDvcResult(
        artifact=artifact.id,
        folder=str(folder),
        files=[f"{name}.dvc" for name in stages],
        bytes=sum(stage["deps"][0]["size"] for stage in stages.values()),
    )


def _check_free(path: Path, text: str) -> None:
    if path.exists() and (path.is_dir() or path.read_text(encoding="utf-8", errors="replace") != text):
        raise InputError(f"{path}, which is there already", "a name that is free", "pass another --folder, or remove it")
