"""A TCP relay that simulates network failures: it can close its connections, and refuse new ones for a while."""

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Iterator


class Relay:
    """Listens on `host` and forwards every connection to `target` until `cut` or `close`."""

    def __init__(self, host: str, target: tuple[str, int]) -> None:
        self.target, self.cuts = target, 0
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._shut_until = 0.0
        self._listener = socket.create_server((host, 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> int:
        """Close every open connection; returns their number."""
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            _close(*pair)
        self.cuts += len(pairs)
        return len(pairs)

    def shut(self, seconds: float) -> None:
        """Close every connection and refuse new ones for `seconds`."""
        self._shut_until = time.monotonic() + seconds
        self.cut()

    def close(self) -> None:
        """Stop listening and close every connection."""
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if time.monotonic() < self._shut_until:
                    client.close()
                    continue
                try:
                    server = socket.create_connection(self.target, 10)
                except OSError:
                    client.close()
                    continue
                self._pairs = [pair for pair in self._pairs if pair[0].fileno() >= 0]
                self._pairs.append((client, server))
                threading.Thread(target=_forward, args=(client, server), daemon=True).start()


def _forward(client: socket.socket, server: socket.socket) -> None:
    other = {client: server, server: client}
    with contextlib.suppress(OSError, ValueError), selectors.DefaultSelector() as ready:
        for connection in other:
            ready.register(connection, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                source = key.fileobj
                body = source.recv(1 << 16)  # type: ignore[union-attr]
                if not body:
                    raise ConnectionResetError
                other[source].sendall(body)  # type: ignore[index]
    _close(client, server)


def _close(*sockets: socket.socket) -> None:
    for connection in sockets:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()


@contextlib.contextmanager
def relay(host: str, target: tuple[str, int]) -> Iterator[Relay]:
    """A relay until the block ends."""
    listening = Relay(host, target)
    try:
        yield listening
    finally:
        listening.close()
