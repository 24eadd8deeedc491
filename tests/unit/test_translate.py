"""Translation of requests and answers, there and back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banditd.ports.upstreams import StreamEvent
from banditd.upstreams.config import UpstreamConfig
from banditd.upstreams.dialect import MalformedEventError
from banditd.upstreams.litellm import LiteLLMUpstream
from banditd.upstreams.sse import Framer
from banditd.upstreams.translate import to_chat, to_messages
from banditd.upstreams.translate.replies import chat_of, message_of
from banditd.upstreams.translate.streams import ChatFromMessages, MessagesFromChat
from banditd.web.gateway.conversations import read_conversation

WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(str.strip)
NAMES = st.text("abcdefgh_", min_size=1, max_size=8)
INPUTS = st.dictionaries(NAMES, st.none() | st.booleans() | st.integers(-(2**40), 2**40) | WORDS, max_size=3)


LITELLM = LiteLLMUpstream(UpstreamConfig(name="up", kind="litellm"))
# What a client may write where a type, a role, a number or a list should stand.
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from(["text", "tool_result", "user", "assistant", ""]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["type", "text"]), inner, max_size=2),
    max_leaves=4,
)
_PARTS = st.lists(
    st.dictionaries(st.sampled_from(["type", "text", "content", "image_url", "source"]), ANYTHING, max_size=3),
    max_size=2,
)
_MESSAGES = st.lists(
    st.fixed_dictionaries({"role": ANYTHING, "content": ANYTHING | _PARTS}, optional={"type": ANYTHING}), max_size=2
)
_FIELDS = ("n", "stop", "system", "tool_choice", "response_format", "metadata", "stop_sequences", "thinking")


@given(
    st.fixed_dictionaries(
        {"messages": _MESSAGES}, optional=dict.fromkeys(_FIELDS, ANYTHING) | {"tools": _PARTS, "input": _MESSAGES}
    )
)
def test_whatever_stands_in_the_place_of_a_type_is_the_upstreams_to_judge(body: dict[str, Any]) -> None:
    read_conversation(body)
    LITELLM.unable("chat", body)
    LITELLM.unable("messages", body)
    if to_chat.uncarried(body) is None:
        json.dumps(to_chat.to_chat(body))
    if to_messages.uncarried(body) is None:
        json.dumps(to_messages.to_messages(body))


@st.composite
def conversations(draw: st.DrawFn) -> dict[str, Any]:
    """Requests for a message: turns of a user, answers with tools in parallel, and their results."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": draw(WORDS)}]
    for turn in range(draw(st.integers(0, 3))):
        calls = [
            {"type": "tool_use", "id": f"call_{turn}_{n}", "name": draw(NAMES), "input": draw(INPUTS)}
            for n in range(draw(st.integers(0, 3)))
        ]
        said = [{"type": "text", "text": draw(WORDS)}] if not calls or draw(st.booleans()) else []
        messages.append({"role": "assistant", "content": [*said, *calls] if calls else said[0]["text"]})
        results = [{"type": "tool_result", "tool_use_id": call["id"], "content": draw(WORDS)} for call in calls]
        words = [{"type": "text", "text": draw(WORDS)}] if not results or draw(st.booleans()) else []
        messages.append({"role": "user", "content": [*results, *words] if results else words[0]["text"]})
    body: dict[str, Any] = {"model": "m", "max_tokens": draw(st.integers(1, 9999)), "messages": messages}
    if draw(st.booleans()):
        body["system"] = draw(WORDS)
    if draw(st.booleans()):
        schema = {"type": "object", "properties": {"x": {"type": "string"}}}
        body["tools"] = [{"name": draw(NAMES), "description": draw(WORDS), "input_schema": schema}]
        choices = ({"type": "auto"}, {"type": "any"}, {"type": "none"}, {"type": "tool", "name": "f"})
        body["tool_choice"] = draw(st.sampled_from(choices))
    tuned = draw(st.sampled_from((None, "temperature", "top_p")))  # both at once are refused
    if tuned is not None:
        body[tuned] = draw(st.floats(0, 1))
    if draw(st.booleans()):
        body["stream"] = draw(st.booleans())
    if draw(st.booleans()):
        body["stop_sequences"] = draw(st.lists(WORDS, min_size=1, max_size=4))
    return body


@given(conversations())
def test_a_request_for_a_message_survives_the_way_there_and_back(body: dict[str, Any]) -> None:
    assert to_chat.uncarried(body) is None
    chat = to_chat.to_chat(body)
    assert to_messages.uncarried(chat) is None
    assert to_messages.to_messages(chat) == body


BLOCKS = st.lists(
    st.builds(lambda text: {"type": "text", "text": text}, WORDS)
    | st.builds(lambda name, given: {"type": "tool_use", "name": name, "input": given}, NAMES, INPUTS),
    min_size=1,
    max_size=4,
)


def _message(blocks: list[dict[str, Any]], reason: str = "end_turn") -> dict[str, Any]:
    """Texts first, in one block, as a chat has them."""
    text = "".join(block["text"] for block in blocks if block["type"] == "text")
    calls = [block for block in blocks if block["type"] == "tool_use"]
    content = [{"type": "text", "text": text}] if text else []
    content += [{"id": f"call_{n}", **call} for n, call in enumerate(calls)]
    usage = {
        "input_tokens": 8,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 3,
        "output_tokens": 5,
    }
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": content}
    return {**head, "stop_reason": "tool_use" if calls else reason, "stop_sequence": None, "usage": usage}


@given(BLOCKS, st.sampled_from(["end_turn", "max_tokens", "refusal"]))
def test_an_answer_survives_the_way_there_and_back(blocks: list[dict[str, Any]], reason: str) -> None:
    message = _message(blocks, reason)
    assert message_of(chat_of(message, 0)) == message


def _chunks(message: dict[str, Any], order: list[int]) -> bytes:
    """A chat's stream that tells the tool calls of a message in turns, piece by piece."""
    pieces: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    calls = [block for block in message["content"] if block["type"] == "tool_use"]
    pieces += [
        {"content": letter} for block in message["content"] if block["type"] == "text" for letter in block["text"]
    ]
    rest = [json.dumps(call["input"], ensure_ascii=False, separators=(",", ":")) for call in calls]
    for n, call in enumerate(calls):
        function = {"name": call["name"], "arguments": ""}
        pieces.append({"tool_calls": [{"index": n, "id": call["id"], "type": "function", "function": function}]})
    for turn in (*order, *range(len(calls))):
        if turn < len(calls) and rest[turn]:
            size = 2 if turn in order else len(rest[turn])
            pieces.append({"tool_calls": [{"index": turn, "function": {"arguments": rest[turn][:size]}}]})
            rest[turn] = rest[turn][size:]
    for n, more in enumerate(rest):
        if more:
            pieces.append({"tool_calls": [{"index": n, "function": {"arguments": more}}]})
    head = {"id": message["id"], "model": message["model"]}
    reason = {"tool_use": "tool_calls", "end_turn": "stop"}[message["stop_reason"]]
    said = [{**head, "choices": [{"index": 0, "delta": piece, "finish_reason": None}]} for piece in pieces]
    said.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
    usage = {"prompt_tokens": 11, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 3}}
    said.append({**head, "choices": [], "usage": usage})
    return b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in said)


def _read(reader: Any, raw: bytes) -> bytes:
    events: list[StreamEvent] = [reader.read(frame) for frame in Framer(max_event_bytes=10**7).feed(raw)]
    assert reader.finished
    return b"".join(event.raw for event in (*events, *reader.rest()))


def _collected(raw: bytes) -> dict[str, Any]:
    """A message put together as Anthropic's clients do; blocks must follow one another."""
    message: dict[str, Any] = {}
    parts: dict[int, str] = {}
    open_block: int | None = None
    for frame in Framer(max_event_bytes=10**7).feed(raw):
        said = json.loads(frame.data or b"{}")
        assert frame.name == said["type"].encode()
        kind = said["type"]
        if kind == "message_start":
            message = said["message"]
        elif kind == "content_block_start":
            assert open_block is None
            assert said["index"] == len(message["content"])
            open_block = said["index"]
            message["content"].append(said["content_block"])
        elif kind == "content_block_delta":
            assert said["index"] == open_block
            delta = said["delta"]
            if delta["type"] == "text_delta":
                message["content"][open_block]["text"] += delta["text"]
            else:
                parts[open_block] = parts.get(open_block, "") + delta["partial_json"]
        elif kind == "content_block_stop":
            if message["content"][open_block]["type"] == "tool_use":
                message["content"][open_block]["input"] = json.loads(parts.get(open_block or 0) or "{}")
            open_block = None
        elif kind == "message_delta":
            message |= said["delta"]
            message["usage"] = said["usage"]
    assert open_block is None
    return message


@given(BLOCKS, st.lists(st.integers(0, 3), max_size=12))
def test_a_stream_tells_what_the_whole_answer_tells(blocks: list[dict[str, Any]], order: list[int]) -> None:
    """Also where calls of tools are told in turns; and back again from there."""
    message = _message(blocks)
    chunks = _chunks(message, order)
    events = _read(MessagesFromChat(), chunks)
    assert _collected(events) == message
    done = _read(MessagesFromChat(), chunks + b"data: [DONE]\n\n")
    assert done == events
    back = _read(ChatFromMessages(show_usage=True, created_s=0), events)
    assert back.endswith(b"data: [DONE]\n\n")
    assert _collected(_read(MessagesFromChat(), back)) == message


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"messages": [{"role": "user", "content": [{"type": "document", "source": {}}]}]}, "document"),
        ({"messages": [{"role": "user", "content": [{"type": "search_result"}]}]}, "content"),
        ({"messages": [{"role": "assistant", "content": [{"type": "server_tool_use"}]}]}, "content"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "file"}}]}]}, "image"),
        (
            {"messages": [{"role": "user", "content": [{"type": "tool_result", "content": [{"type": "image"}]}]}]},
            "tool_result",
        ),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools"),
        ({"mcp_servers": [{"url": "https://x"}]}, "mcp_servers"),
        ({"stop_sequences": list("abcde")}, "stop_sequences"),
    ],
)
def test_what_a_chat_cannot_hold_is_named(more: dict[str, Any], what: str) -> None:
    assert to_chat.uncarried({"messages": [{"role": "user", "content": "x"}], **more}) == what


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"n": 2}, "n"),
        ({"stop": "\n"}, "stop"),
        ({"stop": ["END", " "]}, "stop"),
        ({"logprobs": True}, "logprobs"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "content"),
        ({"messages": [{"role": "function", "content": "x"}]}, "role"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": "{"}}]}]}, "tool_calls"),
    ],
)
def test_what_a_message_cannot_hold_is_named(more: dict[str, Any], what: str) -> None:
    assert to_messages.uncarried({"messages": [{"role": "user", "content": "x"}], **more}) == what


def test_pictures_go_both_ways() -> None:
    source = {"type": "base64", "media_type": "image/jpeg", "data": "AAAA"}
    blocks = [{"type": "text", "text": "see"}, {"type": "image", "source": source}]
    blocks.append({"type": "image", "source": {"type": "url", "url": "https://x/y.png"}})
    body = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": blocks}]}
    chat: Any = to_chat.to_chat(body)
    assert chat["messages"][0]["content"][1]["image_url"]["url"] == "data:image/jpeg;base64,AAAA"
    assert to_messages.to_messages(chat) == body


def test_thoughts_instructions_and_limits() -> None:
    thought = [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "yes"}]
    chat = to_chat.to_chat({"model": "m", "messages": [{"role": "assistant", "content": thought}]})
    assert chat["messages"] == [{"role": "assistant", "content": "yes"}]
    asked: list[dict[str, Any]] = [
        {"role": "system", "content": "a"}, {"role": "user", "content": "b"}, {"role": "developer", "content": "c"}
    ]  # fmt: skip
    told = to_messages.to_messages({"model": "m", "messages": asked, "temperature": 1.7})
    assert (told["system"], told["max_tokens"], told["temperature"]) == ("a\n\nc", 8192, 1)
    limited = to_messages.to_messages({"model": "m", "messages": asked, "max_completion_tokens": 3, "max_tokens": 9})
    assert limited["max_tokens"] == 3
    both = to_messages.to_messages({"model": "m", "messages": asked, "temperature": 0.5, "top_p": 1})
    assert (both["temperature"], "top_p" in both) == (0.5, False)
    named: Any = {"messages": [], "metadata": {"user_id": "u" * 64}}
    assert to_chat.to_chat(named)["user"] == "u" * 64
    named["metadata"]["user_id"] += "_session_4711"
    assert "user" not in to_chat.to_chat(named)
    assert to_chat.to_chat({"max_tokens": 3}, max_tokens="max_completion_tokens")["max_completion_tokens"] == 3


def test_broken_arguments_are_an_error_unless_the_answer_was_cut() -> None:
    call = {"id": "c", "function": {"name": "f", "arguments": '{"a": '}}
    chat: Any = {"choices": [{"message": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]}
    with pytest.raises(MalformedEventError):
        message_of(chat)
    chat["choices"][0]["finish_reason"] = "length"
    assert message_of(chat)["stop_reason"] == "max_tokens"


def _chat(message: dict[str, Any], reason: str) -> dict[str, Any]:
    return {"id": "c", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": reason}]}


def _streamed(message: dict[str, Any], reason: str) -> dict[str, Any]:
    """The same message by a stream."""
    chunk = {"id": "c", "model": "m", "choices": [{"index": 0, "delta": message, "finish_reason": reason}]}
    return _collected(_read(MessagesFromChat(), b"data: " + json.dumps(chunk).encode() + b"\n\ndata: [DONE]\n\n"))


@pytest.mark.parametrize(("reason", "told"), [("stop", "tool_use"), ("length", "max_tokens")])
def test_who_had_to_call_a_tool_stopped_for_it(reason: str, told: str) -> None:
    """OpenAI's endpoint says ``stop`` where ``tool_choice`` names the function, others always."""
    message = {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}]}
    assert message_of(_chat(message, reason))["stop_reason"] == told
    assert _streamed(message, reason)["stop_reason"] == told


def test_an_answer_in_parts_is_its_texts() -> None:
    """Mistral's thinking models give a list; thoughts are not shown."""
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    message = {"content": [thought, {"type": "text", "text": "yes"}]}
    assert message_of(_chat(message, "stop"))["content"] == [{"type": "text", "text": "yes"}]
    assert _streamed(message, "stop")["content"] == [{"type": "text", "text": "yes"}]


def test_what_other_models_said_is_acceptable_to_anthropics() -> None:
    """White space alone is refused as a text, and so are ids with other signs than these."""
    call = {"id": "functions.f:0", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    chat = [
        {"role": "system", "content": " "}, {"role": "user", "content": [{"type": "text", "text": "go"}]},
        {"role": "assistant", "content": "\n\n", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "functions.f:0", "content": "1"},
        {"role": "assistant", "content": " "}, {"role": "user", "content": "on"},
    ]  # fmt: skip
    told: Any = to_messages.to_messages({"model": "m", "messages": chat})
    assert "system" not in told
    assert [message["role"] for message in told["messages"]] == ["user", "assistant", "user", "user"]
    assert told["messages"][1]["content"] == [{"type": "tool_use", "id": "functions_f_0", "name": "f", "input": {}}]
    assert told["messages"][2]["content"][0]["tool_use_id"] == "functions_f_0"


def test_the_user_begins() -> None:
    """Chats may begin with the assistant's greeting, or be instructions alone; messages may not."""
    greeted: Any = to_messages.to_messages({"messages": [
        {"role": "system", "content": "be kind"}, {"role": "assistant", "content": "hello"},
        {"role": "user", "content": "hi"},
    ]})  # fmt: skip
    assert [one["role"] for one in greeted["messages"]] == ["user", "assistant", "user"]
    assert greeted["system"] == "be kind"
    alone: Any = to_messages.to_messages({"messages": [{"role": "system", "content": "write a poem"}]})
    assert alone["messages"] == [{"role": "user", "content": "write a poem"}]
    assert "system" not in alone


@pytest.mark.parametrize(
    "message", ["x", {"content": 5, "tool_calls": ["x", {"function": "y"}]}, {"content": ["x"], "refusal": {}}]
)
def test_what_is_no_message_is_no_failure_of_ours(message: Any) -> None:
    assert message_of(_chat(message, "stop"))["type"] == "message"
    assert chat_of({"content": ["x", None, {"type": "tool_use", "input": 5}]}, 0)["object"] == "chat.completion"
