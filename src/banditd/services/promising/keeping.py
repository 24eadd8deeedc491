"""Keeps every policy's promises off the request path: reads rewards, solves for new terms, follows switches.

One task. It runs when a snapshot is published, when enough decisions have come, and periodically. After each run it
pauses for several times as long as it worked, so that deciding is hardly affected.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import Final

from banditd.deciding.promise_window import WINDOW
from banditd.ports import RatedOutcome, RecentOutcomes
from banditd.services.loop import Loop
from banditd.services.policy import PolicyRuntime
from banditd.services.promising.book import PromiseBook
from banditd.services.promising.candidate import CandidatePromise
from banditd.services.promising.switching import Switching, differences

logger = logging.getLogger(__name__)
OUTCOMES_USED: Final = 5000
RATED_USED: Final = 200  # newest rated decisions, from which the rated share is computed ...
RAREST: Final = 50  # ... looking back over at most this many times as many decisions
EVERY_S: Final = 1.0
RESTS: Final = 5.0  # times as long as it worked; with 20 evaluations no longer find again what was decided


def _no_gauges() -> None:
    """Used if no gauges are published."""


class PromiseService:
    """Maintains the promise books. Call ``start`` after every runtime has a snapshot."""

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
        self.observed: Callable[[], None] = _no_gauges  # called periodically, to update gauges
        self.candidates: Mapping[str, CandidatePromise] = {}  # of releases, by policy
        self._loop = Loop(self._turn, name="promises", every_s=EVERY_S, log=(logger, "promise"), rests=RESTS)
        self._next_look = 0.0
        self._judged_at: dict[str, tuple[int, int]] = {}
        self._news: dict[str, int] = {}
        self._busy = asyncio.Lock()

    async def start(self) -> None:
        """Read the switches and the log, and start."""
        await self._switching.refresh()
        for name, book in self._books.items():
            differing = {"policy": name, "switches": differences(self._runtimes[name])}
            if differing["switches"]:
                logger.warning("policy.switches_differ_from_configuration", extra=differing)
            book.wake = self._loop.wake
            self._runtimes[name].published = partial(self._published, name)
            if not book.idle:
                await self._restore(name, book)
        for candidate in self.candidates.values():
            candidate.wake = self._loop.wake
        await self.step()
        self._loop.start()

    async def stop(self) -> None:
        """Stop after the present step."""
        await self._loop.stop()

    async def _restore(self, name: str, book: PromiseBook) -> None:
        runtime = self._runtimes[name]
        book.baseline(runtime.view)
        book.restore(runtime.view, await self._recent.promised(name, runtime.builder.schema.hash, WINDOW))

    async def _turn(self) -> None:
        now = perf_counter()
        if now >= self._next_look:
            self._next_look = now + EVERY_S
            await self._switching.refresh()
            self.observed()
        await self.step()

    def _published(self, name: str) -> None:
        candidate = self.candidates.get(name)
        if not self._books[name].idle or (candidate is not None and not candidate.idle):
            self._loop.wake()

    async def step(self) -> None:
        """Judge and solve, now, wherever there is something new."""
        async with self._busy:
            for name in self._books:
                books = await self._in_force(name)
                if books:
                    await self._judge(name, books)
                for book in books:
                    await self._solve(book)

    async def _in_force(self, name: str) -> list[PromiseBook]:
        """The books of a policy with a promise in force, including a candidate's."""
        candidate = self.candidates.get(name)
        if candidate is None or not candidate.in_force:
            return [book for book in (self._books[name],) if book.in_force]
        if not candidate.restored:
            release_id, schema = candidate.release_id, self._runtimes[name].builder.schema
            seen = await self._recent.promised(name, schema.hash, WINDOW, release_id=release_id)
            if not candidate.in_force or candidate.release_id != release_id:
                return [book for book in (self._books[name],) if book.in_force]  # the release has just ended
            candidate.restore(candidate.view, seen)
        return [book for book in (self._books[name], candidate) if book.in_force]

    async def _judge(self, name: str, books: Sequence[PromiseBook]) -> None:
        """Read the newest outcomes if rewards have been folded since."""
        keepers = sum(len(book.keepers) for book in books)
        at = self._runtimes[name].view.snapshot.version, keepers
        if self._judged_at.get(name) == at or not keepers:
            return
        outcomes = await self._recent.rated(name, OUTCOMES_USED)
        rated_of = await self._rated_of(name, outcomes)
        for book in books:
            for known in book.keepers.values():
                known.rated_among(*rated_of)  # before they are judged, because the allowed debt depends on it
        judges = [await asyncio.to_thread(book.judges, outcomes) for book in books]
        news = hash(tuple((one.decision_id, one.rated.reward) for one in outcomes))
        is_new = bool(outcomes) and self._news.get(name) != news
        self._news[name] = news
        for book, judged in zip(books, judges, strict=True):
            for standing, judge in judged.items():
                keeper = book.keepers.get(standing)
                if keeper is not None:
                    keeper.adopt(judge, news=is_new, rated_of=rated_of)
            book.due = True
        self._judged_at[name] = at

    async def _rated_of(self, name: str, outcomes: Sequence[RatedOutcome]) -> tuple[int, int]:
        """(rated, all) of the newest decisions under a promise."""
        newest = outcomes[-RATED_USED:]
        if not newest:
            return 0, 0
        decisions = await self._recent.promised_since(name, newest[0].decision_id, RAREST * RATED_USED)
        return len(newest), max(decisions, len(newest))

    async def _solve(self, book: PromiseBook) -> None:
        if not book.due:
            return
        book.due = False
        view = book.view
        book.baseline(view)  # at the arms and prices of this view
        for keeper in list(book.keepers.values()):
            still = keeper.frozen()
            terms = await asyncio.to_thread(still.solve, view.snapshot.posterior)
            if not book.solved:  # the cost of exploring depends on the price in force, and until now there was none
                terms = await asyncio.to_thread(still.solve, view.snapshot.posterior)
            keeper.promise.terms = terms
            if book.view.snapshot.arms != view.snapshot.arms:
                book.due = True  # the arms changed while this was being solved
                return
        book.solved = True
