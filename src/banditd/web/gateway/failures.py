"""In whose form an error of the gateway is told: by the path alone, so that it holds before a handler is found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aiohttp import web

from banditd.web.gateway.forms import chat_failure
from banditd.web.gateway.messages_form import messages_failure

_ANTHROPIC: Final = "/v1/messages"
_OPENAI: Final = ("/v1/chat/", "/v1/completions", "/v1/responses", "/v1/embeddings")
_EITHER: Final = "/v1/models"


def failure_form(request: web.Request) -> Callable[[BaseException, str], web.Response] | None:
    """What makes an answer of an error and the request's id; None where the path is none of the gateway's."""
    path = request.path
    if path.startswith(_ANTHROPIC) or (path.startswith(_EITHER) and "anthropic-version" in request.headers):
        return messages_failure
    return chat_failure if path.startswith((*_OPENAI, _EITHER)) else None
