"""Errors as clients of OpenAI's responses read them: those of chats, but for the end of a stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from banditd.web.gateway.forms import ChatForm, Failure, Form
from banditd.web.json import encode

_LAST: Final = (b"event: response.completed", b"event: response.incomplete")
# Codes on which clients do more than to give up; everything else is the server's.
_CODES: Final = frozenset({"context_length_exceeded", "insufficient_quota", "rate_limit_exceeded"})


class ResponsesForm(ChatForm):
    """OpenAI's responses."""

    id_prefix = "resp_"

    def error_event(self, failure: Failure, response_id: str | None = None, model: str | None = None) -> bytes:
        """``response.failed``, which agents wait for, and ``error``, on which OpenAI's client raises."""
        code = "rate_limit_exceeded" if failure.status == 429 and failure.code not in _CODES else failure.code
        response = {
            "id": response_id or "", "object": "response", "created_at": 0, "status": "failed", "model": model or "",
            "error": {"code": code if code in _CODES else "server_error", "message": failure.message},
            "incomplete_details": None, "output": [], "usage": None, "parallel_tool_calls": True,
            "tool_choice": "auto", "tools": [],
        }  # fmt: skip
        error = {"message": failure.message, "type": failure.type, "param": failure.param, "code": failure.code}
        stated = {"code": failure.code, "message": failure.message, "param": failure.param, "error": error}
        return _event("response.failed", {"response": response}) + _event("error", stated)

    def details_event(self, details: Mapping[str, object], response_id: str | None, model: str | None) -> bytes:
        """An event of a type of our own."""
        return _event("banditd", {"banditd": details})

    def is_last(self, raw: bytes) -> bool:
        """Whether it is the terminal event of a good answer."""
        return raw.startswith(_LAST)


def _event(kind: str, more: Mapping[str, object]) -> bytes:
    stated = {"type": kind, "sequence_number": 0, **more}
    return f"event: {kind}\ndata: ".encode() + encode(stated) + b"\n\n"


RESPONSES_FORM: Final[Form] = ResponsesForm()
