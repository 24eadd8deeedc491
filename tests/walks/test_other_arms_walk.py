"""Rewards of arms that did not serve: learned once each, whoever is found to have served, and in no statistic."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update
from tests.walks.conftest import OpenDaemon, leads
from tests.walks.test_reward_walk import learned, refolded, reward, route
from tests.walks.test_schema_change import NEW, integrity

from banditd.core.errors import BanditdError, ConflictError, InvalidInputError, NotFoundError
from banditd.core.types import RewardEvent, UsageReport
from banditd.daemon.open import Daemon
from banditd.services.bundle import RewardInput
from banditd.services.learning.folding import merge_events
from banditd.storage.schema import arm_contribution, decision

ARMS = ("small", "large")
SOURCES = {"metric": 0.0, "human": 0.05}


@pytest.fixture
async def daemon(open_daemon: OpenDaemon) -> AsyncIterator[Daemon]:
    async with open_daemon() as opened:
        await leads(opened)
        yield opened


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
    """What should count of one decision. A source's words are its own ones, or those of one arm that did not serve."""

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


said = st.tuples(st.sampled_from(sorted(SOURCES)), st.sampled_from((None, *ARMS)), st.sampled_from((0.0, 0.3, 1.0)))
steps = st.lists(
    st.one_of(said, said, st.tuples(st.just("served"), st.sampled_from(ARMS)), st.tuples(st.just("retract"), said)),
    min_size=2,
    max_size=9,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
    assert (await refolded(daemon)).agrees
