"""Whether this process should get traffic; every part is checked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from banditd.core.errors import BanditdError
from banditd.obs.metrics import Metrics
from banditd.ports import Clock, Encoder, JobStore, LeaseStore, Maintenance
from banditd.services.learning.learner import Learner
from banditd.services.learning.lease import LEASE
from banditd.services.policy import PolicyRuntime

ANSWER_S = 2.0
PROBE = "Is this encoder awake?"


class HealthService:
    """Readiness: database, encoder, a snapshot per policy, learner and jobs; and not draining."""

    def __init__(
        self,
        *,
        runtimes: Mapping[str, PolicyRuntime],
        encoder: Encoder,
        maintenance: Maintenance,
        leases: LeaseStore,
        jobs: JobStore,
        learner: Learner,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._runtimes = runtimes
        self._encoder = encoder
        self._maintenance = maintenance
        self._leases = leases
        self._jobs = jobs
        self._learner = learner
        self._clock = clock
        self._metrics = metrics
        self.draining = False

    async def readiness(self) -> tuple[bool, dict[str, object]]:
        """(ready, parts). A failing job impairs learning, not routing, so the process stays ready.

        It is not ready while rewards wait and nobody learns (``Progress``), or while the database cannot store
        (``ping``). ``failing`` names the parts that keep it from being ready; callers without a key see nothing else.
        """
        database = await self._database()
        encoder = await self._encoding()
        snapshots = self._snapshots()
        parts: dict[str, object] = {
            "database": database,
            "encoder": encoder,
            "policies": snapshots,
            "draining": self.draining,
        }
        learner: dict[str, object] = {"ok": True}  # unknown without a database
        if database["ok"]:
            learner = await self._within(self._learning)
            parts["learner"] = learner
            parts["jobs"] = learner.pop("jobs", [])
        named = (("database", database), ("learner", learner), ("encoder", encoder))
        failing = [name for name, part in named if not part["ok"]]
        if not all(runtime.ready for runtime in self._runtimes.values()):
            failing.append("policies")
        if self.draining:
            failing.append("draining")
        parts["failing"] = failing
        ready = not failing
        self._metrics.up.set(1 if ready else 0)
        return ready, parts

    async def _database(self) -> dict[str, object]:
        async def look() -> dict[str, object]:
            await self._maintenance.ping()
            return {"ok": True, "revision": await self._maintenance.schema_revision()}

        return await self._within(look)

    async def _learning(self) -> dict[str, object]:
        stalled = await self._learner.progress.stalled()
        found: dict[str, object] = {
            "ok": not stalled,
            "leader_here": self._learner.leader,
            "holder": await self._leases.holder(LEASE),
            "jobs": [dict(run) for run in await self._jobs.runs()],
        }
        if stalled:
            found["error"] = f"rewards wait and nobody has learned for 3 leases: {', '.join(stalled)}"
        return found

    async def _within(self, look: Callable[[], Awaitable[dict[str, object]]]) -> dict[str, object]:
        """A part's answer, with a time limit, since probes themselves have one."""
        try:
            async with asyncio.timeout(ANSWER_S):
                return await look()
        except TimeoutError:
            return {"ok": False, "error": f"no answer within {ANSWER_S:g} s"}
        except BanditdError as error:
            return {"ok": False, "error": error.message}

    async def _encoding(self) -> dict[str, object]:
        try:
            await self._encoder.encode(PROBE)
        except BanditdError as error:
            return {"ok": False, "encoder_id": self._encoder.encoder_id, "error": error.message}
        return {"ok": True, "encoder_id": self._encoder.encoder_id}

    def _snapshots(self) -> dict[str, object]:
        now_us = self._clock.now_us()
        return {
            name: {
                "ready": runtime.ready,
                "version": runtime.view.snapshot.version if runtime.ready else None,
                "age_s": (now_us - runtime.published_at_us) / 1e6 if runtime.ready else None,
                "arms": len(runtime.arms),
            }
            for name, runtime in self._runtimes.items()
        }
