"""An exchange whose answer somebody wants to hear: what passes is kept, bounded, and handed over when it has ended.

Nothing waits for it: events are copied as they pass, and whoever listens gets them after the client.
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
"""Of one answer: what of a stream comes after is not kept, and one in a single piece that is larger is not heard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """An answer that was given whole. body : of the answer, or the events of its stream, in the client's form.

    cut : its stream was longer than what is kept.
    """

    decision: Decision
    arm: str
    call: GatewayCall
    body: bytes
    cut: bool = False


class Listener(Protocol):
    """Whoever wants to hear answers."""

    def wants(self, decision: Decision, call: GatewayCall) -> bool:
        """Whether the answer of this decision."""

    def hear(self, answered: Answered) -> None:
        """Take an answer. Waits for nothing."""


class ListenedExchange(Exchange):
    """An ``Exchange`` that a listener hears, where it wants to."""

    def __init__(self, surroundings: Surroundings, call: GatewayCall, listener: Listener) -> None:
        super().__init__(surroundings, call)
        self._listener = listener
        self._copied: list[bytes] = []
        self._size = 0
        self._handed_over = False

    def events(self) -> AsyncIterator[Sequence[StreamEvent]]:
        """As of every exchange."""
        events = super().events()
        return self._copying(events) if self._is_wanted() else events

    def finish(self) -> asyncio.Task[None] | None:
        """As of every exchange; the first time the listener gets the answer, where it is whole."""
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
