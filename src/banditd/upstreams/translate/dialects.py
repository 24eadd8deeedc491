"""The dialects that translate: how a call is written and read where client and upstream speak different forms."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from banditd.ports.upstreams import UpstreamCall
from banditd.upstreams.chat import ChatDialect, encode, parse
from banditd.upstreams.dialect import Answer, StreamReader
from banditd.upstreams.messages import MessagesDialect
from banditd.upstreams.translate import to_chat, to_messages
from banditd.upstreams.translate.replies import chat_of, message_of
from banditd.upstreams.translate.streams import ChatFromMessages, MessagesFromChat


class MessagesOverChat:
    """Answers on the surface ``messages`` by an upstream that speaks chats.

    max_tokens : what it calls the limit of its answer. The arm's parameters are in the upstream's own form.
    """

    path = ChatDialect.path

    def __init__(self, *, max_tokens: str = "max_tokens") -> None:
        self._inner = ChatDialect()
        self._max_tokens = max_tokens

    def uncarried(self, body: Mapping[str, object]) -> str | None:
        """What of a request a chat cannot hold."""
        return to_chat.uncarried(body)

    def write(self, call: UpstreamCall, *, stream: bool) -> bytes:
        """The chat that asks the same."""
        body = to_chat.to_chat(call.body, max_tokens=self._max_tokens)
        return self._inner.write(replace(call, body=body), stream=stream)

    def reader(self, _call: UpstreamCall) -> StreamReader:
        """A new reader for one stream."""
        return MessagesFromChat()

    def read(self, body: bytes, call: UpstreamCall) -> Answer:
        """A whole completion, as a message. Raises MalformedEventError, ErrorEventError."""
        answer = self._inner.read(body, call)
        return answer._replace(body=encode(message_of(parse(body))))


class ChatOverMessages:
    """Answers on the surface ``chat`` by an upstream that speaks Anthropic's messages."""

    path = MessagesDialect.path

    def __init__(self) -> None:
        self._inner = MessagesDialect()

    def uncarried(self, body: Mapping[str, object]) -> str | None:
        """What of a request a message cannot hold."""
        return to_messages.uncarried(body)

    def write(self, call: UpstreamCall, *, stream: bool) -> bytes:
        """The request for a message that asks the same."""
        return self._inner.write(replace(call, body=to_messages.to_messages(call.body)), stream=stream)

    def reader(self, call: UpstreamCall) -> StreamReader:
        """A new reader for one stream."""
        options = call.body.get("stream_options")
        show_usage = isinstance(options, dict) and options.get("include_usage") is True
        return ChatFromMessages(show_usage=show_usage, created_s=int(time.time()))

    def read(self, body: bytes, call: UpstreamCall) -> Answer:
        """A whole message, as a completion. Raises MalformedEventError, ErrorEventError."""
        answer = self._inner.read(body, call)
        return answer._replace(body=encode(chat_of(parse(body), int(time.time()))))
