"""What the daemon refuses, as exceptions.

BanditdError                  everything below; ``code`` is the problem's stable code
├── UnavailableError          nothing answers at the address, or not in time
├── NotFiniteError            a number is NaN or infinite; nothing was sent
└── RefusedError              the daemon answered with a problem; ``status``, ``problem``
    ├── BadRequestError       400, 413, 415, 422: the request is wrong; ``problem["errors"]`` says where
    │   └── NoArmError        422 NO_ELIGIBLE_ARM: the constraints leave no arm; ``exclusions``
    ├── AccessRefusedError    401, 403: no key, an unknown one, or not its scope
    ├── UnknownThingError     404: no such decision, arm, policy or reward
    ├── WriteConflictError    409: the same key with another body, another usage report
    ├── WindowClosedError     410: the reward came too late
    ├── TooManyRequestsError  429; ``retry_after_s``
        │   └── BudgetUsedUpError 429 BUDGET_EXHAUSTED, BUDGET_SHORT: a budget that rejects, until its window ends
    └── TroubleError          500 and above; ``retry_after_s`` where the daemon named it
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from banditd.core.errors import BanditdError, InvalidInputError

Json = Any  # whatever json.loads gives


class NotFiniteError(InvalidInputError, ValueError):
    """A number of the request is NaN or infinite: JSON has no such, and nothing was sent."""


class RefusedError(BanditdError):
    """The daemon answered with a problem.

    Parameters
    ----------
    status : the HTTP status.
    problem : the RFC 9457 body, or ``{"detail": text}`` when the answer was something else.
    retry_after_s : seconds (>= 0) to wait before asking again, where the answer named them.
    """

    default_code = "REFUSED"

    def __init__(self, *, status: int, problem: Mapping[str, Json], retry_after_s: float | None = None) -> None:
        detail = str(problem.get("detail") or problem.get("title") or "no detail")
        places = [
            f"{item.get('pointer', '')} {item.get('message', '')}".strip()
            for item in problem.get("errors") or ()
            # The detail has the first of them, or the only one, already.
            if isinstance(item, Mapping) and str(item.get("message")) not in detail
        ]
        message = f"the daemon answered {status}: {detail}" + "".join(f"\n  {place}" for place in places)
        super().__init__(message, code=str(problem.get("code") or self.default_code))
        self.status = status
        self.problem = dict(problem)
        self.retry_after_s = retry_after_s


class BadRequestError(RefusedError):
    """The request is wrong; repeating it will not help."""


class NoArmError(BadRequestError):
    """The constraints of the query leave no arm."""

    @property
    def exclusions(self) -> dict[str, str]:
        """Arm to the reason why it is excluded."""
        return dict(self.problem.get("exclusions") or {})


class AccessRefusedError(RefusedError):
    """No key, an unknown key, or one without the scope."""


class UnknownThingError(RefusedError):
    """No such decision, arm, policy or reward."""


class WriteConflictError(RefusedError):
    """Something else is recorded under this key or for this decision already."""


class WindowClosedError(RefusedError):
    """The decision's reward window has closed, and its policy rejects late rewards."""


class TooManyRequestsError(RefusedError):
    """The key's rate limit is used up."""


class BudgetUsedUpError(TooManyRequestsError):
    """A budget of the policy rejects what it cannot pay for; ``retry_after_s`` is when its window ends."""


class TroubleError(RefusedError):
    """The daemon (or a proxy before it) is in trouble; nothing was recorded where the status is 503.

    But for the code ``OUTCOME_UNKNOWN``: then it may be recorded, and the same request with the same key tells.
    """


_BY_STATUS: dict[int, type[RefusedError]] = {
    **dict.fromkeys((400, 413, 415, 422), BadRequestError),
    **dict.fromkeys((401, 403), AccessRefusedError),
    404: UnknownThingError,
    409: WriteConflictError,
    410: WindowClosedError,
    429: TooManyRequestsError,
}

_BY_CODE: dict[str, type[RefusedError]] = {
    "NO_ELIGIBLE_ARM": NoArmError,
    "BUDGET_EXHAUSTED": BudgetUsedUpError,
    "BUDGET_SHORT": BudgetUsedUpError,
}


def refusal(status: int, problem: Mapping[str, Json], retry_after_s: float | None = None) -> RefusedError:
    """The exception for a status of 400 or above."""
    kind = _BY_STATUS.get(status, TroubleError if status >= 500 else RefusedError)
    kind = _BY_CODE.get(str(problem.get("code")), kind)
    return kind(status=status, problem=problem, retry_after_s=retry_after_s)


def read_answer(status: int, content: bytes, retry_after: str | None = None) -> Json:
    """The parsed JSON of an answer (None for an empty one). ``retry_after``: that header.

    Raises
    ------
    RefusedError : the status is 400 or above.
    """
    try:
        parsed = json.loads(content) if content else None
    except ValueError:
        parsed = {"detail": content[:500].decode("utf-8", "replace")}
    if status >= 400:
        problem = parsed if isinstance(parsed, dict) else {"detail": str(parsed)}
        raise refusal(status, problem, parse_retry_after(retry_after))
    return parsed


def parse_retry_after(header: str | None, *, now_s: float | None = None) -> float | None:
    """Seconds (>= 0) of a Retry-After header, which is a number or an HTTP date; None for anything else."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            at = parsedate_to_datetime(header).timestamp()
        except ValueError:
            return None
        seconds = at - (time.time() if now_s is None else now_s)
    return max(0.0, seconds) if seconds < float("inf") else None
