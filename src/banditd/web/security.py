"""Who may call what, and how often: API keys with scopes, and token buckets. No transport security.

Keys are kept as SHA-256 digests only. A presented key is hashed and looked up; how long that takes depends
on the digest, of which an attacker controls nothing, so there is no byte-by-byte comparison to time.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from banditd.core.errors import ConfigurationError, ForbiddenError, RateLimitedError, UnauthenticatedError

SCOPES: Final = frozenset({"route", "reward", "read", "chat", "admin"})
_MAX_BUCKETS: Final = 10_000


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
        key = self._keys.get(hashlib.sha256(presented.encode("utf-8", "surrogateescape")).hexdigest())
        if key is None:
            raise UnauthenticatedError("this API key is not known", code="API_KEY_UNKNOWN")
        if scope not in key.scopes and "admin" not in key.scopes:
            raise ForbiddenError(f"the key {key.name!r} has not the scope {scope!r}")
        return key.name


def _presented_key(request: web.Request) -> str | None:
    headers = request.headers
    given = headers.get("x-api-key")
    if given is None:
        scheme, _, given = headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
    return given.strip() or None


class RateLimiter:
    """A token bucket per caller, at most ten thousand of them: the least recently seen are forgotten.

    ``rate_per_s`` of 0 switches it off. A forgotten caller starts with a full bucket, so the bound on memory
    never refuses anybody.
    """

    def __init__(self, *, rate_per_s: float, burst: int, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate_per_s
        self._burst = float(max(1, burst))
        self._clock_s = clock_s
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    @property
    def enabled(self) -> bool:
        return self._rate > 0.0

    def take(self, caller: str) -> None:
        """Use one token. Raises RateLimitedError with the seconds until there is one."""
        now = self._clock_s()
        tokens, seen = self._buckets.pop(caller, (self._burst, now))
        tokens = min(self._burst, tokens + (now - seen) * self._rate)
        if tokens < 1.0:
            self._buckets[caller] = (tokens, now)
            wait_s = (1.0 - tokens) / self._rate
            raise RateLimitedError(f"at most {self._rate:g} requests per second", retry_after_s=wait_s)
        self._buckets[caller] = (tokens - 1.0, now)
        if len(self._buckets) > _MAX_BUCKETS:
            self._buckets.popitem(last=False)
