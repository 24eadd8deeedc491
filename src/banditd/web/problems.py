"""Errors as clients see them: the only table from exceptions to status codes, and RFC 9457 bodies.

No exception's text reaches a client unless it is a ``BanditdError``, whose message is written for clients.
In particular ValueError is not 400: it is a bug until somebody has turned it into an InvalidInputError.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from banditd.core import errors as e
from banditd.web.json import json_answer

PROBLEM_TYPE: Final = "application/problem+json"
CHALLENGE: Final = 'Bearer realm="banditd"'  # of an answer 401


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of problem: its slug is the last part of ``type`` and has a page of its own."""

    status: int
    slug: str
    title: str
    explanation: str


def _kind(status: int, slug: str, title: str, explanation: str) -> Kind:
    return Kind(status, slug, title, explanation)


INVALID: Final = _kind(
    422, "invalid-input", "The input is not valid",
    "Each entry of errors names a field by JSON pointer and says how to mend it. Nothing was recorded.",
)  # fmt: skip
NO_ARM: Final = _kind(
    422, "no-eligible-arm", "No arm is eligible",
    "The constraints of the request exclude every arm; exclusions gives the reason for each. Relax one.",
)  # fmt: skip
MALFORMED: Final = _kind(
    400, "malformed-request", "The request cannot be read",
    "The body is not JSON in UTF-8, or the request breaks HTTP. The detail gives the position.",
)  # fmt: skip
UNAUTHENTICATED: Final = _kind(
    401, "unauthenticated", "An API key is needed",
    "Send a known key as 'Authorization: Bearer <key>' or in the header x-api-key.",
)  # fmt: skip
FORBIDDEN: Final = _kind(
    403, "forbidden", "The key may not do this",
    "Keys have scopes: route, reward, reward:own, read, chat, judge, admin. Use one that has what the detail names.",
)  # fmt: skip
CROSS_ORIGIN: Final = _kind(
    403, "cross-origin", "Pages of other origins may not call this daemon",
    "A browser sent this for a page of another site. Call the daemon from a program, or from its own dashboard; a "
    "name that a proxy serves it under belongs into server.allowed_hosts.",
)  # fmt: skip
NOT_FOUND: Final = _kind(
    404, "not-found", "There is no such thing", "The path, or the id in it, names nothing that is here."
)
METHOD: Final = _kind(
    405, "method-not-allowed", "The path has not this method", "The header Allow lists the methods it has."
)
TIMEOUT: Final = _kind(
    408, "request-timeout", "The body came too slowly", "Send the whole body at once; nothing was recorded."
)
CONFLICT: Final = _kind(
    409, "conflict", "This contradicts what is there",
    "The same idempotency key or report came with another body, or the thing exists already.",
)  # fmt: skip
DAMAGED: Final = _kind(
    409, "damaged-row", "What is stored is damaged",
    "The row is not what was committed. banditd rebuild names every damaged row; a backup may have it whole.",
)  # fmt: skip
GONE: Final = _kind(
    410, "reward-window-closed", "The reward came too late",
    "The policy rejects rewards after the decision's expires_at.",
)  # fmt: skip
TOO_LARGE: Final = _kind(
    413, "body-too-large", "The body is too large", "Send less at once; the detail gives the limit in bytes."
)
MEDIA: Final = _kind(415, "unsupported-media-type", "The body must be JSON", "Send 'Content-Type: application/json'.")
MISDIRECTED: Final = _kind(
    421, "misdirected-request", "The daemon does not answer to this name",
    "Without API keys it answers to localhost, 127.0.0.1 and ::1 only. Add other names to server.allowed_hosts.",
)  # fmt: skip
RATE: Final = _kind(
    429, "rate-limited", "Too many requests", "Come back after the seconds in the header Retry-After."
)
BUDGET: Final = _kind(
    429, "budget-exhausted", "A budget is used up",
    "A budget of the policy rejects what it cannot pay for. Its window ends after the seconds in Retry-After.",
)  # fmt: skip
INTERNAL: Final = _kind(
    500, "internal-error", "The daemon has failed", "This is a bug. The log has it under the request's id."
)
UNAVAILABLE: Final = _kind(
    503, "unavailable", "A part that is needed does not answer",
    "Nothing was recorded. Come back after the seconds in the header Retry-After.",
)  # fmt: skip

UNKNOWN: Final = _kind(
    503, "outcome-unknown", "It may be stored or not",
    "The connection to the database broke during the commit, and the database could not be asked. Send the same "
    "request with the same Idempotency-Key after the seconds in Retry-After: the answer tells, and nothing is stored "
    "twice.",
)  # fmt: skip

KINDS: Final = {
    kind.slug: kind
    for kind in (
        INVALID, NO_ARM, MALFORMED, UNAUTHENTICATED, FORBIDDEN, CROSS_ORIGIN, NOT_FOUND, METHOD, TIMEOUT,
        CONFLICT, DAMAGED, GONE, TOO_LARGE, MEDIA, MISDIRECTED, RATE, BUDGET, INTERNAL, UNAVAILABLE, UNKNOWN,
    )
}  # fmt: skip


class BadRequestError(e.BanditdError):
    """The body cannot be read at all: web's own, for the services get only what could be read."""

    default_code = "MALFORMED_JSON"


class MediaTypeError(e.BanditdError):
    default_code = "UNSUPPORTED_MEDIA_TYPE"


class BodyTooLargeError(e.BanditdError):
    default_code = "BODY_TOO_LARGE"


class BodyTimeoutError(e.BanditdError):
    default_code = "BODY_TIMEOUT"


class CrossOriginError(e.BanditdError):
    default_code = "CROSS_ORIGIN"


class HostUnknownError(e.BanditdError):
    default_code = "HOST_UNKNOWN"


class InvalidFieldsError(e.InvalidInputError):
    """Several fields are wrong; ``errors`` holds (pointer, message) of each."""

    def __init__(self, message: str, *, errors: Sequence[tuple[str, str]]) -> None:
        super().__init__(message, field=errors[0][0] if errors else None)
        self.errors = errors


# The first class of an exception's ancestry that stands here decides.
_TABLE: Final[dict[type[BaseException], Kind]] = {
    e.NoEligibleArmError: NO_ARM,
    e.InvalidInputError: INVALID,
    e.NotFoundError: NOT_FOUND,
    e.ConflictError: CONFLICT,
    e.DecisionDamagedError: DAMAGED,
    e.GoneError: GONE,
    e.ForbiddenError: FORBIDDEN,
    e.UnauthenticatedError: UNAUTHENTICATED,
    e.BudgetExhaustedError: BUDGET,
    e.RateLimitedError: RATE,
    e.OutcomeUnknownError: UNKNOWN,
    e.UnavailableError: UNAVAILABLE,
    e.LeaseLostError: UNAVAILABLE,
    BadRequestError: MALFORMED,
    MediaTypeError: MEDIA,
    BodyTooLargeError: TOO_LARGE,
    BodyTimeoutError: TIMEOUT,
    CrossOriginError: CROSS_ORIGIN,
    HostUnknownError: MISDIRECTED,
    web.HTTPNotFound: NOT_FOUND,
    web.HTTPMethodNotAllowed: METHOD,
    web.HTTPRequestEntityTooLarge: TOO_LARGE,
    web.HTTPBadRequest: MALFORMED,
    web.HTTPUnsupportedMediaType: MEDIA,
}

_HTTP_CODES: Final = {
    NOT_FOUND.slug: ("PATH_NOT_FOUND", "There is nothing at this path; see /openapi.json."),
    METHOD.slug: ("METHOD_NOT_ALLOWED", "This path has not this method; the header Allow lists what it has."),
    TOO_LARGE.slug: ("BODY_TOO_LARGE", "The body is larger than the daemon takes."),
    MALFORMED.slug: ("MALFORMED_REQUEST", "The request cannot be read."),
    MEDIA.slug: ("UNSUPPORTED_MEDIA_TYPE", "Send 'Content-Type: application/json'."),
}


def kind_of(error: BaseException) -> Kind:
    """The kind of problem an exception is; INTERNAL for what nobody has raised on purpose."""
    for ancestor in type(error).__mro__:
        kind = _TABLE.get(ancestor)
        if kind is not None:
            return kind
    return INTERNAL


def item_error(error: e.BanditdError) -> dict[str, object]:
    """The short form, for one item of a list."""
    kind = kind_of(error)
    if kind is INTERNAL:
        return {"code": "INTERNAL_ERROR", "detail": kind.explanation, "errors": []}
    return {"code": error.code, "detail": error.message, "errors": field_errors(error)}


def field_errors(error: e.BanditdError) -> list[dict[str, str]]:
    """(pointer, message) of everything that is wrong with the input."""
    if isinstance(error, InvalidFieldsError):
        return [{"pointer": pointer, "message": message} for pointer, message in error.errors]
    if error.field is not None:
        return [{"pointer": error.field, "message": error.message}]
    return []


def problem_answer(error: BaseException, request_id: str) -> web.Response:
    """The whole answer to a request that ended in ``error``."""
    kind = kind_of(error)
    headers: dict[str, str] = {}
    body: dict[str, object] = {
        "type": f"/problems/{kind.slug}",
        "title": kind.title,
        "status": kind.status,
        "detail": kind.explanation,
        "instance": f"urn:banditd:request:{request_id}",
        "code": "INTERNAL_ERROR",
        "errors": [],
    }
    if kind is not INTERNAL and isinstance(error, e.BanditdError):
        body |= {"detail": error.message, "code": error.code, "errors": field_errors(error)}
        if isinstance(error, e.NoEligibleArmError):
            body["exclusions"] = dict(error.exclusions)
        if isinstance(error, e.RateLimitedError | e.UnavailableError):
            headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
        elif isinstance(error, e.LeaseLostError):
            headers["Retry-After"] = "1"
    elif isinstance(error, web.HTTPException):
        body["code"], body["detail"] = _HTTP_CODES.get(kind.slug, ("INTERNAL_ERROR", kind.explanation))
        if "Allow" in error.headers:
            headers["Allow"] = error.headers["Allow"]
    if kind is MEDIA:
        headers["Accept-Encoding"] = "gzip, deflate"
    if kind is UNAUTHENTICATED:
        headers["WWW-Authenticate"] = CHALLENGE
    return json_answer(body, status=kind.status, headers=headers, content_type=PROBLEM_TYPE)
