"""The erasures of a journal, which is never changed: who or what was erased is known by a salted hash alone.

An erasure is an entry `erase` to `user:SALT.HASH` or `document:SALT.HASH`; the entry that finishes it has the certificate's id
in place of a verdict. An entry `erase` to the id of a release says that it is gone, because it held what was erased.
"""

from functools import cached_property
from typing import Literal, get_args

from pipelines.store.artifacts import Artifact, find
from pipelines.store.journal import ROUTES, Entry, Journal
from pipelines.store.recipes import digest

SubjectKind = Literal["user", "document"]
DIGITS = 20
"""Hexadecimal digits of the hash: 80 bits."""
CERTIFICATE = "certificate.json"


class Erasures:
    """The erasures of a journal as it was read."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        entries = [entry for entry in journal.entries if entry.action == "erase"]
        self.subjects = {entry.to: entry for entry in entries if entry.to.partition(":")[0] in get_args(SubjectKind)}
        """The youngest entry of each erasure, by what it is to."""

    @cached_property
    def salt(self) -> str:
        """One for the whole journal, so that an id is hashed once and looked up among all erasures."""
        first = next(iter(self.subjects), "")
        return first.partition(":")[2].partition(".")[0] or (self.journal.identity or "0" * 64)[:16]

    def name(self, kind: SubjectKind, subject: str) -> str:
        """What the entries of an erasure are to."""
        return f"{kind}:{self.salt}.{digest(f'{self.salt} {kind} {subject}'.encode())[:DIGITS]}"

    def erased(self, kind: SubjectKind, subject: str) -> bool:
        """Whether somebody asked for this erasure, finished or not."""
        return bool(self.subjects) and self.name(kind, subject) in self.subjects

    def precedes(self, kind: SubjectKind, artifact: Artifact) -> bool:
        """Whether an artifact was made before the last erasure of this kind, so that it may hold what was erased."""
        times = [entry.at for name, entry in self.subjects.items() if name.startswith(f"{kind}:")]
        return bool(times) and str(artifact.manifest.provenance["at"]) <= max(times)

    def certificates(self) -> list[Artifact]:
        """The certificates of erasures, oldest first."""
        named = [entry.verdict for entry in self.journal.entries if entry.action == "erase" and entry.verdict]
        return [artifact for name in named if (artifact := find(self.journal.store, "report", name))]

    def retired(self) -> set[str]:
        """The ids of all artifacts that certificates say are gone."""
        return {name for certificate in self.certificates() for name in certificate.json(CERTIFICATE)["retired"]}

    def successor(self, release: str) -> str:
        """The release that serves in place of one that is gone; the release itself where it is not gone, empty: there is none.

        That is the one whose deployment ended it while its erasure waited for that. A successor may be gone by now, too, and
        have one of its own.
        """
        since = 0
        while release and release in self.journal.erased_releases:
            taken_over = self._taken_over(release, since)
            release, since = (taken_over.to, taken_over.n) if taken_over else ("", since)
        return release

    def _taken_over(self, release: str, since: int) -> Entry | None:
        """The entry after `since` by which a release that is gone left the traffic, if an erasure waited for that."""
        gone = self.journal.latest("erase", to=release)
        assert gone is not None
        entries = self.journal.entries[since : gone.n - 1]
        moves = (entry for entry in reversed(entries) if ROUTES[entry.action] == "champion" and entry.from_ == release)
        left = next(moves, None)
        if left is None or left.action != "deploy":
            return None
        asked = {entry.to: not entry.verdict for entry in self.journal.entries[: left.n] if entry.to in self.subjects}
        return left if any(asked.values()) else None
