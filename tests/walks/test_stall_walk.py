"""No single request holds the event loop: others get their turns while many texts are encoded and decided."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from tests.walks.conftest import OpenDaemon, ShiftedClock

from banditd.core import pace
from banditd.core.errors import BanditdError
from banditd.core.types import Decision, Query
from banditd.daemon.open import Daemon
from banditd.encoders.static import load_static_encoder
from banditd.services.decider import MOST_QUERIES, Prepared, TurnDecider
from banditd.services.routing import RoutingService
from banditd.services.waves import MOST_ACCOUNTS, MOST_CHARGED

TEXTS = [f"the {index}th question of many, 的一是不了 {index * 7919}" for index in range(64)]


class Turns:
    """Counts the turns that somebody else gets."""

    count = 0


@asynccontextmanager
async def somebody_else() -> AsyncIterator[Turns]:
    turns = Turns()

    async def run() -> None:
        while True:
            turns.count += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(run())
    await asyncio.sleep(0)
    turns.count = 0
    yield turns
    task.cancel()


async def test_texts_that_come_together_are_encoded_over_several_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = load_static_encoder()
    alone = [encoder.encode_now(text) for text in TEXTS]
    monkeypatch.setattr(pace, "HOLD_S", 0.0)  # every step uses its turn up
    async with somebody_else() as turns:
        together = await asyncio.gather(*(encoder.encode(text) for text in TEXTS))
        assert turns.count >= len(TEXTS) - 1
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))


async def test_one_text_waits_for_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = load_static_encoder()
    monkeypatch.setattr(pace, "HOLD_S", 0.0)
    async with somebody_else() as turns:
        await encoder.encode(TEXTS[0])
        assert turns.count == 0


async def test_a_pace_that_a_closed_loop_left_does_not_stop_the_next() -> None:
    shared = pace.SharedPace()

    async def once() -> None:
        await shared.turn()
        shared.spent(1.0)

    def elsewhere() -> None:
        asyncio.run(asyncio.wait_for(once(), 60.0))

    await asyncio.to_thread(elsewhere)
    await asyncio.to_thread(elsewhere)
    await asyncio.wait_for(once(), 60.0)
    await asyncio.wait_for(once(), 60.0)


async def test_a_batch_leaves_turns_to_others_and_decides_all(
    open_daemon: OpenDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_daemon() as daemon:
        monkeypatch.setattr(pace, "HOLD_S", 0.0)
        async with somebody_else() as turns:
            made = await daemon.services.routing.route_batch(
                [Query(text=text, dry_run=True, session_id=None) for text in TEXTS]
            )
            # Encoding each is a step of its own, and so is deciding for each part of the batch.
            assert turns.count >= len(TEXTS) - 1 + len(TEXTS) // MOST_QUERIES
        assert all(isinstance(one, Decision) and one.degraded is None for one in made)


SOME = 24
DAY = {"name": "day", "usd": 100.0, "per": "day"}
MEAN = {"name": "mean", "usd": 0.004, "per": "decision"}
CAPPED = [{"arm": "small"}, {"arm": "large", "max_share": 0.3}]
TEAMS = [{**MEAN, "name": f"of-{n}", "of": f"tag:{n}"} for n in range(3)]


def queries(*, teams: int = 1, tags: int = 1, **more: Any) -> list[Query]:
    """Without text: nothing is encoded, so only deciding takes turns."""
    return [Query(tags={str(n): f"team {i % teams}" for n in range(tags)}, **more) for i in range(SOME)]


def routing_of(daemon: Daemon) -> RoutingService:
    routing = daemon.services.routing
    assert isinstance(routing, RoutingService)
    return routing


# What a query's decision changes for the next ones, and how many are decided at once then, at most.
TOUCHING: dict[str, tuple[dict[str, Any], list[Query], int]] = {
    "a budget of all": ({"budgets": [DAY]}, queries(), MOST_CHARGED),
    "a mean": ({"budgets": [MEAN]}, queries(), MOST_CHARGED),
    "two budgets": ({"budgets": [DAY, MEAN]}, queries(), MOST_CHARGED),
    "budgets of three teams": ({"budgets": TEAMS[:1]}, queries(teams=3), MOST_CHARGED),
    "budgets of a team each": ({"budgets": TEAMS[:1]}, queries(teams=SOME), MOST_ACCOUNTS),
    "three budgets of a team each": ({"budgets": TEAMS}, queries(teams=SOME, tags=3), MOST_ACCOUNTS // 3),
    "a session": ({}, queries(session_id="s"), 1),
    "a cap": ({"arms": CAPPED}, queries(), 1),
}


@pytest.fixture
def waves(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many queries were decided at once, each time; every step uses its turn of the loop up."""
    found: list[int] = []
    decide_batch = TurnDecider._decide_batch

    def noted(self: TurnDecider, prepared: Sequence[Prepared], *rest: Any) -> None:
        found.append(len(prepared))
        decide_batch(self, prepared, *rest)

    monkeypatch.setattr(TurnDecider, "_decide_batch", noted)
    monkeypatch.setattr(pace, "HOLD_S", -1.0)
    return found


@pytest.mark.parametrize("name", TOUCHING)
async def test_others_have_a_turn_between_queries_that_change_something_for_each_other(
    open_daemon: OpenDaemon, waves: list[int], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    policy, asked, at_once = TOUCHING[name]
    async with open_daemon(**policy) as daemon:
        await daemon.services.routing.route_batch(asked[:1])  # reads the accounts
        prepared = [await routing_of(daemon)._prepare(one) for one in asked]
        waves.clear()
        async with somebody_else() as turns:
            made = await routing_of(daemon)._decider.decide_all(prepared)
            assert turns.count >= len(waves) - 1
        assert sum(waves) >= SOME  # who is left out is decided again
        assert max(waves) <= at_once
        assert all(isinstance(one, Decision) for one in made)


async def test_queries_that_come_together_under_a_budget_leave_turns_too_and_are_committed_together(
    open_daemon: OpenDaemon, waves: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    commits: list[int] = []
    commit = RoutingService._commit

    async def noted(self: RoutingService, decisions: Sequence[Decision]) -> Any:
        commits.append(len(decisions))
        return await commit(self, decisions)

    async with open_daemon(budgets=[DAY]) as daemon:
        routing = routing_of(daemon)
        await routing.route(Query())
        waves.clear()
        monkeypatch.setattr(routing._turns, "_commit", lambda decisions, _: noted(routing, decisions))
        async with somebody_else() as turns:
            made = await asyncio.gather(*(routing.route(one) for one in queries()))
            assert turns.count >= len(waves) - 1
        assert max(waves) <= MOST_CHARGED
        assert commits == [SOME]
        assert len({one.decision_id for one in made}) == SOME


def essence(made: Sequence[Decision | BanditdError]) -> list[Any]:
    decisions = [one for one in made if isinstance(one, Decision)]
    assert len(decisions) == len(made)
    return [(d.arm, d.uniform, d.probability.tolist(), [c.usd for c in d.charges], d.reason) for d in decisions]


@pytest.mark.parametrize("name", [name for name in TOUCHING if name != "a session"])
async def test_a_batch_decides_as_its_queries_one_by_one(
    open_daemon: OpenDaemon, clock: ShiftedClock, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    policy, asked, _ = TOUCHING[name]
    monkeypatch.setattr(clock, "now_us", lambda: 1_760_000_000_000_000)
    monkeypatch.setattr(pace, "HOLD_S", -1.0)

    async def decided(daemon: Daemon, size: int) -> list[Any]:
        routing = routing_of(daemon)
        routing._decider._rng = np.random.default_rng(5)
        prepared = [await routing._prepare(one) for one in asked]
        found = []
        for start in range(0, SOME, size):
            found += essence(await routing._decider.decide_all(prepared[start : start + size]))
        return found

    async with open_daemon(**policy) as here, open_daemon(**policy) as there:
        together = await decided(here, SOME)
        assert together == await decided(there, 1)
    assert len({arm for arm, *_ in together}) > 1


async def test_a_batch_given_up_half_way_frees_what_it_had_reserved(
    open_daemon: OpenDaemon, waves: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_daemon(budgets=[DAY]) as daemon:
        routing = routing_of(daemon)
        await routing.route(Query())
        waves.clear()
        giving_up = asyncio.create_task(routing.route_batch(queries()))
        while len(waves) < 3:  # noqa: ASYNC110 - the turn of the loop is what is waited for
            await asyncio.sleep(0)
        [account] = routing._books["default"].budget.of_all_decisions()
        assert account.pending_usd > 0.0
        giving_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await giving_up
        assert sum(waves) < SOME
        assert account.pending_usd == pytest.approx(0.0, abs=1e-15)
