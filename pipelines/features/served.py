"""What the releases that serve read of a view: its values stay of the definition that their weights were fitted to."""

from pipelines.errors import InputError
from pipelines.features.views import REPOSITORY, View
from pipelines.retrieval.stages.blend import KIND, BlendCard, card_of
from pipelines.store.artifacts import find
from pipelines.store.journal import Journal


def served_log(journal: Journal, view: View, log: str) -> str:
    """The log of which values of a view may go online: the one that is named, else that of the blends that read the view.

    Refused are values that are not those which a blend was fitted to: of the champion, of the challenger, or of the champion
    before, to which a rollback returns at once.

    Args:
        journal: says which releases these are.
        view: whose values would go online.
        log: of which they are: server; empty: as the blends read it, else the corpus's interactions.

    Raises:
        InputError: the view's definition was changed since, or they are of other events.
    """
    blends = _reading(journal, view)
    log = log or next((card.log for card in blends.values()), "")
    for release, card in blends.items():
        if {feature.definition for feature in card.features if feature.view == view.name} != {view.definition}:
            raise InputError(
                f"feature view {view.name}, changed since the {release} was fitted to it",
                f"the view as it was, as long as that release is the {release.rpartition(' ')[0]}",
                f"undo the change of {REPOSITORY}/{view.name}.py; declare the changed view as a file of its own, such as "
                f"{view.name}_2.py, and name it in fit_blend --features",
            )
        if card.log != log:
            raise InputError(
                f"feature view {view.name} with --log {log or 'empty'}, which the {release} reads",
                f"--log {card.log or 'empty'}, of which its weights were fitted",
                f"correct it; for weights of another log declare the view a second time, such as in {view.name}_2.py, and name "
                "it in fit_blend --features",
            )
    return log


def _reading(journal: Journal, view: View) -> dict[str, BlendCard]:
    """The blends that read the view, by the role and the id of their release; the champion's first."""
    roles = {**journal.routing.roles, "previous champion": journal.previous_champion()}
    found = {f"{role} {name}": find(journal.store, "release", name) for role, name in roles.items() if name}
    blends = {told: find(one.store, KIND, one.inputs[KIND]) for told, one in found.items() if one and KIND in one.inputs}
    cards = {told: card_of(blend) for told, blend in blends.items() if blend}
    return {told: card for told, card in cards.items() if any(feature.view == view.name for feature in card.features)}
