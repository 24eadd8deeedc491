"""What the learner reads and writes: its queue, the segments, the state, contributions, snapshots.

A fold is one transaction guarded twice: by the lease's holder and by compare-and-swap on the version. The
queue has no order and no watermark: exactly the claimed rows are deleted. The arithmetic is ``bandit/``'s.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, Delete, Update, bindparam, delete, insert, or_, select, update

from banditd.core.errors import BanditdError, LeaseLostError
from banditd.ope.fixed import FIXED_ARM_COUNTS, FIXED_ARM_SUMS
from banditd.ports import FoldCommit, FoldItem, StatDelta, StoredLearning, StoredSegment
from banditd.storage import dialect, queues
from banditd.storage.among import among, in_chunks, rows_among
from banditd.storage.anchors import count_anchored
from banditd.storage.arm_rewards import write_other_contributions
from banditd.storage.delays import delay_bin
from banditd.storage.engine import Database
from banditd.storage.folds import check_rows, fold_items, sampled_ids
from banditd.storage.prepared import Prepared
from banditd.storage.release_rows import count_outcomes
from banditd.storage.schema import (
    arm_total,
    cluster_stat,
    contribution,
    delay_count,
    learner_state,
    lease,
    rollup,
    segment,
    snapshot,
    tag_cluster,
    tag_entry,
    tag_rollup,
    tag_total,
)
from banditd.storage.shadows import add_shadowed
from banditd.storage.sums import SumWriter, bucket_of

LEARNER_LEASE: Final = "learner"
SNAPSHOTS_KEPT: Final = 200
SNAPSHOTS_THINNED: Final = 64
_REWARD_SUMS: Final = (
    "rewards",
    *FIXED_ARM_SUMS[:FIXED_ARM_COUNTS],
    "weight",
    "weighted_reward",
    "weighted_square",
    *FIXED_ARM_SUMS[FIXED_ARM_COUNTS:],
)
"""In the order of the table: whole numbers first."""
_CLUSTER_SUMS: Final = ("rewards", "weight", "weighted_reward", "weighted_square")
_CHANGE_PLACES: Final = (0, *range(FIXED_ARM_COUNTS + 1, FIXED_ARM_COUNTS + 4))
_ESTIMATE_PLACES: Final = (*range(1, FIXED_ARM_COUNTS + 1), *range(FIXED_ARM_COUNTS + 4, len(_REWARD_SUMS)))


class SqlLearningStore:
    """``ports.LearningStore`` over one database, but for ``replay_log``, which reads the archive too."""

    def __init__(self, database: Database, *, writer_name: str) -> None:
        engine = database.engine
        self._database = database
        self._random = random.Random()
        self._holder = dialect.lock_exclusive(engine, select(lease.c.holder).where(lease.c.name == LEARNER_LEASE))
        self._sums = SumWriter(engine, writer_name, _REWARD_SUMS, _CLUSTER_SUMS, kind="reward")
        self._delays = dialect.add_up(engine, delay_count, ("rewards",))
        self._segments = dialect.replace_row(engine, segment, ("sums", "version"))
        values = ("policy", "arm", "epoch", "weight", "reward", "estimated_by_design")
        self._contributions = Prepared(
            engine, dialect.replace_row(engine, contribution, values), ("decision_id", *values)
        )

    # ------------------------------------------------------------ reading

    async def load(self, policy: str, schema_hash: str, *, since_version: int = -1) -> StoredLearning:
        return await self._database.read(lambda connection: _load(connection, policy, schema_hash, since_version))

    async def versions(self, schemas: Mapping[str, str] | None = None) -> Mapping[str, int]:
        def work(connection: Connection) -> dict[str, int]:
            if schemas is None:
                rows: Iterable[Any] = connection.execute(_VERSIONS)
            else:
                rows = rows_among(connection, _VERSIONS_OF, list(schemas.items()))
            return {row.policy: row.version for row in rows}

        return await self._database.read(work)

    async def claim(self, policy: str, limit: int, *, schema_hash: str | None = None) -> list[FoldItem]:
        def work(connection: Connection) -> list[FoldItem]:
            return fold_items(connection, queues.claimed_ids(connection, policy, schema_hash, limit))

        return await self._database.read(work)

    async def queue_depth(self, schemas: Mapping[str, str] | None = None) -> int:
        return await self._database.read(lambda connection: queues.depth(connection, schemas))

    async def waiting(self, schemas: Mapping[str, str]) -> frozenset[str]:
        return await self._database.read(lambda connection: queues.waiting(connection, schemas))

    async def queued(self, learners: Collection[tuple[str, str]]) -> frozenset[str]:
        return await self._database.read(lambda connection: queues.queued(connection, learners))

    async def snapshots(self, policy: str, limit: int) -> list[Mapping[str, object]]:
        query = (
            select(snapshot)
            .where(snapshot.c.policy == policy)
            .order_by(snapshot.c.created_at_us.desc(), snapshot.c.version.desc())
            .limit(limit)
        )
        return await self._database.read(
            lambda connection: [dict(row) for row in connection.execute(query).mappings()]
        )

    async def sample_contributions(self, policy: str, limit: int) -> list[FoldItem]:
        return await self._database.read(
            lambda connection: fold_items(connection, sampled_ids(connection, policy, limit, self._random)),
            report=True,
        )

    async def check_rows(self, policy: str, after: str, limit: int) -> tuple[list[str], str | None]:
        return await self._database.read(lambda connection: check_rows(connection, policy, after, limit))

    # ------------------------------------------------------------ the fold

    async def commit(self, fold: FoldCommit, *, holder: str) -> None:
        await self._database.write(lambda connection: self._commit(connection, fold, holder))

    def _commit(self, connection: Connection, fold: FoldCommit, holder: str) -> BanditdError | None:
        held = connection.execute(self._holder).scalar()
        if held != holder:
            return LeaseLostError(f"The learner's lease is held by {held or 'nobody'}.")
        if fold.replaces:
            clear_state(connection, fold, _REWARD_SUMS, _CLUSTER_SUMS)
        if not self._swap_state(connection, fold):
            return LeaseLostError(f"The state of policy {fold.policy} is no longer at {fold.base_version}.")
        self._write_segments(connection, fold)
        self._write_contributions(connection, fold)
        write_other_contributions(connection, self._database.engine, fold)
        self._count(connection, fold)
        self._write_snapshot(connection, fold)
        queues.take_off(connection, fold)
        if fold.released:
            count_outcomes(connection, self._database.engine, fold.released, fold.at_us)
        if fold.anchored:
            count_anchored(connection, self._database.engine, fold.policy, fold.anchored, fold.drift, fold.at_us)
        if fold.shadowed is not None:
            add_shadowed(connection, self._database.engine, fold.shadowed)
        return None

    def _swap_state(self, connection: Connection, fold: FoldCommit) -> bool:
        values = {
            "version": fold.version,
            "epoch": fold.epoch,
            "hyperparameters": fold.hyperparameters,
            "learner": fold.learner,
            "updated_at_us": fold.at_us,
        }
        of_state = {"of_policy": fold.policy, "of_schema": fold.schema_hash, "of_version": fold.base_version}
        swapped = connection.execute(_SWAP, values | of_state).rowcount
        if swapped or fold.base_version != 0:
            return bool(swapped)
        first = dialect.insert_into(self._database.engine, learner_state).on_conflict_do_nothing(
            index_elements=["policy", "schema_hash"]
        )
        row = {"policy": fold.policy, "schema_hash": fold.schema_hash, **values}
        # Not by rowcount, which SQLAlchemy does not keep for inserts.
        stored = connection.execute(first.values(**row).returning(learner_state.c.version))
        return stored.one_or_none() is not None

    def _write_segments(self, connection: Connection, fold: FoldCommit) -> None:
        of_state = {"of_policy": fold.policy, "of_schema": fold.schema_hash}
        for chunk in in_chunks(fold.dropped_segments):
            connection.execute(_DROP_SEGMENTS, of_state | chunk)
        if fold.segments:
            key = {"policy": fold.policy, "schema_hash": fold.schema_hash}
            connection.execute(
                self._segments,
                [key | {"arm": s.arm, "epoch": s.epoch, "sums": s.sums, "version": s.version} for s in fold.segments],
            )

    def _write_contributions(self, connection: Connection, fold: FoldCommit) -> None:
        gone = [decision_id for decision_id, put in fold.contributions.items() if put is None]
        for chunk in in_chunks(gone):
            connection.execute(_DROP_CONTRIBUTIONS, chunk)
        rows = [
            (decision_id, fold.policy, put.arm, put.epoch, float(put.weight), float(put.reward), True)
            for decision_id, put in fold.contributions.items()
            if put is not None
        ]
        self._contributions.run(connection, rows)

    def _count(self, connection: Connection, fold: FoldCommit) -> None:
        increments = self._sums.start()
        delays: dict[int, int] = {}
        for delta in fold.deltas:
            changes = _changes(delta)
            bucket = bucket_of(delta.created_at_us)
            part = increments.of(fold.policy, bucket, delta.tags)
            if delta.cluster is not None:
                sums = part.cluster(fold.policy, fold.schema_hash, delta.cluster, delta.arm)
                for index, change in enumerate(changes):
                    sums[index] += change
            sums = part.bucket(fold.policy, bucket, delta.arm)
            for place, change in zip(_CHANGE_PLACES, changes, strict=True):
                sums[place] += change
            if delta.delay_s is not None:
                place = delay_bin(delta.delay_s)
                delays[place] = delays.get(place, 0) + 1
        for estimate in fold.estimates:
            bucket = bucket_of(estimate.created_at_us)
            sums = increments.of(fold.policy, bucket, estimate.tags).bucket(fold.policy, bucket, estimate.arm)
            for place, change in zip(_ESTIMATE_PLACES, estimate.sums, strict=True):
                sums[place] += int(change) if place <= FIXED_ARM_COUNTS else change
        self._sums.flush(connection, increments)
        if delays:
            connection.execute(
                self._delays,
                [{"policy": fold.policy, "bin": place, "rewards": n} for place, n in sorted(delays.items())],
            )

    def _write_snapshot(self, connection: Connection, fold: FoldCommit) -> None:
        row = {
            "policy": fold.policy,
            "schema_hash": fold.schema_hash,
            "version": fold.version,
            "epoch": fold.epoch,
            "hyperparameters": fold.hyperparameters,
            "learner": fold.learner,
            "folded": len(fold.contributions),
            "created_at_us": fold.at_us,
        }
        connection.execute(_SNAPSHOT, row)
        of_state = {"of_policy": fold.policy, "of_schema": fold.schema_hash, "of_version": fold.version}
        connection.execute(THIN, of_state)


def _swap() -> Update:
    s = learner_state.c
    return update(learner_state).where(
        s.policy == bindparam("of_policy"),
        s.schema_hash == bindparam("of_schema"),
        s.version == bindparam("of_version"),
    )


def thinning(kept: int = SNAPSHOTS_KEPT, step: int = SNAPSHOTS_THINNED) -> Delete:
    """The newest are all kept; of older ones every so many-th, of far older ones every square of it, and so on."""
    c, newest = snapshot.c, bindparam("of_version", type_=BigInteger)
    gone = [(c.version <= newest - kept * step ** (n - 1)) & (c.version % step**n != 0) for n in (1, 2, 3)]
    of_state = (c.policy == bindparam("of_policy")) & (c.schema_hash == bindparam("of_schema"))
    return delete(snapshot).where(of_state, or_(*gone))


_SWAP: Final = _swap()
_VERSIONS: Final = select(learner_state.c.policy, learner_state.c.version).order_by(
    learner_state.c.updated_at_us, learner_state.c.version
)
_VERSIONS_OF: Final = _VERSIONS.where(among(learner_state.c.policy, learner_state.c.schema_hash))
_DROP_SEGMENTS: Final = delete(segment).where(
    segment.c.policy == bindparam("of_policy"),
    segment.c.schema_hash == bindparam("of_schema"),
    among(segment.c.arm, segment.c.epoch),
)
_DROP_CONTRIBUTIONS: Final = delete(contribution).where(among(contribution.c.decision_id))
_SNAPSHOT: Final = insert(snapshot)
THIN: Final = thinning()


def _load(connection: Connection, policy: str, schema_hash: str, since_version: int) -> StoredLearning:
    s, g = learner_state.c, segment.c
    state = connection.execute(
        select(learner_state).where(s.policy == policy, s.schema_hash == schema_hash)
    ).one_or_none()
    changed = connection.execute(
        select(g.arm, g.epoch, g.sums, g.version)
        .where(g.policy == policy, g.schema_hash == schema_hash, g.version > since_version)
        .order_by(g.arm, g.epoch)
    )
    return StoredLearning(
        version=0 if state is None else state.version,
        epoch=0 if state is None else state.epoch,
        hyperparameters=None if state is None else state.hyperparameters,
        learner=None if state is None else state.learner,
        segments=tuple(StoredSegment(**row) for row in changed.mappings()),
    )


def _changes(delta: StatDelta) -> tuple[float, ...]:
    """In the order of ``_CLUSTER_SUMS``."""
    return (
        int(delta.rewards),
        float(delta.weight),
        float(delta.weighted_reward),
        float(delta.weighted_square),
    )


def clear_state(
    connection: Connection, fold: FoldCommit, sums: tuple[str, ...], cluster_sums: tuple[str, ...]
) -> None:
    """Delete the state, its segments and the snapshots to drop; where all is recounted, set the sums to zero.

    sums : those columns of roll-ups and totals that folds raise; ``cluster_sums`` : of the clusters.
    """
    for table in (learner_state, segment):
        matching = (table.c.policy == fold.policy) & (table.c.schema_hash == fold.schema_hash)
        connection.execute(delete(table).where(matching))
    c = snapshot.c
    matching = (c.policy == fold.policy) & (c.schema_hash == fold.schema_hash)
    for chunk in in_chunks(fold.dropped_snapshots):
        connection.execute(delete(snapshot).where(matching, among(c.version)), chunk)
    if fold.recounts:
        # Entries first: what another replica counts just now is in the tables before they are set to zero.
        waiting = (tag_entry.c.policy == fold.policy) & (tag_entry.c.kind == "reward")
        connection.execute(delete(tag_entry).where(waiting))
        for table in (rollup, arm_total, tag_rollup, tag_total):
            connection.execute(update(table).where(table.c.policy == fold.policy).values(dict.fromkeys(sums, 0)))
        for table in (cluster_stat, tag_cluster):
            matching = (table.c.policy == fold.policy) & (table.c.schema_hash == fold.schema_hash)
            connection.execute(update(table).where(matching).values(dict.fromkeys(cluster_sums, 0)))
