"""Anchors on both databases: taken whole and by one, whatever is folded meanwhile; counted once; marks that go."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import select

from banditd.core.anchor import AnchorOutcome, DriftRule, Frozen, Taking
from banditd.core.errors import ConflictError
from banditd.core.ids import new_id
from banditd.core.types import DAY_US
from banditd.ports import FoldCommit, StoredSegment
from banditd.storage.anchors import MARKS_KEPT_US
from banditd.storage.schema import anchor_segment, release_unit

HOLDER = "this test"
NOW_US = 20_000 * DAY_US
FROZEN = Frozen(settings={"kind": "thompson", "cost_weight": 0.1}, arms={"small": {"enabled": True}}, prior=None)


async def folded(storage: Any, version: int, sums: bytes, *, at_us: int = NOW_US, anchored: Any = ()) -> None:
    """A commit of the learner."""
    assert await storage.leases.acquire("learner", HOLDER, ttl_s=1e6, now_us=NOW_US)
    segments = [StoredSegment(arm=arm, epoch=0, sums=sums, version=version) for arm in ("small", "large")]
    commit = FoldCommit(
        policy="default", schema_hash="schema", base_version=version - 1, version=version, epoch=0,
        hyperparameters="{}", learner="{}", segments=segments, at_us=at_us, anchored=anchored, drift=DriftRule(),
    )  # fmt: skip
    await storage.learning.commit(commit, holder=HOLDER)


def take(storage: Any, instead_of: str | None = None, reason: str | None = None) -> Any:
    taking = Taking(at_us=NOW_US, frozen=FROZEN, reason=reason)
    return storage.anchors.take("default", "schema", taking, instead_of=instead_of)


def outcome(anchor_id: str, unit: str, at_us: int = NOW_US) -> AnchorOutcome:
    return AnchorOutcome(
        anchor_id=anchor_id, decision_id=new_id(at_us), unit=unit, live=True, share=0.5, differ=True, value=1.0
    )


async def marks(storage: Any) -> set[str]:
    query = select(release_unit.c.unit)
    return set(await storage.database.read(lambda connection: connection.execute(query).scalars().all()))


async def test_of_two_replicas_one_takes_it_and_what_is_folded_later_is_not_in_it(storage, open_replica):
    with pytest.raises(ConflictError, match="learned nothing yet"):
        await take(storage)
    await folded(storage, 1, b"one")
    async with open_replica("second") as other:
        both = await asyncio.gather(take(storage), take(other), return_exceptions=True)
    [anchor] = [one for one in both if not isinstance(one, Exception)]
    [lost] = [one for one in both if isinstance(one, Exception)]
    assert isinstance(lost, ConflictError)
    await folded(storage, 2, b"two")
    state = await storage.anchors.load(anchor.anchor_id)
    assert state is not None
    assert (state.anchor, state.frozen) == (anchor, FROZEN)
    assert state.segments == (("large", 0, b"one"), ("small", 0, b"one"))
    renewed = await take(storage, anchor.anchor_id, "looked at")
    assert await storage.anchors.load(anchor.anchor_id) is None
    state = await storage.anchors.load(renewed.anchor_id)
    assert state is not None
    assert (state.anchor.version, {sums for *_, sums in state.segments}) == (2, {b"two"})
    query = select(anchor_segment.c.anchor_id).distinct()
    kept = await storage.database.read(lambda connection: connection.execute(query).scalars().all())
    assert kept == [renewed.anchor_id]
    events = await storage.anchors.events("default", 9)
    assert [(one.event, one.reason) for one in events] == [("renewed", "looked at"), ("taken", None)]


async def test_an_anchor_of_which_a_part_is_missing_is_none(storage):
    await folded(storage, 1, b"one")
    anchor = await take(storage)
    gone = anchor_segment.delete().where(anchor_segment.c.arm == "small")
    await storage.database.write(lambda connection: connection.execute(gone) and None)
    assert await storage.anchors.load(anchor.anchor_id) is None


async def test_a_unit_counts_once_for_the_anchor_that_it_was_beside_and_old_marks_go(storage):
    await folded(storage, 1, b"one")
    anchor = await take(storage)
    one, again = outcome(anchor.anchor_id, "one"), outcome(anchor.anchor_id, "one")
    await folded(storage, 2, b"two", anchored=[one, again, outcome("another", "two")])
    await folded(storage, 3, b"two", anchored=[again])
    assert await marks(storage) == {"one"}
    later_us = NOW_US + MARKS_KEPT_US + DAY_US
    await folded(storage, 4, b"two", at_us=later_us, anchored=[outcome(anchor.anchor_id, "new", later_us)])
    assert await marks(storage) == {"new"}


async def test_a_commit_that_fails_counts_nothing(storage):
    await folded(storage, 1, b"one")
    anchor = await take(storage)
    with pytest.raises(Exception, match="no longer at"):
        await folded(storage, 9, b"two", anchored=[outcome(anchor.anchor_id, "one")])
    assert await marks(storage) == set()
