"""An exchange whose answer a listener wants: the bytes are copied, up to a limit, and handed over at the end.

Nothing waits for this: events are copied as they pass, and the listener gets them after the client.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from banditd.core.types import Decision
from banditd.ports.upstreams import StreamEvent
from banditd.services.gateway.call import GatewayCall
from banditd.services.gateway.exchange import Exchange, Surroundings

MAX_COPIED_BYTES: Final = 1_048_576
"""Limit per answer: a stream is cut there, and a larger answer in one piece is not handed over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A complete answer. body : the answer, or the events of its stream, in the client's form.

    cut : whether the stream was longer than what is kept.
    """

    decision: Decision
    arm: str
    call: GatewayCall
    body: bytes
    cut: bool = False


class Listener(Protocol):
    """Whoever wants copies of answers."""

    def wants(self, decision: Decision, call: GatewayCall) -> bool:
        """Whether it wants the answer to this decision."""

    def hear(self, answered: Answered) -> None:
        """Take an answer, without waiting for anything."""


class ListenedExchange(Exchange):
    """An ``Exchange`` that hands its answer to a listener, if that wants it."""

    def __init__(self, surroundings: Surroundings, call: GatewayCall, listener: Listener) -> None:
        super().__init__(surroundings, call)
        self._listener = listener
        self._copied: list[bytes] = []
        self._size = 0
        self._handed_over = False

    def events(self) -> AsyncIterator[Sequence[StreamEvent]]:
        """As in ``Exchange``."""
        events = super().events()
        return self._copying(events) if self._is_wanted() else events

    def finish(self) -> asyncio.Task[None] | None:
        """As in ``Exchange``; the first call hands the answer to the listener, if it is complete."""
        settling = super().finish()
        if settling is not None and not self._handed_over:
            self._handed_over = True
            self._hand_over()
        return settling

    def _is_wanted(self) -> bool:
        return self.decision is not None and self._listener.wants(self.decision, self.call)

    async def _copying(self, events: AsyncIterator[Sequence[StreamEvent]]) -> AsyncIterator[Sequence[StreamEvent]]:
        async for some in events:
            for event in some:
                self._size += len(event.raw)
                if self._size <= MAX_COPIED_BYTES:
                    self._copied.append(event.raw)
            yield some

    def _hand_over(self) -> None:
        decision, arm = self.decision, self.served
        if not self._whole or decision is None or arm is None or not self._is_wanted():
            return
        copied, self._copied = b"".join(self._copied), []
        body = copied if self.reply is None else self.reply.body
        if self.reply is not None and len(body) > MAX_COPIED_BYTES:
            return
        cut = self._size > MAX_COPIED_BYTES
        self._listener.hear(Answered(decision=decision, arm=arm.arm, call=self.call, body=body, cut=cut))
