"""A chunk that is taken for like the one before says just what it says when it is read as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from banditd.ports.upstreams import StreamEvent
from banditd.upstreams import sse
from banditd.upstreams.alike import Alike
from banditd.upstreams.chat import ChatReader
from banditd.upstreams.dialect import ErrorEventError, MalformedEventError
from banditd.upstreams.messages import MessagesReader
from banditd.upstreams.sse import parse_frame

TEXTS = st.text(max_size=6) | st.sampled_from(
    ["", "\\", '"', "\n", '"content":"', "é", "\u2028", "\u00a0", "\x7f", "🙂"]
)
DELTAS = st.one_of(
    st.builds(lambda text: {"content": text}, TEXTS),
    st.builds(lambda text: {"content": text, "reasoning_content": text}, TEXTS),
    st.builds(lambda text: {"role": "assistant", "content": text}, TEXTS),
    st.builds(lambda text: {"reasoning_content": text}, TEXTS),
    st.just({"tool_calls": [{"index": 0, "function": {"arguments": '{"content":"x"}'}}]}),
    st.just({}),
)
CHUNKS = st.fixed_dictionaries(
    {
        "id": st.just("c"),
        "choices": st.lists(
            st.fixed_dictionaries(
                {"index": st.integers(0, 1), "delta": DELTAS, "finish_reason": st.sampled_from([None, None, "stop"])}
            ),
            max_size=2,
        ),
    },
    optional={
        "usage": st.sampled_from([None, {"prompt_tokens": 3, "completion_tokens": 4}]),
        "obfuscation": st.sampled_from(["", "abc", 'a"b']),
        "error": st.sampled_from([None, {"message": "broke"}]),
    },
)


def encoded(chunk: Any, *, ascii_only: bool, separators: tuple[str, str]) -> bytes:
    return json.dumps(chunk, ensure_ascii=ascii_only, separators=separators).encode()


def said(reader: ChatReader | MessagesReader, data: bytes, name: str | None = None) -> Any:
    try:
        event: StreamEvent = reader.read(parse_frame(sse.event(data, name)))
    except (MalformedEventError, ErrorEventError) as error:
        return type(error)
    return (
        event.content, event.characters, event.finish_reason, event.usage, event.usage_only, reader.finished,
    )  # fmt: skip


class Forgetful(Alike):
    """Recognises nothing."""

    def text(self, data: bytes) -> str | None:
        return None


def forgetful() -> ChatReader:
    reader = ChatReader()
    reader._alike = Forgetful()
    return reader


@settings(max_examples=300)
@given(st.lists(CHUNKS, max_size=8), st.booleans(), st.sampled_from([(",", ":"), (", ", ": ")]))
def test_a_stream_says_the_same_chunk_by_chunk(
    chunks: list[Any], ascii_only: bool, separators: tuple[str, str]
) -> None:
    quick, slow = ChatReader(), forgetful()
    for chunk in chunks:
        data = encoded(chunk, ascii_only=ascii_only, separators=separators)
        assert said(quick, data) == said(slow, data)


BASE = b'{"id":"c","choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":%s}]%s}'


@pytest.mark.parametrize(
    "data",
    [
        BASE % (b"more", b"null", b""),
        BASE % (b"more", b'"stop"', b""),
        BASE % (b"more", b"null", b',"usage":{"prompt_tokens":1,"completion_tokens":2}'),
        BASE % (b"more", b"null", b',"error":{"message":"broke"}'),
        BASE % (b'more"},"finish_reason":"stop"}],"x":[{"y":{"z":"', b"null", b""),
        BASE % (b"", b"null", b""),
        BASE % (b"tab\there", b"null", b""),
        BASE % (b"bad \xff utf-8", b"null", b""),
        BASE % (b"escaped \\u0041", b"null", b""),
        BASE % (b"bad escape \\x", b"null", b""),
        (BASE % (b"cut", b"null", b""))[:-1],
        BASE % (b"more", b"null", b"") + b"}",
    ],
)
def test_what_only_looks_alike_is_read(data: bytes) -> None:
    quick, slow = ChatReader(), forgetful()
    for reader in (quick, slow):
        said(reader, BASE % (b"first", b"null", b""))
    assert said(quick, data) == said(slow, data)


def test_padding_of_any_length_does_not_matter() -> None:
    alike = Alike()
    padded = b'data: {"choices":[{"delta":{"content":"%s"}}],"obfuscation":"%s","last":1}\n\n'
    alike.learn(padded % (b"one", b"abc"), "content", "one")
    assert alike.text(padded % (b"two", b"")) == "two"
    assert alike.text(padded % (b"two", b"abcdefgh")) == "two"
    assert alike.text(padded % (b"two", b"a\\")) is None
    assert alike.text(padded % (b"two", b'a","x":"')) is None


def test_text_of_messages_is_recognised_and_nothing_else() -> None:
    reader = MessagesReader()
    delta = b'{"type":"content_block_delta","index":0,"delta":{"type":"%s","%s":"%s"}}'
    name = "content_block_delta"
    assert said(reader, delta % (b"text_delta", b"text", b"ab"), name)[:2] == (True, 2)
    assert said(reader, delta % (b"text_delta", b"text", b"abc"), name)[:2] == (True, 3)
    assert said(reader, delta % (b"text_delta", b"text", b"abc"), "error") is ErrorEventError
    assert said(reader, delta % (b"signature_delta", b"signature", b"abc"), name)[:2] == (False, 0)
    assert said(reader, delta % (b"text_delta", b"text", b"\\n"), name)[:2] == (True, 1)


@pytest.mark.parametrize(
    "delta", ['{"content":"%s"}', '{"content": "%s"}', '{"reasoning": "%s"}', '{"role":"a","content":"%s"}']
)
def test_the_second_chunk_is_recognised_however_it_is_written(delta: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = ChatReader()
    chunk = '{"id":"c","choices":[{"index":0,"delta":' + delta + ',"finish_reason":null}]}'
    said(reader, (chunk % "one").encode())
    monkeypatch.setattr("banditd.upstreams.chat.parse", None)
    assert said(reader, (chunk % "three").encode())[:2] == (True, 5)


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
def test_a_read_is_known_only_where_it_is_one_whole_event(end: bytes) -> None:
    reader = ChatReader()
    one = b"data: " + BASE % (b"more", b"null", b"") + end
    assert reader.known(one) is None
    reader.read(parse_frame(one))
    assert reader.known(one) == StreamEvent(one, content=True, characters=4)
    for other in (one + one, one[:-1], one[1:], one + b"data: [DONE]" + end, b": comment" + end + one, b""):
        assert reader.known(other) is None
