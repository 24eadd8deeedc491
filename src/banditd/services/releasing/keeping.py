"""Keeps releases off the request path: follows stored changes and, as the learner's leader, counts and takes steps.

One task. A release may be ended on any replica, or in the learner's own commit: every replica notices within
``EVERY_S``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, Protocol

from banditd.core.errors import BanditdError
from banditd.core.types import DAY_US
from banditd.deciding.release_course import Author, Release, Step, arm_disabled, finished, looked_at
from banditd.obs.proving import ReleaseMetrics
from banditd.ports import Clock, StoredSwitches
from banditd.ports.releases import Promotion, ReleaseLook, ReleaseStore, StandingReleases
from banditd.services.candidates.applying import apply_candidate
from banditd.services.loop import Loop
from banditd.services.policy import PolicyRuntime
from banditd.services.promising.switching import Switching
from banditd.services.releasing.book import ReleaseBook

logger = logging.getLogger(__name__)
EVERY_S: Final = 1.0
REMEMBERED_US: Final = DAY_US  # how long rolled-back releases are remembered, for sessions with their arms
MOVED: Final = 0.005  # least change of the share on which the two differ that is stored


class Leader(Protocol):
    """What releases need from the learner."""

    @property
    def leader(self) -> bool: ...

    async def reload(self, policy: str) -> None: ...

    async def refresh_arms(self) -> None: ...


class ReleaseKeeping:
    """Maintains the release books. Call ``start`` after every runtime has a snapshot.

    holder : this process' name as holder of the learner's lease.
    measures : judges and prices of a policy, by name, to what they are.
    """

    def __init__(
        self,
        *,
        runtimes: Mapping[str, PolicyRuntime],
        books: Mapping[str, ReleaseBook],
        store: ReleaseStore,
        learner: Leader,
        clock: Clock,
        holder: str,
        metrics: ReleaseMetrics,
        switching: Switching,
    ) -> None:
        self._runtimes = runtimes
        self._books = books
        self._store = store
        self._learner = learner
        self._clock = clock
        self._holder = holder
        self._metrics = metrics
        self._switching = switching
        self.measures: Callable[[str], Mapping[str, str]] = _nothing
        self._configured = {name: runtime.config for name, runtime in runtimes.items()}
        self._promoted: dict[str, tuple[str, ...]] = {}
        self._busy = asyncio.Lock()
        self._loop = Loop(self.step, name="releases", every_s=EVERY_S, log=(logger, "release"))

    def open(self, policy: str) -> Release | None:
        """The release that this replica follows, or None."""
        return self._books[policy].release

    async def arm_disabled(self, policy: str, arm: str) -> None:
        """An operator has disabled an arm: from now on the candidate of an open release does not use it either."""
        standing = await self._store.standing(self._clock.now_us())
        release = standing.releases.get(policy)
        if release is not None and release.candidate.arms.get(arm, {}).get("enabled"):
            work = partial(arm_disabled, arm=arm, by=Author(self._clock.now_us()))
            await self._store.change(release.release_id, work)
            await self.refresh()

    def book(self, policy: str) -> ReleaseBook:
        """The release book of a policy on this replica."""
        return self._books[policy]

    def promoted(self, policy: str) -> tuple[str, ...]:
        """The releases promoted in a policy, oldest first, as this replica knows them."""
        return self._promoted.get(policy, ())

    async def start(self) -> None:
        """Adopt what is stored, and start."""
        await self.refresh()
        self._loop.start()

    async def stop(self) -> None:
        """Stop after the present step."""
        await self._loop.stop()

    async def step(self) -> None:
        """Follow what is stored; as the leader, count outcomes and take the steps that are due."""
        await self.refresh()
        if not self._learner.leader:
            return
        counted = [await self._count(book) for book in self._books.values()]
        if any(counted):
            await self.refresh()

    # ---------------------------------------------------------------- following

    async def refresh(self) -> None:
        """Adopt stored promotions and the open release of each policy."""
        async with self._busy:
            standing = await self._store.standing(self._clock.now_us() - REMEMBERED_US)
            # Read the switches after the promotions, whose transactions change them: both take effect together.
            changed = [name for name in self._books if _ids(standing, name) != self._promoted.get(name, ())]
            switches = await self._switching.stored() if changed else {}
            for name in changed:
                await self._follow(name, standing.promoted.get(name, ()), switches.get(name, StoredSwitches()))
            anew = False
            for name, book in self._books.items():
                anew |= book.adopt(standing.releases.get(name))
                book.ended = tuple(one for one in standing.ended if one.policy == name)
            if anew:
                await self._learner.refresh_arms()  # this also publishes
            self._metrics.show({name: book.release for name, book in self._books.items()})

    async def _follow(self, name: str, promoted: Sequence[Promotion], switches: StoredSwitches) -> None:
        """Configure the policy with the settings of every promoted candidate, and with the present switches."""
        runtime = self._runtimes[name]
        runtime.config = self._configured[name]
        for one in promoted:
            try:
                applied = apply_candidate(runtime, replace(one.candidate, arms={}))
            except BanditdError as error:
                logger.warning(
                    "release.promotion_unusable",
                    extra={"policy": name, "candidate": one.candidate.name, "error": error.message},
                )
                continue
            runtime.config = replace(applied.config, switches=self._configured[name].switches)
        self._switching.adopt(name, switches, anew=True)
        if promoted:
            logger.warning(
                "policy.settings_promoted",
                extra={"policy": name, "candidates": [one.candidate.name for one in promoted]},
            )
        if runtime.config.settings != runtime.learned.settings:
            await self._learner.reload(name)
        self._promoted[name] = tuple(one.release_id for one in promoted)

    # ---------------------------------------------------------------- counting

    async def _count(self, book: ReleaseBook) -> bool:
        """Count outcomes. Returns whether the stored release may now differ from what this replica last read."""
        release = book.release
        if release is None:
            return False
        now_us = self._clock.now_us()
        if book.problem is not None:
            by = Author(now_us, reason=f"the candidate can no longer be applied: {book.problem}")
            await self._store.change(release.release_id, partial(_stopped, by=by))
            return True
        look = await self._store.look(release, now_us)
        measured_by = self.measures(release.policy)
        news = bool(look.outcomes) or look.waiting or look.rated is not None or _moved(release, look)
        if not news and release.tests.measured_by == measured_by and not looked_at(release, now_us)[1]:
            return False
        await self._store.count(
            release.release_id,
            look,
            holder=self._holder,
            at_us=now_us,
            switches=book.promoting,
            measured_by=measured_by,
        )
        return True


def _nothing(policy: str) -> Mapping[str, str]:
    """Used when no one states what a release is measured with."""
    return {}


def _ids(standing: StandingReleases, policy: str) -> tuple[str, ...]:
    return tuple(one.release_id for one in standing.promoted.get(policy, ()))


def _stopped(release: Release, by: Author) -> Step:
    return finished(release, "error", by) if release.open else (release, [])


def _moved(release: Release, look: ReleaseLook) -> bool:
    if look.differs is None:
        return False
    before = release.tests.differs
    return before is None or abs(before - look.differs) > MOVED
