"""Keeps the promises of every policy off the request path: reads rewards, solves for new terms, follows switches.

One task. It runs when a snapshot is published, when enough decisions have come, and every now and then; and rests
many times as long as it has worked, so that deciding hardly notices it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import Final

from banditd.core.errors import BanditdError
from banditd.deciding.promise_window import WINDOW
from banditd.ports import RatedOutcome, RecentOutcomes
from banditd.services.policy import PolicyRuntime
from banditd.services.promising.book import PromiseBook
from banditd.services.promising.switching import Switching, differences

logger = logging.getLogger(__name__)
OUTCOMES_USED: Final = 5000
RATED_USED: Final = 500  # newest rated decisions that say which share is rated ...
RAREST: Final = 20  # ... and among so many times as many they are looked for
EVERY_S: Final = 1.0
RESTS: Final = 5.0  # times as long as it worked ...
LONGEST_REST_S: Final = 0.5  # ... and no longer: a busy machine must not make the terms old


def _nobody() -> None:
    """Nobody publishes gauges."""


class PromiseService:
    """Runs the books. ``start`` after every runtime has a snapshot."""

    def __init__(
        self,
        *,
        runtimes: Mapping[str, PolicyRuntime],
        books: Mapping[str, PromiseBook],
        recent: RecentOutcomes,
        switching: Switching,
    ) -> None:
        self._runtimes = runtimes
        self._books = books
        self._recent = recent
        self._switching = switching
        self.observed: Callable[[], None] = _nobody  # called now and then, for gauges
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopped = asyncio.Event()
        self._next_look = 0.0
        self._judged_at: dict[str, tuple[int, int]] = {}
        self._news: dict[str, int] = {}
        self._busy = asyncio.Lock()

    async def start(self) -> None:
        """Read the switches and the log, and begin."""
        await self._switching.refresh()
        for name, book in self._books.items():
            differing = {"policy": name, "switches": differences(self._runtimes[name])}
            if differing["switches"]:
                logger.warning("policy.switches_differ_from_configuration", extra=differing)
            book.wake = self._wake.set
            self._runtimes[name].published = partial(self._published, book)
            if not book.idle:
                await self._restore(name, book)
        await self.step()
        self._task = asyncio.create_task(self._run(), name="promises")

    async def stop(self) -> None:
        """End after the present step."""
        self._stopped.set()
        self._wake.set()
        if self._task is not None:
            await self._task

    async def _restore(self, name: str, book: PromiseBook) -> None:
        runtime = self._runtimes[name]
        book.baseline(runtime.view)
        book.restore(runtime.view, await self._recent.promised(name, runtime.builder.schema.hash, WINDOW))

    async def _run(self) -> None:
        while not self._stopped.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), EVERY_S)
            self._wake.clear()
            if self._stopped.is_set():
                return
            started = perf_counter()
            try:
                if started >= self._next_look:
                    self._next_look = started + EVERY_S
                    await self._switching.refresh()
                    self.observed()
                await self.step()
            except BanditdError as error:
                logger.warning("promise.failed", extra={"error": error.message, "code": error.code})
            except Exception:
                # The loop must outlive a bug: the terms of before hold, and the log shows it.
                logger.exception("promise.crashed")
            await self._rest(perf_counter() - started)

    async def _rest(self, worked_s: float) -> None:
        """Leave the process to others; ``stop`` ends it."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), min(RESTS * worked_s, LONGEST_REST_S))

    def _published(self, book: PromiseBook) -> None:
        if not book.idle:
            self._wake.set()

    async def step(self) -> None:
        """Judge and solve what there is news for, now."""
        async with self._busy:
            for name, book in self._books.items():
                if not book.idle and self._runtimes[name].switches.promise is not None:
                    await self._judge(name, book)
                    await self._solve(name, book)

    async def _judge(self, name: str, book: PromiseBook) -> None:
        """Read the newest outcomes where rewards were folded since."""
        at = self._runtimes[name].view.snapshot.version, len(book.keepers)
        if self._judged_at.get(name) == at or not book.keepers:
            return
        outcomes = await self._recent.rated(name, OUTCOMES_USED)
        judges = await asyncio.to_thread(book.judges, outcomes)
        rated_of = await self._rated_of(name, outcomes)
        news = hash(tuple((one.decision_id, one.rated.reward) for one in outcomes))
        is_new = bool(outcomes) and self._news.get(name) != news
        self._news[name] = news
        for standing, judge in judges.items():
            keeper = book.keepers.get(standing)
            if keeper is not None:
                keeper.adopt(judge, news=is_new, rated_of=rated_of)
        self._judged_at[name] = at
        book.due = True

    async def _rated_of(self, name: str, outcomes: Sequence[RatedOutcome]) -> tuple[int, int]:
        """(rated, all) of the newest decisions under a promise."""
        newest = outcomes[-RATED_USED:]
        if not newest:
            return 0, 0
        decisions = await self._recent.promised_since(name, newest[0].decision_id, RAREST * RATED_USED)
        return len(newest), max(decisions, len(newest))

    async def _solve(self, name: str, book: PromiseBook) -> None:
        if not book.due:
            return
        book.due = False
        view = self._runtimes[name].view
        book.baseline(view)  # at the arms and prices of this view
        for keeper in list(book.keepers.values()):
            still = keeper.frozen()
            terms = await asyncio.to_thread(still.solve, view.snapshot.posterior)
            keeper.promise.terms = terms
            if self._runtimes[name].view.snapshot.arms != view.snapshot.arms:
                book.due = True  # the others have other arms by now
                return
