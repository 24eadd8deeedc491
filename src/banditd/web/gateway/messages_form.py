"""Errors as clients of Anthropic's messages read them, and which paths tell errors in whose form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from aiohttp import web

from banditd.obs import logs
from banditd.web.gateway.forms import KEEP_ALIVE, Failure, Form, chat_failure, failure_of
from banditd.web.json import encode, json_answer

_TYPES: Final[Mapping[int, str]] = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
    413: "request_too_large", 415: "invalid_request_error", 422: "invalid_request_error", 429: "rate_limit_error",
    504: "timeout_error",
}  # fmt: skip
_LAST: Final = b"event: message_stop"
_TOO_LONG: Final = "prompt is too long"
_ANTHROPIC: Final = "/v1/messages"
_OPENAI: Final = ("/v1/chat/", "/v1/completions", "/v1/responses", "/v1/embeddings")
_EITHER: Final = "/v1/models"


class MessagesForm:
    """Anthropic's messages."""

    keep_alive = KEEP_ALIVE
    id_prefix = "msg_"

    def error_answer(self, failure: Failure) -> web.Response:
        """``{"type": "error", "error": {...}}`` under the failure's status."""
        return json_answer(_anthropic(failure), status=failure.status, headers=dict(failure.headers))

    def error_event(self, failure: Failure, response_id: str | None = None, model: str | None = None) -> bytes:
        """The same as ``event: error``; no ``message_stop`` follows, for the message is not whole."""
        return b"event: error\ndata: " + encode(_anthropic(failure)) + b"\n\n"

    def details_event(self, details: Mapping[str, object], response_id: str | None, model: str | None) -> bytes:
        """An event of a type of our own."""
        return b"event: banditd\ndata: " + encode({"type": "banditd", "banditd": details}) + b"\n\n"

    def is_last(self, raw: bytes) -> bool:
        """Whether ``message_stop`` is in it. JSON escapes line ends, so this is no text of the answer."""
        return raw.startswith(_LAST) or b"\n" + _LAST in raw


def _anthropic(failure: Failure) -> dict[str, object]:
    message = failure.message
    if failure.code == "context_length_exceeded" and _TOO_LONG not in message.lower():
        message = f"{_TOO_LONG}: {message}"  # the words on which clients shorten their conversation
    kind = _TYPES.get(failure.status, "invalid_request_error" if failure.status < 500 else "api_error")
    return {
        "type": "error",
        "error": {"type": kind, "message": message, "code": failure.code},
        "request_id": logs.request_id.get() or None,
    }


MESSAGES_FORM: Final[Form] = MessagesForm()


def messages_failure(error: BaseException, _request_id: str) -> web.Response:
    """What the middleware answers on the surfaces of Anthropic's form."""
    return MESSAGES_FORM.error_answer(failure_of(error))


def failure_form(request: web.Request) -> Callable[[BaseException, str], web.Response] | None:
    """What makes an answer of an error and the request's id; None where the path is none of the gateway's."""
    path = request.path
    if path.startswith(_ANTHROPIC) or (path.startswith(_EITHER) and "anthropic-version" in request.headers):
        return messages_failure
    return chat_failure if path.startswith((*_OPENAI, _EITHER)) else None
