"""MLflow's registered model (`RATCHET_MLFLOW_MODEL`, `release`), which shows the journal to people. It routes nothing.

Each promoted release is one version with a run of all that is known of it, and with the tag `store`; the aliases point at the
champion, the challenger and the champion that a rollback returns to. A registered model that holds versions of others is
refused.
"""

import tempfile
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import InputError, TryAgain
from pipelines.logs import log
from pipelines.projections.mlflow_run import MODEL, record_run, tag, write_model
from pipelines.settings import absent, bound_mlflow, settings
from pipelines.store.artifacts import Artifact, find
from pipelines.store.journal import Entry, Journal
from pipelines.store.objects import Store

if TYPE_CHECKING:
    from mlflow.entities import RunInfo

ALIASES = ("champion", "challenger", "previous")
MISSING = "RESOURCE_DOES_NOT_EXIST"
REFUSED = {"PERMISSION_DENIED", "UNAUTHENTICATED", "INVALID_PARAMETER_VALUE", "CUSTOMER_UNAUTHORIZED"}


def project(store: Store, journal: Journal) -> None:
    """Show the journal in MLflow, if it is set. An error is only a warning: `reconcile` repairs MLflow later."""
    if not settings().mlflow_uri:
        return
    try:
        Registry(store).align(journal)
    except (InputError, TryAgain) as error:
        log().warning("MLflow does not show the last entry yet, `reconcile` will mend it", problem=str(error))


def shown(journal: Journal) -> bool:
    """Show the journal in MLflow; whether it shows all of it afterwards."""
    project(journal.store, journal)
    try:
        return not Registry(journal.store).align(journal, repair=False)
    except (InputError, TryAgain):
        return False


def connected() -> Any:
    """A client of the tracking server that the settings name.

    Raises:
        InputError: the setting is no HTTP address.
    """
    bound_mlflow()
    from mlflow.tracking import MlflowClient

    with absent("feast"), warnings.catch_warnings(action="ignore"):  # Feast adds headers to requests of its own alone; 12 s
        import mlflow.tracking.request_header.registry  # noqa: F401

    uri = settings().mlflow_uri
    if not uri.startswith(("http://", "https://")):
        raise InputError(f"RATCHET_MLFLOW_URI={uri}", "an address such as http://127.0.0.1:5000", "correct it")
    return MlflowClient(uri)


def experiment_id(client: Any) -> str:
    """The id of the experiment that holds all runs, by `RATCHET_MLFLOW_EXPERIMENT`; it is made where there is none."""
    name = settings().mlflow_experiment
    experiment = client.get_experiment_by_name(name)
    return str(experiment.experiment_id if experiment else client.create_experiment(name))


@contextmanager
def translated_errors(uri: str) -> Iterator[None]:
    """Errors of MLflow as ours, for a block that talks to it.

    Raises:
        TryAgain: MLflow does not answer.
        InputError: it refuses what was asked.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError) as error:  # an artifact store raises those of requests, or of the disk
        reason = str(error).partition("\n")[0][:300]
        raise (InputError if getattr(error, "error_code", "") in REFUSED else TryAgain)(
            f"MLflow at {uri}: {reason}",
            "a tracking server that answers",
            "start it or correct RATCHET_MLFLOW_URI, then run `reconcile`",
        ) from None


class Registry:
    """The registered model and the tracking server that the settings name.

    Args:
        store: whose releases it shows.
        card: makes the card of a release that is to be registered, where it may have none yet.

    Raises:
        InputError: the setting is no HTTP address.
    """

    def __init__(self, store: Store, card: Callable[[Artifact, Artifact | None], Artifact] | None = None) -> None:
        self.store, self.uri, self.model, self.card = store, settings().mlflow_uri, settings().mlflow_model, card
        self.client = connected()

    def align(self, journal: Journal, repair: bool = True) -> list[str]:
        """Compare versions and aliases with the journal and log each difference; `repair` corrects it.

        A difference that the journal's last entry or an erasure explains is logged as information, any other as a warning.

        Raises:
            TryAgain: MLflow does not answer.
            InputError: the registered model holds versions that are not this store's; nothing is changed.
        """
        with translated_errors(self.uri):
            named = self._named(journal)
            versions = {release: number for number, release in sorted(named.items(), reverse=True)}
            differences = [*self._unregistered(journal, versions, repair), *self._misplaced(journal, versions, named, repair)]
        for text, expected in differences:
            (log().info if expected else log().warning)(text, repaired=repair)
        return [text for text, _ in differences]

    def _named(self, journal: Journal) -> dict[int, str]:
        """The release of each version. After a race one release has several versions; aliases point at the oldest."""
        versions = self.client.search_model_versions(f"name='{self.model}'")
        promoted = {entry.to for entry in journal.entries}
        others = [int(one.version) for one in versions if not is_own(one.tags, journal.identity, promoted)]
        if others:
            raise InputError(
                f"MLflow's registered model {self.model}, of which {len(others)} of {len(versions)} versions "
                f"are not this store's (version {min(others)})",
                "a registered model of this store alone, because its aliases follow the journal",
                "set RATCHET_MLFLOW_MODEL to a name that is free, then run `reconcile`",
            )
        return {int(version.version): version.tags.get("release", "") for version in versions}

    def _unregistered(self, journal: Journal, versions: dict[str, int], repair: bool) -> Iterator[tuple[str, bool]]:
        for entry in journal.entries:
            if entry.action == "promote" and entry.to not in versions:
                versions[entry.to] = self._register(entry, journal.identity) if repair else 0
                yield f"release {entry.to} of journal entry {entry.n} had no version", entry == journal.last_routing()

    def _misplaced(
        self, journal: Journal, versions: dict[str, int], named: dict[int, str], repair: bool
    ) -> Iterator[tuple[str, bool]]:
        last = journal.last_routing()
        now, before = aliased(journal), aliased(journal.until(last.n - 1 if last else 0))
        erased = journal.erased_releases
        shown = self._aliases()
        for alias, release in now.items():
            pointed = named.get(shown[alias], "") if alias in shown else None
            if pointed == release:
                continue
            if repair:
                self._point(alias, versions.get(release) if release else None)
            expected = pointed == before[alias] or pointed in erased
            where = f"at release {pointed or 'unknown'} (version {shown[alias]})" if alias in shown else "nowhere"
            yield (
                f"alias {alias} pointed {where}, journal says {release or 'none'}{'' if expected else ': moved by hand?'}",
                expected,
            )

    def _aliases(self) -> dict[str, int]:
        from mlflow.exceptions import MlflowException

        try:
            return {alias: int(version) for alias, version in self.client.get_registered_model(self.model).aliases.items()}
        except MlflowException as error:
            if error.error_code == MISSING:
                return {}
            raise

    def _point(self, alias: str, number: int | None) -> None:
        if number:
            self.client.set_registered_model_alias(self.model, alias, str(number))
        else:
            self.client.delete_registered_model_alias(self.model, alias)

    def _register(self, entry: Entry, identity: str) -> int:
        """Make a version of a promoted release, with its card and its verdict as files; returns its number."""
        from mlflow.exceptions import MlflowException

        try:
            self.client.create_registered_model(self.model, description="Releases that passed their gate; the journal decides")
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        run = self._run(entry)
        version = self.client.create_model_version(
            self.model,
            f"{run.artifact_uri}/{MODEL}",  # as MLflow registers models; of `runs:/` its page shows no signature
            run_id=run.run_id,
            tags=self._tags(entry) | {"store": identity},
            description=entry.why,
            await_creation_for=0,
        )
        return int(version.version)

    def _run(self, entry: Entry) -> "RunInfo":
        """A finished MLflow run with all that is known of a release, and the model of a version."""
        run: RunInfo = self.client.create_run(experiment_id(self.client), run_name=f"release {entry.to}").info
        release, verdict = find(self.store, "release", entry.to), self._verdict(entry)
        if release:
            if self.card:
                self.card(release, verdict)
            record_run(self.client, run.run_id, release, verdict)
        with tempfile.TemporaryDirectory(prefix="ratchet-mlflow-") as folder:
            write_model(Path(folder), release, verdict, entry)
            self.client.log_artifacts(run.run_id, folder, MODEL)
        self.client.set_terminated(run.run_id)
        return run

    def _verdict(self, entry: Entry) -> Artifact | None:
        return find(self.store, "verdict", entry.verdict) if entry.verdict else None

    def _tags(self, entry: Entry) -> dict[str, str]:
        release, verdict = find(self.store, "release", entry.to), self._verdict(entry)
        named = verdict.inputs.get("evaluation") if verdict else None
        evaluation = find(self.store, "evaluation", named) if named else None
        measures = evaluation.facts.get("measures", {}) if evaluation else {}
        kind = "synthetic_" if evaluation and evaluation.facts.get("synthetic") else ""
        return {
            "release": entry.to,
            "entry": str(entry.n),
            "who": entry.who,
            "verdict": entry.verdict or "",
            **(release.inputs if release else {}),
            **{kind + tag(name): f"{value['mean']:.4f}" for name, value in measures.items() if value["mean"] is not None},
        }


def aliased(journal: Journal) -> dict[str, str | None]:
    """The release that each alias points at, by the journal; `previous` is the one that a rollback returns to."""
    return {**journal.routing.roles, "previous": journal.previous_champion()}


def is_own(tags: Mapping[str, str], identity: str, promoted: Collection[str]) -> bool:
    """Whether a version is this store's: by its tag, or, where it is older than the tag, by its release."""
    return tags["store"] == identity if "store" in tags else tags.get("release", "") in promoted
