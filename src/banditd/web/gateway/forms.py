"""Errors in a surface's form: a status and body before an answer has begun, an event in a stream after that.

``failure_of`` is the only table from errors to what clients of the gateway see; a form only formats it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from aiohttp import web

from banditd.core import errors as e
from banditd.ports.upstreams import UpstreamError
from banditd.web.json import encode, json_answer
from banditd.web.problems import CHALLENGE, INTERNAL, NOT_FOUND, UNAUTHENTICATED, BodyTooLargeError, kind_of

KEEP_ALIVE: Final = b": keep-alive\n\n"
# Clients that would have to wait longer should give up, since their own retries would time out.
_LONG_WAIT_S: Final = 60.0
# Class of an upstream's failure to (status, type). Never 409: some clients repeat that at once.
_UPSTREAM: Final[Mapping[str, tuple[int, str]]] = {
    "transport": (502, "upstream_error"),
    "timeout": (504, "upstream_error"),
    "overload": (429, "rate_limit_error"),
    "server": (502, "upstream_error"),
    "auth": (502, "upstream_error"),
    "request": (400, "invalid_request_error"),
    "context": (400, "invalid_request_error"),
    "policy": (400, "invalid_request_error"),
    "client_gone": (499, "client_error"),
}
_STATUS_TYPES: Final = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "invalid_request_error",
    408: "timeout_error", 413: "invalid_request_error", 415: "invalid_request_error", 429: "rate_limit_error",
}  # fmt: skip


# Why an arm has no part in a request, however short that may be.
_ELSEWHERE: Final = ("disabled", "no_upstream", "surface_unsupported", "untranslatable", "not_a_candidate")


@dataclass(frozen=True, slots=True)
class Failure:
    """What a client sees, independent of the form."""

    status: int
    type: str
    code: str
    message: str
    param: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Form(Protocol):
    """How one surface formats things."""

    @property
    def keep_alive(self) -> bytes:
        """A comment."""

    @property
    def id_prefix(self) -> str:
        """How an answer's id begins; behind it stands the decision's, where that is wanted."""

    def error_answer(self, failure: Failure) -> web.Response:
        """The whole answer, where none has begun."""

    def error_event(self, failure: Failure, response_id: str | None = None, model: str | None = None) -> bytes:
        """The end of a stream that has begun: clients raise on it. The answer's id and model, as far as known."""

    def details_event(self, details: Mapping[str, object], response_id: str | None, model: str | None) -> bytes:
        """An event that carries what was asked for with ``explain``."""

    def is_last(self, raw: bytes) -> bool:
        """Whether this event ends the stream."""


class ChatForm:
    """OpenAI's chat completions (and models)."""

    keep_alive = KEEP_ALIVE
    id_prefix = "chatcmpl-"

    def error_answer(self, failure: Failure) -> web.Response:
        """``{"error": {...}}`` under the failure's status."""
        return json_answer(_openai(failure), status=failure.status, headers=dict(failure.headers))

    def error_event(self, failure: Failure, response_id: str | None = None, model: str | None = None) -> bytes:
        """The same as one event; no ``[DONE]`` follows, for nothing was done."""
        return b"data: " + encode(_openai(failure)) + b"\n\n"

    def details_event(self, details: Mapping[str, object], response_id: str | None, model: str | None) -> bytes:
        """A chunk without choices."""
        chunk = {
            "id": response_id or "",
            "object": "chat.completion.chunk",
            "created": 0,
            "model": model or "",
            "choices": [],
            "banditd": details,
        }
        return b"data: " + encode(chunk) + b"\n\n"

    def is_last(self, raw: bytes) -> bool:
        """Whether it is ``[DONE]``."""
        return raw.startswith(b"data:") and raw[5:].strip() == b"[DONE]"


def failure_of(error: BaseException) -> Failure:
    """What a client sees of an error."""
    if isinstance(error, UpstreamError):
        return _of_upstream(error)
    kind = kind_of(error)
    if kind is INTERNAL or not isinstance(error, e.BanditdError):
        if isinstance(error, web.HTTPException):
            code, allowed = kind.slug.replace("-", "_"), error.headers.get("Allow")
            headers = {} if allowed is None else {"Allow": allowed}
            return Failure(error.status, _type_of(error.status), code, kind.explanation, headers=headers)
        return Failure(500, "server_error", "internal_error", "the daemon has failed; its log has the request's id")
    status = 400 if kind.status in {409, 410, 422} else kind.status
    headers = {}
    type_ = _type_of(status)
    code = _code_of(error)
    if isinstance(error, e.BudgetExhaustedError):
        type_, code = "insufficient_quota", "insufficient_quota"
        headers = _wait(error.retry_after_s, again=False)
    elif isinstance(error, e.RateLimitedError | e.UnavailableError):
        headers = _wait(error.retry_after_s, again=True)
    elif kind is UNAUTHENTICATED:
        headers = {"WWW-Authenticate": CHALLENGE}
    if kind is NOT_FOUND:
        code = {"policy_unknown": "model_not_found", "profile_unknown": "model_not_found"}.get(code, code)
    param = None if error.field is None else error.field.lstrip("/").replace("/", ".")
    return Failure(status, type_, code, error.message, param or None, headers)


def _of_upstream(error: UpstreamError) -> Failure:
    status, type_ = _UPSTREAM[error.error_class]
    code = error.code
    if error.error_class == "request" and error.status in {400, 413, 422}:
        status = error.status
    elif error.error_class == "context":
        code = "context_length_exceeded"
    elif error.error_class == "policy":
        code = "content_filter"
    elif error.error_class == "auth":
        code = "upstream_auth"
    wait_s = error.retry_after_s
    if error.local and wait_s is None:
        wait_s = 1.0
    # All attempts have been made here: a client's retries would multiply them.
    again = error.error_class == "overload" and wait_s is not None and wait_s <= _LONG_WAIT_S
    headers = {"x-should-retry": "false"} if wait_s is None else _wait(wait_s, again=again)
    return Failure(status, type_, code, error.message, None, headers)


def _code_of(error: e.BanditdError) -> str:
    if isinstance(error, e.NoEligibleArmError):
        reasons = {one for one in error.exclusions.values() if not one.startswith(_ELSEWHERE)}
        # Some programs shorten their conversation when they see this code.
        return "context_length_exceeded" if reasons == {"context_window"} else "no_eligible_arm"
    if isinstance(error, BodyTooLargeError):
        return "request_too_large"
    if isinstance(error, e.UnauthenticatedError):
        return "invalid_api_key"
    return error.code.lower()


def _type_of(status: int) -> str:
    return _STATUS_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")


def _wait(seconds: float, *, again: bool) -> dict[str, str]:
    return {
        "Retry-After": str(max(1, math.ceil(seconds))),
        "retry-after-ms": str(max(1, math.ceil(seconds * 1e3))),
        "x-should-retry": "true" if again else "false",
    }


def _openai(failure: Failure) -> dict[str, object]:
    return {
        "error": {
            "message": failure.message, "type": failure.type, "param": failure.param, "code": failure.code,
        }
    }  # fmt: skip


CHAT_FORM: Final[Form] = ChatForm()


def chat_failure(error: BaseException, _request_id: str) -> web.Response:
    """What the middleware answers on the surfaces of OpenAI's form."""
    return CHAT_FORM.error_answer(failure_of(error))
