"""Corrections of accounts by hand, on both databases: once per id, kept, and never below nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from banditd.core.errors import ConflictError, InvalidInputError
from banditd.core.money import AccountKey, Charge, Correction

KEY = AccountKey("default", "day", "all", 0)


def correction(usd: float, number: str = "c-1", **changes: Any) -> Correction:
    values: dict[str, Any] = {"key": KEY, "reason": "why", "key_name": "ops", "created_at_us": 1}
    return Correction(correction_id=number, usd=usd, **(values | changes))


async def test_a_correction_counts_once_under_its_id_at_any_replica(storage, open_replica, make):
    await storage.decisions.append([make.decision(charges=(Charge(key=KEY, usd=5.0),))])
    async with open_replica() as other:
        answers = await asyncio.gather(
            *(store.budgets.correct(correction(-3.0)) for _ in range(8) for store in (storage, other))
        )
    assert sorted(duplicate for duplicate, _ in answers) == [False] + [True] * 15
    assert {totals.charged_usd for _, totals in answers} == {2.0}
    with pytest.raises(ConflictError, match="other figures"):
        await storage.budgets.correct(correction(-1.0))
    assert (await storage.budgets.accounts([KEY]))[KEY].charged_usd == 2.0


async def test_less_than_nothing_cannot_be_charged(storage, make):
    await storage.decisions.append([make.decision(charges=(Charge(key=KEY, usd=5.0),))])
    with pytest.raises(InvalidInputError, match="5 dollars are charged"):
        await storage.budgets.correct(correction(-5.01))
    assert (await storage.budgets.correct(correction(-5.0, "c-2")))[1].charged_usd == 0.0


async def test_an_account_that_nothing_was_charged_to_can_be_charged(storage):
    _, totals = await storage.budgets.correct(correction(4.0))
    assert (totals.charged_usd, totals.decisions) == (4.0, 0)
    assert (await storage.budgets.accounts([KEY]))[KEY].charged_usd == 4.0


async def test_what_costs_nothing_is_charged_whatever_stands_there(storage, make):
    await storage.budgets.correct(correction(1.000001))
    free, dear = (make.decision(charges=(Charge(key=KEY, usd=usd, limit_usd=1.0),)) for usd in (0.0, 1e-6))
    assert (await storage.decisions.append([free])).refused == {}
    assert list((await storage.decisions.append([dear])).refused) == [dear.decision_id]
