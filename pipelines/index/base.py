"""Which earlier index an index is updated from."""

from pipelines.corpus.newest import SHARED
from pipelines.embeddings.layout import each_row
from pipelines.errors import InputError
from pipelines.index.build import updated_in_place
from pipelines.logs import log
from pipelines.store.artifacts import Artifact, find, load, load_exactly, readable
from pipelines.store.erasures import Erasures
from pipelines.store.journal import Action, Journal
from pipelines.store.recipes import Recipe
from pipelines.store.releases import champion_release

RETURNS: tuple[Action, ...] = ("promote", "deploy")
"""What brings a release back that was rolled back."""


def base_of(journal: Journal, named: str, recipe: Recipe, embedded: Artifact) -> Artifact | None:
    """The index to update incrementally, made as this one would be, of vectors by the same encoder variant; None: none.

    Args:
        journal: whose champion's index is updated, where none of its documents was trained since.
        named: the index that the user wants; empty: none; `none`: build anew.
        recipe: of the index that is to be made.
        embedded: its embeddings.

    Raises:
        InputError: the named index was made otherwise.
    """
    if named == "none":
        return None
    base = load(journal.store, "index", named) if named else _default(journal, recipe, embedded)
    if base is None or Erasures(journal).precedes("document", base):  # it may hold an erased document's vector
        return None
    if _fits(base, recipe, embedded):
        return base
    if named:
        raise InputError(
            f"--base-index {base.id} of another encoder variant or made in another way",
            "an index by the same encoder variant and the same options",
            "pass --base-index none",
        )
    return None


def _default(journal: Journal, recipe: Recipe, embedded: Artifact) -> Artifact | None:
    """The last index of these documents that was trained since the champion's was made, else the champion's.

    The repair `re-index` trains one, which may wait for its promotion for days: what is refreshed meanwhile goes on from it,
    unless its release was refused or rolled back. One that can't be read is passed over, as the champion's is where it is no
    longer in the store, since it only saves time.
    """
    champion = champion_release(journal, missing_ok=True)
    own = find(journal.store, "index", champion.inputs["index"]) if champion else None
    if own is None:
        return None
    ids = frozenset[str]()
    for later in readable(journal.store, "index")[0]:
        if _made_at(later) <= _made_at(own):
            break
        if "trained" not in later.facts or updated_in_place(later) or was_refused(journal, later.id):
            continue
        ids = ids or frozenset(row.id for row in each_row(embedded))
        try:
            of_these = len(ids.intersection(later.json("ids.json"))) >= SHARED * len(ids)  # else of another collection
            if of_these and _fits(later, recipe, embedded):
                return later
        except InputError as error:
            log().warning("index passed over", index=later.id, problem=str(error))
    return own


def was_refused(journal: Journal, index: str) -> bool:
    """Whether the last verdict on a release of an index did not pass it, or one was rolled back and not promoted since."""
    made = {release.id for release in readable(journal.store, "release")[0] if release.inputs.get("index") == index}
    if not made:
        return False
    verdicts = [verdict for verdict in readable(journal.store, "verdict")[0] if verdict.inputs.get("release") in made]
    return bool(verdicts and verdicts[0].facts["outcome"] != "passed") or any(
        (left := journal.latest("rollback", left=release)) is not None
        and all((back := journal.latest(action, to=release)) is None or back.n < left.n for action in RETURNS)
        for release in made
    )


def _made_at(index: Artifact) -> str:
    return str(index.manifest.provenance["at"])


def _fits(base: Artifact, recipe: Recipe, embedded: Artifact) -> bool:
    """Whether an index was made by the same options, of vectors by the same encoder variant."""
    of_base = load_exactly(base.store, "embeddings", base.inputs["embeddings"])
    makers = [(one.inputs["encoder"], one.manifest.recipe.params["variant"]) for one in (embedded, of_base)]
    before = base.manifest.recipe
    options = {name: value for name, value in before.params.items() if name != "anew"}
    return (options, before.version) == (recipe.params, recipe.version) and makers[0] == makers[1]
