"""gc: list, or remove, what no release needs any more."""

import time
from datetime import UTC, datetime

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import InputError
from pipelines.logs import log
from pipelines.store.journal import moment
from pipelines.store.objects import open_store

VERSION = 1
DAY_S = 86_400


class GcParams(Params):
    dry_run: bool = Field(True, description="Only say what would go; false: take it away")
    retention_days: float = Field(30, ge=1, description="What is younger stays, and what the journal routed to since then")
    grace_hours: float = Field(24, ge=1, description="A file without an artifact stays so long, and so long does the trash")
    as_of: str = Field("", description="The `as_of` of a dry run: ages count up to then; empty: now")


class GcResult(Result):
    dry_run: bool
    artifacts: int
    files: int
    notes: int
    """Checkpoints, results of tasks and counts of earlier deployments that are older than the retention time."""
    bytes: int
    emptied: int
    """Objects that an earlier run moved to the trash and this one deleted for good."""
    returned: int
    """Files that a commit at the same time turned out to name."""
    sentence: str
    as_of: str
    nothing: bool
    """Whether there is nothing to take away, nor to delete from the trash."""
    note: str


def gc(params: GcParams) -> GcResult:
    """Find what no release needs; with `--dry-run false` move it to the trash and empty the trash of earlier runs."""
    from pipelines.store.gc import counts_by_kind, garbage, sweep

    store = open_store()
    now = _as_of(params.as_of)
    grace_s = params.grace_hours * 3600 + time.time() - now.timestamp()
    unneeded = garbage(store, now.timestamp() - params.retention_days * DAY_S, grace_s)
    for artifact in unneeded.artifacts:
        log().info("garbage", kind=artifact.kind, id=artifact.id, at=artifact.manifest.provenance["at"])
    returned = [] if params.dry_run else sweep(store, unneeded)
    what = ", ".join([*counts_by_kind(unneeded.artifacts), f"{len(unneeded.files)} files", f"{len(unneeded.notes)} notes"])
    sentence = f"{'would take' if params.dry_run else 'took'} away {what}: {unneeded.bytes / 1e6:,.1f} MB"
    return GcResult(
        dry_run=params.dry_run,
        artifacts=len(unneeded.artifacts),
        files=len(unneeded.files),
        notes=len(unneeded.notes),
        bytes=unneeded.bytes,
        emptied=0 if params.dry_run else len(unneeded.trash),
        returned=len(returned),
        sentence=sentence,
        as_of=now.isoformat(),
        nothing=not (unneeded.artifacts or unneeded.files or unneeded.notes or unneeded.trash),
        note=f"{'DRY RUN' if params.dry_run else 'DONE'}: {sentence}",
    )


def _as_of(text: str) -> datetime:
    now = datetime.now(UTC)
    then = moment("--as-of", text) if text else now
    if then > now:
        raise InputError(f"--as-of {text}", "a time that has passed", "pass the `as_of` of a dry run")
    return then
