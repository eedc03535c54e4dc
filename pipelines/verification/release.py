"""All checks of a release, each from what is stored and nothing else; the first that fails is an error.

An id is the hash of a recipe, and a recipe does not name the files. So somebody who replaces a file and its sha256 in the
manifest passes the first two checks. The others are for that: stored runs are scored again, the verdict is decided again, and
the release answers queries again as its stored run says it did.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import ValidationError

from pipelines.errors import CorruptArtifact, InputError
from pipelines.evaluation.record import Evaluation
from pipelines.retrieval.release import ReleaseCard, stored_parts
from pipelines.store.artifacts import Artifact, find, load_exactly
from pipelines.store.closure import closure
from pipelines.store.erasures import Erasures
from pipelines.store.journal import Journal
from pipelines.store.recipes import blob_path
from pipelines.verification.answers import check_answers
from pipelines.verification.chain import Exports, check_chain
from pipelines.verification.scores import check_scores
from pipelines.verification.verdict import check_verdict

EVALUATIONS = ("evaluation", "baseline", "anchor")
"""Inputs of a verdict that are evaluations."""


@dataclass(frozen=True)
class Check:
    """A check that passed: its name, and what was seen, in a sentence."""

    name: str
    sentence: str


@dataclass(frozen=True)
class Subject:
    """What is checked: a release, the verdict that it was promoted on, and all that both were made from."""

    journal: Journal
    release: Artifact
    verdict: Artifact | None
    artifacts: dict[str, Artifact]
    erased: frozenset[str]
    """Ids of artifacts that are missing because somebody was erased, as a certificate says."""


def check_release(journal: Journal, release: str, verdict: str, answers: int, exports: Exports) -> Iterator[Check]:
    """The checks of a release, one by one as they pass.

    Args:
        journal: of the store.
        release: the id of what is checked.
        verdict: the id of that which it was promoted on, else of its newest; empty: there is none.
        answers: how many stored answers the release has to give again; 0: it is not loaded.
        exports: of the journal, which it must begin with.

    Raises:
        InputError: something is not as it says; the message names it.
    """
    yield Check("journal", check_chain(journal, release, exports))
    subject = gathered(journal, release, verdict)
    checks: dict[str, Callable[[Subject], str]] = {
        "recipes": check_recipes,
        "files": check_files,
        "parts": check_parts,
        "measures": check_measures,
        "verdict": check_decision,
        "answers": partial(_check_answers, most=answers),
    }
    for name, check in checks.items():
        yield Check(name, _checked(name, check, subject))


def _checked(name: str, check: Callable[[Subject], str], subject: Subject) -> str:
    """What a check saw.

    Raises:
        InputError: something is not as it says, or a file has not the form in which it was written.
    """
    try:
        return check(subject)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        told = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)  # without the value itself
        reason = " ".join(told.split())[:200]
        raise CorruptArtifact(
            f"release {subject.release.id}, of which check {name} could not read a file ({type(error).__name__}: {reason})",
            "files in the form in which they were written",
            "find who changed them, and restore them from a backup",
        ) from error


def gathered(journal: Journal, release: str, verdict: str) -> Subject:
    """The release with all that it and its verdict were made from.

    Raises:
        InputError: something is missing that nobody erased.
    """
    store = journal.store
    made = closure(store, {"release": release, "verdict": verdict})
    missing = [name for name in made.gone if name not in Erasures(journal).retired()] if made.gone else []
    if missing:
        name, role = missing[0], made.gone[missing[0]]
        raise InputError(f"{role} {name}, of which files are missing", f"an artifact in {store.uri}", "restore it")
    return Subject(
        journal, load_exactly(store, "release", release), made.artifacts.get(verdict), made.artifacts, frozenset(made.gone)
    )


def check_recipes(subject: Subject) -> str:
    """Whether each id is the hash of its recipe, and files that a recipe names by their sha256 are those of the manifest."""
    for artifact in subject.artifacts.values():
        found = find(artifact.store, artifact.kind, artifact.id)  # derives the id again
        assert found is not None
        for name, entry in found.manifest.files.items():
            named = found.inputs.get(name, entry.sha256)
            if named != entry.sha256:
                raise CorruptArtifact(
                    f"{found.kind} {found.id}, whose manifest has another {name} than its recipe",
                    f"the file with sha256 {named}",
                    "restore the manifest from a backup",
                )
    erased = f"; {len(subject.erased)} are gone, since somebody was erased" if subject.erased else ""
    return f"{len(subject.artifacts)} artifacts, each with the id of its recipe{erased}"


def check_files(subject: Subject) -> str:
    """Whether each file has the size and the sha256 of its manifest, read anew."""
    files = {
        blob_path(entry): (artifact, name, entry)
        for artifact in subject.artifacts.values()
        for name, entry in artifact.manifest.files.items()
    }
    for path, (artifact, name, entry) in files.items():
        store = artifact.store
        if store.size(path) != entry.bytes or store.digest(path) != entry.sha256:
            raise store.corrupt(f"{artifact.kind}/{artifact.id}/{name}", entry)
    return f"{len(files)} files, {sum(entry.bytes for _, _, entry in files.values()) / 1e6:,.1f} MB, each with its sha256"


def check_parts(subject: Subject) -> str:
    """Whether the card names the parts of the recipe, and the parts were made from each other."""
    release = subject.release
    card = ReleaseCard.model_validate(release.json("release.json"))
    differing = [f"{part} {name}" for part, name in card.parts.items() if release.inputs.get(part) != name]
    if differing:
        raise CorruptArtifact(
            f"release.json of {release.id} with {differing[0]}", "the parts of its recipe", "restore it, or assemble again"
        )
    stages = [stage.model_dump() for stage in card.stages]
    if stages != release.manifest.recipe.params.get("stages", []):
        raise CorruptArtifact(f"release.json of {release.id}", "the stages of its recipe", "restore it, or assemble again")
    parts = stored_parts(release.store, release.id)
    return f"encoder, embeddings, index and {len(stages)} stages were made from each other, for corpus {parts.corpus.id}"


def evaluations(subject: Subject) -> dict[str, Evaluation]:
    """The evaluations that the verdict was decided by, as its inputs call them; those that were erased are left out."""
    inputs = subject.verdict.inputs if subject.verdict else {}
    named = {role: subject.artifacts.get(inputs.get(role, "")) for role in EVALUATIONS}
    return {role: Evaluation(artifact) for role, artifact in named.items() if artifact}


def check_measures(subject: Subject) -> str:
    """Whether the stored runs have the stored measures by the judgments of the corpus."""
    found = evaluations(subject)
    queries = [check_scores(evaluation) for evaluation in found.values() if _has_corpus(subject, evaluation)]
    return f"{len(queries)} evaluations of {sum(queries):,} queries scored again" if queries else "no evaluation is stored"


def _has_corpus(subject: Subject, evaluation: Evaluation) -> bool:
    return evaluation.artifact.inputs["corpus"] in subject.artifacts


def check_decision(subject: Subject) -> str:
    """Whether the rules decide as the stored verdict says."""
    if subject.verdict is None:
        return "no verdict is stored: the release was not judged"
    needed = {*subject.verdict.inputs.values(), *(one.release for one in evaluations(subject).values())}
    if needed & subject.erased:
        return f"not decided again: {len(needed & subject.erased)} artifacts that it was decided by are erased"
    return check_verdict(subject.journal, subject.verdict)


def _check_answers(subject: Subject, most: int) -> str:
    evaluation: Any = evaluations(subject).get("evaluation")
    if most == 0 or evaluation is None or not _has_corpus(subject, evaluation):
        return "not asked again: no answers are stored" if most else "not asked again: --answers 0"
    return check_answers(subject.release, evaluation, most)
