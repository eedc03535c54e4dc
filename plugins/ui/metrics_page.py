"""/ratchet/metrics: what Airflow and the steps do, as Prometheus reads it; for keys with scope metrics."""

import logging
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Annotated

from airflow.utils.session import create_session
from fastapi import Header, HTTPException
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from pipelines.access.keys import KeyLog, find
from pipelines.errors import StepError
from pipelines.store.objects import open_store
from ui.airflow_metrics import airflow_metrics

REREAD_S = 1.0
"""How old what is known of the keys may be: a request without a valid one must not cost a read of the store each."""


class Keys:
    """The keys of a store. Requests share it, from several threads."""

    def __init__(self) -> None:
        self._log = KeyLog(open_store(), read=False)
        self._lock, self._tried = threading.Lock(), 0.0

    def check(self, authorization: str) -> None:
        """Nothing, if a key with scope metrics is presented.

        Raises:
            HTTPException: 401, there is no valid key; 403, its scopes are others; 503, the keys were never read.
        """
        with self._lock:
            if time.monotonic() - self._tried >= REREAD_S:
                self._tried = time.monotonic()
                try:
                    self._log.refresh()
                except StepError as error:  # what was read before goes on to count
                    logging.getLogger(__name__).warning("the keys are not read anew: %s", error)
        scheme, _, text = authorization.partition(" ")
        key = find(self._log.keys, text.strip())
        if not self._log.was_read:
            raise HTTPException(503, "given a store whose keys can't be read; expected its log of keys; next: ask again later")
        if scheme.lower() != "bearer" or key is None or key.problem(time.time()):
            expected = "given no valid key; expected the header 'Authorization: Bearer KEY'; next: make one of scope metrics"
            raise HTTPException(401, expected, {"WWW-Authenticate": "Bearer"})
        if "metrics" not in key.scopes:
            raise HTTPException(403, f"given key {key.id}; expected one of scope metrics; next: make one")


@cache
def _keys(store_uri: str) -> Keys:  # noqa: ARG001  # a process has one store; tests have others
    return Keys()


def may_read_metrics(authorization: Annotated[str, Header()] = "") -> None:
    """Refuse who has no key with scope metrics."""
    _keys(open_store().uri).check(authorization)


class _Page(Collector):
    def collect(self) -> Iterator[Metric]:
        with create_session() as session:
            yield from airflow_metrics(session, datetime.now(UTC))


def metrics_page() -> Response:
    """The metrics as text. Whoever adds the route adds `may_read_metrics`."""
    return Response(generate_latest(_Page()), media_type=CONTENT_TYPE_PLAIN_0_0_4)
