"""A running upstream call: what has been seen of its answer, and the attempt that it becomes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from banditd.core.attempts import Attempt, ErrorClass
from banditd.core.types import Arm
from banditd.ports.upstreams import StreamEvent, TokenUsage, UpstreamCall, UpstreamReply
from banditd.services.gateway.call import GatewayCall

CHARACTERS_PER_TOKEN: Final = 4.0
MAX_REFERENCE: Final = 256


@dataclass(slots=True)
class Running:
    """A running call of an arm, and what has been seen of its answer. recipe : whose run it is part of, or None."""

    arm: Arm
    began_s: float
    recipe: str | None = None
    first_token_s: float | None = None
    last_s: float | None = None
    usage: TokenUsage | None = None
    finish_reason: str | None = None
    characters: int = 0
    deltas: int = 0
    response_id: str | None = None
    model: str | None = None
    refusal: bool = False

    def note(self, events: Sequence[StreamEvent], now_s: float) -> None:
        """Record events of its stream."""
        self.last_s = now_s
        for event in events:
            if event.content:
                self.deltas += 1
                self.characters += event.characters
                if self.first_token_s is None:
                    self.first_token_s = now_s
            if event.finish_reason is not None:
                self.finish_reason = event.finish_reason
            if event.usage is not None:
                self.usage = event.usage
            self.refusal |= event.refusal
            if self.response_id is None and event.response_id is not None:
                self.response_id, self.model = event.response_id, event.model

    def completed(self, reply: UpstreamReply, now_s: float) -> None:
        """Record its whole answer."""
        self.last_s = now_s
        self.usage, self.finish_reason = reply.usage, reply.finish_reason
        self.characters, self.refusal = reply.characters, reply.refusal
        self.response_id, self.model = reply.response_id, reply.model

    def attempt(self, ended: ErrorClass | None, now_s: float, input_tokens: int) -> Attempt:
        """The attempt, once it has ended. input_tokens : of the query, used if the upstream reports none."""
        last_s = now_s if self.last_s is None or ended is not None else self.last_s
        tokens = self._tokens(ended, input_tokens)
        first_s = self.first_token_s
        return Attempt(
            arm=self.arm.arm,
            error=ended,
            latency_ms=(last_s - self.began_s) * 1e3,
            input_tokens=None if tokens is None else tokens.input_tokens,
            output_tokens=None if tokens is None else tokens.output_tokens,
            cached_input_tokens=None if tokens is None else tokens.cached_input_tokens,
            cost_usd=None if tokens is None else tokens.cost_usd,
            first_token_ms=None if first_s is None else (first_s - self.began_s) * 1e3,
            recipe=self.recipe,
        )

    def _tokens(self, ended: ErrorClass | None, input_tokens: int) -> TokenUsage | None:
        """The tokens used: as reported by the upstream, else estimated; None if it failed before any content."""
        usage = self.usage
        if usage is not None and not usage.partial:
            return usage
        if usage is None and ended is not None and ended != "client_gone" and not self.deltas:
            return None
        counted = max(float(self.deltas), self.characters / CHARACTERS_PER_TOKEN)
        usage = usage or TokenUsage(input_tokens, 0)
        return replace(usage, output_tokens=max(usage.output_tokens, round(counted)), partial=False)


def upstream_call(
    call: GatewayCall, arm: Arm, left_s: float, cleared: Callable[[], Awaitable[None]] | None = None
) -> UpstreamCall:
    """The client's request as a call of one arm, with ``left_s`` seconds left."""
    return UpstreamCall(
        upstream=arm.upstream or "",
        surface=call.surface,
        model=arm.upstream_model,
        body=call.body,
        headers=call.headers,
        params=arm.params,
        rename_params=arm.rename_params,
        first_token_s=arm.first_token_s,
        deadline_s=left_s,
        large=call.large,
        cleared=cleared,
    )


def usable_reference(response_id: str | None) -> str | None:
    """An answer's id, if a client may use it as a reference; else None."""
    usable = response_id and len(response_id) <= MAX_REFERENCE and response_id.isprintable()
    return response_id if usable else None
