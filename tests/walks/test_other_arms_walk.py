"""Rewards of arms that did not serve: learned once each, whoever is found to have served, and in no statistic."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Table, delete, func, select, update
from tests.walks.conftest import OpenDaemon, leads
from tests.walks.test_repair import change, counted
from tests.walks.test_reward_walk import learned, refolded, reward, route
from tests.walks.test_schema_change import NEW, integrity

from banditd.core.errors import ConflictError, InvalidInputError, NotFoundError
from banditd.core.rewards import RewardEvent, RewardReceipt, UsageReport
from banditd.core.types import Arm
from banditd.daemon.open import Daemon
from banditd.services.learning.folding import merge_events
from banditd.storage.schema import (
    arm_contribution,
    arm_fold_queue,
    arm_reward,
)

ARMS = ("small", "large")
SOURCES = {"metric": 0.0, "human": 0.05}


@pytest.fixture
async def daemon(open_daemon: OpenDaemon) -> AsyncIterator[Daemon]:
    async with open_daemon() as opened:
        await leads(opened)
        yield opened
        if opened.learner.leader:
            assert (await refolded(opened)).agrees


async def contributions(daemon: Daemon, decision_id: str) -> dict[str, tuple[float, float]]:
    """(weight, reward) that the decision has put in, by arm."""
    await daemon.learner.drained()
    row: Any = await daemon.storage.decisions.get(decision_id)
    own, found = row["contribution"], {one["arm"]: (one["weight"], one["reward"]) for one in row["arm_rewards"]}
    if own is not None:
        assert own["arm"] not in found
        found[own["arm"]] = (own["weight"], own["reward"])
    return found


def sums(daemon: Daemon, arm: str) -> tuple[float, float]:
    found = daemon.runtimes["default"].learned.sums(arm)
    return float(found.weight), float(found.wr)


class Model:
    """What should count of one decision. A source's words are of whatever served, or of one arm that did not."""

    def __init__(self, chosen: str) -> None:
        self.served = chosen
        self.words: dict[tuple[str, str | None], tuple[int, str | None, float | None]] = {}
        self._time = count()

    def place(self, source: str, arm: str | None) -> tuple[str, str | None]:
        own, apart = (source, None), (source, arm)
        if arm is None or (apart not in self.words and (arm in (self.served, self.words.get(own, (0, None))[1]))):
            return own
        return apart

    def say(self, source: str, arm: str | None, value: float | None) -> None:
        self.words[self.place(source, arm)] = (next(self._time), arm, value)

    def contributions(self) -> dict[str, tuple[float, float]]:
        newest: dict[str, dict[str, tuple[int, float]]] = defaultdict(dict)
        for (source, _), (at, arm, value) in self.words.items():
            of = newest[arm or self.served]
            if value is not None and (source not in of or of[source][0] < at):
                of[source] = (at, value)
        merged = {
            arm: merge_events([RewardEvent(value, SOURCES[one], "reward", at) for one, (at, value) in of.items()])
            for arm, of in newest.items()
        }
        return {arm: put for arm, put in merged.items() if put is not None}


stated = st.tuples(st.sampled_from(sorted(SOURCES)), st.sampled_from((None, *ARMS)), st.sampled_from((0.0, 0.3, 1.0)))
steps = st.lists(
    st.one_of(
        stated, stated, st.tuples(st.just("served"), st.sampled_from(ARMS)), st.tuples(st.just("retract"), stated)
    ),
    min_size=2,
    max_size=9,
)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps, pauses=st.booleans())
async def test_any_interleaving_counts_what_stands(daemon: Daemon, steps: list[Any], *, pauses: bool) -> None:
    made = await route(daemon)
    row: Any = await daemon.storage.decisions.get(made)
    model = Model(row["arm"])
    for step in steps:
        if step[0] == "served":
            model.served = step[1]
            report = UsageReport(decision_id=made, served_arm=step[1])
            await daemon.services.rewards.report_usage(report)
        else:
            source, arm, value = step[1] if step[0] == "retract" else step
            place = model.place(source, arm)
            now = None if step[0] == "retract" else value
            if now is None and place not in model.words:
                with pytest.raises(NotFoundError):
                    await reward(daemon, made, None, source=source, arm=arm, retract=True)
                continue
            before = model.words.get(place)
            for again in (False, True):  # each is sent twice
                receipt = await reward(daemon, made, now, source=source, arm=arm, retract=now is None)
                known = before is not None and before[2] == now
                assert receipt.duplicate == (again or known)
                assert receipt.arm == place[1]
            if before is None or before[2] != now:
                model.say(source, arm, now)
        if pauses:
            await daemon.learner.drained()
    expected = model.contributions()
    found = await contributions(daemon, made)
    assert found.keys() == expected.keys()
    for arm in found:
        assert found[arm] == pytest.approx(expected[arm])


async def test_it_teaches_its_arm_and_is_in_no_statistic(daemon: Daemon, database_url: str) -> None:
    ids = [await route(daemon, candidates=("small",)) for _ in range(4)]
    for one in ids[:2]:
        await reward(daemon, one, 0.5)
    await daemon.learner.drained()
    before = await statistics(daemon, database_url)
    state = daemon.runtimes["default"].learned
    changes, rewarded = state.arm_changes.to_dict(), state.folded
    for one in ids:
        receipt = await reward(daemon, one, 1.0, arm="large")
        assert (receipt.status, receipt.arm, receipt.duplicate) == ("recorded", "large", False)
    assert await contributions(daemon, ids[3]) == {"large": (1.0, 1.0)}
    for outcome, times in (("recorded", 2), ("other_arm", 4)):
        assert f'banditd_rewards_total{{outcome="{outcome}"}} {times}.0' in daemon.metrics.render().decode()
    assert sums(daemon, "large") == (4.0, 4.0)
    assert await statistics(daemon, database_url) == before
    assert (state.arm_changes.to_dict(), state.folded) == (changes, rewarded)
    row: Any = await daemon.storage.decisions.get(ids[0])
    assert [(event["arm"], event["reward"]) for event in row["rewards"]] == [(None, 0.5), ("large", 1.0)]
    for row in [batch async for batch in daemon.storage.whole_log.stream("default")]:
        assert row["arm_rewards"] == [{"arm": "large", "reward": 1.0, "weight": 1.0}]
    await integrity(daemon)
    assert (await refolded(daemon)).agrees
    change(database_url, lambda c: c.execute(update(arm_contribution).values(reward=0.5)))
    with pytest.raises(AssertionError, match="4 of 4 sampled decisions"):
        await integrity(daemon)
    report = await refolded(daemon)
    assert {damage.table for damage in report.damages} == {"arm_contribution"}
    change(database_url, lambda c: c.execute(update(arm_contribution).values(reward=1.0)))


async def statistics(daemon: Daemon, url: str) -> Any:
    """All that reports, verdicts, promises and guards of budgets read."""
    await daemon.storage.journal.add_up()  # what else a job does within a second, perhaps between two looks
    outcomes = daemon.storage.recent
    return (
        counted(url),
        await daemon.services.reports.savings("default"),
        await outcomes.rated("default", 100),
        await outcomes.guarded("default", 100),
        await daemon.storage.reports.delays("default"),
    )


async def test_the_arm_that_served_is_the_decision_itself(open_daemon: OpenDaemon) -> None:
    rules = {"window_s": 1e-6, "default_reward": 0.25, "late_policy": "learn"}
    async with open_daemon(reward=rules) as daemon:
        await daemon.jobs.run_now("default_rewards")
        other, own = [await route(daemon, candidates=("small",)) for _ in range(2)]
        await reward(daemon, other, 1.0, arm="large")
        receipt = await reward(daemon, own, 1.0, arm="small")
        assert (receipt.arm, (await reward(daemon, own, 1.0)).duplicate) == (None, True)
        await daemon.jobs.run_now("default_rewards")
        assert await contributions(daemon, other) == {"small": (1.0, 0.25), "large": (1.0, 1.0)}
        assert await contributions(daemon, own) == {"small": (1.0, 1.0)}
        assert (await learned(daemon))[0] == 2.0


async def test_a_retry_finds_its_first_try_whoever_has_served_by_now(daemon: Daemon) -> None:
    made = await route(daemon, candidates=("small",))
    words = [{"arm": arm, "idempotency_key": f"k-{arm}"} for arm in ARMS] + [{"arm": arm} for arm in ARMS]
    first = [await reward(daemon, made, 0.5, **one) for one in words]
    assert [receipt.arm for receipt in first] == [None, "large", None, "large"]
    before = await contributions(daemon, made)
    for served in ("large", "small"):
        await daemon.services.rewards.report_usage(UsageReport(decision_id=made, served_arm=served))
        again = [await reward(daemon, made, 0.5, **one) for one in words]
        assert all(receipt.duplicate for receipt in again)
        assert [receipt.reward_id for receipt in again] == [receipt.reward_id for receipt in first]
        assert await contributions(daemon, made) == before  # who served changes whose reward is the decision's own
    with pytest.raises(ConflictError, match="Idempotency-Key"):
        await reward(daemon, made, 0.5, idempotency_key="k-large")
    with pytest.raises(ConflictError, match="Idempotency-Key"):
        await reward(daemon, made, 0.5, idempotency_key="k-small", arm="large")


async def test_it_is_corrected_and_taken_back(daemon: Daemon) -> None:
    made = await route(daemon, candidates=("small",))
    await reward(daemon, made, 0.5, arm="large")
    receipt = await reward(daemon, made, 0.75, arm="large")
    assert receipt.revision == 1
    await reward(daemon, made, 1.0, arm="large", source="human")
    (weight, merged), weights = (await contributions(daemon, made))["large"], sums(daemon, "large")[0]
    assert (0.75 < merged < 1.0, weights) == (True, pytest.approx(weight))
    await daemon.services.rewards.retract(receipt.reward_id)
    assert (await contributions(daemon, made))["large"][1] == 1.0
    await reward(daemon, made, None, arm="large", source="human", retract=True)
    assert await contributions(daemon, made) == {}
    assert (await daemon.services.rewards.retract(receipt.reward_id)).duplicate
    assert sums(daemon, "large") == (pytest.approx(0.0), pytest.approx(0.0))
    with pytest.raises(NotFoundError, match="of arm vision"):
        await reward(daemon, made, None, arm="vision", retract=True)


async def test_an_arm_that_the_decision_did_not_have_is_refused(daemon: Daemon) -> None:
    made = await route(daemon, candidates=("small",))
    await daemon.services.arms.add(Arm(policy="default", arm="late", upstream_model="late"))
    for arm in ("nobody", "late"):
        with pytest.raises(InvalidInputError, match=f"no arm {arm}.*had large, small, vision") as caught:
            await reward(daemon, made, 0.5, arm=arm)
        assert (caught.value.code, caught.value.field) == ("ARM_UNKNOWN", "/arm")
    await reward(daemon, await route(daemon), 0.5, arm="late")


async def test_it_waits_for_activation_and_forbids_to_abandon(daemon: Daemon) -> None:
    deferred, plain = await route(daemon, candidates=("small",), defer_activation=True), await route(daemon)
    receipt = await reward(daemon, deferred, 1.0, arm="large")
    assert (receipt.status, await contributions(daemon, deferred)) == ("held", {})
    await daemon.services.rewards.activate(deferred)
    assert await contributions(daemon, deferred) == {"large": (1.0, 1.0)}
    receipt = await reward(daemon, plain, 1.0, arm="vision")
    with pytest.raises(ConflictError, match="of another arm"):
        await daemon.services.rewards.abandon(plain)
    await daemon.services.rewards.retract(receipt.reward_id)
    assert await daemon.services.rewards.abandon(plain) == (True, False)
    assert (await refolded(daemon)).agrees


async def test_a_learner_of_another_schema_sets_it_aside(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        made = await route(daemon, candidates=("small",))
    async with open_daemon(**NEW) as daemon:
        await reward(daemon, made, 1.0, arm="large")
        assert await contributions(daemon, made) == {}
        assert (await refolded(daemon)).agrees
    async with open_daemon() as daemon:
        assert await contributions(daemon, made) == {"large": (1.0, 1.0)}
        assert (await refolded(daemon)).agrees


async def test_a_schema_that_adds_columns_goes_on_with_it(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        await leads(daemon)
        learned_before, queued = [await route(daemon, candidates=("small",)) for _ in range(2)]
        await reward(daemon, learned_before, 1.0, arm="large")
        await contributions(daemon, learned_before)
        await daemon.learner.stop()
        await reward(daemon, queued, 1.0, arm="large")
    async with open_daemon(context_tags=["task"]) as daemon:
        await reward(daemon, learned_before, 0.5, arm="large")
        assert await contributions(daemon, queued) == {"large": (1.0, 1.0)}
        assert sums(daemon, "large") == (2.0, 1.5)
        assert (await refolded(daemon)).agrees


def rows(connection: Connection, table: Table) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


async def test_retention_waits_for_it_and_deletes_it(daemon: Daemon, database_url: str) -> None:
    made = await route(daemon, candidates=("small",))
    await reward(daemon, made, 1.0, arm="large")
    await contributions(daemon, made)
    await daemon.learner.stop()
    await reward(daemon, made, 0.5, arm="large")
    prune, later = daemon.storage.maintenance.prune, 2 * daemon.learner._clock.now_us()
    assert await prune(before_us=later, limit=10) == 0
    change(database_url, lambda c: c.execute(delete(arm_fold_queue)))
    assert await prune(before_us=later, limit=10) == 1
    left: list[int] = []
    tables = (arm_reward, arm_contribution)
    change(database_url, lambda c: left.extend(rows(c, table) for table in tables))
    assert left == [0, 0]


async def test_replicas_that_hear_of_it_at_once_store_it_once(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as one, open_daemon() as other:
        made = await route(one, candidates=("small",))
        report = UsageReport(decision_id=made, served_arm="large")
        answers = await asyncio.gather(
            *(reward(daemon, made, 0.5, arm="large") for _ in range(6) for daemon in (one, other)),
            one.services.rewards.report_usage(report),
            *(reward(daemon, made, 0.5, arm="large") for _ in range(6) for daemon in (other, one)),
        )
        receipts = [answer for answer in answers if isinstance(answer, RewardReceipt)]
        assert sum(not receipt.duplicate for receipt in receipts) == 1
        row: Any = await one.storage.decisions.get(made)
        assert len(row["rewards"]) == 1
