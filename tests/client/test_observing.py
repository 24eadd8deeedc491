"""What ``observe`` reads of a model's answer: every shape, whole and streamed, blocking and asynchronous."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from banditd.client.answers import Decision
from banditd.client.turn import Turn

CHAT = {
    "choices": [{"finish_reason": "stop", "message": {"content": "Bonjour"}}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 3}},
}
CACHED = {"input_tokens": 4, "cache_creation_input_tokens": 2, "cache_read_input_tokens": 3}
MESSAGE = {
    "type": "message",
    "content": [{"type": "text", "text": "Bonjour"}],
    "stop_reason": "end_turn",
    "usage": {**CACHED, "output_tokens": 4},
}
RESPONSE = {
    "object": "response",
    "status": "completed",
    "output": [],
    "usage": {"input_tokens": 9, "input_tokens_details": {"cached_tokens": 3}, "output_tokens": 4},
}
CHAT_STREAM = [
    {"choices": [{"delta": {"role": "assistant"}, "finish_reason": None}], "usage": None},
    {"choices": [{"delta": {"content": "Bon"}, "finish_reason": None}], "usage": None},
    {"choices": [{"delta": {"content": "jour"}, "finish_reason": None}], "usage": None},
    {"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": None},
    {"choices": [], "usage": CHAT["usage"]},
]
MESSAGE_STREAM: list[Any] = [
    {"type": "message_start", "message": {"usage": {**CACHED, "output_tokens": 1}}},
    {"type": "content_block_start", "content_block": {"type": "text"}},
    {"type": "content_block_delta", "delta": {"text": "Bonjour"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 4}},
    {"type": "message_stop"},
]
RESPONSE_STREAM: list[Any] = [
    {"type": "response.created", "response": {"object": "response", "status": "in_progress", "usage": None}},
    {"type": "response.output_text.delta", "delta": "Bonjour"},
    {"type": "response.completed", "response": RESPONSE},
]
TOKENS = {"input_tokens": 9, "output_tokens": 4, "cached_input_tokens": 3}
WHOLE = [(CHAT, "stop"), (MESSAGE, "end_turn"), (RESPONSE, "completed")]
STREAMS = [(CHAT_STREAM, "stop"), (MESSAGE_STREAM, "end_turn"), (RESPONSE_STREAM, "completed")]


@pytest.fixture
def turn() -> Turn:
    made = Decision(
        decision_id="01890a5d-ac96-774b-bcce-b302099a8057", policy="default", arm="a", model="m", propensity=1.0,
        predicted_reward=None, predicted_cost_usd=None, explored=False, reason="policy", degraded=None, fallbacks=(),
        policy_version=0, expires_at=datetime.now(UTC), raw={},
    )  # fmt: skip
    return Turn(made, source="human")


def reported(turn: Turn, failure: Exception | None = None) -> dict[str, Any]:
    said: dict[str, Any] = turn.close(failure)[0].body
    return said


def as_is(value: Any) -> Any:
    return value


def as_objects(value: Any) -> Any:
    return json.loads(json.dumps(value), object_hook=lambda fields: SimpleNamespace(**fields))


def as_lines(pieces: list[Any]) -> list[bytes]:
    return [f"data: {json.dumps(piece)}".encode() for piece in pieces] + [b"", b"data: [DONE]"]


async def slowly(pieces: list[Any]) -> AsyncIterator[Any]:
    for piece in pieces:
        yield piece


class Library:
    """A stream as libraries make them: an iterator, a context manager, with things of its own."""

    def __init__(self, pieces: list[Any], failure: Exception | None = None) -> None:
        self._pieces: Iterator[Any] = iter(pieces)
        self._failure = failure
        self.response = "the response"
        self.closed = False

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return next(self._pieces)
        except StopIteration:
            raise self._failure or StopIteration from None

    def __enter__(self) -> Library:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.closed = True


class Manager:
    """A stream that begins when its context is entered, as ``client.messages.stream()``."""

    def __init__(self, pieces: list[Any]) -> None:
        self.stream = Library(pieces)

    def __enter__(self) -> Library:
        return self.stream

    def __exit__(self, *_: object) -> None:
        self.stream.close()


@pytest.mark.parametrize(("answer", "reason"), WHOLE)
@pytest.mark.parametrize("shape", [as_is, as_objects, json.dumps])
def test_whole_answers_tell_tokens_whatever_their_shape(turn: Turn, answer: Any, reason: str, shape: Any) -> None:
    given = shape(answer)
    assert turn.observe(given) is given
    said = reported(turn)
    assert {name: said[name] for name in TOKENS} == TOKENS
    assert said["finish_reason"] == reason


@pytest.mark.parametrize(("total", "output"), [(331, 319), (14, 2), (10**30, 2)])
def test_thoughts_that_only_the_total_counts_are_told(turn: Turn, total: int, output: int) -> None:
    turn.observe({"usage": {"prompt_tokens": 12, "completion_tokens": 2, "total_tokens": total}})
    assert reported(turn)["output_tokens"] == output


@pytest.mark.parametrize("wrong", [-4, 10**30])
def test_a_figure_that_cannot_be_is_left_out_and_the_rest_is_told(turn: Turn, wrong: int) -> None:
    turn.observe({"usage": {"prompt_tokens": wrong, "completion_tokens": 3}})
    said = reported(turn)
    assert said["output_tokens"] == 3
    assert "input_tokens" not in said


def test_a_message_without_a_cache_is_counted_too(turn: Turn) -> None:
    turn.observe(MESSAGE | {"usage": {"input_tokens": 9, "output_tokens": 4}})
    said = reported(turn)
    assert (said["input_tokens"], said["output_tokens"]) == (9, 4)
    assert "cached_input_tokens" not in said


@pytest.mark.parametrize(("pieces", "reason"), STREAMS)
@pytest.mark.parametrize("shape", [as_is, lambda pieces: [as_objects(one) for one in pieces], as_lines])
def test_streams_are_noted_at_their_end(turn: Turn, pieces: list[Any], reason: str, shape: Any) -> None:
    given = shape(pieces)
    stream = turn.observe(Library(given))
    assert turn._latency_ms is None
    assert list(stream) == given
    assert stream.response == "the response"
    said = reported(turn)
    assert {name: said[name] for name in TOKENS} == TOKENS
    assert said["finish_reason"] == reason
    assert turn.first_token_ms is not None
    assert turn.first_token_ms <= said["latency_ms"]


@pytest.mark.parametrize(("pieces", "reason"), STREAMS)
async def test_asynchronous_streams_too(turn: Turn, pieces: list[Any], reason: str) -> None:
    stream = turn.observe(slowly(pieces))
    assert turn._latency_ms is None
    assert [piece async for piece in stream] == pieces
    said = reported(turn)
    assert {name: said[name] for name in TOKENS} == TOKENS
    assert said["finish_reason"] == reason


def test_a_context_that_gives_the_stream_is_followed(turn: Turn) -> None:
    manager: Any = Manager(MESSAGE_STREAM)
    with turn.observe(manager) as stream:
        assert list(stream) == MESSAGE_STREAM
    assert manager.stream.closed
    assert reported(turn)["output_tokens"] == 4


def test_a_stream_that_is_left_early_tells_what_came(turn: Turn) -> None:
    library = Library(MESSAGE_STREAM)
    with turn.observe(library) as stream:
        for piece in stream:
            if piece["type"] == "content_block_delta":
                break
    assert library.closed
    assert reported(turn)["input_tokens"] == 9


@pytest.mark.parametrize(
    "odd",
    [{"type": ["x"]}, {"type": {}, "usage": 3}, "[" * 100_000, {"usage": {"prompt_tokens": True}}, {"choices": 7}],
    ids=["list", "mapping", "deep", "boolean", "number"],
)
def test_a_piece_like_none_that_is_known_is_passed_on_and_hurts_nothing(turn: Turn, odd: Any) -> None:
    assert list(turn.observe(Library([odd, *CHAT_STREAM]))) == [odd, *CHAT_STREAM]
    assert TOKENS.items() <= reported(turn).items()


def test_a_stream_that_breaks_is_the_models_failure(turn: Turn) -> None:
    stream = turn.observe(Library(CHAT_STREAM[:2], ConnectionError("gone")))
    with pytest.raises(ConnectionError) as raised:
        list(stream)
    assert reported(turn, raised.value)["error"] == "ConnectionError"


def test_a_stream_read_after_its_turn_still_reads_and_says_that_it_came_late(
    turn: Turn, caplog: pytest.LogCaptureFixture
) -> None:
    stream = turn.observe(Library(CHAT_STREAM))
    turn.close()
    with caplog.at_level(logging.WARNING):
        assert list(stream) == CHAT_STREAM
    assert "inside" in caplog.text


async def test_a_call_that_was_not_awaited_is_refused(turn: Turn) -> None:
    async def call() -> Any:
        return CHAT

    made = call()
    with pytest.raises(TypeError, match="await"):
        turn.observe(made)
    made.close()
