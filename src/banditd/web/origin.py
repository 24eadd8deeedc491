"""Who a browser may speak for: the names that the daemon answers to, and requests of other origins.

A page of any site can make a browser send requests to this machine, under another name (DNS rebinding) or from
another origin. Browsers say so in Host, Origin and Sec-Fetch-Site, which pages cannot forge; nothing else here
is trusted. Programs send neither of the last two. Not authentication: that is in ``security.py``.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from aiohttp import web

from banditd.web.problems import CrossOriginError, HostUnknownError

OWN_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_ANY_ADDRESS: Final = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - named in order not to answer to it
_AUTHORITY: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{1,5}))?", re.ASCII)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_FIRST_PARTY: Final = frozenset({"same-origin", "none"})


class Authority(NamedTuple):
    """A host name in lower case or an address without brackets, and the port where one is given."""

    host: str
    port: int | None


@lru_cache(maxsize=1024)
def read_authority(text: str) -> Authority | None:
    """``host``, ``host:port``, ``[::1]:port``; None for anything else."""
    found = _AUTHORITY.fullmatch(text)
    if found is None:
        return None
    port = None if found[3] is None else int(found[3])
    if found[1] is None:
        return Authority(found[2].lower(), port)
    try:
        return Authority(ipaddress.IPv6Address(found[1]).compressed, port)
    except ValueError:
        return None


class Doorman:
    """Refuses foreign names and foreign origins.

    Parameters
    ----------
    allowed_hosts : names beside localhost, with a port where a browser's address line shows one; ``*``: any name.
    bound_host : the address that the daemon listens on: a name of its own unless it means every address.
    keyed : whether API keys are configured. A name is then only checked where some are listed, for a page cannot
        know a key; and a browser's own word that a request is of the same origin is enough.
    public_url : where people reach the daemon: a name and an origin of its own.
    """

    def __init__(
        self, *, allowed_hosts: Iterable[str], bound_host: str, keyed: bool, public_url: str | None = None
    ) -> None:
        listed = frozenset(allowed_hosts)
        read = [authority for name in listed if (authority := read_authority(name)) is not None]
        self._any_name = "*" in listed or (keyed and not listed)
        public = None if public_url is None else read_authority(urlsplit(public_url).netloc)
        if public is not None:
            read.append(public)
        own = {bound_host.lower()} - _ANY_ADDRESS
        self._names = OWN_NAMES | own | {authority.host for authority in read}
        self._listed = frozenset(read)
        self._keyed = keyed

    def knows(self, request: web.Request) -> bool:
        """Whether the request asks for a name that the daemon answers to."""
        if self._any_name:
            return True
        header, target = request.headers.get("Host", ""), request.host
        named = read_authority(header)
        # A target that is a whole URL brings a name of its own, which counts as much.
        requested = named if target == header else read_authority(target)
        return (
            named is not None
            and named.host in self._names
            and (requested is named or (requested is not None and requested.host in self._names))
        )

    def check(self, request: web.Request, *, by_any_name: bool = False, page: bool = False) -> None:
        """Let a request pass, or raise HostUnknownError or CrossOriginError.

        by_any_name : do not look at the name (health checks come by address).
        page : a page for people, which other sites may link to.
        """
        if not by_any_name and not self.knows(request):
            requested = request.headers.get("Host", "")[:80]
            raise HostUnknownError(
                f"this daemon does not answer to the name {requested!r}; add it to server.allowed_hosts if it is "
                "yours, or configure server.api_keys"
            )
        headers = request.headers
        if "Sec-Fetch-Site" not in headers and "Origin" not in headers:
            return  # no browser
        sites = headers.getall("Sec-Fetch-Site", ())
        if any(site.strip().lower() not in _FIRST_PARTY for site in sites) and not (page and _followed(request)):
            raise CrossOriginError("a page of another origin may not call this daemon")
        origins = headers.getall("Origin", ())
        if not origins or (page and _followed(request)):
            return
        if self._keyed and sites and all(site.strip().lower() == "same-origin" for site in sites):
            return  # a proxy may have rewritten Host
        authority = read_authority(headers.get("Host", ""))
        if not all(self._is_own_origin(origin, authority) for origin in origins):
            raise CrossOriginError(
                f"a page of the origin {origins[0][:80]!r} may not call this daemon; if a proxy serves it under "
                "that name, add the name to server.allowed_hosts"
            )

    def _is_own_origin(self, origin: str, requested: Authority | None) -> bool:
        scheme, _, rest = origin.strip().partition("://")
        default = _DEFAULT_PORTS.get(scheme.lower())
        authority = read_authority(rest)
        if default is None or authority is None:
            return False
        port = authority.port or default
        if requested is not None and (requested.host, requested.port or default) == (authority.host, port):
            return True
        return (authority.host, port) in {(one.host, one.port or default) for one in self._listed}


def _followed(request: web.Request) -> bool:
    """Somebody followed a link: the answer is shown in a window of its own, no script of the other page reads it."""
    headers = request.headers
    return (
        request.method in {"GET", "HEAD"}
        and headers.get("Sec-Fetch-Mode") == "navigate"
        and headers.get("Sec-Fetch-Dest") == "document"
    )
