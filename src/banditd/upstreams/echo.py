"""An upstream inside the daemon that answers with the question: for a first try without keys, and for tests.

Not a model. It shows the whole walk (a decision, a stream, usage) and nothing else; the log says so at the start.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import time
from collections.abc import Generator, Mapping, Sequence
from typing import Final, Self

from banditd.ports.upstreams import StreamEvent, Surface, TokenUsage, UpstreamCall, UpstreamReply
from banditd.upstreams.chat import encode
from banditd.upstreams.config import UpstreamConfig
from banditd.upstreams.sse import event

_NOTHING: Final = "(nothing was asked)"
_WORD: Final = re.compile(r"\s*\S+")
CHARACTERS_PER_TOKEN: Final = 4


class EchoUpstream:
    """Answers on the surface ``chat`` with the last user message."""

    def __init__(self, config: UpstreamConfig) -> None:
        self.config = config
        self._ids = itertools.count(1)

    @property
    def surfaces(self) -> frozenset[Surface]:
        """Where it can answer."""
        return frozenset({"chat"})

    def unable(self, surface: Surface, _body: Mapping[str, object]) -> str | None:
        """Why it cannot answer this request; None where it can."""
        return None if surface in self.surfaces else "surface_unsupported"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None

    async def complete(self, call: UpstreamCall) -> UpstreamReply:
        """The last user message as a completion."""
        text, usage = _answer(call)
        response_id = f"chatcmpl-echo-{next(self._ids)}"
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text, "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
        body = {
            "id": response_id,
            "object": "chat.completion",
            "created": int(time.time()),
            "model": call.model,
            "choices": [choice],
            "usage": _usage(usage),
        }
        return UpstreamReply(
            status=200,
            headers={},
            content_type="application/json",
            body=encode(body),
            response_id=response_id,
            model=call.model,
            finish_reason="stop",
            usage=usage,
            characters=len(text),
        )

    async def stream(self, call: UpstreamCall) -> EchoStream:
        """The same, word by word."""
        return EchoStream(call, f"chatcmpl-echo-{next(self._ids)}")


class EchoStream:
    """``ports.upstreams.UpstreamStream`` without an upstream."""

    def __init__(self, call: UpstreamCall, response_id: str) -> None:
        text, usage = _answer(call)
        self.headers: dict[str, str] = {}
        self._head = {
            "id": response_id,
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": call.model,
        }
        self._events = self._events_of(text, usage)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Sequence[StreamEvent]:
        found = next(self._events, None)
        if found is None:
            raise StopAsyncIteration
        await asyncio.sleep(0)  # there is no network to wait for: a long text would keep others out
        return [found]

    def close(self) -> None:
        """Nothing to hang up."""
        self._events.close()

    def _events_of(self, text: str, usage: TokenUsage) -> Generator[StreamEvent]:
        yield self._delta({"role": "assistant", "content": ""})
        for word in _WORD.finditer(text):
            yield self._delta({"content": word[0]}, characters=len(word[0]))
        yield self._delta({}, finish_reason="stop")
        yield self._usage(usage)
        yield StreamEvent(event(b"[DONE]"))

    def _delta(
        self, delta: dict[str, object], *, characters: int = 0, finish_reason: str | None = None
    ) -> StreamEvent:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return StreamEvent(
            event(json.dumps({**self._head, "choices": [choice]}).encode()),
            content=characters > 0,
            finish_reason=finish_reason,
            characters=characters,
            response_id=str(self._head["id"]),
            model=str(self._head["model"]),
        )

    def _usage(self, usage: TokenUsage) -> StreamEvent:
        raw = event(json.dumps({**self._head, "choices": [], "usage": _usage(usage)}).encode())
        return StreamEvent(raw, usage=usage, usage_only=True)


def _answer(call: UpstreamCall) -> tuple[str, TokenUsage]:
    texts = [_text(message) for message in _messages(call.body)]
    requested = next((text for role, text in reversed(texts) if role == "user" and text.strip()), "")
    answer = requested.strip() or _NOTHING
    taken = sum(len(text) for _, text in texts)
    return answer, TokenUsage(_tokens(taken), _tokens(len(answer)))


def _messages(body: object) -> list[dict[str, object]]:
    messages = body.get("messages") if isinstance(body, dict) else None
    return [one for one in messages if isinstance(one, dict)] if isinstance(messages, list) else []


def _text(message: dict[str, object]) -> tuple[str, str]:
    content = message.get("content")
    if isinstance(content, list):
        content = " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(message.get("role")), content if isinstance(content, str) else ""


def _tokens(characters: int) -> int:
    return -(-characters // CHARACTERS_PER_TOKEN)


def _usage(usage: TokenUsage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
