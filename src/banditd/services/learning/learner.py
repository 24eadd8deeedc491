"""Learning from rewards: claim, fold, commit (statistics, applied-marks, version), publish the snapshot.

One replica holds the lease and is the single writer of every policy; the others poll the version and adopt what
changed. The state in memory is a cache of what is committed. After any failed commit it is discarded and read again,
so nothing is ever folded that the database does not know of.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from types import MappingProxyType

from banditd.bandit.posterior.evidence import TuningTask
from banditd.bandit.state import PolicyState
from banditd.core.errors import BanditdError, LeaseLostError, StorageUnavailableError
from banditd.core.pace import Pace
from banditd.obs.metrics import Metrics
from banditd.ports import (
    ArmStore,
    Clock,
    FoldCommit,
    FoldItem,
    LearningStore,
    StoredLearning,
    StoredSegment,
)
from banditd.services.learning.changes import tell_changes
from banditd.services.learning.folding import Folded, NoShadows, Shadows, is_first
from banditd.services.learning.lease import LearnerLease
from banditd.services.learning.progress import ForeignRewards, Progress
from banditd.services.policy import PolicyRuntime

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pacing:
    """How much a learner folds at once, how long it then waits, and how often it checks what others have written."""

    max_batch: int
    pause_s: float
    poll_s: float


class Learner:
    """Keeps every policy's snapshot current: as the leader by folding, as a follower by reading."""

    def __init__(
        self,
        *,
        runtimes: Mapping[str, PolicyRuntime],
        store: LearningStore,
        arms: ArmStore,
        lease: LearnerLease,
        clock: Clock,
        metrics: Metrics,
        pacing: Pacing,
        shadows: Shadows | None = None,
    ) -> None:
        self._runtimes = runtimes
        self._store = store
        self._arms = arms
        self._lease = lease
        self._clock = clock
        self._metrics = metrics
        self._pacing = pacing
        self._shadows = shadows or NoShadows()
        self._stale: set[str] = set()
        self._refit_requested: set[str] = set()
        self._fits: dict[str, asyncio.Task[None]] = {}
        self._foreign = ForeignRewards()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._arms_version = -1
        self._next_poll = 0.0
        self._busy = asyncio.Lock()
        self._schemas = {name: runtime.builder.schema.hash for name, runtime in runtimes.items()}
        self.progress = Progress(store, self._schemas, lease_s=lease.lease_s)

    # -------------------------------------------------------------- life

    async def start(self) -> None:
        """Load every policy and start. After this every runtime has a snapshot."""
        await self._refresh_arms(force=True)
        for name in self._runtimes:
            await self._load(name)
        self._task = asyncio.create_task(self._run(), name="learner")

    async def stop(self) -> None:
        """Stop after the current step and release the lease. Unfolded rewards stay queued in the database."""
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            await self._task
        await asyncio.gather(*self._fits.values())
        await self._lease.release()

    @property
    def leader(self) -> bool:
        """Whether this replica is the single writer."""
        return self._lease.held

    def wake(self) -> None:
        """Rewards have arrived."""
        self._wake.set()

    def ask_refit(self, policies: Iterable[str]) -> None:
        """Refit these policies at the next step, due or not, if they have learned anything since their last fit."""
        self._refit_requested.update(policies)
        self._wake.set()

    async def drained(self) -> None:
        """Wait until every reward that can be learned here is folded and published (for tests and the demo)."""
        while self._stale or await self._store.queue_depth(self._schemas) > 0:
            self._wake.set()
            await asyncio.sleep(0.005)
        for _ in range(2):  # rewards that came during a fit may make the next one due
            async with self._busy:
                for name in self._runtimes if self.leader else ():
                    self._tune(name)
            await asyncio.gather(*self._fits.values())

    async def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            more = False
            try:
                more = await self._lead_or_follow()
            except StorageUnavailableError as error:
                logger.warning("learner.storage_unavailable", extra={"error": error.message})
            except LeaseLostError as error:
                # Another replica leads now or has folded in the meantime: nothing is lost.
                logger.warning("learner.handed_over", extra={"error": error.message, "code": error.code})
                self._stale.update(self._runtimes)
            except BanditdError as error:
                logger.exception("learner.failed", extra={"error": error.message, "code": error.code})
                self._stale.update(self._runtimes)
            except Exception:
                # The loop must survive a bug: rewards stay queued and the state is read again.
                logger.exception("learner.crashed")
                self._stale.update(self._runtimes)
            if not self._stopping and not more:
                await self._rest()

    async def _rest(self) -> None:
        if pause_s := max(self._pacing.pause_s, self._shadows.rest_s):
            await asyncio.sleep(pause_s)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), self._pacing.poll_s)

    async def _lead_or_follow(self) -> bool:
        """Stay current and, as the leader, fold one batch of every policy. Returns whether more may be queued.

        Between batches the lock is free and other due work is done: changes of arms must not wait for a backlog.
        """
        more = False
        queued: Collection[str] | None = self._runtimes if len(self._runtimes) == 1 else None
        for name in self._runtimes:
            async with self._busy:
                await self._keep_up(asyncio.get_running_loop().time())
                if not self.leader or self._stopping:
                    return False
                if queued is None:  # one look for all policies; whatever is queued later wakes the learner
                    queued = await self._store.queued(self._schemas.items())
                more |= name in queued and await self._step(name)
                self._tune(name)
        return more

    async def _keep_up(self, now_s: float) -> None:
        """Renew the lease, refresh arms and other replicas' snapshots, each when it is due."""
        if await self._lease.renew(now_s):
            # Another replica may have written since this one last read.
            self._stale.update(self._runtimes)
        self._metrics.learner_leader.set(self.leader)
        if now_s >= self._next_poll:
            self._next_poll = now_s + self._pacing.poll_s
            await self._refresh_arms()
            await self.progress.look()
            if not self.leader:
                await self._follow()
        for name in sorted(self._stale):
            await self._load(name)

    # -------------------------------------------------------------- the fold

    async def _step(self, name: str) -> bool:
        """Fold one batch of one policy's queue. Returns whether it was full, so that more may be queued."""
        started = perf_counter()
        items = await self._store.claim(name, self._pacing.max_batch, schema_hash=self._schemas[name])
        if items:
            await self._fold(name, items)
            self._metrics.fold_seconds.observe(perf_counter() - started)
        # A claim counts rows of the queue; a decision with several rewards has several rows.
        return sum(len(item.queue_ids) for item in items) >= self._pacing.max_batch

    async def _fold(self, name: str, items: list[FoldItem]) -> None:
        """Fold in pieces, commit, publish. Until the commit the state in memory is ahead of the database.

        Other tasks run between the pieces, but ``_busy`` is held, so nothing else folds, fits, reloads or publishes.
        """
        runtime = self._runtimes[name]
        state = runtime.learned
        folded, pace = Folded(), Pace()
        queue_ids: list[str] = []
        set_aside: defaultdict[str, list[str]] = defaultdict(list)
        try:
            folded.shadowed = await self._shadows.seen(runtime, items)
            for item in items:
                if item.schema_hash != runtime.builder.schema.hash:
                    self._foreign.tell(item)
                    set_aside[item.schema_hash].extend(item.queue_ids)
                    continue
                queue_ids.extend(item.queue_ids)
                if is_first(item):  # change detection compares it with a prediction, so pending updates go first
                    await pace.through(state.refreshing())
                folded.fold(state, item)
                await pace.step()
        except BaseException:
            self._stale.add(name)
            raise
        for change in folded.deltas:
            if change.delay_s is not None:
                self._metrics.child(self._metrics.reward_delay, name).observe(change.delay_s)
        news = state.arm_changes.stamp(self._clock.now_us())
        await self._commit(name, state, folded, queue_ids, set_aside)
        tell_changes(self._metrics, state, name, news)
        self._metrics.child(self._metrics.folds, name).inc(len(folded.contributions))

    def _tune(self, name: str) -> None:
        """Start refitting prior scales and noise in a thread, if enough data has been added."""
        if name in self._fits:
            return
        state = self._runtimes[name].learned
        requested = name in self._refit_requested
        self._refit_requested.discard(name)
        if state.tune_due(requested=requested):
            self._fits[name] = asyncio.create_task(self._fit(name, state, state.tuning()), name=f"fit {name}")

    async def _fit(self, name: str, state: PolicyState, task: TuningTask) -> None:
        """Fit on a copy of the sums while folding goes on; adopt the result if the state is still the same one."""
        started, begun = perf_counter(), state.version
        try:
            hyperparameters = await asyncio.to_thread(task.run)
            async with self._busy:
                # If the state was reloaded or another replica leads, drop this fit; it will be due again.
                if not self.leader or self._runtimes[name].state is not state or name in self._stale:
                    return
                state.adopt(hyperparameters)
                await self._commit(name, state, Folded(), [])
        except BanditdError as error:
            logger.warning("learner.failed", extra={"error": error.message, "code": error.code})
        except Exception:
            # As in ``_run``: survive the bug and read the state again.
            logger.exception("learner.crashed")
            self._stale.add(name)
        else:
            logger.info(
                "policy.tuned",
                extra={
                    "policy": name,
                    "seconds": round(perf_counter() - started, 4),
                    "folds_meanwhile": state.version - 1 - begun,
                },
            )
        finally:
            del self._fits[name]

    async def _commit(
        self,
        name: str,
        state: PolicyState,
        folded: Folded,
        queue_ids: list[str],
        set_aside: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> None:
        base, version = state.version, state.version + 1
        touched, dropped = state.take_touched()
        fold = FoldCommit(
            policy=name,
            schema_hash=self._runtimes[name].builder.schema.hash,
            base_version=base,
            version=version,
            epoch=state.epoch,
            hyperparameters=state.hyperparameters_json(),
            learner=state.learner_json(),
            segments=[StoredSegment(arm=arm, epoch=epoch, sums=one, version=version) for arm, epoch, one in touched],
            dropped_segments=dropped,
            contributions=folded.contributions,
            other_contributions=folded.other_contributions,
            deltas=folded.deltas,
            estimates=folded.estimates,
            queue_ids=queue_ids,
            released=folded.released,
            anchored=folded.anchored,
            drift=self._runtimes[name].config.drift,
            shadowed=folded.shadowed,
            set_aside=set_aside,
            at_us=self._clock.now_us(),
        )
        try:
            await Pace().through(state.refreshing())  # in pieces, so that publishing afterwards is quick
            await self._store.commit(fold, holder=self._lease.holder)
        except BaseException as error:
            # From here on the state in memory is ahead of the database.
            self._stale.add(name)
            if isinstance(error, LeaseLostError):
                self._lease.doubt()
            raise
        state.version = version
        self._publish(name)

    # -------------------------------------------------------------- reading

    async def _load(self, name: str) -> None:
        runtime = self._runtimes[name]
        schema = runtime.builder.schema
        stored = await self._store.load(name, schema.hash)
        state = PolicyState(schema=schema, settings=runtime.config.settings, arms=runtime.priors())
        await self._apply(state, stored)
        runtime.state = state
        self._stale.discard(name)
        self._publish(name)

    async def _follow(self) -> None:
        versions = await self._store.versions(self._schemas)
        for name, state in ((name, runtime.learned) for name, runtime in self._runtimes.items()):
            if versions.get(name, 0) == state.version or name in self._stale:
                continue
            stored = await self._store.load(name, self._schemas[name], since_version=state.version)
            try:
                await self._apply(state, stored)
            except BaseException:
                self._stale.add(name)
                raise
            self._publish(name)

    async def _apply(self, state: PolicyState, stored: StoredLearning) -> None:
        segments = [(s.arm, s.epoch, s.sums) for s in stored.segments]
        pieces = state.applying(
            segments, version=stored.version, hyperparameters=stored.hyperparameters, learner=stored.learner
        )
        await Pace().through(pieces)

    async def reload(self, policy: str) -> None:
        """Read a policy's state again and publish it, after its configuration has changed."""
        async with self._busy:
            await self._load(policy)

    async def refresh_arms(self) -> None:
        """Adopt changed arms at once; the arm service calls this after a write."""
        async with self._busy:
            await self._refresh_arms(force=True)

    async def _refresh_arms(self, *, force: bool = False) -> None:
        version = await self._arms.arms_version()
        changed = force or version != self._arms_version
        for name, usage in (await self._arms.usages(self._runtimes)).items():
            runtime = self._runtimes[name]
            runtime.adopt_settled(await self._arms.settled(name) if runtime.may_have_recipes else {})
            if changed:
                runtime.arms = tuple(await self._arms.arms(name))
                runtime.usage = dict(usage)
                if (state := runtime.state) is not None:
                    state.set_arms(runtime.priors())
                    self._publish(name)
            elif usage != runtime.usage:
                runtime.refresh_usage(usage)
        self._arms_version = version

    def _publish(self, name: str) -> None:
        runtime = self._runtimes[name]
        state = runtime.learned
        runtime.publish(state.snapshot(version=state.version), self._clock.now_us())
        self._metrics.child(self._metrics.policy_version, name).set(state.version)
        self._metrics.child(self._metrics.query_drift, name).set(state.arm_changes.drift.height)
        for arm in state.arms:
            changed = arm.learned_as in state.arm_changes.changed
            self._metrics.child(self._metrics.arm_changed, name, arm.arm).set(changed)
