"""``AsyncClient``: the daemon for asyncio programs. Method by method the same as ``Client``."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from banditd.client import calls
from banditd.client.answers import ArmView, Decision, RewardReceipt, TaskReceipt, UsageReceipt
from banditd.client.blocking import DEFAULT_URL, first_argument, note_reward, report_failure
from banditd.client.calls import Call, Json, Query, Value
from banditd.client.daemon import DaemonClient
from banditd.client.retries import Retries
from banditd.client.turn import Turn
from banditd.core.errors import BanditdError

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class AsyncClient:
    """Use it as an async context manager. Parameters and methods are those of ``Client``.

    connections : at most so many at once.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        policy: str = "default",
        source: str = "human",
        timeout_s: float = 10.0,
        retries: Retries | None = None,
        connections: int = 64,
    ) -> None:
        self._transport = DaemonClient(
            url,
            api_key=api_key,
            connections=connections,
            timeout_s=timeout_s,
            retries=Retries() if retries is None else retries,
        )
        self._policy = policy
        self._source = source

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.__aexit__(kind, error, trace)

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: Json = None,
        query: Mapping[str, Json] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Json:
        """Any call of ``docs/http.md``, for what has no method here (see ``Client.call``)."""
        return await self._transport.call(method, path, body=body, query=query, headers=headers)

    async def route(self, query: Query, **options: Json) -> Decision:
        """Ask which arm should answer (see ``Client.route``)."""
        return await self._run(calls.route(query, {"policy": self._policy, **options}))

    async def reward(
        self,
        decision_id: str | None = None,
        value: Value | None = None,
        *,
        source: str | None = None,
        metric: str = "quality",
        metadata: Mapping[str, Json] | None = None,
        idempotency_key: str | None = None,
        replace: bool = False,
        reference: str | None = None,
        arm: str | None = None,
    ) -> RewardReceipt:
        """Reward a decision (see ``Client.reward``)."""
        return await self._run(
            calls.reward(
                decision_id,
                value,
                source=source or self._source,
                metric=metric,
                metadata=metadata,
                idempotency_key=idempotency_key,
                replace=replace,
                reference=reference,
                arm=arm,
            )
        )

    async def reward_task(
        self,
        task_id: str,
        value: Value,
        *,
        source: str | None = None,
        metric: str = "quality",
        metadata: Mapping[str, Json] | None = None,
    ) -> TaskReceipt:
        """Reward a whole task: its decisions that have no reward of their own share it, each with its part of the
        weight. Another value of the same source on the same metric replaces it.
        """
        of_source = source or self._source
        return await self._run(calls.reward_task(task_id, value, source=of_source, metric=metric, metadata=metadata))

    async def retract(self, reward_id: str) -> RewardReceipt:
        """Take a reward back by the ``reward_id`` of its receipt."""
        return await self._run(calls.retract(reward_id))

    async def usage(self, decision_id: str, **report: Json) -> UsageReceipt:
        """Report what a decision used (see ``Client.usage``)."""
        return await self._run(calls.usage(decision_id, report))

    async def activate(self, decision_id: str) -> bool:
        """Release the rewards of a deferred decision."""
        return await self._run(calls.activate(decision_id))

    async def abandon(self, decision_id: str) -> bool:
        """Say that a decision was never served (see ``Client.abandon``)."""
        return await self._run(calls.abandon(decision_id))

    async def arms(self, policy: str | None = None) -> list[ArmView]:
        """The arms of a policy."""
        return await self._run(calls.arms(policy or self._policy))

    @asynccontextmanager
    async def turn(self, query: Query, *, source: str | None = None, **options: Json) -> AsyncIterator[Turn]:
        """Route, let the block call the model, then report (see ``Client.turn``)."""
        turn = Turn(await self.route(query, **options), source=source or self._source)
        try:
            yield turn
        except Exception as error:
            await self._send(turn, turn.close(error))
            raise
        await self._send(turn, turn.close())

    def routed(
        self,
        *,
        query: Callable[..., Query] | None = None,
        reward: Callable[[Any], Value | None] | None = None,
        source: str | None = None,
        **options: Json,
    ) -> Callable[[Callable[Concatenate[Turn, P], Awaitable[R]]], Callable[P, Awaitable[R]]]:
        """Decorate a coroutine function that calls a model (see ``Client.routed``).

        ``reward`` is a plain function and runs in a thread: a judge may take its time.
        """

        def decorate(function: Callable[Concatenate[Turn, P], Awaitable[R]]) -> Callable[P, Awaitable[R]]:
            @functools.wraps(function)
            async def routed(*args: P.args, **kwargs: P.kwargs) -> R:
                requested = first_argument(args, kwargs) if query is None else query(*args, **kwargs)
                async with self.turn(requested, source=source, **options) as turn:
                    result = await function(turn, *args, **kwargs)
                    if reward is not None:
                        await asyncio.to_thread(note_reward, turn, reward, result)
                return result

            return routed

        return decorate

    async def _run(self, call: Call[T]) -> T:
        return call.read(
            await self._transport.call(call.method, call.path, body=call.body, query=call.query, headers=call.headers)
        )

    async def _send(self, turn: Turn, notes: list[Call[Any]]) -> None:
        for note in notes:
            try:
                await self._run(note)
            except BanditdError as error:
                report_failure(turn, note, error)
