"""One request and its answer: attempts until the commit point, then the stream, and one settlement.

The first call is prepared while its decision is being committed, and sent once that is durable. The *commit point* is
the first event with content (text, reasoning, a tool call) or a finish reason. Events before it are held back, so
that another arm can still be asked. After it the arm is never switched: if it fails, the client sees the failure.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from time import monotonic
from typing import Final, Protocol

from banditd.core.attempts import Attempt, ErrorClass
from banditd.core.errors import UnavailableError
from banditd.core.rewards import UsageReport
from banditd.core.types import Arm, Decision
from banditd.core.usage import main_attempt
from banditd.ports.upstreams import (
    StreamEvent,
    Surface,
    UpstreamCall,
    UpstreamError,
    UpstreamReply,
    Upstreams,
    UpstreamStream,
)
from banditd.services.gateway.call import GatewayCall, GatewayRules
from banditd.services.gateway.fallbacks import Fallbacks, Step, order_of
from banditd.services.gateway.recipe_run import RecipeRun
from banditd.services.gateway.running import Running, upstream_call, usable_reference
from banditd.services.turns import Ahead

logger = logging.getLogger(__name__)
# Most events held back before the commit point; with more they are passed on, and the arm is final.
MAX_HELD_EVENTS: Final = 64
MAX_HELD_BYTES: Final = 262_144
MAX_REASON: Final = 64


class Surroundings(Protocol):
    """What an exchange needs from its gateway."""

    upstreams: Upstreams
    rules: GatewayRules

    async def ahead(self, call: GatewayCall) -> Ahead: ...
    def callable_arms(self, call: GatewayCall, policy: str) -> Mapping[str, Arm]: ...
    def left_alone(self, policy: str) -> Mapping[str, str]: ...
    def jitter(self) -> float: ...
    def tell(self, policy: str, attempt: Attempt, arm: Arm, surface: Surface, *, calls: bool) -> None: ...
    def settle(self, report: UsageReport, exchange: Exchange, *, estimated: bool) -> asyncio.Task[None]: ...


class _AnotherDecision(Exception):  # noqa: N818 - no error: a budget has refused the one that was prepared for
    """A budget refused the decision for which the call was prepared; ``decision`` is now another one."""


class Exchange:
    """One request's answer. Call ``begin``, then read ``reply`` or ``events``, and always call ``finish``."""

    def __init__(self, surroundings: Surroundings, call: GatewayCall) -> None:
        self._around = surroundings
        self.call = call
        self.decision: Decision | None = None
        self.attempts: list[Attempt] = []
        self.reply: UpstreamReply | None = None
        self.headers: Mapping[str, str] = {}
        self.route_s = 0.0
        self._ahead: Ahead | None = None
        self._began_s = 0.0
        self._running: Running | None = None
        self._answered: Running | None = None
        self._stream: UpstreamStream | None = None
        self._held: list[StreamEvent] = []
        self._settling: asyncio.Task[None] | None = None
        self._whole = False
        self._played_ms: float | None = None  # how long a finished recipe took

    @property
    def served(self) -> Arm | None:
        """The arm that answers, known from the commit point on."""
        return None if self._running is None else self._running.arm

    @property
    def holder(self) -> str | None:
        """The arm whose upstream gave the answer; for a recipe, the part whose answer counts."""
        if self._played_ms is not None:
            return self.attempts[-1].arm
        return None if self._running is None else self._running.arm.arm

    @property
    def response_id(self) -> str | None:
        """The upstream's id of the answer."""
        return None if self._answered is None else self._answered.response_id

    @property
    def attempts_now(self) -> tuple[Attempt, ...]:
        """All calls so far; a running one is shown as if it ended well now."""
        if not self._calling or self._running is None or self.decision is None:
            return tuple(self.attempts)
        return (*self.attempts, self._running.attempt(None, monotonic(), self.decision.input_tokens))

    @property
    def model(self) -> str | None:
        """The upstream's name of the model."""
        return None if self._answered is None else self._answered.model

    @property
    def calls(self) -> int:
        """Number of upstream calls so far, including a running one."""
        return len(self.attempts) + self._calling

    @property
    def _calling(self) -> bool:
        """Whether a call is running that is not yet an attempt."""
        return self._running is not None and self._settling is None and self._played_ms is None

    async def begin(self) -> None:
        """Route, and call arms until one answers. Afterwards ``reply`` is set, or ``events`` may be read.

        Raises
        ------
        UpstreamError : of the last call, if no arm answered. Also whatever ``RoutingService.route`` raises.
        """
        self._began_s = began_s = monotonic()
        until_s = began_s + self._around.rules.deadline_s
        self._ahead = ahead = await self._around.ahead(self.call)
        if ahead.durable is None:
            await self._cleared()
        try:
            await self._answer(ahead.decision, until_s)
        except _AnotherDecision:
            assert self.decision is not None  # noqa: S101 - ``_AnotherDecision`` guarantees it
            await self._answer(self.decision, until_s)

    async def _cleared(self) -> None:
        """Wait until the decision is durable: nothing may be sent, and no failure counts, before that.

        Raises _AnotherDecision, and the errors of the commit.
        """
        ahead = self._ahead
        if self.decision is not None or ahead is None:
            return
        self.decision = ahead.decision if ahead.durable is None else await ahead.durable()
        now_s = monotonic()
        self.route_s = now_s - self._began_s
        if self._running is not None:
            self._running.began_s = now_s
        if self.decision is not ahead.decision:
            raise _AnotherDecision

    async def _answer(self, decision: Decision, until_s: float) -> None:
        """Call arms until one answers. Raises like ``begin``, and _AnotherDecision."""
        arms = self._around.callable_arms(self.call, decision.policy)
        order = [name for name in order_of(decision) if name in arms]
        # A recipe only runs when it is drawn; as a fallback it would take as many calls as it has parts.
        order = [name for name in order if arms[name].recipe is None or name == decision.arm]
        if not order:
            await self._cleared()
            raise UnavailableError("the arms changed while this was being decided; try again", code="ARMS_CHANGED")
        rules = self._around.rules
        fallbacks = Fallbacks(
            order,
            {name: arms[name].context_window_tokens for name in order},
            max_attempts=rules.max_attempts,
            on_policy=rules.fallback_on_policy,
        )
        step: Step | None = fallbacks.first()
        while step is not None:
            arm = arms[step.arm]
            failed = await (self._try(arm, until_s) if arm.recipe is None else self._play(arm, arms, until_s))
            if failed is None:
                await self._cleared()
                return
            fallbacks.leave_out(() if arm.recipe is None else arm.recipe.parts)
            avoid = self._around.left_alone(decision.policy)
            following = fallbacks.after(step.arm, failed, jitter=self._around.jitter(), avoid=avoid)
            if following is None or monotonic() + following.wait_s >= until_s:
                raise failed
            if following.wait_s:
                await asyncio.sleep(following.wait_s)
            step = following

    async def events(self) -> AsyncIterator[Sequence[StreamEvent]]:
        """The events of a stream, one read at a time, starting with those that were held back.

        Raises
        ------
        UpstreamError : the stream did not finish. Everything before that has been yielded.
        """
        stream, running = self._stream, self._running
        if running is None or not (self._held or stream):
            return
        held, self._held = self._held, []
        yield held
        if stream is None:  # a recipe's answer was held back whole
            self._whole = True
            return
        try:
            async for events in stream:
                running.note(events, monotonic())
                yield events
            self._whole = True
        except UpstreamError as error:
            self._close(error)
            raise

    def finish(self) -> asyncio.Task[None] | None:
        """Stop whatever still runs, and settle once; later calls return the same task. None if nothing was decided.

        An answer that was not read to its end counts as ``client_gone``.
        """
        if self._settling is not None or self.decision is None:
            return self._settling
        if self._stream is not None:
            self._stream.close()
        if self._running is not None and self._played_ms is None:
            ended: ErrorClass | None = None if self._whole else "client_gone"
            self._attempted(self._running, ended, code=ended or "")
        estimated = (last := self._running) is not None and (last.usage is None or last.usage.partial)
        self._settling = self._around.settle(self._report(self.decision), self, estimated=estimated)
        return self._settling

    # ---------------------------------------------------------------- one call

    async def _try(self, arm: Arm, until_s: float) -> UpstreamError | None:
        """Call one arm up to its commit point; returns the error if it failed."""
        running = self._running = self._answered = Running(arm, monotonic())
        cleared = self._cleared if self.decision is None else None
        call = upstream_call(self.call, arm, max(0.001, until_s - monotonic()), cleared)
        try:
            if self.call.stream:
                await self._open(running, call)
            else:
                await self._complete(running, call)
        except UpstreamError as error:
            await self._cleared()
            self._close(error)
            return error
        return None

    async def _play(self, arm: Arm, arms: Mapping[str, Arm], until_s: float) -> UpstreamError | None:
        """Run a recipe to its answer, which is held back until then; returns the error if no part answered."""
        assert arm.recipe is not None  # noqa: S101 - asked before
        await self._cleared()
        began_s = monotonic()
        run = RecipeRun(
            arm.recipe, upstreams=self._around.upstreams, call=self.call, arms=arms, ended=self._attempted
        )
        try:
            part = await run.play(until_s)
        except UpstreamError as error:
            return error
        self._played_ms = (monotonic() - began_s) * 1e3
        # The part whose answer counts goes last, since reports take the last attempt that answered.
        self.attempts.sort(key=lambda one: one.recipe is not None and one.arm == part.running.arm.arm)
        self._running = self._answered = replace(part.running, arm=arm)
        self.reply, self._held, self.headers = part.reply, list(part.events), part.headers or {}
        self._whole = self.reply is not None
        return None

    async def _complete(self, running: Running, call: UpstreamCall) -> None:
        reply = await self._around.upstreams.complete(call)
        running.completed(reply, monotonic())
        self.reply, self.headers = reply, reply.headers
        self._whole = True

    async def _open(self, running: Running, call: UpstreamCall) -> None:
        self._held = []
        self._stream = stream = await self._around.upstreams.stream(call)
        size = 0
        async for events in stream:
            running.note(events, monotonic())
            self._held += events
            size += sum(len(event.raw) for event in events)
            if any(event.content or event.finish_reason is not None for event in events):
                break
            held = sum(not event.raw.startswith(b":") for event in self._held)
            if held > MAX_HELD_EVENTS or size > MAX_HELD_BYTES:
                break
        self.headers = stream.headers

    def _close(self, error: UpstreamError) -> None:
        """Record a failed call as an attempt with its error class."""
        running, self._running = self._running, None
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        if running is None:
            return
        if error.usage is not None:
            running.usage = error.usage
        self._attempted(running, error.error_class, code=error.code, error=error)

    def _attempted(
        self, running: Running, ended: ErrorClass | None, *, code: str, error: UpstreamError | None = None
    ) -> None:
        """Record a call that has ended: for the settlement, the breakers and the metrics."""
        decision = self.decision
        if decision is None:
            return
        attempt = running.attempt(ended, monotonic(), decision.input_tokens)
        if error is not None:
            attempt = attempt._replace(retry_after_s=error.retry_after_s)
        self.attempts.append(attempt)
        called = error is None or not (error.local or error.healthy)
        self._around.tell(decision.policy, attempt, running.arm, self.call.surface, calls=called)
        if ended is not None:
            logger.info(
                "gateway.attempt_failed",
                extra={
                    "decision_id": decision.decision_id,
                    "policy": decision.policy,
                    "arm": attempt.arm,
                    "upstream": running.arm.upstream,
                    "error_class": ended,
                    "code": code,
                    "status": None if error is None else error.status,
                },
            )

    def _report(self, decision: Decision) -> UsageReport:
        """The usage report: every attempt, and the figures of the last one that answered, else of the last."""
        last = self.attempts[main_attempt(tuple(self.attempts))] if self.attempts else None
        reason = "" if self._running is None else self._running.finish_reason or ""
        report = UsageReport(
            decision_id=decision.decision_id,
            attempts=tuple(self.attempts),
            finish_reason="".join(filter(str.isprintable, reason))[:MAX_REASON] or None,
            response_id=usable_reference(self.response_id),
            refusal=True if self._running is not None and self._running.refusal else None,  # else by the reason
            output_chars=None if self._running is None else self._running.characters,
            session_key=decision.session_key,
        )
        if last is None:  # cancelled before the first call
            return report._replace(error="client_gone")
        return report._replace(  # the attempts say who served
            error=last.error,
            latency_ms=last.latency_ms if self._played_ms is None else self._played_ms,
            input_tokens=last.input_tokens,
            output_tokens=last.output_tokens,
            cached_input_tokens=last.cached_input_tokens,
            cost_usd=last.cost_usd,
        )
