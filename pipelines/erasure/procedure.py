"""The procedure of an erasure. Each part can be done again, so that whoever is killed starts it once more and it goes on.

1. Everything is searched, and what can't work is refused, before anything is changed.
2. The journal's entry `erase`. From then on `ingest`, `commit_embeddings` and `index` leave out what was erased.
3. A successor of the champion's corpus, without the subject. The usual chain makes a release of it.
4. What does not serve is erased at once. What serves is kept until its successor is champion: the certificate waits.
5. Everything is erased and searched again, corpora last, since they say what to look for. Releases that are about to go get an
   entry `erase`, so that servers let them out of memory and nobody rolls back to them.
6. The certificate, and the entry that names it.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pipelines.corpus.erased import Erased
from pipelines.erasure.corpora import InCorpora, found_in_corpora, subjects_of, successor
from pipelines.erasure.logs import running_experiments
from pipelines.erasure.places import NOT_SEARCHED, PLACES, Search, erase_all, is_somewhere, search_all
from pipelines.erasure.subject import Subject
from pipelines.errors import InputError, NothingToDo, TryAgain
from pipelines.logs import log
from pipelines.store.artifacts import Artifact, committed, load_exactly, produce
from pipelines.store.closure import closure
from pipelines.store.erasures import CERTIFICATE, Erasures, SubjectKind
from pipelines.store.journal import Entry, Journal
from pipelines.store.recipes import Recipe, canonical, digest

VERSION = 1
KEPT = ("journal", "log of keys")
"""Places that are never changed: what is found there is certified as left."""
ARTIFACTS = "artifacts: "
"""What the names of places begin with that are kinds of artifact; what is found there are ids."""
State = Literal["searched", "erased"]


@dataclass(frozen=True)
class Certificate:
    """What was searched and found. It names the subject by the journal's hash alone."""

    subject: str
    entry: int
    """Of the journal, by which it was asked for."""
    asked_at: str
    asked_by: str
    why: str
    state: State
    found: dict[str, list[str]]
    """By place, all that was ever found."""
    left: dict[str, int]
    """By place, how much was found afterwards."""
    retired: list[str]
    """Ids of the artifacts that were deleted."""
    ordinary: int = 0
    """How many of its names and texts are words of others or numbers; files were searched for these as ids only."""
    not_searched: tuple[str, ...] = NOT_SEARCHED


Writer = Callable[[Path, Certificate], None]


@dataclass(frozen=True)
class Erasure:
    """An erasure that somebody asks for, or that is gone on with."""

    journal: Journal
    subject: Subject = field(repr=False)
    why: str
    who: str
    folders: list[Path]
    write: Writer
    """Writes a certificate's report into a folder."""
    from_experiments: bool = False
    dry_run: bool = False
    """Only say where it is."""

    @property
    def name(self) -> str:
        """What the journal calls it."""
        return Erasures(self.journal).name(self.subject.kind, self.subject.id)


@dataclass(frozen=True)
class Outcome:
    """How far an erasure came."""

    entry: int
    sentence: str
    successor: str = ""
    """Corpus that a release has to be made of; empty: none has to."""
    waits_for: tuple[str, ...] = ()
    """Releases that serve and hold the subject."""
    certificate: str = ""
    """Its report; empty: it waits."""
    found: Mapping[str, list[str]] = field(default_factory=dict)


def erase(asked: Erasure) -> Outcome:
    """Erase a subject as far as what serves allows.

    Raises:
        NothingToDo: it is nowhere, and no erasure of it is unfinished.
        InputError: it is in a running experiment, or a corpus would be left without documents.
        TryAgain: something that holds it was made meanwhile, or MLflow does not answer.
    """
    journal = asked.journal
    in_corpora = found_in_corpora(journal.store, asked.subject)
    entry = _unfinished(asked)
    search = _search(asked, in_corpora, entry)
    found = search_all(search)
    if entry is None and not is_somewhere(search, found):
        places = ", ".join(place.name for place in PLACES)
        raise NothingToDo(f"this {asked.subject.kind} is nowhere: searched were {places}")
    _check_experiments(asked)
    if asked.dry_run:
        return Outcome(0, f"would erase this {asked.subject.kind} from {_places(found)}", found=found)
    made_before = entry is not None and journal.routing.champion is None  # what serves keeps its corpus, and so tells it again
    continued = None if made_before else _continued(journal, search)
    following = successor(continued, _erased(asked)).id if continued is not None else ""
    if entry is None:
        entry = journal.append("erase", asked.name, asked.why, who=asked.who)
        log().warning("erasure asked for", entry=entry.n, kind=asked.subject.kind)
    _record(asked, entry, search, found)
    waits_for = tuple(release for release in _routed(journal) if release in search.holders)
    search = replace(search, in_use=_in_use(journal, waits_for))
    _retire_releases(asked, entry, search)
    erase_all(search, last=False)
    if waits_for:
        return Outcome(entry.n, _waiting(search, waits_for, following), following, waits_for, found=found)
    return _finish(asked, entry, search)


def _places(found: Mapping[str, list[str]]) -> str:
    """Where something was found, with how much.

    >>> _places({"exposure log": ["3 lines"], "trash": []})
    'exposure log (1)'
    """
    return ", ".join(f"{place} ({len(names)})" for place, names in found.items() if names)


def unfinished_subjects(journal: Journal) -> list[tuple[SubjectKind, str]]:
    """Erased users and documents that a corpus still has, or has again, as after a restore: what `erase` replays."""
    return sorted(subjects_of(journal.store, Erasures(journal)))


def unfinished_entries(journal: Journal) -> list[int]:
    """The entries of erasures that have no certificate yet."""
    return sorted(entry.n for entry in Erasures(journal).subjects.values() if not entry.verdict)


def _search(asked: Erasure, in_corpora: InCorpora, entry: Entry | None) -> Search:
    """The first search of a run; what an earlier run of this erasure deleted is gone, too."""
    gone = frozenset(Erasures(asked.journal).retired())
    search = Search(asked.journal.store, in_corpora.subject, in_corpora.ids, asked.folders, gone)
    return replace(search, gone=gone | {*_retired(_records(entry, search))}) if entry else search


def _unfinished(asked: Erasure) -> Entry | None:
    """The entry by which this erasure was asked for before, if it is not finished."""
    last = Erasures(asked.journal).subjects.get(asked.name)
    return last if last and not last.verdict else None


def _erased(asked: Erasure) -> Erased:
    """Whether a user or a document was erased, or is asked for now."""
    erasures, subject = Erasures(asked.journal), asked.subject
    return lambda kind, name: (kind, name) == (subject.kind, subject.id) or erasures.erased(kind, name)


def _check_experiments(asked: Erasure) -> None:
    if asked.subject.kind == "document" or asked.from_experiments:
        return
    running = sorted(running_experiments(asked.journal.store, asked.folders, asked.subject))
    if running:
        raise InputError(
            f"a user who is in the running experiment {', '.join(running)}, whose counts would change under its analysis",
            "an experiment that has ended, or a decision to take the user out of it",
            "end it first, or pass --from-experiments true and say so in --why",
        )


def _continued(journal: Journal, search: Search) -> Artifact | None:
    """The corpus that needs a successor: the champion's; where nothing serves yet, the newest that has rows of the subject."""
    champion = journal.routing.champion
    if champion:
        served = search.artifacts[champion].inputs["corpus"] if champion in search.artifacts else ""
        return search.artifacts[served] if served in search.corpora else None
    holding = [search.artifacts[name] for name in sorted(search.corpora)]
    return max(holding, key=lambda corpus: str(corpus.manifest.provenance["at"]), default=None)


def _routed(journal: Journal) -> list[str]:
    return [release for release in (journal.routing.champion, journal.routing.challenger) if release]


def _in_use(journal: Journal, releases: tuple[str, ...]) -> frozenset[str]:
    """The releases, their verdicts, and all that these were made from."""
    ids: set[str] = set()
    for release in releases:
        promotion = journal.latest("promote", to=release)
        verdict = (promotion.verdict if promotion else None) or ""
        ids |= set(closure(journal.store, {"release": release, "verdict": verdict}).artifacts)
    return frozenset(ids)


def _waiting(search: Search, releases: tuple[str, ...], following: str) -> str:
    """What has to happen before the certificate."""
    inputs = [search.artifacts[release].inputs for release in releases]
    tuned = any(of_release["encoder"] in search.holders for of_release in inputs)
    withdrawn = any(of_release["corpus"] not in search.corpora for of_release in inputs)
    first = f"train its encoder anew (`tune_encoder --corpus {following or inputs[0]['corpus']}`), then " if tuned else ""
    if following:
        chain = f"{first}`python -m pipelines.train --corpus {following}`, as the DAGs do by themselves"
    elif withdrawn and not tuned and search.subject.kind == "document":
        chain = "promote and deploy a release of a corpus that differs: this one's vectors stand in files that hold it"
    else:
        chain = f"{first}promote and deploy a release without it"
    served = ", ".join(releases)
    return f"release {served} serves until its successor is champion, and the certificate waits: {chain}, then erase again"


def _retire_releases(asked: Erasure, entry: Entry, search: Search) -> None:
    """Say in the journal which releases are about to go: servers let them out of memory, and nobody rolls back to them."""
    journal = asked.journal
    going = [name for name, one in search.holders.items() if one.kind == "release" and name not in search.in_use]
    for release in sorted({*going} - journal.erased_releases):
        if any(release in (one.to, one.from_) for one in journal.entries):
            journal.append("erase", release, f"it held what entry {entry.n} erased", who=asked.who)


def _finish(asked: Erasure, entry: Entry, search: Search) -> Outcome:
    """Erase the rest, search again, write the certificate."""
    journal, store = asked.journal, asked.journal.store
    gone = frozenset(_retired(_records(entry, search)))
    again = Search(store, search.subject, search.corpora, search.folders, search.gone | gone)
    _check_none(search_all(again), but=f"{ARTIFACTS}corpus")
    erase_all(again, last=True)
    final = Search(store, search.subject, found_in_corpora(store, asked.subject).ids, search.folders, search.gone | gone)
    left = search_all(final)
    _check_none(left)
    found = _records(entry, final)
    certificate = _stored(asked, entry, search, "erased", found, {place: len(names) for place, names in left.items()})
    done = journal.append("erase", asked.name, f"erased; certificate of entry {entry.n}", verdict=certificate.id, who=asked.who)
    log().warning("erased", entry=done.n, certificate=certificate.id)
    places = sum(bool(names) for names in found.values())
    kept = {place: len(left[place]) for place in KEPT if left[place]}
    sentence = (
        f"erased from {places} of {len(PLACES)} places, {len(_retired(found))} artifacts are gone; found afterwards: "
        + (", ".join(f"{count} in the {place}, which is never changed" for place, count in kept.items()) or "nothing")
    )
    return Outcome(entry.n, sentence, certificate=certificate.id, found=found)


def _check_none(found: Mapping[str, list[str]], but: str = "") -> None:
    """Refuse to go on while something holds the subject that should not."""
    for place, names in found.items():
        if names and place not in (*KEPT, but):
            raise TryAgain(
                f"{len(names)} in place {place} that hold it still, or were made meanwhile: {', '.join(names[:3])}",
                "nothing, once what runs on the old corpus has ended",
                "end it, then run the erasure again: it goes on where it was",
            )


def _record(asked: Erasure, entry: Entry, search: Search, found: Mapping[str, list[str]]) -> None:
    """Store what was found now, so that the certificate tells all of it whoever is killed in between."""
    _stored(asked, entry, search, "searched", dict(found), {})


def _records(entry: Entry, search: Search) -> dict[str, list[str]]:
    """By place, all that was found since the erasure was asked for."""
    found: dict[str, set[str]] = {place.name: set() for place in PLACES}
    for name in committed(search.store, "report"):
        report = load_exactly(search.store, "report", name)
        if (report.manifest.recipe.step, report.manifest.recipe.params.get("entry")) == ("erase", entry.n):
            for place, names in report.json(CERTIFICATE)["found"].items():
                found[place] |= set(names)
    return {place: sorted(names) for place, names in found.items()}


def _retired(found: Mapping[str, list[str]]) -> list[str]:
    return sorted(name for place, names in found.items() if place.startswith(ARTIFACTS) for name in names)


def _stored(
    asked: Erasure, entry: Entry, search: Search, state: State, found: dict[str, list[str]], left: dict[str, int]
) -> Artifact:
    """The certificate as a report, or the record of a search."""
    retired = _retired(found) if state == "erased" else []
    ordinary = len(search.subject.ordinary)
    certificate = Certificate(entry.to, entry.n, entry.at, entry.who, entry.why, state, found, left, retired, ordinary)
    content = json.dumps(asdict(certificate), indent=1, ensure_ascii=False)
    params = {"entry": entry.n, "content": digest(canonical(asdict(certificate)))}
    recipe = Recipe(kind="report", step="erase", version=VERSION, inputs={}, params=params)

    def build(folder: Path) -> dict[str, Any]:
        (folder / CERTIFICATE).write_text(content, encoding="utf-8")
        asked.write(folder, certificate)
        return {"about": "erasure", "state": state, "entry": entry.n}

    return produce(asked.journal.store, recipe, build)
