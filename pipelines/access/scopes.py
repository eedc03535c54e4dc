"""Scopes: what a caller may do. Each route of a server declares one."""

from collections.abc import Iterable
from typing import Literal, get_args

from pipelines.errors import InputError

Scope = Literal["search", "embed", "events", "admin", "metrics"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
MEANINGS: dict[Scope, str] = {
    "search": "searches, recommendations, the pictures of results, and the description of the interface",
    "embed": "vectors and scores of texts",
    "events": "clicks and other events of users",
    "admin": "links that sign in a browser, and problems in full",
    "metrics": "what the server tells of itself",
}


def scopes_of(words: Iterable[str]) -> frozenset[Scope]:
    """The scopes that are named.

    Raises:
        InputError: none is named, or one that there is not.

    >>> sorted(scopes_of(["search", "events"]))
    ['events', 'search']
    """
    named = frozenset(words)
    known = frozenset(scope for scope in SCOPES if scope in named)
    if not named or len(known) != len(named):
        unknown = ", ".join(sorted(word[:40] for word in named - set(SCOPES)))
        raise InputError(f"scopes {unknown or 'none'}", f"some of {', '.join(SCOPES)}", "name these")
    return known
