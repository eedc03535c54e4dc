"""find_experiments: the experiments of a folder, each a declaration or a bare log, for `analyze` to take one by one."""

from pathlib import Path

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import InputError, NothingToDo

VERSION = 1
DECLARED = (".yaml", ".yml")
LOGS = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
PACKED = (".gz", ".zst", ".bz2", ".xz")


class FindExperimentsParams(Params):
    folder: str = Field(
        "",
        description="Folder with a YAML file for each experiment, whose log may lie anywhere, and bare logs; empty: nothing"
        " to do",
    )


class FindExperimentsResult(Result):
    experiments: list[str]
    """Paths: YAML files, and logs that none of them names."""


def find_experiments(params: FindExperimentsParams) -> FindExperimentsResult:
    """List the experiments of a folder: its YAML files, and the logs that none of them declares."""
    from pipelines.experiments.design import read_design

    if not params.folder:
        raise NothingToDo("no folder of experiments is named: set the Airflow variable analyze_experiment_folder")
    folder = Path(params.folder)
    if not folder.is_dir():
        raise InputError(f"--folder {params.folder}", "a folder that can be read", "correct the path, or create the folder")
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    declared = [path for path in files if path.suffix in DECLARED]
    named = set()
    for path in declared:
        try:
            named.add((folder / read_design(path).log).resolve())
        except InputError:
            continue  # `analyze` says what is wrong with it, and the others go on
    bare = [path for path in files if _is_log(path) and path.resolve() not in named]
    if not declared and not bare:
        raise NothingToDo(f"{params.folder} has neither a YAML file nor a log")
    return FindExperimentsResult(experiments=[str(path) for path in [*declared, *bare]])


def _is_log(path: Path) -> bool:
    name = path.name.lower()
    for ending in PACKED:
        name = name.removesuffix(ending)
    return name.endswith(LOGS)
