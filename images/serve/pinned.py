"""A journal of one entry that is written nowhere: the server serves one release, whatever the store's journal routes to."""

from pipelines.store.journal import GENESIS, Entry, Journal, Routing
from pipelines.store.objects import Store


class PinnedJournal(Journal):
    """Routes to one release for ever. The server follows it by the code that follows the store's journal.

    Args:
        store: the store that holds the release.
        release: its id.
    """

    def __init__(self, store: Store, release: str) -> None:
        super().__init__(store, read=False)
        self._release = release

    def refresh(self) -> bool:
        """The one entry, the first time; nothing comes after it."""
        if self.entries:
            return False
        entry = {
            "n": 1,
            "at": "1970-01-01T00:00:00Z",
            "who": "settings",
            "why": "RATCHET_SERVED_RELEASE",
            "action": "deploy",
            "from": None,
            "to": self._release,
            "verdict": None,
            "routing": Routing(champion=self._release),
            "parent": GENESIS,
        }
        self.entries.append(Entry.model_validate(entry))
        return True
