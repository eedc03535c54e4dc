"""Whether the online store says of an entity what the offline rows say as of the same moment."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pipelines.errors import InputError
from pipelines.features.compute import FILE
from pipelines.features.feast import calls_feast, feature_store, registry_lock
from pipelines.features.materialize import materialized_until
from pipelines.features.online import Value, open_online, read_features
from pipelines.features.views import TIME, View
from pipelines.store.artifacts import Artifact

if TYPE_CHECKING:
    from feast import FeatureStore


@dataclass(frozen=True)
class Mismatch:
    """One value that differs."""

    view: str
    entity: str
    feature: str
    offline: Value
    online: Value


@dataclass
class Parity:
    """What was compared of all views."""

    entities: dict[str, int] = field(default_factory=dict)
    """Entities compared, by view."""
    values: int = 0
    mismatches: list[Mismatch] = field(default_factory=list)

    @property
    def sentence(self) -> str:
        """The outcome in words."""
        views, count = ", ".join(self.entities), sum(self.entities.values())
        if not self.mismatches:
            return f"{self.values:,} values of {count:,} entities are online as offline ({views})"
        first = self.mismatches[0]
        return (
            f"{len(self.mismatches):,} of {self.values:,} values differ; {first.view} of {first.entity}: {first.feature} is"
            f" {first.online} online and {first.offline} offline"
        )


def check_parity(views: Sequence[tuple[View, Artifact]], end: datetime, sample: int, seed: int) -> Parity:
    """Compare a sample of each view's entities, all their values.

    Args:
        views: declared views with their rows.
        end: the moment until which they were materialized.
        sample: entities of each view.
        seed: of the sample.

    Raises:
        InputError: a view was not materialized until then.
        TryAgain: a database does not answer.
    """
    store, online, parity = feature_store(), open_online(), Parity()
    for view, features in views:
        until = materialized_until(store, view.name)
        if until != end:
            raise InputError(
                f"feature view {view.name}, materialized until {until.isoformat() if until else 'never'}",
                f"values as of {end.isoformat()}",
                "run materialize_view for this interval first; another run may have materialized a later one",
            )
        names = _sampled(view, features, sample, seed)
        offline = _offline(store, view, names, end)
        read = read_features(online, view.name, view.key, list(view.features), names, end, view.ttl)
        parity.entities[view.name] = len(names)
        parity.values += len(names) * len(view.features)
        for name, here in zip(names, read, strict=True):
            parity.mismatches += [
                Mismatch(view.name, name, feature, offline[name][feature], (here or {}).get(feature))
                for feature in view.features
                if offline[name][feature] != (here or {}).get(feature)
            ]
    return parity


def _sampled(view: View, features: Artifact, sample: int, seed: int) -> list[str]:
    """Some entities that the rows have at any cut."""
    import pyarrow.compute
    import pyarrow.parquet

    column = pyarrow.parquet.read_table(features.path(FILE), columns=[view.key])[view.key]
    names = sorted(pyarrow.compute.unique(column).to_pylist())
    return sorted(random.Random(f"{seed}-{view.name}").sample(names, min(sample, len(names))))  # noqa: S311  # a sample


def _offline(store: "FeatureStore", view: View, names: list[str], end: datetime) -> dict[str, dict[str, Value]]:
    """What Feast joins point in time from the rows."""
    import pandas

    asked = pandas.DataFrame({view.key: names, TIME: pandas.to_datetime([end] * len(names), utc=True)})
    with calls_feast("the offline rows"):
        joined = store.get_historical_features(asked, [f"{view.name}:{feature}" for feature in view.features]).to_arrow()
    rows: list[dict[str, Any]] = joined.to_pylist()
    return {row[view.key]: {feature: _number_or_none(row[feature]) for feature in view.features} for row in rows}


def _number_or_none(value: Value) -> Value:
    """pandas has NaN where nothing is, and no view may have it as a value."""
    return None if value != value else value  # noqa: PLR0124


def service_name(release: str) -> str:
    """The feature service of a release.

    >>> service_name("0123abcd")
    'release_0123abcd'
    """
    return f"release_{release}"


def register_service(release: str, views: Sequence[View], end: datetime) -> str:
    """Register the feature service of a release, which says that its views are materialized and agree."""
    from feast import FeatureService

    store, name = feature_store(), service_name(release)
    with registry_lock(), calls_feast("the registry"):
        registered = [store.get_feature_view(view.name) for view in views]
        service = FeatureService(name=name, features=registered, tags={"parity": end.isoformat()})
        store.apply([service], partial=True)
    return name
