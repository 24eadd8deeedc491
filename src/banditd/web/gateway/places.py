"""How many requests of one caller may run at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from banditd.core.errors import RateLimitedError


class Places:
    """Counts running requests by caller; a caller without any is forgotten."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: Counter[str] = Counter()

    @contextmanager
    def taken(self, caller: str) -> Iterator[None]:
        """Hold a place. Raises RateLimitedError where none is free."""
        if self._taken[caller] >= self._most:
            raise RateLimitedError(
                f"{self._most} requests are running already (gateway.max_streams_per_key)",
                retry_after_s=1.0,
                code="TOO_MANY_STREAMS",
            )
        self._taken[caller] += 1
        try:
            yield
        finally:
            self._taken[caller] -= 1
            if not self._taken[caller]:
                del self._taken[caller]
