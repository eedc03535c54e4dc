"""What the releases that serve read of a view: its values stay of the definition that their weights were fitted to."""

from collections.abc import Iterator

from pipelines.errors import InputError
from pipelines.features.events import CORPUS, meant_log
from pipelines.features.views import REPOSITORY, View
from pipelines.logs import log
from pipelines.retrieval.stages.blend import KIND, BlendCard, card_of
from pipelines.store.artifacts import Artifact, find
from pipelines.store.journal import Journal

CHAMPION, PREVIOUS, CHALLENGER = "champion", "previous champion", "challenger"


def served_log(journal: Journal, view: View, corpus: Artifact, named: str) -> str:
    """The log of which values of a view may go online: the one that is named, else that of the first blend that reads the view.

    Refused are values that are not those which a blend was fitted to: of the champion, or of the champion before, to which a
    rollback returns at once. A challenger's blend is asked only where these do not read the view: else it is told in the log
    that it does not fit, and `deploy` refuses it.

    Args:
        journal: says which releases these are.
        view: whose values would go online.
        corpus: whose documents they would be of; the champion's, or the log is told.
        named: log of which they are: server or interactions; empty: as the blends read it, else the corpus's interactions.

    Raises:
        InputError: the view's definition was changed since, or they are of other events.
    """
    readers = list(_readers(journal, view))
    source = meant_log(named, readers[0][2].log if readers else "")
    for number, (role, release, card) in enumerate(readers):
        wrong = _mismatch(role, release, card, view, source)
        if wrong and (number == 0 or role != CHALLENGER):
            raise wrong
        if wrong:
            log().warning("values go online as the champion reads them, not as the challenger does", why=str(wrong))
        if role == CHAMPION and release.inputs["corpus"] != corpus.id:
            log().warning(
                "values go online of another corpus than the champion's",
                view=view.name,
                corpus=corpus.id,
                next="documents of the champion alone have defaults: start materialize_features with release champion",
            )
    return source


def _readers(journal: Journal, view: View) -> Iterator[tuple[str, Artifact, BlendCard]]:
    """Role, release and blend of those whose blend reads the view: first what serves, last the challenger."""
    roles = {CHAMPION: journal.routing.champion, PREVIOUS: journal.previous_champion(), CHALLENGER: journal.routing.challenger}
    for role, name in roles.items():
        release = find(journal.store, "release", name) if name else None
        blend = find(journal.store, KIND, release.inputs[KIND]) if release and KIND in release.inputs else None
        if release and blend and any(feature.view == view.name for feature in card_of(blend).features):
            yield role, release, card_of(blend)


def _mismatch(role: str, release: Artifact, card: BlendCard, view: View, source: str) -> InputError | None:
    """Why values of the view and the log are not those that a blend was fitted to; none: they are."""
    if {feature.definition for feature in card.features if feature.view == view.name} != {view.definition}:
        return InputError(
            f"feature view {view.name}, changed since the {role} {release.id} was fitted to it",
            f"the view as it was, as long as that release is the {role}",
            f"undo the change of {REPOSITORY}/{view.name}.py; declare the changed view as a file of its own, such as "
            f"{view.name}_2.py, and name it in fit_blend --features",
        )
    if card.log != source:
        return InputError(
            f"feature view {view.name} with --log {source or CORPUS}, which the {role} {release.id} reads",
            f"--log {card.log or CORPUS}, of which its weights were fitted",
            f"correct it; for weights of another log declare the view a second time, such as in {view.name}_2.py, and name "
            "it in fit_blend --features",
        )
    return None
