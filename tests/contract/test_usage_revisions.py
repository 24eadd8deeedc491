"""Revisions of usage reports, attempts and what they do to accounts and sums, on both databases."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import numpy as np
import pytest

from banditd.core.attempts import Attempt
from banditd.core.money import AccountKey, Charge
from banditd.core.rewards import UsageReport

KEY = AccountKey("default", "day", "all", 0)
ESTIMATE = pytest.approx(0.001)


def price(_arm: Any, report: UsageReport) -> float | None:
    """A dollar a million tokens, in and out."""
    if report.cost_usd is not None:
        return report.cost_usd
    if report.input_tokens is None and report.output_tokens is None:
        return None
    return ((report.input_tokens or 0) + (report.output_tokens or 0)) / 1e6


async def decided(storage: Any, make: Any, number: int = 0) -> str:
    made = make.decision(at_us=make.now_us + number, charges=(Charge(key=KEY, usd=0.001),))
    await storage.decisions.append([made])
    return str(made.decision_id)


async def charged(storage: Any) -> float:
    return float((await storage.budgets.accounts([KEY]))[KEY].charged_usd)


async def spend(storage: Any) -> dict[str, tuple[float, int, int, int]]:
    rows = await storage.reports.arm_totals("default", None)
    return {
        str(row["arm"]): (row["spend_usd"], row["input_tokens"], row["errors"], row["usage_reports"]) for row in rows
    }


async def test_late_tokens_complete_an_early_latency(storage, make):
    await storage.arms.add(make.arm("cheap"))
    decision_id = await decided(storage, make)
    early = UsageReport(decision_id=decision_id, latency_ms=80.0)
    late = UsageReport(decision_id=decision_id, input_tokens=1000, output_tokens=1000)
    assert (await storage.rewards.report_usage(early, price))[:3] == (False, None, 0)
    assert await charged(storage) == ESTIMATE
    assert (await storage.rewards.report_usage(late, price))[:3] == (False, 0.002, 1)
    for again in (early, late):
        assert (await storage.rewards.report_usage(again, price))[:3] == (True, 0.002, 1)
    assert await charged(storage) == pytest.approx(0.002)
    assert (await spend(storage))["cheap"] == (pytest.approx(0.002), 1000, 0, 1)
    whole = await storage.decisions.get(decision_id)
    assert (whole["usage"]["latency_ms"], whole["usage"]["output_tokens"], whole["usage"]["revision"]) == (
        80,
        1000,
        1,
    )
    [before] = whole["usage_revisions"]
    assert (before["revision"], before["report"]) == (0, {"latency_ms": 80.0})


async def test_a_correction_settles_the_difference_everywhere(storage, make):
    await storage.arms.add(make.arm("cheap"))
    decision_id = await decided(storage, make)
    for cost_usd in (1e6, 0.0001, 0.25, 0.0001):
        told = UsageReport(decision_id=decision_id, cost_usd=cost_usd)
        assert (await storage.rewards.report_usage(told, price)).cost_usd == cost_usd
        assert await charged(storage) == pytest.approx(cost_usd, abs=1e-9)
        assert (await spend(storage))["cheap"] == (pytest.approx(cost_usd, abs=1e-9), 0, 0, 1)
    [context] = await storage.reports.contexts("default")
    assert context["spend_usd"] == pytest.approx(0.0001, abs=1e-9)
    assert (await storage.reports.totals())["usage_report"] == 1
    # Tokens come late: told dollars outrank them.
    tokens = UsageReport(decision_id=decision_id, input_tokens=5)
    assert (await storage.rewards.report_usage(tokens, price)).cost_usd == 0.0001


@pytest.mark.parametrize("failed", [(), (Attempt(arm="dear", error="overload", cost_usd=0.25),)])
async def test_what_is_abandoned_gives_back_the_estimate_that_a_report_left_standing(storage, make, failed):
    """A latency alone says nothing of money; what a failed call before it cost was told, and stays."""
    for name in ("cheap", "dear"):
        await storage.arms.add(make.arm(name))
    decision_id = await decided(storage, make)
    attempts = (*failed, Attempt(arm="cheap", latency_ms=80.0)) if failed else ()
    early = UsageReport(decision_id=decision_id, latency_ms=80.0, attempts=attempts)
    assert (await storage.rewards.report_usage(early, price)).cost_usd is None
    assert await charged(storage) == pytest.approx(0.001 + (0.25 if failed else 0.0))
    assert await storage.rewards.abandon(decision_id, make.now_us) == (True, False)
    assert await charged(storage) == pytest.approx(0.25 if failed else 0.0, abs=1e-12)
    assert (await spend(storage))["cheap"][0] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("later", [{}, {"latency_ms": 20.0}, {"input_tokens": 3000}, {"cost_usd": 0.5}])
async def test_a_failed_call_costs_nothing_unless_its_figures_are_told(storage, make, later):
    await storage.arms.add(make.arm("cheap"))
    decision_id = await decided(storage, make)
    failed = UsageReport(decision_id=decision_id, error="http_500", latency_ms=20.0)
    assert (await storage.rewards.report_usage(failed, price)).cost_usd == 0.0
    assert await charged(storage) == pytest.approx(0.0, abs=1e-12)
    if later:
        await storage.rewards.report_usage(UsageReport(decision_id=decision_id, **later), price)
    expected = later.get("cost_usd", later.get("input_tokens", 0) / 1e6)
    assert await charged(storage) == pytest.approx(expected, abs=1e-12)
    assert (await spend(storage))["cheap"][0] == pytest.approx(expected, abs=1e-12)
    assert (await spend(storage))["cheap"][2] == 1


@pytest.mark.parametrize("began", [True, False])
async def test_who_fails_in_anothers_stead_has_its_own_price_and_failure(storage, make, began):
    """Only an answer that had begun was served: what is thought of it, and the session, are its arm's."""
    for name in ("cheap", "dear"):
        await storage.arms.add(make.arm(name))
    decision_id = await decided(storage, make)
    broke = Attempt(arm="dear", error="transport", input_tokens=9, first_token_ms=20.0 if began else None)
    told = UsageReport(decision_id=decision_id, attempts=(Attempt(arm="cheap", error="overload"), broke))
    settled = await storage.rewards.report_usage(told, lambda arm, _: {"cheap": 1.0, "dear": 30.0}[arm.arm])
    assert (settled.cost_usd, settled.after.served_arm) == (30.0, "dear" if began else None)
    assert await charged(storage) == pytest.approx(30.0)
    sums = await spend(storage)
    assert sums["cheap"] == (0.0, 0, 1, 0)
    assert sums["dear"] == (pytest.approx(30.0), 9, 1, 1)


async def test_attempts_are_charged_and_counted_for_their_own_arms(storage, make):
    for name in ("cheap", "dear"):
        await storage.arms.add(make.arm(name))
    decision_id = await decided(storage, make)
    told = UsageReport(
        decision_id=decision_id,
        attempts=(
            Attempt(arm="cheap", error="timeout", input_tokens=4000, latency_ms=900.0),
            Attempt(arm="cheap", error="overload", retry_after_s=3.0),
            Attempt(arm="dear", input_tokens=1000, output_tokens=1000, latency_ms=100.0),
        ),
    )
    settled = await storage.rewards.report_usage(told, price)
    assert (settled.duplicate, settled.arm, settled.cost_usd) == (False, "dear", pytest.approx(0.006))
    assert (await storage.rewards.report_usage(told, price)).duplicate
    assert await charged(storage) == pytest.approx(0.006)
    sums = await spend(storage)
    assert sums["cheap"] == (pytest.approx(0.004), 4000, 2, 0)
    assert sums["dear"] == (pytest.approx(0.002), 1000, 0, 1)
    whole = await storage.decisions.get(decision_id)
    assert [(one["arm"], one["error"], one["cost_usd"]) for one in whole["attempts"]] == [
        ("cheap", "timeout", pytest.approx(0.004)),
        ("cheap", "overload", 0.0),
        ("dear", None, pytest.approx(0.002)),
    ]  # fmt: skip
    assert (whole["usage"]["served_arm"], whole["usage"]["error"], whole["usage"]["latency_ms"]) == (
        "dear",
        None,
        100,
    )
    [row] = [row async for row in storage.whole_log.stream("default")]
    assert [one["retry_after_s"] for one in row["attempts"]] == [None, 3.0, None]
    [outcome] = await storage.recent.usage("default", "schema", 10, 5)
    assert (outcome.arm, outcome.output_tokens, outcome.latency_ms) == ("dear", 1000, 100.0)

    # A correction of who was called takes everything back from where it was.
    await storage.rewards.report_usage(UsageReport(decision_id=decision_id, attempts=(Attempt(arm="cheap"),)), price)
    sums = await spend(storage)
    assert sums["cheap"] == (pytest.approx(0.002), 1000, 0, 1)
    assert sums["dear"] == (pytest.approx(0.0, abs=1e-12), 0, 0, 0)
    assert await charged(storage) == pytest.approx(0.002)
    assert len((await storage.decisions.get(decision_id))["attempts"]) == 1


async def test_an_answer_without_figures_keeps_its_estimate_beside_what_failures_cost(storage, make):
    for name in ("cheap", "dear"):
        await storage.arms.add(make.arm(name))
    decision_id = await decided(storage, make)
    attempts = (Attempt(arm="cheap", error="server", output_tokens=500), Attempt(arm="dear"))
    settled = await storage.rewards.report_usage(UsageReport(decision_id=decision_id, attempts=attempts), price)
    assert settled.cost_usd is None
    assert await charged(storage) == pytest.approx(0.001 + 0.0005)
    await storage.rewards.report_usage(UsageReport(decision_id=decision_id, cost_usd=0.01), price)
    assert await charged(storage) == pytest.approx(0.01 + 0.0005)


async def test_the_chosen_arm_served_after_all_is_folded_again(storage, make):
    for name in ("cheap", "dear"):
        await storage.arms.add(make.arm(name))
    decision_id = await decided(storage, make)
    for number, served in enumerate(("dear", "dear", "cheap")):
        report = UsageReport(decision_id=decision_id, served_arm=served, cost_usd=0.1)
        await storage.rewards.report_usage(report, price)
        assert await storage.learning.queue_depth() == (1, 1, 2)[number]
    [item] = await storage.learning.claim("default", 10)
    assert item.served_arm is None


async def test_replicas_that_revise_at_once_settle_every_difference_once(storage, open_replica, make):
    """Whatever order they come in: the account stands at what the newest revision says."""
    await storage.arms.add(make.arm("cheap"))
    ids = [await decided(storage, make, number) for number in range(6)]
    random_order = random.Random(3)
    reports = [UsageReport(decision_id=one, cost_usd=0.1 * n, latency_ms=n) for one in ids for n in range(1, 9)] * 2
    random_order.shuffle(reports)
    async with open_replica() as other:
        stores = (storage, other)
        await asyncio.gather(
            *(stores[i % 2].rewards.report_usage(one, price) for i, one in enumerate(reports)),
            *(store.rewards.charge_estimate(ids, make.now_us) for store in stores),
        )
    known = [(await storage.decisions.get(one))["usage"] for one in ids]
    total = sum(usage["cost_usd"] for usage in known)
    assert await charged(storage) == pytest.approx(total, abs=1e-9)
    assert (await spend(storage))["cheap"][::3] == (pytest.approx(total, abs=1e-9), len(ids))
    for one, usage in zip(ids, known, strict=True):
        revisions = (await storage.decisions.get(one))["usage_revisions"]
        assert [row["revision"] for row in revisions] == list(range(usage["revision"]))


async def test_a_report_of_an_older_replica_is_completed_like_others(storage, make):
    """Its row has no new columns: told dollars are those that its tokens do not explain."""
    await storage.arms.add(make.arm("cheap"))
    for number, (said, later, expected) in enumerate((
        ({"cost_usd": 0.5}, {"input_tokens": 9}, 0.5),
        ({"input_tokens": 1000}, {"output_tokens": 1000}, 0.002),
        ({"input_tokens": 1000, "cost_usd": 0.5}, {"output_tokens": 1000}, 0.5),
    )):  # fmt: skip
        decision_id = await decided(storage, make, number)
        await storage.rewards.report_usage(UsageReport(decision_id=decision_id, **said), price)
        await _forget_new_columns(storage)
        assert (await storage.rewards.report_usage(UsageReport(decision_id=decision_id, **said), price)).duplicate
        settled = await storage.rewards.report_usage(UsageReport(decision_id=decision_id, **later), price)
        assert (settled.revision, settled.cost_usd) == (1, pytest.approx(expected))


async def _forget_new_columns(storage: Any) -> None:
    from sqlalchemy import update

    from banditd.storage.schema import usage_report

    change = update(usage_report).values(told_cost_usd=None, attempts_usd=None)
    await storage.database.write(lambda connection: connection.execute(change))


async def test_pruning_takes_attempts_and_revisions_along(storage, make):
    await storage.arms.add(make.arm("cheap"))
    decision_id = await decided(storage, make)
    for cost_usd in (1.0, 2.0):
        attempts = (Attempt(arm="cheap", error="server"), Attempt(arm="cheap"))
        report = UsageReport(decision_id=decision_id, attempts=attempts, cost_usd=cost_usd)
        await storage.rewards.report_usage(report, price)
    assert await storage.maintenance.prune(before_us=make.now_us + 10, limit=10) == 1
    assert await storage.decisions.get(decision_id) is None


async def saved(storage: Any) -> dict[str, tuple[int, float, float]]:
    """(decisions, dollars they cost, dollars they would have cost with that arm alone) of every arm."""
    rows = await storage.reports.arm_totals("default", None)
    return {
        str(row["arm"]): (row["compared_decisions"], row["compared_usd"], row["compared_fixed_usd"]) for row in rows
    }


def near(count: int, spent_usd: float, would_usd: float) -> tuple[int, Any, Any]:
    return count, pytest.approx(spent_usd, abs=1e-12), pytest.approx(would_usd, abs=1e-12)


@pytest.mark.parametrize("output_tokens", [11, 400, 3000])
async def test_what_the_arm_that_answered_would_have_cost_is_what_was_spent(storage, make, output_tokens):
    """However far the tokens are from the expected ones, and of the others their share of the predictions."""
    await storage.arms.add(make.arm("cheap"))
    decision_id = await decided(storage, make)
    usd = (5 + output_tokens) / 1e6
    tokens = UsageReport(decision_id=decision_id, input_tokens=5, output_tokens=output_tokens)
    await storage.rewards.report_usage(tokens, price)
    found = await saved(storage)
    assert found["cheap"] == (1, usd, usd)
    assert (found["middle"], found["dear"]) == (near(1, usd, 2 * usd), near(1, usd, 3 * usd))


async def test_a_revision_moves_what_it_would_have_cost_by_the_difference_and_once(storage, make):
    for name in ("cheap", "dear"):
        await storage.arms.add(make.arm(name))
    first, second = await decided(storage, make), await decided(storage, make, 1)
    await storage.rewards.report_usage(UsageReport(decision_id=second, cost_usd=0.01), price)
    # Told, told again, completed, and another arm was it after all: it is predicted to cost 3 x as much.
    for told, dear_usd in (
        ({"latency_ms": 20.0}, 0.003),
        ({"cost_usd": 0.5}, 1.5),
        ({"cost_usd": 0.5}, 1.5),
        ({"cost_usd": 0.02, "latency_ms": 30.0}, 0.06),
        ({"served_arm": "dear"}, 0.02),
        ({"cost_usd": 0.03}, 0.03),
    ):
        await storage.rewards.report_usage(UsageReport(decision_id=first, **told), price)
        spent = 0.01 + told.get("cost_usd", 0.001 if "latency_ms" in told else 0.02)
        assert (await saved(storage))["dear"] == near(2, spent, 0.03 + dear_usd)
    assert (await saved(storage))["cheap"] == near(2, 0.04, 0.01 + 0.01)


async def test_what_attempts_cost_beside_the_answer_is_no_cost_of_another_arm(storage, make):
    for name in ("cheap", "dear"):
        await storage.arms.add(make.arm(name))
    decision_id = await decided(storage, make)
    tried = Attempt(arm="cheap", error="timeout", cost_usd=0.5)
    told = UsageReport(decision_id=decision_id, attempts=(tried, Attempt(arm="dear", cost_usd=0.06)))
    await storage.rewards.report_usage(told, price)
    found = await saved(storage)
    assert found["dear"] == near(1, 0.56, 0.06)
    assert found["middle"] == near(1, 0.56, 0.04)
    assert found["cheap"] == near(1, 0.56, 0.02 + 0.5)


async def test_without_figures_and_where_nothing_was_predicted_the_prediction_stands(storage, make):
    for name in ("cheap", "dear"):
        await storage.arms.add(make.arm(name))
    decision_id = await decided(storage, make)
    await storage.rewards.report_usage(UsageReport(decision_id=decision_id, served_arm="dear"), price)
    assert await saved(storage) == {
        "cheap": near(1, 0.001, 0.001),
        "middle": near(1, 0.001, 0.002),
        "dear": near(1, 0.001, 0.001),
    }
    free = make.decision(at_us=make.now_us + 1, cost_usd=np.array([0.0, 0.002, 0.003]), policy="free")
    await storage.decisions.append([free])
    await storage.arms.add(make.arm("cheap", policy="free"))
    await storage.rewards.report_usage(UsageReport(decision_id=free.decision_id, cost_usd=0.25), price)
    rows = {row["arm"]: row["compared_fixed_usd"] for row in await storage.reports.arm_totals("free", None)}
    assert rows == pytest.approx({"cheap": 0.25, "middle": 0.002, "dear": 0.003})
