"""Feast's feature service of each release that the journal routes to: what it reads is online, as it is offline.

A service is registered after a comparison of now and never because it was there before: whoever deletes it, changes it or
empties the online store is found by comparing, and what can be put right is put right from the rows in the store. It routes
nothing.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pipelines.errors import InputError
from pipelines.features.events import CORPUS
from pipelines.features.feast import feature_store, registry_lock
from pipelines.features.materialize import materialize, registered_view
from pipelines.features.parity import Parity, check_parity, register_service, registered_service
from pipelines.features.views import View, declared_view
from pipelines.logs import log
from pipelines.retrieval.stages.blend import KIND, BlendFeature, card_of
from pipelines.retrieval.stages.card import BLEND
from pipelines.store.artifacts import Artifact, find, load_exactly
from pipelines.store.journal import Journal
from pipelines.store.objects import Store

SAMPLE, SEED = 1000, 0
"""Entities of each view that are compared, and the seed of the sample: as check_parity does unless told otherwise."""
Reported = Callable[[Store, Parity, datetime, Mapping[str, str], int, int], Artifact]
"""Writes the report of a comparison."""


@dataclass(frozen=True)
class ReadView:
    """A view that a release's blend reads."""

    release: Artifact
    name: str
    features: tuple[BlendFeature, ...]
    log: str
    """Of which the weights were fitted: server, or empty for the corpus's interactions."""

    @property
    def told(self) -> str:
        """The beginning of a sentence about it."""
        names = ", ".join(feature.feature for feature in self.features)
        return f"release {self.release.id}, which reads {names} of feature view {self.name}"


@dataclass(frozen=True)
class OnlineView:
    """What of a view went online last."""

    view: View
    rows: Artifact
    start: datetime
    end: datetime


def check_online(release: Artifact, report: Reported) -> None:
    """Refuse a release that reads features which are not online, or not as they are offline; else register its feature service.

    Raises:
        InputError: they are not; the message names the report with the rows that differ.
        TryAgain: a database does not answer, or somebody else changes the registry.
    """
    agreeing = []
    for read in views_read(release):
        online, parity = _compared(read)
        if parity.mismatches:
            raise _differs(read, online, parity, report)
        agreeing.append(online)
    for online in agreeing:  # once all agree
        register_service(release.id, [online.view], online.end)
        if online.rows.inputs["corpus"] != release.inputs["corpus"]:
            log().warning(
                "features are online of another corpus than the release's",
                release=release.id,
                view=online.view.name,
                corpus=online.rows.inputs["corpus"],
                next="documents of the release alone have defaults: start materialize_features with this release",
            )


def align(journal: Journal, report: Reported, repair: bool = True) -> list[tuple[str, bool]]:
    """Compare the online store and the feature services with what the journal's releases read, and log each difference.

    Returns:
        Each difference, and whether it is mended.

    Raises:
        TryAgain: a database does not answer, or somebody else changes the registry.
    """
    read = [one for release in reading(journal) for one in views_read(release)]
    differences = [difference for one in read for difference in _differences(one, report, repair)]
    for text, mended in differences:
        log().warning(text, repaired=mended)
    return differences


def reading(journal: Journal) -> list[Artifact]:
    """The releases of the journal's roles that read features."""
    named = dict.fromkeys(name for name in journal.routing.roles.values() if name)
    found = [find(journal.store, "release", name) for name in named]
    return [release for release in found if release and BLEND in release.inputs]


def views_read(release: Artifact) -> list[ReadView]:
    """The views that a release reads; of one without a blend none."""
    if BLEND not in release.inputs:
        return []
    card = card_of(load_exactly(release.store, KIND, release.inputs[BLEND]))
    names = dict.fromkeys(feature.view for feature in card.features)
    return [ReadView(release, name, tuple(one for one in card.features if one.view == name), card.log) for name in names]


def _compared(read: ReadView) -> tuple[OnlineView, Parity]:
    """What of a view is online, and whether it is as offline, while nobody changes it.

    Raises:
        InputError: nothing is, or it is too old, its rows are gone, or they are not like those that the weights were fitted to.
    """
    with registry_lock():
        online = _online(read)
        return online, check_parity([(online.view, online.rows)], online.end, SAMPLE, SEED)


def _online(read: ReadView) -> OnlineView:
    view, again = declared_view(read.name), f"start materialize_features with release {read.release.id}"
    if {feature.definition for feature in read.features} != {view.definition}:
        raise InputError(
            f"{read.told}, which was changed since the weights were fitted",
            "the view as it was",
            f"undo the change of feature_repo/{read.name}.py, or fit_blend again for another release",
        )
    registered = registered_view(feature_store(), read.name)
    if registered is None or not registered.materialization_intervals or registered.batch_source is None:
        raise InputError(f"{read.told}, of which nothing is online", "values that were materialized", again)
    name = registered.batch_source.description.rpartition(" ")[2]
    rows = find(read.release.store, "features", name)
    if rows is None:
        given = f"{read.told}, whose rows that went online last ({name}) are not in {read.release.store.uri} any more"
        raise InputError(given, "rows to compare with", again)
    if ("log" in rows.inputs) != bool(read.log):
        of = {True: "the search server's log", False: "the corpus's interactions"}
        raise InputError(
            f"{read.told}, which is online of {of['log' in rows.inputs]}",
            f"values of {of[bool(read.log)]}, to which the weights were fitted",
            f"{again} and log {read.log or CORPUS}",
        )
    start, end = max(registered.materialization_intervals, key=lambda interval: interval[1])
    ttl = timedelta(seconds=min(feature.ttl_s for feature in read.features))  # the server's, whatever the view says today
    if datetime.now(UTC) - end > ttl:
        given = f"{read.told}, which is online as of {end.isoformat()}, longer ago than its ttl ({ttl})"
        raise InputError(given, "values that still count", again)
    return OnlineView(view, rows, start, end)


def _differs(read: ReadView, online: OnlineView, parity: Parity, report: Reported) -> InputError:
    """The error for a view that is online otherwise than offline; its report has the rows that differ."""
    made = report(read.release.store, parity, online.end, {read.name: online.rows.id}, SAMPLE, SEED)
    return InputError(
        f"{read.told}, of which {parity.sentence} (report {made.id} has the rows)",
        f"the same values online and offline as of {online.end.isoformat()}",
        f"start materialize_features with release {read.release.id} and end {online.end.isoformat()}, then the same again",
    )


def _differences(read: ReadView, report: Reported, repair: bool) -> Iterator[tuple[str, bool]]:
    try:
        online, parity = _compared(read)
    except InputError as error:
        yield str(error), False
        return
    agrees = not parity.mismatches
    if parity.mismatches:
        differs = _differs(read, online, parity, report)
        if repair and materialize(online.view, online.rows, online.start, online.end, refill=True):
            agrees = not _compared(read)[1].mismatches
        yield differs.given if agrees else str(differs), agrees
    if wrong := _service_differs(read, online):
        if repair and agrees:
            register_service(read.release.id, [online.view], online.end)
        yield wrong, repair and agrees


def _service_differs(read: ReadView, online: OnlineView) -> str:
    """What is wrong with the release's feature service; empty: nothing."""
    service = registered_service(feature_store(), read.release.id)
    if service is None:
        return f"{read.told}, had no feature service"
    served = {one.name: {field.name for field in one.features} for one in service.feature_view_projections}
    if not served.get(read.name, set()) >= {feature.feature for feature in read.features}:
        return f"feature service {service.name} had not what the release reads of view {read.name}"
    said, end = service.tags.get(f"parity {read.name}", "never"), online.end.isoformat()
    return "" if said == end else f"feature service {service.name} said that view {read.name} agreed until {said}, not {end}"
