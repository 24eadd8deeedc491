"""Who may call what, and how often: API keys with scopes, and token buckets. No transport security.

Keys are kept as SHA-256 digests only. A presented key is hashed and looked up; how long that takes depends
on the digest, of which an attacker controls nothing, so there is no byte-by-byte comparison to time.
"""

from __future__ import annotations

import hashlib
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from aiohttp import web

from banditd.core.errors import ConfigurationError, ForbiddenError, RateLimitedError, UnauthenticatedError

SCOPES: Final = frozenset({"route", "reward", "reward:own", "read", "chat", "judge", "admin"})
OWN_REWARDS: Final = "reward:own"
OWNER = web.RequestKey("owner", str)
"""Name of the API key that may reward, settle and abandon its own decisions only; not there for others."""
_MAX_NETWORKS: Final = 10_000
_CROWD: Final = "everybody else"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key that may call. ``admin`` includes the other scopes."""

    name: str
    sha256: str = field(repr=False)
    scopes: frozenset[str] = SCOPES


class KeyRing:
    """The configured keys. With none, everybody is welcome (the server then listens on localhost only)."""

    def __init__(self, keys: Sequence[ApiKey] = ()) -> None:
        self._keys: dict[str, ApiKey] = {}
        for key in keys:
            digest = key.sha256.lower()
            if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
                raise ConfigurationError(
                    f"the API key {key.name!r} must be given as 64 hexadecimal digits of its SHA-256"
                )
            if unknown := key.scopes - SCOPES:
                raise ConfigurationError(
                    f"the API key {key.name!r} has unknown scopes {sorted(unknown)}; "
                    f"there are {', '.join(sorted(SCOPES))}"
                )
            self._keys[digest] = key

    def __bool__(self) -> bool:
        return bool(self._keys)

    def authenticate(self, request: web.Request, scope: str | None) -> str | None:
        """The name of the caller's key, or None when no keys are configured or the path is public.

        Raises UnauthenticatedError or ForbiddenError.
        """
        if scope is None or not self._keys:
            return None
        presented = _presented_key(request)
        if presented is None:
            raise UnauthenticatedError("send an API key as 'Authorization: Bearer <key>' or 'x-api-key: <key>'")
        key = self._find(presented)
        if key is None:
            raise UnauthenticatedError("this API key is not known", code="API_KEY_UNKNOWN")
        if scope == "reward" and not _may(key, scope) and OWN_REWARDS in key.scopes:
            request[OWNER] = key.name
            return key.name
        if not _may(key, scope):
            raise ForbiddenError(f"the key {key.name!r} has not the scope {scope!r}")
        return key.name

    def allows(self, request: web.Request, scope: str) -> bool:
        """Whether the caller has the scope, for what is shown in more or less detail: refuses nobody."""
        if not self._keys:
            return True
        presented = _presented_key(request)
        key = None if presented is None else self._find(presented)
        return key is not None and _may(key, scope)

    def _find(self, presented: str) -> ApiKey | None:
        return self._keys.get(hashlib.sha256(presented.encode("utf-8", "surrogateescape")).hexdigest())


def _may(key: ApiKey, scope: str) -> bool:
    return scope in key.scopes or "admin" in key.scopes


def _presented_key(request: web.Request) -> str | None:
    headers = request.headers
    given = headers.get("x-api-key")
    if given is None:
        scheme, _, given = headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
    return given.strip() or None


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """Who is one caller without a key: an IPv4 address, or the /64 that one IPv6 host has to itself."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((parsed, 64), strict=False))


class RateLimiter:
    """A token bucket per key, and per network of callers without one.

    ``rate_per_s`` of 0 switches it off. Keys are few and always remembered. Of networks at most ten thousand are:
    one is forgotten only when its bucket is full again, which changes nothing for it, so no crowd of strangers can
    make the limiter forget anybody; while there is no room, networks that are new share one bucket.
    """

    def __init__(self, *, rate_per_s: float, burst: int, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate_per_s
        self._burst = float(max(1, burst))
        self._clock_s = clock_s
        self._keys: dict[str, tuple[float, float]] = {}
        self._networks: OrderedDict[str, tuple[float, float]] = OrderedDict()

    @property
    def enabled(self) -> bool:
        return self._rate > 0.0

    def take_for_key(self, name: str) -> None:
        """Use one token of a configured key. Raises RateLimitedError with the seconds until there is one."""
        self._take(self._keys, name, self._clock_s())

    def take(self, address: str) -> None:
        """The same for an address without a key, or with a wrong one."""
        now = self._clock_s()
        network = network_of(address)
        if network not in self._networks and len(self._networks) >= _MAX_NETWORKS:
            oldest, bucket = next(iter(self._networks.items()))
            if self._tokens(bucket, now) >= self._burst:
                del self._networks[oldest]
            else:
                network = _CROWD
        self._take(self._networks, network, now)
        self._networks.move_to_end(network)

    def _tokens(self, bucket: tuple[float, float], now: float) -> float:
        tokens, seen = bucket
        return min(self._burst, tokens + (now - seen) * self._rate)

    def _take(self, buckets: MutableMapping[str, tuple[float, float]], caller: str, now: float) -> None:
        tokens = self._tokens(buckets.get(caller, (self._burst, now)), now)
        if tokens < 1.0:
            buckets[caller] = (tokens, now)
            wait_s = (1.0 - tokens) / self._rate
            raise RateLimitedError(f"at most {self._rate:g} requests per second", retry_after_s=wait_s)
        buckets[caller] = (tokens - 1.0, now)
