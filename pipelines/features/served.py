"""What the releases that serve read of a view: its values stay of the definition that their weights were fitted to."""

from pipelines.errors import InputError
from pipelines.features.views import REPOSITORY, View
from pipelines.retrieval.stages.blend import KIND, card_of
from pipelines.store.artifacts import find
from pipelines.store.journal import Journal


def check_served(journal: Journal, view: View, log: str) -> None:
    """Refuse to put values online other than those that the blend of the champion, or of a release beside it, was fitted to.

    The champion before counts, too: a rollback returns to it and waits for nothing.

    Args:
        journal: says which releases these are.
        view: whose values would go online.
        log: of which they are: server, or empty for a corpus's interactions.

    Raises:
        InputError: the view's definition was changed since, or they are of other events.
    """
    for role, name in {**journal.routing.roles, "previous champion": journal.previous_champion()}.items():
        release = find(journal.store, "release", name) if name else None
        blend = find(journal.store, KIND, release.inputs[KIND]) if release and KIND in release.inputs else None
        if blend is None:
            continue
        card = card_of(blend)
        definitions = {feature.definition for feature in card.features if feature.view == view.name}
        if definitions - {view.definition}:
            raise InputError(
                f"feature view {view.name}, changed since the {role} {name} was fitted to it",
                f"the view as it was, as long as that release is the {role}",
                f"undo the change of {REPOSITORY}/{view.name}.py; declare the changed view as a file of its own, such as "
                f"{view.name}_2.py, and name it in fit_blend --features",
            )
        if definitions and card.log != log:
            raise InputError(
                f"feature view {view.name} with --log {log or 'empty'}, which the {role} {name} reads",
                f"--log {card.log or 'empty'}, of which its weights were fitted",
                "correct it, or fit_blend with that --feature-log for another release",
            )
