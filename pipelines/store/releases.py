"""Releases by what people call them: champion, challenger, an id, or the first digits of an id."""

from pipelines.errors import InputError
from pipelines.store.artifacts import Artifact, find, load, load_exactly
from pipelines.store.journal import Journal
from pipelines.store.objects import Store


def resolve(journal: Journal, release: str) -> Artifact:
    """The release that the journal routes to under a role, or whose id is, or begins with, `release`.

    Args:
        journal: the routing, and by its store the releases.
        release: `champion`, `challenger`, an id, or its first digits (4 or more).

    Raises:
        InputError: no release has that role yet, or there is no such release.
    """
    routing = journal.routing.roles
    if release not in routing:
        return load(journal.store, "release", release)
    if (named := routing[release]) is None:
        raise InputError(
            release, f"a {release}, and there is none yet", "run `python -m pipelines history`, or pass a release id"
        )
    return load_exactly(journal.store, "release", named)


def champion_release(journal: Journal, *, missing_ok: bool = False) -> Artifact | None:
    """The champion's release; None before the first deployment.

    Args:
        journal: the routing, and by its store the releases.
        missing_ok: whether a release that is no longer in the store is None, too, rather than an error.

    Raises:
        InputError: the release is no longer in the store, unless `missing_ok`.
    """
    champion = journal.routing.champion
    if champion is None:
        return None
    return (find if missing_ok else load_exactly)(journal.store, "release", champion)


def is_tuned(release: Artifact) -> bool:
    """Whether the release's encoder was tuned on train queries, for which it finds more than for any others.

    Raises:
        InputError: the encoder is no longer in the store.
    """
    return load_exactly(release.store, "encoder", release.inputs["encoder"]).manifest.recipe.step == "tune_encoder"


def last_untuned(journal: Journal) -> Artifact | None:
    """The last champion whose parts are in the store and whose encoder was not tuned on train queries; None: there is none."""
    for name in reversed(journal.champions()):
        release = find(journal.store, "release", name)
        if release and find(journal.store, "encoder", release.inputs["encoder"]) and not is_tuned(release):
            return release
    return None


def anchor_id(journal: Journal) -> str:
    """The anchor: the last standing champion that was better than the one before it beyond chance, else the first.

    The journal names it by the verdict of each promotion, so no entry and no other file can say something else. A champion that
    was rolled back, or whose release is no longer in the store, is no anchor.

    Returns:
        The id of a release; empty before the first deployment.
    """
    standing = [release for release in journal.standing_champions() if find(journal.store, "release", release)]
    return next((release for release in reversed(standing) if _was_better(journal, release)), standing[0] if standing else "")


def _was_better(journal: Journal, release: str) -> bool:
    """Whether the verdict of a promotion of the release passed with a lower bound above 0; one that came back has several."""
    verdicts = [entry.verdict for entry in journal.entries if (entry.action, entry.to) == ("promote", release)]
    return any(_says_better(journal.store, verdict) for verdict in verdicts if verdict)


def _says_better(store: Store, verdict_id: str) -> bool:
    """Whether a verdict passed with a lower bound above 0, by its main rule and not since a waiver sets that rule aside."""
    try:
        verdict = find(store, "verdict", verdict_id)
        said = verdict.json("verdict.json") if verdict and "verdict.json" in verdict.manifest.files else {}
    except InputError:  # damaged: it can't show that the release was better
        return False
    rules = said.get("rules", [])  # none before there were gate files; the main rule is the first that fits
    main = next((rule for rule in rules if (rule["comparison"], rule["severity"]) == ("champion", "blocks")), said)
    passed = said.get("outcome") == main.get("outcome") == "passed"
    return passed and bool(said.get("champion")) and (said.get("low") or 0) > 0
