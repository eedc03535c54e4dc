"""HTTP on one connection, bounded: uvicorn's own protocol bounds neither a request's head nor the time of a slow client."""

import asyncio
import json
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from images.serve.errors import PROBLEM
from images.serve.interface import OPEN
from images.serve.middleware import HEADERS

HEAD_LIMIT, MOST_HEADERS = 16_384, 64
MOST_CONNECTIONS = 1_000
MOST_CROWDING = 1_000
"""Connections beyond these that may still ask one thing: health checks are answered, all else is told to come back."""
CROWDING_S = 1.0
"""Seconds in which one of those must have sent its request."""
RETRY_S = 1
GIVEN = {
    400: ("what is no HTTP request", "HTTP/1.1", "correct the request"),
    408: ("a request that took too long to arrive", "all of it within RATCHET_REQUEST_S seconds", "send it at once"),
    431: ("a head that is too long", f"at most {HEAD_LIMIT} bytes in {MOST_HEADERS} headers", "send less"),
    429: ("one connection more than can be served now", f"at most {MOST_CONNECTIONS}", f"ask again in {RETRY_S} s"),
}


class _Refused(Exception):
    """Ends the parsing of what a connection sends; `send_400_response` follows."""


class BoundedHttp(HttpToolsProtocol):
    """Refuses heads that are too long and connections that are too many; ends what arrives or is read too slowly.

    One request at a time: with the next before the answer, the connection ends with the answer, so nobody queues thousands.
    """

    request_s = 10.0
    """Seconds that a request may take to arrive; an answer may wait for its client for twice as long."""
    draining = False
    """Whether each connection ends with its next answer, so that its client connects to another server."""
    _refusal = 400
    _head_bytes = 0
    _in_head = True
    _ended = False
    _crowds = False
    _deadline: asyncio.TimerHandle | None = None
    _write_deadline: asyncio.TimerHandle | None = None
    _close_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._crowds = len(self.connections) > MOST_CONNECTIONS
        self._start_clock()
        if len(self.connections) > MOST_CONNECTIONS + MOST_CROWDING:
            self._refuse(429)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_clock()
        self.resume_writing()
        if self._close_deadline is not None:
            self._close_deadline.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._ended or self.transport.is_closing():
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._deadline is None and (self.cycle is None or self.cycle.response_complete):
                self._start_clock()  # blank lines begin no request, and yet end the wait for one
        super().data_received(data)
        if self._in_head and self._head_bytes > HEAD_LIMIT and not self._ended:
            self._refuse(431)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0
        self._start_clock()

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive, self._ended = False, True
            self._stop_clock()
            raise _Refused
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > HEAD_LIMIT or len(self.headers) > MOST_HEADERS:
            self._refusal = 431
            raise _Refused
        if self._crowds and self.url.partition(b"?")[0].decode("latin-1") not in OPEN:
            self._refusal = 429
            raise _Refused
        super().on_headers_complete()
        if (self.draining or self._crowds) and self.cycle is not None:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        self._stop_clock()
        super().on_message_complete()
        self._in_head, self._head_bytes = True, 0

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        if not self._ended:
            self._refuse(self._refusal)

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: anybody can ask for an upgrade, and the request is answered without."""

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_deadline = self._write_deadline or self.loop.call_later(2 * self.request_s, self.transport.abort)

    def resume_writing(self) -> None:
        if self._write_deadline is not None:
            self._write_deadline.cancel()
            self._write_deadline = None
        super().resume_writing()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._end_soon()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._end_soon()

    def _end_soon(self) -> None:
        """End a connection that is being closed also if its client never reads the little that waits for it."""
        self._close_deadline = self._close_deadline or self.loop.call_later(2 * self.request_s, self.transport.abort)

    def _start_clock(self) -> None:
        self._stop_clock()
        seconds = min(self.request_s, CROWDING_S) if self._crowds else self.request_s
        self._deadline = self.loop.call_later(seconds, self._refuse, 408)

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, status: int) -> None:
        """Answer a problem, unless another answer is being sent, and close."""
        self._stop_clock()
        self._ended = True
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(_raw(status))
        self.transport.close()
        self._end_soon()


def _raw(status: int) -> bytes:
    given, expected, action = GIVEN[status]
    detail = f"given {given}; expected {expected}; next: {action}"
    phrase = HTTPStatus(status).phrase
    body = json.dumps({"title": phrase, "status": status, "detail": detail}).encode()
    headers = {**HEADERS, "content-type": PROBLEM, "content-length": str(len(body)), "connection": "close"}
    if status == 429:
        headers["retry-after"] = str(RETRY_S)
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} {phrase}\r\n{head}\r\n".encode() + body
