"""materialize_view: a view's values as of each day become an artifact, and those of the interval go online."""

from datetime import timedelta
from typing import Literal

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import NothingToDo
from pipelines.logs import log
from pipelines.store.artifacts import load
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store

VERSION = 1


class MaterializeViewParams(Params):
    view: str = Field(description="Feature view of feature_repo")
    corpus: str = Field(description="Corpus id: its documents, users and interactions")
    log: Literal["", "server", "interactions"] = Field(
        "",
        description="server: events are the search server's exposures and clicks; interactions: the corpus's; empty: as blends"
        " that serve read the view, else the interactions",
    )
    start: str = Field("", description="Start of the interval; empty: one day before its end")
    end: str = Field("", description="End of the interval; empty: today's midnight (UTC)")
    overlap: int = Field(2, ge=0, le=365, description="Days before the start that are materialized again, for late data")
    history: int = Field(30, ge=1, le=3650, description="Days before the end with a row for each entity and day, for training")


class MaterializeViewResult(Result):
    features: str
    view: str
    rows: int
    entities: int
    online: str
    """The same id where values went online; empty where the online store holds a later day, as in a backfill."""
    found: bool


def materialize_view(params: MaterializeViewParams) -> MaterializeViewResult:
    """Compute a view's rows, found if they were before, and put the latest of each entity in the interval online."""
    from pipelines.features.compute import cuts_until
    from pipelines.features.historical import rows_as_of
    from pipelines.features.materialize import interval, materialize
    from pipelines.features.served import served_log
    from pipelines.features.views import declared_view

    start, end = interval(params.start, params.end)
    since = start - timedelta(days=params.overlap)
    store = open_store()
    corpus = load(store, "corpus", params.corpus)
    view = declared_view(params.view)
    source = served_log(Journal(store), view, corpus, params.log)
    days = max(params.history, -(-(end - since) // timedelta(days=1)))
    asked = {"end": end.isoformat(), "days": days}
    features = rows_as_of(corpus, view, source, cuts_until(end, days), "materialize_view", VERSION, asked)
    facts = features.facts
    if facts["from_the_future"]:
        log().warning("events later than now were left out: a clock is ahead", events=facts["from_the_future"])
    if not facts["rows"]:
        raise NothingToDo(f"feature view {view.name} has no row until {end.isoformat()}, so nothing goes online")
    online = materialize(view, features, since, end)
    told = "features materialized" if online else "the online store holds a later day: only rows for training were made"
    log().info(told, view=view.name, features=features.id, start=since.isoformat(), end=end.isoformat())
    return MaterializeViewResult(
        features=features.id,
        view=view.name,
        rows=facts["rows"],
        entities=facts["entities"],
        online=features.id if online else "",
        found=features.found,
    )
