from __future__ import annotations

import json
from typing import Any

import pytest

from banditd.core.types import Query
from banditd.services.gateway.call import GatewayCall
from banditd.services.judging.texts import CUT, answer_text, question_text, shortened


def _call(surface: Any, body: dict[str, object], text: str = "the text") -> GatewayCall:
    return GatewayCall(query=Query(text=text), surface=surface, body=body, stream=False)


@pytest.mark.parametrize(
    ("surface", "body", "expected"),
    [
        (
            "chat",
            {"messages": [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Hi"}]},
            "system: Be short.\nuser: Hi",
        ),
        (
            "messages",
            {
                "system": [{"type": "text", "text": "Be short."}],
                "messages": [
                    {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]},
                    {"role": "assistant", "content": [{"type": "tool_use", "id": "1"}]},
                    {"role": "user", "content": [{"type": "tool_result", "content": [{"text": "a cat"}]}]},
                ],
            },
            "system: Be short.\nuser: What is it?\nuser: a cat",
        ),
        ("responses", {"instructions": "Be short.", "input": "Hi"}, "system: Be short.\nuser: Hi"),
        ("responses", {"input": [{"role": "user", "content": [{"text": "Hi"}]}, 7, None]}, "user: Hi"),
        ("chat", {"messages": "what?"}, "user: what?"),
        ("chat", {"messages": [{"role": "user", "content": None}, [], 3]}, "the text"),
    ],
)
def test_the_conversation_is_a_line_for_who_speaks(surface: str, body: dict[str, object], expected: str) -> None:
    assert question_text(_call(surface, body), 1000) == expected


def test_however_deep_a_client_nests_it() -> None:
    content: object = "lost"
    for _ in range(5000):
        content = [{"type": "tool_result", "content": content}]
    body: dict[str, object] = {"messages": [{"role": "user", "content": content}, {"role": "user", "content": "Hi"}]}
    assert question_text(_call("messages", body), 1000) == "user: Hi"


def _events(*values: object) -> bytes:
    return b"".join(b"data: " + json.dumps(value).encode() + b"\r\n\r\n" for value in values)


@pytest.mark.parametrize(
    ("surface", "body"),
    [
        (
            "chat",
            _events(
                {"choices": [{"delta": {"content": "Hel"}}]},
                {"choices": []},
                {"choices": [{"index": 1, "delta": {"content": "no"}}]},
                {"choices": [{"index": 0, "delta": {"content": "lo"}}]},
            )
            + b"data: [DONE]\n\n",
        ),
        (
            "messages",
            b": ping\n\nevent: x\n"
            + _events(
                {"delta": {"type": "text_delta", "text": "Hello"}},
                {"delta": {"type": "thinking_delta", "thinking": "no"}},
                {"delta": None},
                7,
            ),
        ),
        (
            "responses",
            _events(
                {"type": "response.output_text.delta", "delta": "Hello"},
                {"type": "response.reasoning.delta", "delta": "no"},
            ),
        ),
    ],
)
def test_a_stream_is_put_together(surface: str, body: bytes) -> None:
    assert answer_text(surface, body, stream=True, most_chars=100) == "Hello"
    assert answer_text(surface, body + b"data: {broken", stream=True, most_chars=100) == "Hello"


@pytest.mark.parametrize("surface", ["chat", "messages", "responses"])
@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b'{"choices": [null], "content": 7, "output": [1, {}]}'])
def test_what_has_no_text_has_none(surface: str, body: bytes) -> None:
    assert answer_text(surface, body, stream=False, most_chars=100) == ""
    assert answer_text(surface, body, stream=True, most_chars=100, cut=True) == ""


def test_long_texts_keep_their_beginning_and_their_end() -> None:
    text = "a" * 500 + "b" * 500
    short = shortened(text, 200)
    assert len(short) <= 200
    assert short.startswith("aaa")
    assert short.endswith("bbb")
    assert CUT in short
    assert shortened(text, 1000) == text
