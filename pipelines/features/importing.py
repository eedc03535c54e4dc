"""Feast, imported in a fifth of the time."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pipelines.settings import absent, bound_feast


def import_feast() -> None:
    """Import Feast, before the first `from feast import`, without two things that take seconds in each process.

    Feast rewrites its functions to check the types of arguments (5 s), and imports PyTorch if it is there (2 s), for a form of
    online values that nobody here asks for. Whoever imports PyTorch later gets it.
    """
    if "feast" in sys.modules:
        return
    bound_feast()
    with _without_type_checks(), absent("torch"):
        import feast  # noqa: F401


@contextmanager
def _without_type_checks() -> Iterator[None]:
    import typeguard

    def unchanged(target: Any = None, **_: Any) -> Any:
        return target or (lambda decorated: decorated)

    checked: Callable[..., Any] = typeguard.typechecked
    typeguard.typechecked = unchanged
    try:
        yield
    finally:
        typeguard.typechecked = checked
