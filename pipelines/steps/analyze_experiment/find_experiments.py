"""find_experiments: the experiments of a folder, each a declaration or a bare log, for `analyze` to take one by one."""

from pathlib import Path

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.corpus.event_log import is_logged
from pipelines.errors import InputError, NothingToDo
from pipelines.settings import settings
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store

VERSION = 1
DECLARED = (".yaml", ".yml")
LOGS = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
PACKED = (".gz", ".zst", ".bz2", ".xz")


class FindExperimentsParams(Params):
    folder: str = Field(
        "",
        description="Folder with a YAML file for each experiment, whose log may lie anywhere, and bare logs; empty: only the"
        " split that runs, if one does",
    )


class FindExperimentsResult(Result):
    experiments: list[str]
    """`server:NAME` for a split that runs, and paths: YAML files, and logs that none of them names."""


def find_experiments(params: FindExperimentsParams) -> FindExperimentsResult:
    """List the split that runs and the experiments of a folder: its YAML files, and the logs that none of them declares."""
    experiments = [*_running_split(), *(_of_folder(params.folder) if params.folder else [])]
    if not experiments:
        raise NothingToDo(
            f"{params.folder} has neither a YAML file nor a log"
            if params.folder
            else "no split runs whose log is here or in the store, and no folder of experiments is named: run `split`, or set"
            " the Airflow variable analyze_experiment_folder"
        )
    return FindExperimentsResult(experiments=experiments)


def _running_split() -> list[str]:
    """The split that the journal routes by, where its log is here or in the store; none where one release has all users."""
    store = open_store()
    split = Journal(store).routing.split
    events = settings().events_folder
    return [f"server:{split.name}"] if split and 0 < split.share < 1 and is_logged(store, events) else []


def _of_folder(name: str) -> list[str]:
    from pipelines.experiments.design import read_design

    folder = Path(name)
    if not folder.is_dir():
        raise InputError(f"--folder {name}", "a folder that can be read", "correct the path, or create the folder")
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    declared = [path for path in files if path.suffix in DECLARED]
    named = set()
    for path in declared:
        try:
            named.add((folder / read_design(path).log).resolve())
        except InputError:
            continue  # `analyze` says what is wrong with it, and the others go on
    bare = [path for path in files if _is_log(path) and path.resolve() not in named]
    return [str(path) for path in [*declared, *bare]]


def _is_log(path: Path) -> bool:
    name = path.name.lower()
    for ending in PACKED:
        name = name.removesuffix(ending)
    return name.endswith(LOGS)
