"""erase: a user or a document leaves everything that is stored, and a certificate says where they were."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import InputError, NothingToDo
from pipelines.logs import log
from pipelines.settings import settings
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store

if TYPE_CHECKING:
    from pipelines.erasure.procedure import Erasure, Outcome
    from pipelines.store.erasures import SubjectKind

VERSION = 1


class EraseParams(Params):
    kind: Literal["", "user", "document"] = Field("", description="What is erased; empty: erasures that wait, or came back")
    subject: str = Field("", max_length=512, description="Its id, as the source has it; never written down by this step")
    why: str = Field("", description="Reason for the journal, such as a ticket; never a name")
    who: str = Field("", description="Name for the journal; empty: RATCHET_USER, else the account's")
    events: list[str] = Field([], description="Folders of servers' logs; empty: this machine's")
    from_experiments: bool = Field(False, description="Take a user out of experiments that are running, too")
    dry_run: bool = Field(False, description="Only say where it is")


class EraseResult(Result):
    entry: int
    """Of the journal, by which the erasure was asked for."""
    finished: bool
    successor: str
    """Corpus without the subject, of which a release is to be made; empty: none is needed."""
    certificate: str
    """The report; empty: it waits for a release."""
    waits_for: list[str]
    """Releases that serve and hold the subject."""
    release_due: bool
    """Whether the successor is to be released."""
    places: int
    """In how many places the subject was found."""
    sentence: str
    note: str
    """What becomes the dag run's note."""


def erase(params: EraseParams) -> EraseResult:
    """Erase a user or a document from corpora, models, reports, logs and MLflow; run it again to finish or to replay."""
    from pipelines.erasure.procedure import erase as erase_subject

    if bool(params.kind) != bool(params.subject):
        raise InputError(
            f"--kind {params.kind or 'none'} and {'a' if params.subject else 'no'} --subject",
            "both, or none",
            "pass --kind and --subject",
        )
    if params.dry_run and not params.kind:
        raise NothingToDo("nobody is named whom to look for")
    journal = Journal(open_store())
    if params.kind and not params.why.strip() and not params.dry_run:
        raise InputError("an erasure without a reason", "one for the journal, such as a ticket", "pass --why")
    outcome = erase_subject(_asked(journal, params.kind, params.subject, params)) if params.kind else _replayed(journal, params)
    log().info(outcome.sentence, entry=outcome.entry, successor=outcome.successor, certificate=outcome.certificate)
    return EraseResult(
        entry=outcome.entry,
        finished=bool(outcome.certificate),
        successor=outcome.successor,
        certificate=outcome.certificate,
        waits_for=list(outcome.waits_for),
        release_due=bool(outcome.successor and outcome.waits_for),
        places=sum(bool(names) for names in outcome.found.values()),
        sentence=outcome.sentence,
        note=f"{'DRY RUN' if params.dry_run else 'ERASED' if outcome.certificate else 'WAITS'}: {outcome.sentence}",
    )


def _replayed(journal: Journal, params: EraseParams) -> "Outcome":
    """Go on with all erasures whose subjects a corpus tells; the first that waits, else the last.

    Raises:
        NothingToDo: there are none.
        InputError: only such are unfinished whose subjects no corpus tells.
    """
    from pipelines.erasure.procedure import erase as erase_subject
    from pipelines.erasure.procedure import unfinished_entries, unfinished_subjects

    outcomes = []
    for kind, subject in unfinished_subjects(journal):
        with suppress(NothingToDo):  # it was only where the one before was
            outcomes.append(erase_subject(_asked(journal, kind, subject, params)))
    untold = unfinished_entries(journal)
    if not outcomes and untold:
        raise InputError(
            f"the unfinished erasure of entry {untold[0]}, whose subject no corpus has any more",
            "its id, which the journal does not tell",
            "run `erase` again with --kind, --subject and --why: it goes on where it was",
        )
    if not outcomes:
        raise NothingToDo("no corpus has anybody whom the journal says was erased")
    return next((outcome for outcome in outcomes if not outcome.certificate), outcomes[-1])


def _asked(journal: Journal, kind: "SubjectKind", subject: str, params: EraseParams) -> "Erasure":
    """The erasure that the params, or the journal, ask for.

    Raises:
        InputError: there is no folder of logs where one is named.
    """
    from pipelines.access.pseudonyms import UserKeys, pseudonym
    from pipelines.erasure.procedure import Erasure
    from pipelines.erasure.subject import Subject
    from pipelines.reports.erasure import write_certificate

    current = settings()
    names: list[str] = []
    if kind == "user":
        names += UserKeys(current.user_keys_file).pseudonyms(subject).values() if current.user_keys_file else ()
        names += [pseudonym(current.key.encode(), subject)] if current.key else []
    if unknown := [folder for folder in params.events if not Path(folder).is_dir()]:
        given = f"--events {', '.join(unknown)}, where no folder is"
        raise InputError(given, "folders of servers' logs, so that none is certified unread", "correct the path, or mount it")
    folders = [Path(folder) for folder in params.events] or [current.events_folder]
    why = params.why or "what an earlier entry erased was there still, or again"
    about = Subject(kind, subject, tuple(names))
    from_experiments = params.from_experiments or not params.kind
    return Erasure(journal, about, why, params.who, folders, write_certificate, from_experiments, params.dry_run)
