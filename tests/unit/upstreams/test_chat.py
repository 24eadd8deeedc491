"""What is changed in a request (the arm's business, nothing else), and what is read of answers."""

from __future__ import annotations

import json

import pytest

from banditd.ports.upstreams import TokenUsage, UpstreamCall
from banditd.upstreams.chat import ChatDialect, ChatReader
from banditd.upstreams.dialect import ErrorEventError, MalformedEventError
from banditd.upstreams.messages import MessagesDialect
from banditd.upstreams.sse import parse_frame

BODY = {
    "model": "banditd/auto", "messages": [{"role": "user", "content": "wörld \ud83d"}], "temperature": 1.0,
    "max_tokens": 7, "unknown": {"deep": [1, None]}, "stream_options": {"include_obfuscation": False},
}  # fmt: skip


def _call(body: dict[str, object] = BODY, **more: object) -> UpstreamCall:
    return UpstreamCall(upstream="up", surface="chat", model="vendor/m", body=body, **more)  # type: ignore[arg-type]


def test_only_the_model_and_the_usage_of_a_stream_are_changed() -> None:
    assert json.loads(ChatDialect().write(_call(), stream=False)) == {**BODY, "model": "vendor/m"}
    streamed = json.loads(ChatDialect().write(_call(), stream=True))
    assert streamed == {
        **BODY, "model": "vendor/m", "stream_options": {"include_obfuscation": False, "include_usage": True}
    }  # fmt: skip


def test_the_arms_parameters_win_and_null_takes_out() -> None:
    call = _call(
        params={"reasoning_effort": "low", "temperature": None},
        rename_params={"max_tokens": "max_completion_tokens", "not_there": "x"},
    )
    sent = json.loads(ChatDialect().write(call, stream=False))
    assert "temperature" not in sent
    assert "max_tokens" not in sent
    assert (sent["reasoning_effort"], sent["max_completion_tokens"]) == ("low", 7)
    sent = json.loads(ChatDialect().write(_call(params={"stream_options": None}), stream=True))
    assert "stream_options" not in sent  # some endpoints do not know them


def test_a_new_name_that_the_client_gave_itself_stays() -> None:
    body = {"max_tokens": 7, "max_completion_tokens": 9}
    sent = json.loads(
        ChatDialect().write(_call(body, rename_params={"max_tokens": "max_completion_tokens"}), stream=False)
    )
    assert sent == {"max_completion_tokens": 9, "model": "vendor/m"}


def _chunk(**choice: object) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, **choice}]}).encode() + b"\n\n"


@pytest.mark.parametrize(
    ("delta", "content"),
    [
        ({"role": "assistant"}, False),
        ({"role": "assistant", "content": ""}, False),
        ({"role": "assistant", "content": None, "refusal": None}, False),
        ({}, False),
        ({"content": "a"}, True),
        ({"role": "assistant", "content": "a"}, True),
        ({"reasoning_content": "hm"}, True),
        ({"reasoning": "hm", "content": ""}, True),
        ({"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]}, True),
        ({"refusal": "I will not"}, True),
        ({"audio": {"data": "abc"}}, True),
    ],
)
def test_an_answer_begins_with_content_and_not_with_a_role(delta: dict[str, object], content: bool) -> None:
    assert ChatReader().read(parse_frame(_chunk(delta=delta))).content is content


def test_it_has_finished_when_every_choice_that_was_asked_for_has() -> None:
    reader = ChatDialect().reader(_call({**BODY, "n": 2}))
    for index in (0, 1):
        reader.read(parse_frame(_chunk(index=index, delta={"content": "a"})))
        assert not reader.finished
        reader.read(parse_frame(_chunk(index=index, delta={}, finish_reason="stop")))
    assert reader.finished
    assert not reader.ended
    reader.read(parse_frame(b"data: [DONE]\n\n"))
    assert reader.ended


@pytest.mark.parametrize("data", [b"{", b"[]", b"7", b'"x"', b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_object_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedEventError):
        ChatReader().read(parse_frame(b"data: " + data + b"\n\n"))


@pytest.mark.parametrize(
    "raw",
    [
        b'data: {"error": {"message": "x"}}\n\n',
        b'event: error\ndata: {"message": "x"}\n\n',
        b"event: error\ndata: plain words\n\n",
        _chunk(delta={}, finish_reason="error"),
    ],
)
def test_an_error_is_an_error_in_every_dress(raw: bytes) -> None:
    with pytest.raises(ErrorEventError):
        ChatReader().read(parse_frame(raw))


@pytest.mark.parametrize("chunk", [{}, {"choices": []}, {"choices": None}, {"choices": [None, 7, {}]}])
def test_chunks_without_anything_are_harmless(chunk: dict[str, object]) -> None:
    event = ChatReader().read(parse_frame(b"data: " + json.dumps(chunk).encode() + b"\n\n"))
    assert (event.content, event.finish_reason, event.usage_only) == (False, None, False)


def test_usage_is_found_on_any_chunk() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 5}, "cost": 0.25}
    alone = json.dumps({"choices": [], "usage": usage}).encode()
    odd = json.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": usage}).encode()
    for data, only in ((alone, True), (odd, False)):
        event = ChatReader().read(parse_frame(b"data: " + data + b"\n\n"))
        assert event.usage == TokenUsage(9, 4, 5, 0.25)
        assert event.usage_only is only


@pytest.mark.parametrize(
    ("total", "output"), [(331, 319), (14, 2), (0, 2), (None, 2), ("331", 2), (10**12, 2), (-5, 2)]
)
def test_thoughts_that_only_the_total_counts_are_paid(total: object, output: int) -> None:
    """As xAI and Google tell their usage: 317 tokens of thought behind an answer of two."""
    usage = {"prompt_tokens": 12, "completion_tokens": 2, "total_tokens": total}
    event = ChatReader().read(parse_frame(b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n"))
    assert event.usage == TokenUsage(12, output)
    del usage["completion_tokens"]
    event = ChatReader().read(parse_frame(b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n"))
    assert event.usage == TokenUsage(12, 319 if output > 2 else 2 if total == 14 else 0)


@pytest.mark.parametrize(
    "usage", [None, {}, [], {"prompt_tokens": "9"}, {"prompt_tokens": -1}, {"prompt_tokens": True}]
)
def test_what_is_no_usage_is_none(usage: object) -> None:
    data = json.dumps({"choices": [], "usage": usage}).encode()
    event = ChatReader().read(parse_frame(b"data: " + data + b"\n\n"))
    assert event.usage is None
    assert not event.usage_only


def test_a_whole_answer_that_ended_with_an_error_is_one() -> None:
    """OpenRouter's way to say that the model's provider broke off."""
    choice = {"message": {"content": "The ca"}, "finish_reason": "error", "error": {"code": 502, "message": "broke"}}
    with pytest.raises(ErrorEventError) as raised:
        ChatDialect().read(json.dumps({"choices": [choice]}).encode(), _call())
    assert raised.value.error == choice["error"]
    with pytest.raises(ErrorEventError):
        MessagesDialect().read(json.dumps({"content": [], "stop_reason": "error"}).encode(), _call())


@pytest.mark.parametrize("body", [b"", b"{}", b'{"choices": []}', b'{"choices": [7]}', b"<html>"])
def test_a_whole_answer_without_choices_is_none(body: bytes) -> None:
    with pytest.raises(MalformedEventError):
        ChatDialect().read(body, _call())
