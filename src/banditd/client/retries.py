"""When to ask again, and after how long: pure arithmetic, so both clients wait alike."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from banditd.client.errors import BudgetUsedUpError, RefusedError
from banditd.core.errors import BanditdError, UnavailableError

# 429: come back later. 502 and 504: a proxy got no answer. 503: the daemon recorded nothing, or says that it
# does not know (OUTCOME_UNKNOWN); the same key on the next try makes that harmless.
PASSING_STATUSES: Final = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """Exponential backoff with full jitter, never shorter than Retry-After.

    Before try ``n + 1`` the pause is uniform on [0, min(cap_s, base_s * 2**(n-1))] (after Brooker, "Exponential
    Backoff And Jitter", AWS Architecture Blog, 2015), plus what Retry-After asks for.

    Parameters
    ----------
    tries : at most so many requests per call (>= 1).
    base_s, cap_s : seconds, see above.
    patience_s : a Retry-After above this is not waited for; the error is raised at once.
    """

    tries: int = 4
    base_s: float = 0.1
    cap_s: float = 5.0
    patience_s: float = 30.0

    def __post_init__(self) -> None:
        if self.tries < 1 or self.base_s < 0 or self.cap_s < 0 or self.patience_s < 0:
            raise ValueError("tries must be 1 or more, and the seconds 0 or more")

    def pause_s(self, error: BanditdError, tried: int, rng: random.Random) -> float | None:
        """Seconds to wait before the next try; None to give up. ``tried``: requests made so far (>= 1)."""
        if tried >= self.tries or not is_passing(error):
            return None
        requested_s = (error.retry_after_s or 0.0) if isinstance(error, RefusedError) else 0.0
        if requested_s > self.patience_s:
            return None
        return requested_s + rng.uniform(0.0, min(self.cap_s, self.base_s * 2 ** (tried - 1)))


NO_RETRIES: Final = Retries(tries=1)


def is_passing(error: BanditdError) -> bool:
    """Whether the same request may well succeed later."""
    if isinstance(error, BudgetUsedUpError):
        return False  # by the end of its window the query is no longer what was asked
    if isinstance(error, RefusedError):
        return error.status in PASSING_STATUSES
    return isinstance(error, UnavailableError)
