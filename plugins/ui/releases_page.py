"""/ratchet/releases: which release serves, and why."""

from fastapi.responses import HTMLResponse

from pipelines.errors import StepError
from pipelines.store.artifacts import readable
from pipelines.store.journal import Entry, Journal
from pipelines.store.objects import Store, open_store
from ui.rendering import rendered


def releases_page() -> HTMLResponse:
    """Champion, challenger, the journal with each entry's verdict, newest first, and all verdicts.

    Verdicts come from the store, since a rejected release is in no journal entry. Answers 500 with the error's message
    if the journal can't be read.
    """
    try:
        store = open_store()
        journal = Journal(store)
        verdicts, damaged = readable(store, "verdict")
        by_id = {verdict.id: verdict for verdict in verdicts}
        entries = [(entry, by_id.get(entry.verdict or ""), _cause(store, entry)) for entry in reversed(journal.entries)]
    except StepError as error:
        return rendered("problem.html", 500, message=str(error))
    return rendered("releases.html", routing=journal.routing, entries=entries, verdicts=verdicts, damaged=damaged)


def _cause(store: Store, entry: Entry) -> str:
    """The kind of artifact that called for a repair: `drift` or `degradation`; empty where the entry is none."""
    if entry.action != "repair" or not entry.verdict:
        return ""
    return "degradation" if store.size(f"drift/{entry.verdict}/manifest.json") is None else "drift"
