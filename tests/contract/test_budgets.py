"""Accounts of budgets on both databases: charged with the decision, corrected by usage, never twice, never over."""

from __future__ import annotations

import asyncio

import pytest

from banditd.core.ids import new_id
from banditd.core.money import AccountKey, AccountTotals, Charge
from banditd.core.rewards import UsageReport
from banditd.ports import ArmChange

MONTH = AccountKey("default", "month", "all", 1_748_736_000_000_000)
RATE = AccountKey("default", "decision", "all", 0)


def charge(usd=0.001, key=MONTH, limit_usd=None, **more):
    return Charge(key=key, usd=usd, limit_usd=limit_usd, **more)


async def standing(storage, key=MONTH):
    return (await storage.budgets.accounts([key])).get(key)


async def test_a_decision_is_charged_when_it_is_committed(storage, make):
    both = (charge(0.001), charge(0.001, RATE, planned_usd=0.0004, credit_usd=0.01))
    committed = await storage.decisions.append([make.decision(charges=both), make.decision(charges=both)])
    assert committed.refused == {}
    assert committed.accounts[MONTH] == AccountTotals(2, pytest.approx(0.002), 0.002, make.now_us)
    assert committed.accounts[RATE].owed_usd == pytest.approx(0.0012)
    assert await standing(storage) == committed.accounts[MONTH]


async def test_savings_are_bounded(storage, make):
    cheap = (charge(0.0, RATE, planned_usd=0.004, credit_usd=0.005),)
    for _ in range(3):
        await storage.decisions.append([make.decision(charges=cheap)])
    # At most the credit is carried from one decision to the next.
    assert (await standing(storage, RATE)).owed_usd == pytest.approx(-0.009)


async def test_a_decision_beyond_the_limit_is_not_stored_and_charged_nowhere(storage, make):
    fits = make.decision(charges=(charge(limit_usd=0.0015),))
    other = charge(0.001, AccountKey("default", "day", "all", MONTH.window_at_us))
    over = make.decision(charges=(other, charge(limit_usd=0.0015)))
    plain = make.decision()
    committed = await storage.decisions.append([fits, over, plain])
    assert committed.refused == {over.decision_id: MONTH}
    assert await storage.decisions.get(over.decision_id) is None
    assert await storage.decisions.get(plain.decision_id) is not None
    assert (await standing(storage)).decisions == 1
    assert await standing(storage, other.key) is None
    assert (await storage.reports.totals())["decision"] == 2


async def test_the_limit_itself_may_be_reached(storage, make):
    fits = make.decision(charges=(charge(0.1, limit_usd=0.3),))
    for _ in range(2):
        await storage.decisions.append([make.decision(charges=fits.charges)])
    assert (await storage.decisions.append([fits])).refused == {}  # 0.1 + 0.1 + 0.1 is a little over 0.3


async def test_usage_corrects_the_estimate_once(storage, make):
    made = make.decision(charges=(charge(), charge(0.001, RATE)))
    await storage.decisions.append([made])
    report = UsageReport(decision_id=made.decision_id, cost_usd=0.004, body_hash="a", received_at_us=make.now_us)
    for _ in range(2):
        await storage.rewards.report_usage(report, lambda _arm, _report: None)
    assert (await standing(storage)).charged_usd == pytest.approx(0.004)
    assert (await standing(storage, RATE)).owed_usd == pytest.approx(0.004)


async def test_a_report_without_money_leaves_the_estimate(storage, make):
    made = make.decision(charges=(charge(),))
    await storage.decisions.append([made])
    report = UsageReport(decision_id=made.decision_id, latency_ms=5.0, body_hash="a", received_at_us=make.now_us)
    await storage.rewards.report_usage(report, lambda _arm, _report: None)
    assert (await standing(storage)).charged_usd == pytest.approx(0.001)


async def test_silence_keeps_the_charge_and_a_late_report_corrects_it(storage, make):
    made = make.decision(charges=(charge(),))
    await storage.decisions.append([made])
    assert await storage.rewards.charge_estimate([made.decision_id], make.now_us) == 1
    assert (await standing(storage)).charged_usd == pytest.approx(0.001)
    report = UsageReport(decision_id=made.decision_id, cost_usd=0.0005, body_hash="a", received_at_us=make.now_us)
    await storage.rewards.report_usage(report, lambda _arm, _report: None)
    assert (await standing(storage)).charged_usd == pytest.approx(0.0005)


async def test_what_was_never_activated_gives_its_money_back_once(storage, make):
    made = make.decision(charges=(charge(),), deferred=True)
    await storage.decisions.append([made, make.decision(charges=(charge(),)), make.decision(deferred=True)])
    window = ("default", make.now_us, make.now_us + 10)
    assert await storage.rewards.abandoned(*window, 10) == [made.decision_id]
    assert await storage.rewards.release([made.decision_id], make.now_us + 20) == 1
    assert await storage.rewards.release([made.decision_id], make.now_us + 20) == 0
    assert await storage.rewards.abandoned(*window, 10) == []
    assert (await standing(storage)).charged_usd == pytest.approx(0.001)
    # It served after all: now it costs what is reported.
    report = UsageReport(decision_id=made.decision_id, cost_usd=0.01, body_hash="a", received_at_us=make.now_us)
    await storage.rewards.report_usage(report, lambda _arm, _report: None)
    assert (await standing(storage)).charged_usd == pytest.approx(0.011)


async def test_what_is_activated_after_all_is_charged_again(storage, make):
    made = make.decision(charges=(charge(),), deferred=True)
    reported = make.decision(make.now_us + 1, charges=(charge(),), deferred=True)
    await storage.decisions.append([made, reported])
    report = UsageReport(decision_id=reported.decision_id, cost_usd=0.01, body_hash="a", received_at_us=make.now_us)
    await storage.rewards.report_usage(report, lambda _arm, _report: None)
    assert await storage.rewards.release([made.decision_id], make.now_us + 20) == 1
    assert (await standing(storage)).charged_usd == pytest.approx(0.01)
    for one in (made, reported):
        await storage.decisions.activate(one.decision_id, make.now_us + 30)
    assert (await standing(storage)).charged_usd == pytest.approx(0.011)
    assert (await storage.decisions.get(made.decision_id))["usage"] is None
    assert (await storage.decisions.get(reported.decision_id))["usage"]["cost_usd"] == 0.01
    assert (await storage.reports.totals())["usage_report"] == 1
    # From here on it is silent like any other.
    assert await storage.rewards.release([made.decision_id], make.now_us + 40) == 0
    silent = await storage.rewards.silent_usage("default", make.now_us + 30, make.now_us + 31, 10)
    assert [row[0] for row in silent] == [made.decision_id]
    assert await storage.rewards.charge_estimate([made.decision_id], make.now_us + 50) == 1
    assert (await standing(storage)).charged_usd == pytest.approx(0.011)
    assert sum(row["spend_usd"] for row in await storage.reports.arm_totals("default", None)) == pytest.approx(0.011)


async def test_release_and_activation_at_once_never_lose_the_charge(storage, open_replica, make):
    made = [make.decision(make.now_us + i, charges=(charge(),), deferred=True) for i in range(20)]
    await storage.decisions.append(made)
    ids = [one.decision_id for one in made]
    async with open_replica() as other:
        await asyncio.gather(
            *(storage.rewards.release(ids[start : start + 5], make.now_us + 50) for start in range(0, 20, 5)),
            *(other.decisions.activate(one, make.now_us + 60) for one in ids),
        )
    assert [(await storage.decisions.get(one))["usage"] for one in ids] == [None] * 20
    assert (await standing(storage)).charged_usd == pytest.approx(0.02)


async def test_two_replicas_never_spend_the_same_money(storage, open_replica, make):
    limit = 0.0305  # room for 30
    async with open_replica() as other:
        stores = [storage, other] * 40
        answers = await asyncio.gather(
            *(s.decisions.append([make.decision(charges=(charge(limit_usd=limit),))]) for s in stores)
        )
        refused = sum(len(answer.refused) for answer in answers)
        assert refused == 50
        assert (await standing(other)).charged_usd == pytest.approx(0.03)
        assert (await storage.reports.totals())["decision"] == 30


async def test_replicas_charge_and_correct_at_the_same_time(storage, open_replica, make):
    async with open_replica() as other:
        made = [make.decision(decision_id=new_id(make.now_us + i), charges=(charge(),)) for i in range(40)]
        await storage.decisions.append(made)

        async def settle(store, decision):
            report = UsageReport(decision_id=decision.decision_id, cost_usd=0.002, body_hash="a", received_at_us=1)
            await store.rewards.report_usage(report, lambda _arm, _report: None)
            await store.decisions.append([make.decision(charges=(charge(),))])

        await asyncio.gather(*(settle((storage, other)[i % 2], one) for i, one in enumerate(made)))
        assert await standing(storage) == AccountTotals(80, pytest.approx(0.12), pytest.approx(0.12), make.now_us)


async def test_the_dearest_accounts_come_first(storage, make):
    for account, usd in (("a", 0.001), ("b", 0.003), ("c", 0.002)):
        await storage.decisions.append([make.decision(charges=(charge(usd, MONTH._replace(account=account)),))])
    found = await storage.budgets.dearest("default", "month", MONTH.window_at_us, 2)
    assert [key.account for key, _ in found] == ["b", "c"]


async def test_a_price_of_the_past_is_applied_to_a_decision_of_the_past(storage, make):
    arm = make.arm("cheap")
    await storage.arms.add(arm)
    made = make.decision(make.now_us + 10)
    await storage.decisions.append([made])
    dearer = type(arm.price)(usd_per_mtok_in=1000.0)
    await storage.arms.update("default", "cheap", lambda one, _: ArmChange(one, (dearer, make.now_us + 20)))
    assert await storage.arms.adopt_due_prices(make.now_us + 19) == []
    assert await storage.arms.adopt_due_prices(make.now_us + 20) == [("default", "cheap")]
    assert await storage.arms.adopt_due_prices(make.now_us + 30) == []
    assert (await storage.arms.arms("default"))[0].price == dearer
    seen = []
    report = UsageReport(decision_id=made.decision_id, input_tokens=1, body_hash="a", received_at_us=1)
    await storage.rewards.report_usage(report, lambda a, _r: seen.append(a.price) or 0.0)
    assert seen == [arm.price]


async def test_old_windows_are_forgotten_and_rates_are_not(storage, make):
    await storage.decisions.append([make.decision(charges=(charge(), charge(0.001, RATE)))])
    await storage.maintenance.compact_rollups(make.now_us + 399 * 86_400_000_000)
    assert await standing(storage) is not None
    await storage.maintenance.compact_rollups(make.now_us + 401 * 86_400_000_000)
    assert await standing(storage) is None
    assert await standing(storage, RATE) is not None
