"""Rate limits by key and by address, in moving windows: in Valkey for all replicas, by `limits`, or in memory for one.

When Valkey does not answer, each replica counts in memory, says so in its log and at `/readyz`, and tries again after a pause.
"""

import ipaddress
import math
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Literal, cast

from pipelines.errors import InputError
from pipelines.logs import log
from pipelines.settings import Settings

if TYPE_CHECKING:
    from limits import RateLimitItem
    from limits.aio.storage import MovingWindowSupport
    from limits.aio.strategies import MovingWindowRateLimiter as Shared

Kind = Literal["key", "address", "failures"]
TIMEOUT_S, PAUSE_S, SWEEP_S = 1.0, 5.0, 1.0
MOST_CALLERS = 50_000
"""Callers in memory beyond which those without a request in their window are forgotten."""
IPV6_NETWORK = 64
"""Bits of an IPv6 address that one caller has in common; the others are its own to choose."""


class Windows:
    """Moving windows in memory: the times of the requests that were let in. Used by one thread.

    The memory storage of `limits` starts a thread after each pause of 10 ms, which costs a quiet server a tenth of a search.
    """

    def __init__(self) -> None:
        self._windows: dict[tuple[str, str], tuple[int, deque[float]]] = {}
        self._swept_at = -math.inf

    def wait_s(self, kind: str, caller: str, most: int, length_s: int, cost: int = 1) -> float:
        """Let a request in, which counts as `cost` of at most `most`, and return 0; or the seconds until it has room."""
        now = time.monotonic()
        if len(self) > MOST_CALLERS and now - self._swept_at > SWEEP_S:
            self._sweep(now)
        _, times = self._windows.setdefault((kind, caller), (length_s, deque()))
        while times and times[0] <= now - length_s:
            times.popleft()
        if (too_many := len(times) + cost - most) > 0:
            return times[too_many - 1] + length_s - now
        times.extend([now] * cost)
        return 0.0

    def __len__(self) -> int:
        return len(self._windows)

    def _sweep(self, now: float) -> None:
        self._swept_at = now
        kept = {name: window for name, window in self._windows.items() if window[1] and window[1][-1] > now - window[0]}
        self._windows = kept


class Limiter:
    """Counts requests. Without a `valkey_url` everything is in memory."""

    def __init__(self, config: Settings) -> None:
        self._items: dict[Kind, RateLimitItem] = {
            "key": _item("RATCHET_LIMIT_KEY", config.limit_key),
            "address": _item("RATCHET_LIMIT_ADDRESS", config.limit_address),
            "failures": _item("RATCHET_LIMIT_FAILURES", config.limit_failures),
        }
        self._memory = Windows()
        self._shared = _shared(config) if config.valkey_url else None
        self._retry_at = -math.inf
        self._down = False

    @property
    def counted_in(self) -> str:
        """Where requests are counted now, for `/readyz`."""
        return "memory" if self._shared is None else "memory: valkey does not answer" if self._down else "valkey"

    def limit(self, kind: Kind) -> tuple[int, str]:
        """How many requests a window has room for, and the limit as it is written, such as `200 per 1 second`."""
        return self._items[kind].amount, str(self._items[kind])

    async def wait_s(self, kind: Kind, caller: str, cost: int = 1) -> int:
        """Count a request as `cost`; 0 if it is within the limit, otherwise, counted as nothing, the seconds until it will be.

        A cost beyond `limit` never is.
        """
        item = self._items[kind]
        if self._shared is not None and self._may_ask():
            try:
                allowed = await self._shared.hit(item, kind, caller, cost=cost)
                wait_s = 0 if allowed else await _shared_wait_s(self._shared, item, item.key_for(kind, caller), cost)
            except Exception as error:  # noqa: BLE001  # whatever Valkey's client raises, requests are answered and counted
                self._went_down(error)
            else:
                self._came_back()
                return wait_s
        return math.ceil(self._memory.wait_s(kind, caller, item.amount, item.get_expiry(), cost))

    def _may_ask(self) -> bool:
        """Whether to ask Valkey: while it is down one request after each pause does, and no other waits for it."""
        now = time.monotonic()
        if self._down and now < self._retry_at:
            return False
        self._retry_at = now + PAUSE_S
        return True

    def _went_down(self, error: Exception) -> None:
        self._retry_at = time.monotonic() + PAUSE_S
        if not self._down:
            log().warning("limits are counted in memory, by each replica alone", reason=repr(error), retry_s=PAUSE_S)
        self._down = True

    def _came_back(self) -> None:
        if self._down:
            log().info("limits are counted in valkey again")
        self._down = False


def caller_address(host: str) -> str:
    """The address by which a caller is counted: of IPv6 the network.

    >>> caller_address("127.0.0.1"), caller_address("2001:db8::1:2:3:4"), caller_address("")
    ('127.0.0.1', '2001:db8::', 'unknown')
    >>> caller_address("::ffff:192.0.2.1")  # how some proxies write an IPv4 address
    '192.0.2.1'
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "unknown"
    if address.version == 4:
        return host
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, IPV6_NETWORK), strict=False).network_address)


def _item(name: str, text: str) -> "RateLimitItem":
    from limits import parse

    try:
        item = parse(text)
        if item.amount < 1:
            raise ValueError(text)
        return item
    except ValueError:
        raise InputError(
            f"{name}={text[:80]!r}", "a limit such as 200/second or 1000/minute", f"correct or unset {name}"
        ) from None


def _shared(config: Settings) -> "Shared":
    from limits.aio.storage import RedisStorage
    from limits.aio.strategies import MovingWindowRateLimiter as Shared
    from limits.errors import ConfigurationError

    scheme, _, place = config.valkey_url.partition("://")
    known = {"valkey": "redis", "valkeys": "rediss", "redis": "redis", "rediss": "rediss"}
    options: dict[str, Any] = {"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S}
    if config.password:
        options["password"] = config.password
    try:
        if scheme not in known or not place:
            raise ValueError(scheme)
        storage = RedisStorage(f"async+{known[scheme]}://{place}", implementation="redispy", **options)
    except (ValueError, ConfigurationError):
        raise InputError(
            f"RATCHET_VALKEY_URL={config.valkey_url[:200]!r}",
            "an address such as valkey://127.0.0.1:6379/0",
            "correct or unset it",
        ) from None
    return Shared(storage)


async def _shared_wait_s(shared: "Shared", item: "RateLimitItem", key: str, cost: int) -> int:
    """The seconds until so many have left the window in Valkey that the cost has room.

    Of the latest requests, as many as may stay beside it and one more, the oldest is the last that must have left.
    """
    storage = cast("MovingWindowSupport", shared.storage)
    oldest, _ = await storage.get_moving_window(key, item.amount - cost + 1, item.get_expiry())
    return _seconds_until(oldest + item.get_expiry())


def _seconds_until(moment: float) -> int:
    return max(1, math.ceil(moment - time.time()))
