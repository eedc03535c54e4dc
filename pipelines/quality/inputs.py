"""From the options of a check to what is examined: corpora, logs, suite and day."""

from datetime import UTC, date, datetime
from pathlib import Path

from pipelines.corpus.event_log import gathered
from pipelines.errors import InputError
from pipelines.quality.examination import CheckInputs, chosen_corpora
from pipelines.quality.loading import event_sizes
from pipelines.quality.suite import read_suite
from pipelines.settings import settings
from pipelines.store.objects import Store


def read_inputs(
    store: Store, scratch: Path, corpus: str, previous: str, exposures: str, suite: str, on: str, personal: int
) -> CheckInputs:
    """What is examined; the logs are taken as long as they are now.

    Args:
        store: where the corpora lie, and logs that were shipped.
        scratch: a folder of our own, which must last as long as the logs are read.
        corpus: an id, `champion` for that of the release that serves, or `none`.
        previous: an id, `none`, or empty for the corpus of the latest release that served another one.
        exposures: the folder of the logs, `server` for the search server's own; empty: none.
        suite: a YAML file, or `default` for the shipped one; empty: the one that the settings name.
        on: a day in ISO form; empty: today (UTC).
        personal: texts of each part that are scanned for personal data.

    Raises:
        InputError: there is nothing to check, or one of these can't be read.
    """
    if corpus == "none" and not exposures:
        raise InputError("--corpus none without --exposures", "something to check", "give a corpus id or a folder of logs")
    parsed = read_suite(suite or settings().suite)
    examined, before = chosen_corpora(store, corpus, previous)
    events = _events_folder(store, exposures, scratch)
    return CheckInputs(examined, before, events, event_sizes(events) if events else {}, parsed, _day(on), personal)


def _day(on: str) -> date:
    try:
        return date.fromisoformat(on) if on else datetime.now(UTC).date()
    except ValueError:
        raise InputError(f"--on {on!r}", "a day such as 2026-01-31", "correct it, or leave it out for today") from None


def _events_folder(store: Store, exposures: str, scratch: Path) -> Path | None:
    if exposures == "server":
        return gathered(store, settings().events_folder, scratch)
    return Path(exposures) if exposures else None
