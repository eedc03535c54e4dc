"""Historical features: a view's rows as of some cuts, and the numbers of documents in them that a blend learns from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import InputError
from pipelines.features.compute import FILE, KIND, compute
from pipelines.features.events import open_events
from pipelines.features.views import TIME, View, declared_view, declared_views, repository_files
from pipelines.retrieval.stages.blend import BlendFeature
from pipelines.settings import settings
from pipelines.store.artifacts import Artifact, produce
from pipelines.store.recipes import Recipe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KEY = "document_id"
NUMBERS = ("Int64", "Float64", "Bool")
"""Types of features that can be weighted."""
DAY = 86_400


@dataclass(frozen=True)
class Column:
    """One feature of a view."""

    view: View
    feature: str

    @property
    def name(self) -> str:
        """As `--features` has it."""
        return f"{self.view.name}.{self.feature}"

    @property
    def unfitted(self) -> BlendFeature:
        """What a blend keeps of it, before its constants are known; counts are read as logarithms."""
        return BlendFeature(
            view=self.view.name,
            feature=self.feature,
            key=self.view.key,
            definition=self.view.definition,
            ttl_s=self.view.ttl.total_seconds(),
            unit="logarithm" if self.view.features[self.feature] == "Int64" else "number",
            default=0,
            mean=0,
            deviation=1,
        )


def columns_of(names: Sequence[str]) -> list[Column]:
    """The numbers that names such as `document_interactions` or `document_interactions.ctr_7d` mean, each once.

    Raises:
        InputError: there is no such view or feature, it is no number, or it is of users: what is the same for all documents
            of a search can't order them.
    """
    found: dict[str, Column] = {}
    for name in names:
        file = name.partition(".")[0]
        able = _numbers(declared_view(file)) if file in repository_files() else []
        meant = [column for column in able if name in (column.name, column.view.name)]
        if not meant:
            there_are = [column.name for view in declared_views().values() for column in _numbers(view)]
            raise InputError(
                f"--features {name}",
                f"numbers of documents, by view or by view.feature, of {', '.join(there_are) or 'none'}",
                "correct it, or add one (docs/add-a-feature.md); what is of users is alike for all documents of a search",
            )
        found |= {column.name: column for column in meant}
    return list(found.values())


def _numbers(view: View) -> list[Column]:
    """What of a view can order documents."""
    return [Column(view, name) for name, kind in view.features.items() if kind in NUMBERS and view.key == KEY]


def cuts_before(times: Sequence[int]) -> list[datetime]:
    """The midnights that values at these times are as of, ascending, each once.

    >>> [cut.isoformat() for cut in cuts_before([1700000000, 1700000001])]
    ['2023-11-14T00:00:00+00:00']
    """
    return [datetime.fromtimestamp(second, UTC) for second in sorted({time - time % DAY for time in times})]


def rows_as_of(
    corpus: Artifact, view: View, log: str, cuts: Sequence[datetime], step: str, version: int, asked: Mapping[str, Any]
) -> Artifact:
    """A view's rows as of these cuts, as an artifact; found if they were computed before.

    Args:
        corpus: its documents and users, and its interactions unless a log is named.
        view: whose SQL is run.
        log: `server`, or empty.
        cuts: ascending.
        step: that asks, for the recipe.
        version: of the step.
        asked: what the cuts follow from, for the recipe.

    Raises:
        InputError: the SQL can't be run, or the log or a table can't be read.
    """
    with open_events(corpus, log, settings().events_folder, cuts[-1], view.tables) as events:
        inputs = {"corpus": corpus.id, **events.inputs}
        semantic = {"view": view.name, "definition": view.definition, **asked}
        recipe = Recipe(kind=KIND, step=step, version=version, inputs=inputs, params=semantic)

        def build(folder: Path) -> dict[str, Any]:
            return compute(view, events, cuts, folder)

        return produce(corpus.store, recipe, build)


def historical_values(
    rows: Mapping[str, Artifact], columns: Sequence[Column], cuts: Sequence[int], ids: Sequence[str]
) -> "NDArray[np.float64]":
    """The values of all documents as of each cut, (cuts, documents, columns); NaN where there is none.

    Args:
        rows: by view, as of these cuts.
        columns: of these views.
        cuts: seconds since 1970.
        ids: of the documents.
    """
    import numpy as np
    import pyarrow.parquet

    place = {document: number for number, document in enumerate(ids)}
    of_cut = {cut: number for number, cut in enumerate(cuts)}
    table = np.full((len(cuts), len(ids), len(columns)), np.nan)
    for view, artifact in rows.items():
        own = {number: column.feature for number, column in enumerate(columns) if column.view.name == view}
        read = pyarrow.parquet.read_table(artifact.path(FILE), columns=[KEY, TIME, *own.values()])
        moments = [of_cut[int(moment.replace(tzinfo=UTC).timestamp())] for moment in read[TIME].to_pylist()]
        documents = np.array([place.get(document, -1) for document in read[KEY].to_pylist()], np.int64)
        known = documents >= 0
        for number, feature in own.items():
            values = np.array([np.nan if one is None else float(one) for one in read[feature].to_pylist()])
            table[np.array(moments, np.int64)[known], documents[known], number] = values[known]
    return table
