"""Runs a recipe for one request: calls members at once, picks the answer that counts; the client sees nothing before.

If the client leaves, all calls are cancelled. Every call becomes an attempt of the one decision when it ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import Final, Protocol

from banditd.core.attempts import ErrorClass
from banditd.core.long_json import apart
from banditd.core.recipes import Recipe
from banditd.core.types import Arm
from banditd.core.usage import REFUSAL_REASONS
from banditd.deciding.playing import ModelAnswer, Play
from banditd.ports.upstreams import StreamEvent, UpstreamError, UpstreamReply, Upstreams
from banditd.services.gateway.answers import answer_in, answer_in_stream
from banditd.services.gateway.call import GatewayCall
from banditd.services.gateway.running import Running, upstream_call

# A stream is held back completely; a longer one cannot be compared.
MOST_HELD_BYTES: Final = 16 * 1024 * 1024
_GONE: Final = "client_gone"
_TOO_LARGE: Final = "answer_too_large"  # the same code as for a whole answer


class Ended(Protocol):
    """Called for every call that has ended."""

    def __call__(
        self, running: Running, ended: ErrorClass | None, *, code: str, error: UpstreamError | None = None
    ) -> None: ...


@dataclass(slots=True)
class Part:
    """The answer of one part: whole, or the events of a stream that ended well."""

    running: Running
    reply: UpstreamReply | None = None
    events: Sequence[StreamEvent] = ()
    headers: Mapping[str, str] | None = None


class RecipeRun:
    """One run of a recipe. arms : its parts by name. ended : called for every call."""

    def __init__(
        self, recipe: Recipe, *, upstreams: Upstreams, call: GatewayCall, arms: Mapping[str, Arm], ended: Ended
    ) -> None:
        self._recipe = recipe
        self._upstreams = upstreams
        self._call = call
        self._arms = arms
        self._ended = ended
        self._parts: dict[str, Part] = {}
        self._failed: UpstreamError | None = None

    async def play(self, until_s: float) -> Part:
        """Call parts until it is known whose answer counts. Raises UpstreamError if none answered."""
        play = Play(self._recipe)
        while waiting := play.ask():
            for arm, answer in zip(waiting, await self._at_once(waiting, until_s), strict=True):
                play.put(arm, answer)
        if play.chosen is not None:
            return self._parts[play.chosen]
        failed = self._failed
        assert failed is not None  # noqa: S101 - no part has answered, so at least one has failed
        # Drop the retry advice: the recipe is not run again, and its last call does not determine the next arm.
        error = UpstreamError(failed.message, error_class=failed.error_class, code=failed.code, status=failed.status)
        error.elsewhere = failed.elsewhere
        raise error

    async def _at_once(self, arms: Sequence[str], until_s: float) -> list[ModelAnswer | None]:
        tasks = [asyncio.ensure_future(self._ask(self._arms[arm], until_s)) for arm in arms]
        try:
            return await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)  # each closes its connection and records its attempt
            raise

    async def _ask(self, arm: Arm, until_s: float) -> ModelAnswer | None:
        """One part's answer; None if its call failed."""
        running = Running(arm, monotonic(), recipe=self._recipe.arm)
        try:
            part, answer = await self._answer(running, until_s)
        except UpstreamError as error:
            running.usage = error.usage or running.usage
            self._failed = error
            self._ended(running, error.error_class, code=error.code, error=error)
            return None
        except asyncio.CancelledError:
            self._ended(running, _GONE, code=_GONE)
            raise
        self._parts[arm.arm] = part
        self._ended(running, None, code="")
        return replace(answer, refused=answer.refused or running.finish_reason in REFUSAL_REASONS)

    async def _answer(self, running: Running, until_s: float) -> tuple[Part, ModelAnswer]:
        call = upstream_call(self._call, running.arm, max(0.001, until_s - monotonic()))
        surface, large = self._call.surface, self._call.large
        if not self._call.stream:
            reply = await self._upstreams.complete(call)
            running.completed(reply, monotonic())
            answer = await apart(large, answer_in, surface, reply.body)
            return Part(running, reply=reply, headers=reply.headers), answer
        held: list[StreamEvent] = []
        size = 0
        stream = await self._upstreams.stream(call)
        try:
            async for events in stream:
                running.note(events, monotonic())
                held += events
                size += sum(len(event.raw) for event in events)
                if size > MOST_HELD_BYTES:
                    raise UpstreamError(
                        f"{running.arm.arm} answered with more than {MOST_HELD_BYTES} bytes, too long to be compared",
                        error_class="server",
                        code=_TOO_LARGE,
                    )
        finally:
            stream.close()
        answer = await apart(large, answer_in_stream, surface, held)
        return Part(running, events=held, headers=stream.headers), answer
