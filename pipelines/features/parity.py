"""Whether the online store says of an entity what the offline rows say as of the same moment."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pipelines.errors import InputError
from pipelines.features.compute import FILE
from pipelines.features.feast import calls_feast, feature_store, registry_lock
from pipelines.features.materialize import described_by, materialized_until, online_rows, registered_view
from pipelines.features.online import Value, open_online, read_features
from pipelines.features.views import TIME, View
from pipelines.store.artifacts import Artifact

if TYPE_CHECKING:
    from feast import FeatureService, FeatureStore


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
        """The outcome in words, for logs too: without entities and values, which may be a person's."""
        views, count = ", ".join(self.entities), sum(self.entities.values())
        if not self.mismatches:
            return f"{self.values:,} values of {count:,} entities are online as offline ({views})"
        differing = Counter(f"{one.view}.{one.feature}" for one in self.mismatches)
        where = ", ".join(f"{number:,} of {name}" for name, number in differing.items())
        return f"{len(self.mismatches):,} of {self.values:,} values differ: {where}"


def check_parity(views: Sequence[tuple[View, Artifact]], end: datetime, sample: int, seed: int) -> Parity:
    """Compare a sample of each view's entities, all their values.

    Args:
        views: declared views with their rows.
        end: the moment until which they were materialized.
        sample: entities of each view.
        seed: of the sample.

    Raises:
        InputError: a view was not materialized until then, or from other rows, or is declared otherwise since.
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
        _check_source(store, view, features)
        names = _sampled(view, features, sample, seed)
        offline = _offline(store, view, names, end)
        read: list[dict[str, Value] | None] = [None] * len(names)
        if online.has(view.name):
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


def _check_source(store: "FeatureStore", view: View, features: Artifact) -> None:
    """Refuse rows that are not those which went online last, and rows of another declaration than today's."""
    online = online_rows(store, view.name)
    wrong = f"while {online or 'no rows'} went online last" if online != described_by(features) else ""
    if features.manifest.recipe.params["definition"] != view.definition:
        wrong = "made before its declaration was changed"
    if wrong:
        raise InputError(
            f"features {features.id} of feature view {view.name}, {wrong}",
            "the rows that went online last, by the view as it is declared",
            f"run materialize_view for {view.name} again, and name the features that it prints",
        )


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


def registered_service(store: "FeatureStore", release: str) -> "FeatureService | None":
    """The feature service of a release as Feast's registry has it; none where it was never registered."""
    from feast.errors import FeatureServiceNotFoundException

    with calls_feast("the registry"):
        try:
            return store.get_feature_service(service_name(release))
        except FeatureServiceNotFoundException:
            return None


def register_service(release: str, views: Sequence[View], end: datetime) -> str:
    """Register the feature service of a release, which says of each view until when it is materialized and agrees.

    A view that the service had stays in it, with its own moment, also where this run is of other views.
    """
    from feast import FeatureService

    store, name = feature_store(), service_name(release)
    with registry_lock(), calls_feast("the registry"):
        before = registered_service(store, release) or FeatureService(name=name, features=[])
        had = [projection.name for projection in before.feature_view_projections]
        names = dict.fromkeys([*had, *(view.name for view in views)])
        tags = {**before.tags, **{f"parity {view.name}": end.isoformat() for view in views}}
        registered = [kept for kept in (registered_view(store, one) for one in names) if kept]
        store.apply([FeatureService(name=name, features=registered, tags=tags)], partial=True)
    return name
