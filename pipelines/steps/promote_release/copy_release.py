"""copy_release: a release with its evidence goes into the store of another environment, under the same ids."""

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import InputError
from pipelines.logs import log
from pipelines.settings import environment_named, settings
from pipelines.store.artifacts import Artifact, find, load
from pipelines.store.journal import Journal
from pipelines.store.objects import Store, open_store

VERSION = 1


class CopyReleaseParams(Params):
    to: str = Field(description="Environment that it goes to, one of RATCHET_ENVIRONMENTS, such as staging")
    verdict: str = Field("", description="Verdict id that it passed here; empty: the champion's")


class CopyReleaseResult(Result):
    environment: str
    release: str
    verdict: str
    artifacts: int
    added: int
    """Those that the environment did not have."""
    gate_file: str
    """By which the environment judges it."""
    approval: bool
    """Whether the environment asks a person."""
    note: str


def copy_release(params: CopyReleaseParams) -> CopyReleaseResult:
    """Copy a release that passed, its verdict and all that both were made from; nothing is promoted there yet."""
    from pipelines.gates.verdict import read_summary
    from pipelines.gates.waivers import read_allowed, waivers_in_force
    from pipelines.store.closure import closure, told

    chosen = environment_named(params.to)
    store, target = open_store(), open_store(settings(params.to))
    if target.uri == store.uri:
        raise InputError(
            f"--to {params.to}, whose store is {store.uri}", "another store than this one", "correct RATCHET_ENVIRONMENTS"
        )
    journal = Journal(store)
    verdict = load(store, "verdict", params.verdict or _of_champion(journal))
    waived = any(journal.entries[waiver.entry - 1].verdict == verdict.id for waiver in waivers_in_force(journal))
    promoted = any(entry.action == "promote" and entry.verdict == verdict.id for entry in journal.entries)
    release = (read_summary(verdict) if promoted else read_allowed(verdict, None, waived)).release
    whole = closure(store, {"verdict": verdict.id})
    if whole.gone:
        recipes = "; ".join(told(store, role, name) for name, role in whole.gone.items())
        raise InputError(f"release {release}, of which is gone: {recipes}", "a release that is whole", "run these steps again")
    added = sum(_copy(artifact, target) for artifact in whole.artifacts.values())
    note = f"COPIED: release {release} with {len(whole.artifacts)} artifacts to {params.to}, {added} of them new"
    log().info(note, next=f"RATCHET_ENVIRONMENT={params.to} python -m pipelines evaluate {release}")
    return CopyReleaseResult(
        environment=params.to,
        release=release,
        verdict=verdict.id,
        artifacts=len(whole.artifacts),
        added=added,
        gate_file=chosen.gate_file,
        approval=chosen.approval,
        note=note,
    )


def _of_champion(journal: Journal) -> str:
    promotion = journal.latest("promote", to=journal.routing.champion) if journal.routing.champion else None
    if promotion is None or not promotion.verdict:
        raise InputError("no --verdict, and no champion", "a release that passed", "pass --verdict ID")
    return promotion.verdict


def _copy(artifact: Artifact, target: Store) -> bool:
    """Put an artifact into a store, its files first; false: it is there already."""
    if find(target, artifact.kind, artifact.id) is not None:
        return False
    for name in artifact.manifest.files:
        target.keep(artifact.path(name))
    path = f"{artifact.kind}/{artifact.id}/manifest.json"
    return target.create(path, artifact.store.read(path))
