"""APScheduler 3 around the jobs: in memory, each run under a lease so that one replica does it.

The scheduler only fires; the runs are tasks of ours, awaited at the end (its own executor would cancel them).
A job that fails is recorded, counted and tried again at its next turn. The log has each kind of failure
of it once until it has succeeded: some run every second, and an outage lasts.

APScheduler plans by the wall clock. If that was hours ahead and is set right, no job would run for hours; so its
steps backwards are watched for, and every job then runs soon.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic, perf_counter, time

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from banditd.core.errors import BanditdError
from banditd.obs.metrics import Metrics
from banditd.ports import Clock, JobStore, LeaseStore

logger = logging.getLogger(__name__)
MISFIRE_GRACE_S = 60
WATCH_EVERY_S = 5.0
STEP_S = 1.0  # steps of the wall clock that matter: smaller ones are what keeps clocks together


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A function to run every ``interval_s``. ``everywhere``: on each replica, without a lease."""

    name: str
    run: Callable[[], Awaitable[None]]
    interval_s: float
    everywhere: bool = False


class JobScheduler:
    """Runs jobs until it is closed; ``close`` waits for those that are running."""

    def __init__(
        self,
        jobs: list[Job],
        *,
        leases: LeaseStore,
        store: JobStore,
        clock: Clock,
        metrics: Metrics,
        holder: str,
    ) -> None:
        self._jobs = {job.name: job for job in jobs}
        self._leases = leases
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._holder = holder
        self._running: set[asyncio.Task[None]] = set()
        self._held: set[str] = set()
        self._failures: dict[str, set[str]] = {}  # of jobs that have not succeeded since, those that the log has
        self._scheduler = AsyncIOScheduler(timezone=UTC)
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; every job runs once soon after the start, then at its interval."""
        for job in self._jobs.values():
            self._scheduler.add_job(
                self._fire,
                "interval",
                seconds=job.interval_s,
                args=[job.name],
                id=job.name,
                next_run_time=datetime.now(UTC),
                misfire_grace_time=MISFIRE_GRACE_S,
                coalesce=True,
                max_instances=1,
                jitter=min(1.0, job.interval_s / 10),
            )
        self._scheduler.start()
        self._watching = asyncio.create_task(self._watch_clock(), name="job-clock")

    async def _watch_clock(self) -> None:
        ahead_s = time() - monotonic()
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            before_s, ahead_s = ahead_s, time() - monotonic()
            if before_s - ahead_s > STEP_S:
                logger.warning("job.clock_set_back", extra={"by_s": round(before_s - ahead_s, 1)})
                for name in self._jobs:
                    self._scheduler.modify_job(name, next_run_time=datetime.now(UTC))

    async def close(self) -> None:
        """Fire no more, wait for what runs, and leave the jobs to whoever comes next."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
        if self._running:
            await asyncio.gather(*self._running, return_exceptions=True)
        try:
            while self._held:
                await self._leases.release(self._held.pop(), self._holder)
        except BanditdError as error:
            # They expire by themselves, and the end of a daemon does not wait for a database that is gone.
            logger.warning("job.leases_kept", extra={"error": error.message})

    async def run_now(self, name: str) -> None:
        """Run one job at once, whatever its interval."""
        await self._run(self._jobs[name])

    async def _fire(self, name: str) -> None:
        if any(task.get_name() == name for task in self._running):
            return
        task = asyncio.create_task(self._run(self._jobs[name]), name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _run(self, job: Job) -> None:
        lease = f"job:{job.name}"
        try:
            if not job.everywhere:
                ttl_s = max(2 * job.interval_s, 10.0)
                now_us = self._clock.now_us()
                if not await self._leases.acquire(lease, self._holder, ttl_s=ttl_s, now_us=now_us):
                    return
                self._held.add(lease)
            await self._timed(job)
        except BanditdError as error:
            # The database itself does not answer: nothing can be recorded there.
            if self._is_new(job, error):
                logger.warning("job.unavailable", extra={"job": job.name, "error": error.message})
            self._metrics.count(self._metrics.job_runs, job.name, "unavailable")

    async def _timed(self, job: Job) -> None:
        started = perf_counter()
        failure: str | None = None
        if not job.everywhere:
            await self._store.started(job.name, self._clock.now_us())
        try:
            await job.run()
        except Exception as error:
            failure = _named(error)
            if self._is_new(job, error):
                logger.exception("job.failed", extra={"job": job.name})
        duration_s = perf_counter() - started
        self._metrics.count(self._metrics.job_runs, job.name, "failed" if failure else "done")
        self._metrics.child(self._metrics.job_seconds, job.name).set(duration_s)
        self._metrics.child(self._metrics.job_last_run, job.name).set(self._clock.now_us() / 1e6)
        if not job.everywhere:
            await self._store.finished(job.name, self._clock.now_us(), duration_s=duration_s, error=failure)
        if failure is None and job.name in self._failures:
            del self._failures[job.name]
            logger.info("job.works_again", extra={"job": job.name})

    def _is_new(self, job: Job, error: Exception) -> bool:
        """Whether the job has not failed for this kind of reason since it last succeeded."""
        known = self._failures.setdefault(job.name, set())
        kind = error.code if isinstance(error, BanditdError) else type(error).__name__
        new = kind not in known
        known.add(kind)
        return new


def _named(error: Exception) -> str:
    """What is kept of a failure: never the text of a library, which may hold what a statement was about."""
    kind = type(error).__name__
    return f"{error.code}: {error.message}" if isinstance(error, BanditdError) else f"{kind}; the log has the rest"
