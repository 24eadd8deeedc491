"""Queries that are ready in the same turn of the event loop are decided and committed together.

A query joins the turn that is being gathered. The turn waits as long as the loop brings more queries (an idle loop
brings none, so there is no wait). Then all are decided, committed in one write, and answered. Only one turn is under
way at a time: what arrives meanwhile makes the next turn larger, and larger turns cost less per query.

A caller that prepares something for the answer gets the decision during the commit, if its query is alone in the
turn.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from operator import attrgetter
from typing import Final, NamedTuple

from banditd.core.errors import BanditdError
from banditd.core.types import Decision
from banditd.ports import Committed
from banditd.services.decider import Prepared, turn_size

Outcome = tuple[Decision, Committed]
Decide = Callable[[Sequence[Prepared]], Awaitable[list[Decision | BanditdError]]]
Commit = Callable[[Sequence[Decision], Callable[[], None] | None], Awaitable[Committed]]


_runtime_of: Final = attrgetter("prepared.runtime")


class Ahead(NamedTuple):
    """A decision that may not be committed yet.

    durable : returns the final decision once it is committed, or raises; None: it is committed already.
    """

    decision: Decision
    durable: Callable[[], Awaitable[Decision]] | None = None


class _Waiting(NamedTuple):
    prepared: Prepared
    answer: asyncio.Future[Outcome]
    early: asyncio.Future[Decision | None] | None


class Turns:
    """Gathers queries into turns and takes these through decision and commit.

    decide : returns one answer per query, in order. commit : commits the decisions; raising refuses the whole turn.
    """

    def __init__(self, decide: Decide, commit: Commit) -> None:
        self._decide = decide
        self._commit = commit
        self._waiting: deque[_Waiting] = deque()
        self._seen = 0  # number of waiting queries at the last look
        self._gathering = False
        self._under_way: asyncio.Task[None] | None = None

    def join(
        self, prepared: Prepared, early: asyncio.Future[Decision | None] | None = None
    ) -> asyncio.Future[Outcome]:
        """The decision and the result of its commit; raises if it cannot be decided or committed.

        early : receives the decision during the commit if the query is alone; else None, together with the answer.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Outcome] = loop.create_future()
        self._waiting.append(_Waiting(prepared, answer, early))
        self._schedule(loop)
        return answer

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._waiting and not self._gathering and self._under_way is None:
            self._gathering, self._seen = True, 0
            loop.call_soon(self._gather, loop)

    def _gather(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start a turn, unless the last turn of the loop brought more queries: then more may follow."""
        size = turn_size(map(_runtime_of, self._waiting))
        if self._seen < len(self._waiting) < size:
            self._seen = len(self._waiting)
            loop.call_soon(self._gather, loop)
            return
        self._gathering = False
        taken = [self._waiting.popleft() for _ in range(min(size, len(self._waiting)))]
        turn = [one for one in taken if not one.answer.done()]  # drop those whose caller has gone
        if turn:
            self._under_way = loop.create_task(self._finish(turn))
            self._under_way.add_done_callback(lambda _: self._ended(loop))
        else:
            self._schedule(loop)

    def _ended(self, loop: asyncio.AbstractEventLoop) -> None:
        self._under_way = None
        self._schedule(loop)

    async def _decided(self, turn: Sequence[_Waiting]) -> list[Decision | Exception]:
        try:
            return list(await self._decide([one.prepared for one in turn]))
        except Exception as error:
            if len(turn) == 1:
                return [error]
        # An unexpected error in one of them must not fail the others.
        return [answer for one in turn for answer in await self._decided([one])]

    async def _finish(self, turn: Sequence[_Waiting]) -> None:
        made: Sequence[Decision | Exception | None] = [None] * len(turn)
        failure: BaseException | None = None
        committed = Committed()
        try:
            made = await self._decided(turn)
            decisions = [one for one in made if isinstance(one, Decision)]
            if decisions:
                # With several, preparing during the commit would only compete with the writer for the interpreter.
                alone = turn[0].early if len(turn) == 1 else None
                committed = await self._commit(
                    decisions, partial(_resolve_early, alone, decisions[0]) if alone else None
                )
        except BaseException as error:
            failure = error
            if not isinstance(error, Exception):
                raise
        finally:
            for one, answer in zip(turn, made, strict=True):
                if one.early is not None:
                    _resolve_early(one.early, None)
                if one.answer.done():
                    continue
                if isinstance(answer, Exception):
                    one.answer.set_exception(answer)
                elif failure is not None:
                    one.answer.set_exception(failure)
                elif answer is not None:
                    one.answer.set_result((answer, committed))


def _resolve_early(early: asyncio.Future[Decision | None], made: Decision | None) -> None:
    if not early.done():
        early.set_result(made)
