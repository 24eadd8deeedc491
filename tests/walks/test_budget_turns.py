"""Queries of one budget that are decided at once are decided as they would be one by one."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from tests.walks.conftest import OpenDaemon

from banditd.core.errors import BanditdError
from banditd.core.types import Decision, Query
from banditd.daemon.open import Daemon
from banditd.daemon.workbench import SystemClock
from banditd.services import decider as deciding
from banditd.services.money.budgets import BudgetBook

ARMS = [
    {"arm": "small", "price": {"usd_per_request": 1e-4}, "quality_prior": 0.4},
    {"arm": "middle", "price": {"usd_per_request": 1e-3}, "quality_prior": 0.6},
    {"arm": "large", "price": {"usd_per_request": 2e-2}, "quality_prior": 0.9},
]
TURNS = 8
SIZE = 13
BUDGETS: dict[str, list[dict[str, Any]]] = {
    "ample": [{"name": "all", "usd": 1e9, "per": "month"}],
    "binding": [{"name": "all", "usd": 0.5, "per": "month"}],
    "rate": [{"name": "each", "usd": 3e-3, "per": "decision"}],
    "tight rate": [{"name": "each", "usd": 2e-4, "per": "decision"}],
    "nearly used up": [{"name": "all", "usd": 0.3, "per": "day", "at_stop": "cheapest"}],
    "refuses": [{"name": "all", "usd": 0.02, "per": "day", "at_stop": "reject"}],
    "by tag, and all": [
        {"name": "all", "usd": 5.0, "per": "month"},
        {"name": "team", "usd": 0.3, "per": "day", "of": "tag:team", "at_stop": "small"},
    ],
}


def asked(number: int) -> Query:
    kind = ("Explain the theory of", "Write me a poem about", "Debug this code:")[number % 3]
    # Some keep their session's arm, one only wants to know.
    return Query(
        text=f"{kind} number {number}",
        tags={"team": "ab"[number % 5 == 0]},
        session_id=f"talk {number % 7}" if number % 4 == 0 else None,
        dry_run=number % 17 == 16,
    )


async def decided(daemon: Daemon, *, at_once: bool) -> list[Decision | BanditdError]:
    routing: Any = daemon.services.routing
    decider = routing._decider
    decider._rng = np.random.default_rng(5)
    found: list[Decision | BanditdError] = []
    for turn in range(TURNS):
        prepared = [await routing._prepare(asked(turn * SIZE + k)) for k in range(SIZE)]
        if at_once:
            made = await decider.decide_all(prepared)
        else:
            made, drawn = [], {}
            for one in prepared:
                if one.session in drawn:
                    one.session_arm = drawn[one.session]
                [answer] = await decider.decide_all([one])
                made.append(answer)
                if isinstance(answer, Decision) and one.session is not None and not one.query.dry_run:
                    drawn.setdefault(one.session, answer.arm)
        for one in made[::2]:  # committed; the others are on their way still
            if isinstance(one, Decision):
                routing._books["default"].budget.release(one.charges)
        found += made
    return found


async def forget(_book: BudgetBook, _now_us: int) -> None:
    """The next daemon begins like this one."""


@pytest.mark.parametrize("budgets", BUDGETS.values(), ids=BUDGETS)
async def test_a_turn_under_budgets_is_decided_as_its_queries_one_by_one(
    open_daemon: OpenDaemon, monkeypatch: pytest.MonkeyPatch, budgets: list[dict[str, Any]]
) -> None:
    now_us, waves = time.time_ns() // 1000, []
    monkeypatch.setattr(SystemClock, "now_us", lambda _: now_us)
    monkeypatch.setattr(BudgetBook, "save", forget)
    real = deciding.next_wave
    monkeypatch.setattr(deciding, "next_wave", lambda *given: waves.append(real(*given)) or waves[-1])
    async with open_daemon(arms=ARMS, budgets=budgets) as daemon:
        together = await decided(daemon, at_once=True)
    n_waves = len(waves)
    async with open_daemon(arms=ARMS, budgets=budgets) as daemon:
        alone = await decided(daemon, at_once=False)
    most = len(alone) / 3 if budgets is BUDGETS["ample"] else len(alone)
    assert n_waves <= most
    for number, (one, other) in enumerate(zip(together, alone, strict=True)):
        assert type(one) is type(other), number
        if not isinstance(one, Decision) or not isinstance(other, Decision):
            continue
        assert (one.arm, one.arms, one.reason, one.explored) == (other.arm, other.arms, other.reason, other.explored)
        assert (one.exclusions, one.unaffordable_usd) == (other.exclusions, other.unaffordable_usd)
        assert one.charges == other.charges, number
        np.testing.assert_allclose(one.probability, other.probability, rtol=1e-9, atol=1e-12, err_msg=str(number))
        np.testing.assert_allclose(one.penalty, other.penalty, rtol=1e-9)
        assert (one.mixture is None) == (other.mixture is None)
        if one.mixture is not None and other.mixture is not None:
            np.testing.assert_allclose(one.mixture.fixed, other.mixture.fixed, rtol=1e-9)
