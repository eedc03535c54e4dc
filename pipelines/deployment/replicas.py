"""The servers behind RATCHET_SERVER_URL: each address that its host has now is asked, since one may follow and another not.

A name of one address, such as that of a load balancer, is asked as it is, and whatever it passes the question to answers.
"""

import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.request import getproxies, proxy_bypass

from pipelines.settings import settings

if TYPE_CHECKING:
    import httpx

REQUEST_TIMEOUT_S = 5.0


def addresses(url: str) -> list[str]:
    """The addresses of a URL's host, to ask each; one empty text: the host is to be asked by its name.

    By its name is asked what has one address or none, and what a proxy resolves. Where there are addresses of IPv4 those of
    IPv6 are left out: they lead to the same servers.
    """
    import httpx

    try:
        parts = httpx.URL(url)
        host = parts.raw_host.decode()
        if {parts.scheme, "all"} & {*getproxies()} and not proxy_bypass(host):
            return [""]
        known = {
            (family, str(address[0])) for family, *_, address in socket.getaddrinfo(host, parts.port, type=socket.SOCK_STREAM)
        }
    except (OSError, UnicodeError, httpx.InvalidURL):
        return [""]  # who asks is told why
    fourth = {address for family, address in known if family == socket.AF_INET}
    found = sorted(fourth or {address for _, address in known})
    return found if len(found) > 1 else [""]


def ask(url: str, path: str, address: str = "", params: Mapping[str, str] | None = None) -> "httpx.Response":
    """The answer of a server, with this process's key.

    Args:
        url: RATCHET_SERVER_URL.
        path: such as /readyz.
        address: one of `addresses(url)`; the request, its Host header and the name in its certificate stay those of `url`.
        params: of the query.

    Raises:
        httpx.RequestError, httpx.InvalidURL: nothing answers, or `url` is none.
    """
    import httpx

    target, headers = httpx.URL(url.rstrip("/") + path), authorization()
    if not address:
        return httpx.get(target, params=params, headers=headers, timeout=REQUEST_TIMEOUT_S)
    named = {b"host": target.netloc, **headers}
    with httpx.Client(transport=httpx.HTTPTransport(), timeout=REQUEST_TIMEOUT_S) as client:  # a transport: no proxy between
        sni = {"sni_hostname": target.raw_host.decode()}
        return client.get(target.copy_with(host=address), params=params, headers=named, extensions=sni)


def authorization() -> dict[bytes, bytes]:
    """The authorization header, with which the server reports problems in full; none if this process has no key."""
    key = settings().key.strip()
    return {b"authorization": f"Bearer {key}".encode()} if key else {}
