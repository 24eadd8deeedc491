"""However queries of the same accounts come together, no more is drawn than one by one."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.walks.conftest import OpenDaemon
from tests.walks.test_release_walk import begin

from banditd.budget.pacer import Pacer
from banditd.core.errors import BanditdError
from banditd.core.money import AccountKey, AccountTotals, BudgetRule
from banditd.core.release import Metric, ReleaseTerms
from banditd.core.types import Decision, Query
from banditd.daemon.open import Daemon
from banditd.daemon.workbench import SystemClock
from banditd.deciding.account import Account
from banditd.services.decider import Prepared

ARMS = [
    {"arm": "small", "price": {"usd_per_request": 1e-4, "usd_per_mtok_in": 1.0}, "quality_prior": 0.4},
    {"arm": "middle", "price": {"usd_per_request": 2e-3}, "quality_prior": 0.6},
    {"arm": "large", "price": {"usd_per_request": 2e-2, "usd_per_mtok_out": 10.0}, "quality_prior": 0.9},
    {"arm": "huge", "price": {"usd_per_request": 3e-2}, "quality_prior": 0.9, "enabled": False},
]
HUGE: dict[str, Any] = {
    "settings": {"kind": "fixed", "options": {"arm": "huge"}, "exploration_floor": 0.0},
    "arms": {"huge": {"enabled": True}},
}
TERMS = ReleaseTerms(steps=(0.6, 1.0), least_units=(5,), metrics=(Metric(worse_by=0.1),))
ANY_BUDGET = [{"name": "all", "usd": 1.0, "per": "day"}]
QUERIES = 40
NOW_US = 20_000 * 86_400_000_000 + 1_000_000


def query(number: int) -> Query:
    return Query(
        text="word " * (1 + 37 * (number % 5)),
        session_id=f"unit {number}",  # by which the sides of a release are split
        candidates=("small", "large") if number % 7 == 3 else None,
        expected_output_tokens=800.0 if number % 4 == 1 else None,
        dry_run=number % 11 == 10,
    )


amounts = st.sampled_from((1e-4, 5e-4, 3e-3, 2.5e-2, 0.1, 0.3, 1.0, 50.0))
rules = st.builds(
    BudgetRule,
    name=st.just("one"),
    usd=amounts,
    per=st.sampled_from(("decision", "hour", "day")),
    at_stop=st.sampled_from(("cheapest", "reject", "middle")),
)
spent = st.floats(0.0, 1.1)
# Queries that come together, by the accounts of each: the first, the second, both, none.
turns = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=24), min_size=1, max_size=6)


def account(rule: BudgetRule, name: str, spent_share: float) -> Account:
    """As a replica has it that has read it: with so much of it spent."""
    made = Account(
        rule=replace(rule, name=name),
        key=AccountKey("default", name, "*", 0),
        ends_at_us=NOW_US + 3_600_000_000,
        decisions_before=100,
        totals=AccountTotals(),
        pacer=Pacer(rule.usd),
        alike=16,
    )
    made.adopt(AccountTotals(50, rule.usd * spent_share, rule.usd * (spent_share - 0.5), NOW_US - 3_600_000_000))
    made.retarget(NOW_US)
    return made


async def drawn(
    daemon: Daemon, pool: Sequence[Prepared], held: list[Account], turns: Sequence[Sequence[int]], *, at_once: bool
) -> list[Decision | BanditdError]:
    """What becomes of the turns' queries. Every other decision is committed after its turn."""
    routing: Any = daemon.services.routing
    decider = routing._decider
    decider._rng = np.random.default_rng(5)
    found: list[Decision | BanditdError] = []
    by_key, number = {one.key: one for one in held}, 0
    for turn in turns:
        prepared = []
        for kind in turn:
            accounts = ((held[0],), (held[1],), tuple(held), ())[kind]
            prepared.append(replace(pool[number % len(pool)], accounts=accounts))
            number += 1
        parts = [prepared] if at_once else [[one] for one in prepared]
        made = [one for part in parts for one in await decider.decide_all(part)]
        for one in made[::2]:
            for charge in one.charges if isinstance(one, Decision) else ():
                of = by_key[charge.key]
                of.pending_usd = max(0.0, of.pending_usd - charge.usd)
                totals = of.totals.corrected(charge.usd)
                of.adopt(replace(totals, owed_usd=totals.owed_usd - charge.planned_usd))
        found += made
    return found


def told(made: Sequence[Decision | BanditdError]) -> list[object]:
    return [
        (one.arm, one.charges, sorted(one.exclusions.items())) if isinstance(one, Decision) else type(one)
        for one in made
    ]


@pytest.mark.parametrize("released", [False, True], ids=["alone", "with a release"])
async def test_no_batch_draws_what_one_by_one_would_not_be_drawn(
    open_daemon: OpenDaemon, monkeypatch: pytest.MonkeyPatch, *, released: bool
) -> None:
    monkeypatch.setattr(SystemClock, "now_us", lambda _: NOW_US)
    async with open_daemon(arms=ARMS, budgets=ANY_BUDGET, session_sticky=False) as daemon:
        if released:
            await begin(daemon, TERMS, **HUGE)
        routing: Any = daemon.services.routing
        pool = [await routing._prepare(query(number)) for number in range(QUERIES)]
        arms = set()

        @settings(max_examples=60)
        @given(first=rules, second=rules, spent=st.tuples(spent, spent), turns=turns)
        def tried(first: BudgetRule, second: BudgetRule, spent: tuple[float, float], turns: list[Any]) -> None:
            held = [account(first, "first", spent[0]), account(second, "second", spent[1])]
            alone = copy.deepcopy(held)
            together = asyncio.run(drawn(daemon, pool, held, turns, at_once=True))
            apart = asyncio.run(drawn(daemon, pool, alone, turns, at_once=False))
            assert told(together) == told(apart)
            for one, other in zip(held, alone, strict=True):
                assert one.pending_usd == pytest.approx(other.pending_usd, abs=1e-12)
                assert one.pacer.owed_usd == pytest.approx(other.pacer.owed_usd, abs=1e-12)
                assert one.decisions == other.decisions
            arms.update(one.arm for one in together if isinstance(one, Decision))

        await asyncio.to_thread(tried)
        assert arms >= {"small", "large"} | ({"huge"} if released else set())
