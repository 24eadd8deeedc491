"""The background tasks of judging: one per worker (judge calls, probes, comparisons), and one for everything else.

The latter submits verdicts and checks trust. Every replica runs all tasks; queue and verdicts are claimed and marked
in SQL.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import monotonic
from typing import Final

from banditd.core.errors import BanditdError
from banditd.core.judging import JudgeRule
from banditd.obs.metrics import Metrics
from banditd.ports import Clock
from banditd.services.judging.comparing import Comparing
from banditd.services.judging.counting import VerdictRewards
from banditd.services.judging.stores import Stores
from banditd.services.judging.trust import TrustGate

logger = logging.getLogger(__name__)
Step = Callable[[], Awaitable[int]]
"""Does what there is to do now; returns how much that was."""
POLL_S: Final = 1.0
LOOK_EVERY_S: Final = 30.0


class JudgingService:
    """Runs from ``start`` to ``stop``."""

    def __init__(
        self,
        judges: Sequence[JudgeRule],
        workers: Mapping[str, Step],
        comparing: Comparing,
        rewards: VerdictRewards,
        gate: TrustGate,
        stores: Stores,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._judges = tuple(judges)
        self._workers = dict(workers)
        self._comparing = comparing
        self._rewards = rewards
        self._gate = gate
        self._store = stores.judging
        self._stores = stores
        self._clock = clock
        self._metrics = metrics
        self._wakes: list[asyncio.Event] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._next_look_s = 0.0
        self._stopping = False

    def wake(self) -> None:
        """Run the tasks now, because there is something to do."""
        for event in self._wakes:
            event.set()

    def start(self) -> None:
        """Begin."""
        for name, step in self._workers.items():
            self._begin(name, step)
        self._begin("judging", self.tend)

    async def stop(self) -> None:
        """Stop now. Running calls are cancelled; their answers can be claimed again when the lease expires."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def tend(self) -> int:
        """Submit verdicts; periodically check trust, delete what has waited too long, and update gauges."""
        done = 0
        for judge in self._judges:
            done += await self._rewards.settle(judge.name)
        if monotonic() >= self._next_look_s:
            self._next_look_s = monotonic() + LOOK_EVERY_S
            await self.look()
        return done

    async def look(self) -> None:
        """Check trust and the queue."""
        limits = {judge.name: judge.max_attempts for judge in self._judges}
        while await self._store.drop(self._clock.now_us(), limits):
            pass
        while await self._stores.probing.drop(self._clock.now_us()):
            pass
        while await self._stores.comparing.drop(self._clock.now_us()):
            pass
        await self._comparing.look()
        await self._gate.look()
        waiting, refused = await self._store.waiting(), await self._store.refusals()
        for judge in self._judges:
            self._metrics.judging.waiting.labels(judge.name).set(waiting.get(judge.name, 0))
            self._metrics.judging.trusted.labels(judge.name).set((judge.name, judge.version) not in refused)
        with_probes = [judge.name for judge in self._judges if judge.probes is not None]
        probes = await self._stores.probing.waiting() if with_probes else {}
        for name in with_probes:
            self._metrics.judging.probes_waiting.labels(name).set(probes.get(name, 0))

    def _begin(self, name: str, step: Step) -> None:
        wake = asyncio.Event()
        self._wakes.append(wake)
        self._tasks.append(asyncio.create_task(self._run(name, wake, step), name=name))

    async def _run(self, name: str, wake: asyncio.Event, step: Step) -> None:
        while not self._stopping:  # a step that ends just as it is cancelled may swallow the cancellation
            wake.clear()
            done = 0
            try:
                done = await step()
            except BanditdError as error:
                logger.warning("judging.failed", extra={"task": name, "error": error.message, "code": error.code})
            except Exception:
                # The task must survive a bug: what was claimed can be claimed again later.
                logger.exception("judging.crashed", extra={"task": name})
            if done:
                self.wake()
                await asyncio.sleep(0)
            else:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_S):
                        await wake.wait()
