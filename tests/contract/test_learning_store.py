from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from banditd.core.errors import LeaseLostError
from banditd.core.rewards import Contribution
from banditd.ports import StatDelta, StoredSegment
from banditd.storage.learning import thinning


@pytest.fixture
async def leader(storage, make):
    assert await storage.leases.acquire("learner", "me", ttl_s=30, now_us=make.now_us)
    return storage


async def _rewarded(storage, make, n=1):
    made = [make.decision(make.now_us + i) for i in range(n)]
    await storage.decisions.append(made)
    await storage.rewards.record([make.reward(one.decision_id, 0.5) for one in made], make.judge)
    return made


async def test_nothing_stored_is_version_zero(storage):
    state = await storage.learning.load("default", "schema")
    assert (state.version, state.segments, state.hyperparameters, state.learner) == (0, (), None, None)
    assert await storage.learning.versions() == {}
    assert await storage.learning.claim("default", 10) == []
    assert await storage.learning.queue_depth() == 0


async def test_a_claimed_item_has_everything_for_the_fold(storage, make):
    [made] = await _rewarded(storage, make)
    [item] = await storage.learning.claim("default", 10)
    assert (item.decision_id, item.policy, item.chosen_arm) == (made.decision_id, "default", "cheap")
    assert (item.epoch, item.schema_hash, item.cluster, item.propensity) == (2, "schema", 7, 0.5)
    assert item.x.tolist() == made.context.x.tolist()
    item.x[0] = 5.0  # writable: the learner works in place
    [event] = item.events
    assert (event.reward, event.noise_variance, event.kind) == (0.5, 0.25, "reward")
    assert item.contribution is None
    assert len(item.queue_ids) == 1
    assert len(await storage.learning.claim("default", 10)) == 1  # claiming changes nothing
    assert await storage.learning.claim("other", 10) == []


async def test_a_fold_is_stored_whole(leader, make):
    made = await _rewarded(leader, make, 2)
    items = await leader.learning.claim("default", 10)
    put = Contribution("cheap", 2, 1.5, 0.5)
    fold = make.fold(
        contributions={item.decision_id: put for item in items},
        deltas=[
            StatDelta(
                arm="cheap", cluster=7, created_at_us=item.created_at_us, rewards=1, weight=1.5,
                weighted_reward=0.75, weighted_square=0.375, delay_s=4.0,
            )
            for item in items
        ],
        queue_ids=[queue_id for item in items for queue_id in item.queue_ids],
    )  # fmt: skip
    await leader.learning.commit(fold, holder="me")
    state = await leader.learning.load("default", "schema")
    assert (state.version, state.epoch, state.hyperparameters, state.learner) == (
        1, 2, fold.hyperparameters, fold.learner,
    )  # fmt: skip
    assert state.segments == tuple(fold.segments)
    assert await leader.learning.versions() == {"default": 1}
    assert await leader.learning.queue_depth() == 0
    [sampled, _] = await leader.learning.sample_contributions("default", 10)
    assert (sampled.decision_id, sampled.contribution) == (made[0].decision_id, put)
    [totals] = [row for row in await leader.reports.arm_totals("default", None) if row["arm"] == "cheap"]
    assert (totals["rewards"], totals["weight"], totals["weighted_reward"]) == (2, 3.0, 1.5)
    [context] = await leader.reports.contexts("default")
    assert (context["decisions"], context["rewards"], context["weighted_square"]) == (2, 2, 0.75)
    assert await leader.reports.delays("default") == [(5.0, 2)]
    [snapshot] = await leader.learning.snapshots("default", 10)
    assert (snapshot["version"], snapshot["schema_hash"]) == (1, "schema")


async def test_a_reward_that_comes_between_claim_and_commit_stays_in_the_queue(leader, make):
    [made] = await _rewarded(leader, make)
    [item] = await leader.learning.claim("default", 10)
    await leader.rewards.record([make.reward(made.decision_id, 1.0)], make.judge)
    put = Contribution("cheap", 2, 1.0, 0.5)
    await leader.learning.commit(
        make.fold(contributions={item.decision_id: put}, queue_ids=item.queue_ids), holder="me"
    )
    [again] = await leader.learning.claim("default", 10)
    assert again.contribution == put
    assert [event.reward for event in again.events] == [1.0]


async def test_a_contribution_can_be_taken_back(leader, make):
    [made] = await _rewarded(leader, make)
    put = Contribution("cheap", 2, 1.0, 0.5)
    await leader.learning.commit(make.fold(contributions={made.decision_id: put}), holder="me")
    await leader.learning.commit(make.fold(1, contributions={made.decision_id: None}), holder="me")
    assert (await leader.decisions.get(made.decision_id))["contribution"] is None
    assert await leader.learning.sample_contributions("default", 5) == []


async def _everything(storage):
    state = await storage.learning.load("default", "schema")
    return (
        state,
        await storage.learning.queue_depth(),
        await storage.learning.snapshots("default", 10),
        await storage.reports.arm_totals("default", None),
        await storage.learning.sample_contributions("default", 10) == [],
    )


@pytest.mark.parametrize(("base_version", "holder"), [(0, "me"), (7, "me"), (1, "someone else")])
async def test_a_stale_or_dispossessed_learner_writes_nothing(leader, make, base_version, holder):
    [made] = await _rewarded(leader, make)
    await leader.learning.commit(make.fold(), holder="me")
    before = await _everything(leader)
    [item] = await leader.learning.claim("default", 10)
    fold = make.fold(
        base_version,
        contributions={made.decision_id: Contribution("cheap", 2, 1.0, 0.5)},
        queue_ids=item.queue_ids,
        dropped_segments=[("cheap", 2)],
    )
    with pytest.raises(LeaseLostError):
        await leader.learning.commit(fold, holder=holder)
    assert await _everything(leader) == before


async def test_a_learner_whose_lease_was_taken_over_writes_nothing(leader, make):
    later = make.now_us + 31_000_000
    assert await leader.leases.acquire("learner", "the next", ttl_s=30, now_us=later)
    with pytest.raises(LeaseLostError):
        await leader.learning.commit(make.fold(), holder="me")
    await leader.learning.commit(make.fold(), holder="the next")


async def test_of_two_folds_on_one_version_only_one_is_stored(leader, open_replica, make):
    async with open_replica() as other:
        answers = await asyncio.gather(
            *(
                store.learning.commit(make.fold(learner=f'{{"n":{i}}}'), holder="me")
                for i, store in enumerate((leader, other) * 4)
            ),
            return_exceptions=True,
        )
    assert sorted(type(answer).__name__ for answer in answers) == ["LeaseLostError"] * 7 + ["NoneType"]


async def test_followers_load_only_what_changed(leader, make):
    first = [StoredSegment(arm="cheap", epoch=epoch, sums=b"a", version=1) for epoch in (0, 1, 2)]
    await leader.learning.commit(make.fold(segments=first), holder="me")
    second = [StoredSegment(arm="cheap", epoch=1, sums=b"b", version=2)]
    await leader.learning.commit(make.fold(1, segments=second, dropped_segments=[("cheap", 0)]), holder="me")
    state = await leader.learning.load("default", "schema", since_version=1)
    assert state.segments == tuple(second)
    whole = await leader.learning.load("default", "schema")
    assert [segment.sums for segment in whole.segments] == [b"b", b"a"]


async def test_state_belongs_to_one_policy_and_schema(leader, make):
    await leader.learning.commit(make.fold(), holder="me")
    await leader.learning.commit(make.fold(policy="other"), holder="me")
    await leader.learning.commit(replace(make.fold(schema_hash="new"), at_us=make.now_us + 9), holder="me")
    await leader.learning.commit(replace(make.fold(1, schema_hash="new"), at_us=make.now_us + 10), holder="me")
    assert (await leader.learning.load("default", "schema")).version == 1
    assert await leader.learning.versions() == {"default": 2, "other": 1}


async def test_the_replay_of_the_log_has_every_rewarded_decision_in_order(storage, make):
    made = await _rewarded(storage, make, 7)
    await storage.decisions.append([make.decision(make.now_us + 100)])
    batches = [batch async for batch in storage.learning.replay_log("default", batch_rows=3)]
    assert [len(batch) for batch in batches] == [3, 3, 1]
    assert [item.decision_id for batch in batches for item in batch] == [one.decision_id for one in made]
    assert all(item.events for batch in batches for item in batch)


async def test_the_replay_and_samples_tell_what_is_still_queued(leader, make):
    made = await _rewarded(leader, make, 2)
    [first, _] = await leader.learning.claim("default", 10)
    fold = make.fold(
        contributions={one.decision_id: Contribution("cheap", 2, 1.0, 0.5) for one in made},
        queue_ids=first.queue_ids,
    )
    await leader.learning.commit(fold, holder="me")
    [items] = [batch async for batch in leader.learning.replay_log("default")]
    assert [len(item.queue_ids) for item in items] == [0, 1]
    sampled = await leader.learning.sample_contributions("default", 10)
    assert [len(item.queue_ids) for item in sampled] == [0, 1]


async def test_samples_are_folded_decisions_of_the_whole_log(leader, make):
    made = [make.decision(make.now_us + i * 1_000_000) for i in range(200)]
    await leader.decisions.append(made)
    put = Contribution("cheap", 2, 1.0, 0.5)
    await leader.learning.commit(make.fold(contributions={one.decision_id: put for one in made}), holder="me")
    sampled = await leader.learning.sample_contributions("default", 32)
    assert 8 <= len(sampled) <= 32
    assert all(item.contribution == put for item in sampled)
    assert len({item.decision_id for item in sampled}) == len(sampled)
    assert {item.decision_id for item in sampled} - {one.decision_id for one in made[:40]}


async def test_old_snapshots_are_dropped(leader, make, monkeypatch):
    monkeypatch.setattr("banditd.storage.learning.THIN", thinning(kept=3))
    for version in range(6):
        await leader.learning.commit(make.fold(version, segments=[]), holder="me")
    kept = await leader.learning.snapshots("default", 10)
    assert [snapshot["version"] for snapshot in kept] == [6, 5, 4]


async def test_far_older_snapshots_are_thinned_not_lost(leader, make, monkeypatch):
    monkeypatch.setattr("banditd.storage.learning.THIN", thinning(kept=3, step=4))
    for version in range(60):
        await leader.learning.commit(make.fold(version, segments=[]), holder="me")
    kept = [snapshot["version"] for snapshot in await leader.learning.snapshots("default", 100)]
    assert kept == [60, 59, 58, 56, 52, 48, 32, 16]


async def test_a_replica_asks_for_the_version_of_its_own_schema(leader, make):
    """Whatever the clock of the learner was that wrote the state of another schema."""
    for version in range(3):
        ahead = make.now_us + 24 * 3600 * 10**6
        await leader.learning.commit(make.fold(version, schema_hash="older", at_us=ahead), holder="me")
    await leader.learning.commit(make.fold(0, at_us=make.now_us), holder="me")
    assert await leader.learning.versions({"default": "schema", "other": "schema"}) == {"default": 1}
    assert await leader.learning.versions({"default": "older"}) == {"default": 3}
    assert await leader.learning.versions({}) == {}
