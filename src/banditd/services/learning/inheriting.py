"""A feature schema that only appends columns inherits what was learned before: sums are padded with zeros.

Wraps the learning store and widens data of any schema that the present one extends: the state, until the present
schema has one of its own, and decisions whose rewards arrive late. The first commit under the present schema stores
the widened state.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import replace

from banditd.bandit.widening import widened_context, widened_counters, widened_scales, widened_sums
from banditd.core.types import FeatureSchema
from banditd.ports import FoldCommit, FoldItem, LearningStore, StoredLearning


class InheritingStore:
    """``ports.LearningStore`` for policies with these schemas."""

    def __init__(self, store: LearningStore, schemas: Mapping[str, FeatureSchema]) -> None:
        self._store = store
        self._schemas = dict(schemas)
        self._widened_from: dict[str, tuple[str, int]] = {}  # schema and version of the last widened state

    async def load(self, policy: str, schema_hash: str, *, since_version: int = -1) -> StoredLearning:
        stored = await self._store.load(policy, schema_hash, since_version=since_version)
        schema = self._schemas.get(policy)
        if stored.version or stored.segments or schema is None or schema.hash != schema_hash:
            return stored
        for older in schema.extends:
            found = await self._store.load(policy, older)
            if found.version:
                self._widened_from[policy] = older, found.version
                return _widened_state(found, schema)
        return stored

    async def claim(self, policy: str, limit: int, *, schema_hash: str | None = None) -> list[FoldItem]:
        items = await self._store.claim(policy, limit, schema_hash=schema_hash)
        for older in self._extended(policy):
            room = limit - sum(len(item.queue_ids) for item in items)
            if room > 0:
                seen = {item.decision_id for item in items}
                more = await self._store.claim(policy, room, schema_hash=older)
                items += [item for item in more if item.decision_id not in seen]
        return self._widened(policy, items)

    async def replay_log(self, policy: str, *, batch_rows: int = 1000) -> AsyncIterator[Sequence[FoldItem]]:
        async for items in self._store.replay_log(policy, batch_rows=batch_rows):
            yield self._widened(policy, items)

    async def sample_contributions(self, policy: str, limit: int) -> list[FoldItem]:
        return self._widened(policy, await self._store.sample_contributions(policy, limit))

    async def versions(self, schemas: Mapping[str, str] | None = None) -> Mapping[str, int]:
        """As the store says; -1 for a policy that has no state of its own and whose widened one has since changed."""
        found = dict(await self._store.versions(schemas))
        for policy, schema_hash in (schemas or {}).items():
            schema = self._schemas.get(policy)
            if policy in found or schema is None or schema.hash != schema_hash:
                continue
            if await self._newest(policy) != self._widened_from.get(policy):
                found[policy] = -1
        return found

    async def commit(self, fold: FoldCommit, *, holder: str) -> None:
        await self._store.commit(fold, holder=holder)

    async def queue_depth(self, schemas: Mapping[str, str] | None = None) -> int:
        return await self._store.queue_depth(schemas)

    async def waiting(self, schemas: Mapping[str, str]) -> frozenset[str]:
        return await self._store.waiting(schemas)

    async def queued(self, learners: Collection[tuple[str, str]]) -> frozenset[str]:
        older = [(policy, schema_hash) for policy, _ in learners for schema_hash in self._extended(policy)]
        return await self._store.queued([*learners, *older])

    async def snapshots(self, policy: str, limit: int) -> list[Mapping[str, object]]:
        return await self._store.snapshots(policy, limit)

    async def check_rows(self, policy: str, after: str, limit: int) -> tuple[list[str], str | None]:
        return await self._store.check_rows(policy, after, limit)

    async def _newest(self, policy: str) -> tuple[str, int] | None:
        """Schema and version of the state that would be widened now."""
        for older in self._extended(policy):
            version = (await self._store.versions({policy: older})).get(policy, 0)
            if version:
                return older, version
        return None

    def _extended(self, policy: str) -> tuple[str, ...]:
        schema = self._schemas.get(policy)
        return () if schema is None else schema.extends

    def _widened(self, policy: str, items: Sequence[FoldItem]) -> list[FoldItem]:
        older = self._extended(policy)
        if not older:
            return list(items)
        schema = self._schemas[policy]
        return [_widened_item(item, schema) if item.schema_hash in older else item for item in items]


def _widened_item(item: FoldItem, schema: FeatureSchema) -> FoldItem:
    x = widened_context(item.x, schema.n_features)
    return replace(item, x=x, schema_hash=schema.hash, inherited=True)


def _widened_state(found: StoredLearning, schema: FeatureSchema) -> StoredLearning:
    d = schema.n_features
    return StoredLearning(
        version=0,  # not stored yet
        epoch=found.epoch,
        hyperparameters=None if found.hyperparameters is None else widened_scales(found.hyperparameters, schema),
        learner=None if found.learner is None else widened_counters(found.learner, d),
        segments=tuple(replace(s, sums=widened_sums(s.sums, d), version=0) for s in found.segments),
    )
