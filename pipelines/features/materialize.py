"""A view's rows go from its artifact to the online store, for an interval that the caller owns.

Feast's own notion of what was materialized last is never used to choose the interval, only to keep an older one from
overwriting newer values.
"""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pipelines.errors import InputError
from pipelines.features.compute import FILE
from pipelines.features.feast import calls_feast, feature_store, registry_lock
from pipelines.features.views import TIME, View
from pipelines.store.artifacts import Artifact
from pipelines.store.recipes import blob_path

if TYPE_CHECKING:
    from feast import FeatureStore, FeatureView


def materialized_until(store: "FeatureStore", view: str) -> datetime | None:
    """The last moment for which the view has values online; none: it never had any."""
    registered = registered_view(store, view)
    return registered.most_recent_end_time if registered else None


def online_rows(store: "FeatureStore", view: str) -> str:
    """The rows that went online last, as `described_by` says them; empty: none did."""
    registered = registered_view(store, view)
    return registered.batch_source.description if registered and registered.batch_source else ""


def registered_view(store: "FeatureStore", view: str) -> "FeatureView | None":
    """The view as Feast's registry has it; none where it was never applied."""
    from feast.errors import FeatureViewNotFoundException

    with calls_feast("the registry"):
        try:
            return store.get_feature_view(view)
        except FeatureViewNotFoundException:
            return None


def materialize(view: View, features: Artifact, start: datetime, end: datetime, refill: bool = False) -> bool:
    """Register the view with the artifact as its source, and put the latest row of each entity in the interval online.

    Args:
        view: as declared.
        features: its rows.
        start: of the interval, with the overlap; rows that the view's ttl still lets count go online with it.
        end: of the interval.
        refill: put online again what went online last, and nothing else.

    Returns:
        Whether it was done: an interval that ends before the last one would overwrite newer values, so it is not; nor is it
        to `refill` where another run has put other rows online.

    Raises:
        InputError: the view's features changed while a release is served by them.
        TryAgain: a database does not answer, or another run changes the registry.
    """
    store = feature_store()
    with registry_lock():
        until = materialized_until(store, view.name)
        if (until and end < until) or (refill and online_rows(store, view.name) != described_by(features)):
            return False
        check_schema(store, view)
        with calls_feast("the registry"):
            store.apply([view.entity, sourced(view, features)], partial=True)
        with calls_feast("the online store"):
            store.materialize(min(start, end - view.ttl), end, feature_views=[view.name])
    return True


def sourced(view: View, features: Artifact) -> "FeatureView":
    """The view, reading the artifact's file where it lies: a file that is named by its content, so it never changes."""
    from copy import copy

    from feast import FileSource
    from feast.data_format import ParquetFormat

    place = features.store.uri.removeprefix("file://") if features.store.local else features.store.uri
    source = FileSource(
        name=view.name,
        path=f"{place}/{blob_path(features.manifest.files[FILE])}",
        timestamp_field=TIME,
        file_format=ParquetFormat(),
        s3_endpoint_override=features.store.endpoint or None,
        description=described_by(features),
    )
    changed = copy(view.declared)
    changed.batch_source = source
    return changed


def described_by(features: Artifact) -> str:
    """What Feast's registry says of the source of a view that reads this artifact."""
    return f"features {features.id}"


def check_schema(store: "FeatureStore", view: View) -> None:
    """Refuse a view whose features are others than before while a feature service, and so a release, reads them.

    Raises:
        InputError: they are.
    """
    registered = registered_view(store, view.name)
    if registered is None:
        return
    before = {field.name: str(field.dtype) for field in registered.features}
    if before == dict(view.features):
        return
    with calls_feast("the registry"):
        services = [
            service.name
            for service in store.list_feature_services()
            if any(projection.name == view.name for projection in service.feature_view_projections)
        ]
    if services:
        raise InputError(
            f"feature view {view.name} with {_listed(dict(view.features))}",
            f"{_listed(before)}, which {', '.join(services)} read",
            f"declare the changed view under another name, such as {view.name}_2",
        )


def _listed(features: dict[str, str]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in sorted(features.items()))


def moment_of(option: str, given: str, default: datetime) -> datetime:
    """A moment in UTC, in whole seconds.

    >>> moment_of("--end", "2026-01-31", datetime(2026, 1, 1, tzinfo=UTC)).isoformat()
    '2026-01-31T00:00:00+00:00'

    Raises:
        InputError: the text is no date and no time, or before 1970, since when events are counted.
    """
    if not given:
        return default
    try:
        moment = datetime.fromisoformat(given)
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).replace(microsecond=0)
        if moment.year < 1970:
            raise ValueError(given)
    except (ValueError, OverflowError):
        raise InputError(
            f"{option} {given!r}", "a date or a time from 1970 on, such as 2026-01-31T00:00:00+00:00", f"correct {option}"
        ) from None
    return moment


def interval(start: str, end: str) -> tuple[datetime, datetime]:
    """The interval that is materialized; without an end until today's midnight, without a start of one day.

    Raises:
        InputError: it ends in the future, where not everything has happened yet, or begins after its end.
    """
    now = datetime.now(UTC)
    until = moment_of("--end", end, now.replace(hour=0, minute=0, second=0, microsecond=0))
    since = moment_of("--start", start, until - timedelta(days=1))
    if until > now:
        raise InputError(f"--end {until.isoformat()}, which is in the future", "a moment that is over", "set an earlier end")
    if since > until:
        raise InputError(
            f"--start {since.isoformat()} after --end {until.isoformat()}", "a start before the end", "exchange them"
        )
    return since, until
