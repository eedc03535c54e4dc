"""plan_features: which views are materialized, from which corpus, for which interval."""

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import InputError, NothingToDo
from pipelines.settings import settings
from pipelines.store.artifacts import load
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store
from pipelines.store.releases import resolve

VERSION = 1


class PlanFeaturesParams(Params):
    release: str = Field(
        "champion", min_length=1, description="Release whose corpus is taken and whose feature service is registered"
    )
    corpus: str = Field("", description="Corpus id, in place of a release: no feature service is registered")
    views: list[str] = Field([], description="Feature views; empty: all of feature_repo")
    start: str = Field("", description="Start of the interval, such as 2026-01-30; empty: one day before its end")
    end: str = Field("", description="End of the interval: what was before is seen; empty: today's midnight (UTC)")


class PlanFeaturesResult(Result):
    views: list[str]
    corpus: str
    release: str
    """Empty: a corpus was named."""
    start: str
    end: str


def plan_features(params: PlanFeaturesParams) -> PlanFeaturesResult:
    """Check what is asked for, and fix the corpus and the interval for all views."""
    from pipelines.features.feast import check_places
    from pipelines.features.materialize import interval
    from pipelines.features.views import declared_view, repository_files, view_names

    start, end = interval(params.start, params.end)
    store = open_store()
    journal = Journal(store)
    if not params.corpus and params.release == "champion" and journal.routing.champion is None:
        raise NothingToDo("there is no champion yet, whose corpus features would be of")
    check_places(settings())
    release = None if params.corpus else resolve(journal, params.release)
    corpus = load(store, "corpus", release.inputs["corpus"] if release else params.corpus)
    names = params.views or view_names()  # each is checked by its own task: a wrong one keeps no other from going online
    if unknown := {*params.views} - {*repository_files()}:
        declared_view(min(unknown))  # says which there are
    if not names:
        raise InputError("feature_repo without a feature view", "at least one", "add a file, see docs/add-a-feature.md")
    return PlanFeaturesResult(
        views=list(dict.fromkeys(names)),
        corpus=corpus.id,
        release=release.id if release else "",
        start=start.isoformat(),
        end=end.isoformat(),
    )
