"""Money on the walk of a query: budgets that hold, prices that move, objectives per request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.walks.conftest import OpenDaemon

from banditd.core.errors import BudgetExhaustedError, InvalidInputError, NotFoundError, StorageUnavailableError
from banditd.core.money import AccountKey, AccountTotals
from banditd.core.rewards import UsageReport
from banditd.core.types import Decision, Price, Query
from banditd.daemon.open import Daemon
from banditd.ports import DecisionFilter, Revise


def budget(usd: float, **more: Any) -> dict[str, Any]:
    return {"name": "cap", "usd": usd, "per": "month", **more}


async def ask(daemon: Daemon, i: int = 0, **query: Any) -> Decision:
    return await daemon.services.routing.route(Query(text=f"a query, number {i}", **query))


async def charged(daemon: Daemon, account: str = "all") -> float:
    rows = (await daemon.services.budgets.budgets("default"))["budgets"]
    return sum(row["charged_usd"] for row in rows if row["account"] == account)  # type: ignore[attr-defined]


async def settle(daemon: Daemon, decision: Decision, cost_usd: float) -> None:
    report = UsageReport(decision_id=decision.decision_id, cost_usd=cost_usd, body_hash=f"{cost_usd}")
    await daemon.services.rewards.report_usage(report)


async def spend_until_refused(daemons: list[Daemon], most: int) -> int:
    """Route at all daemons at once until the budget refuses; returns how many were routed."""

    async def one(i: int) -> bool:
        try:
            await ask(daemons[i % len(daemons)], i)
        except BudgetExhaustedError:
            return False
        return True

    routed = 0
    for start in range(0, most, 40):
        answers = await asyncio.gather(*(one(i) for i in range(start, start + 40)))
        routed += sum(answers)
        if not all(answers):
            return routed
    raise AssertionError("the budget never refused")


async def test_a_dear_report_is_in_the_refusal_that_it_causes(open_daemon: OpenDaemon) -> None:
    async with open_daemon(budgets=[budget(0.05, at_stop="reject")]) as daemon:
        await settle(daemon, await ask(daemon), 1e6)
        with pytest.raises(BudgetExhaustedError, match="is used up") as raised:
            await ask(daemon, 1)
        assert raised.value.code == "BUDGET_EXHAUSTED"


async def test_a_hard_cap_holds_across_replicas_and_a_restart(open_daemon: OpenDaemon) -> None:
    cap = {"budgets": [budget(0.05, at_stop="reject")]}
    async with open_daemon(**cap) as first, open_daemon(**cap) as second:
        routed = await spend_until_refused([first, second], 4000)
        spent = await charged(first)
        assert 0.04 < spent <= 0.05
        total = (await first.storage.reports.totals())["decision"]
        assert total == routed  # what was refused is not in the log
    async with open_daemon(**cap) as again:
        assert await charged(again) == pytest.approx(spent)
        await spend_until_refused([again], 4000)
        assert await charged(again) <= 0.05


async def test_real_costs_count_and_free_what_was_estimated_too_high(open_daemon: OpenDaemon) -> None:
    async with open_daemon(budgets=[budget(0.01, at_stop="reject")]) as daemon:
        first = await ask(daemon, expected_output_tokens=600.0, candidates=("large",))  # about 0.009 dollars
        with pytest.raises(BudgetExhaustedError, match="cap") as caught:
            await ask(daemon, expected_output_tokens=600.0, candidates=("large",))
        assert 1.0 <= caught.value.retry_after_s <= 31 * 86_400
        await settle(daemon, first, 0.0001)
        await daemon.jobs.run_now("budgets")
        await ask(daemon, expected_output_tokens=600.0, candidates=("large",))


async def test_a_cost_above_its_estimate_closes_the_cap(open_daemon: OpenDaemon) -> None:
    async with open_daemon(budgets=[budget(0.01, at_stop="reject")]) as daemon:
        decision = await ask(daemon)
        await settle(daemon, decision, 0.02)
        await daemon.jobs.run_now("budgets")
        with pytest.raises(BudgetExhaustedError):
            await ask(daemon)


@pytest.mark.parametrize(("at_stop", "last"), [("cheapest", "small"), ("vision", "vision")])
async def test_at_the_stop_an_arm_of_last_resort_goes_on(open_daemon: OpenDaemon, at_stop: str, last: str) -> None:
    async with open_daemon(budgets=[budget(0.001, at_stop=at_stop)]) as daemon:
        decision = await ask(daemon)
        await settle(daemon, decision, 0.5)
        await daemon.jobs.run_now("budgets")
        after = await ask(daemon, explain=True)
        assert (after.arm, after.propensity) == (last, 1.0)
        assert set(after.exclusions.values()) == {"budget:cap"}
        assert await charged(daemon) > 0.5  # what goes on is charged, too


async def test_keys_and_tags_have_accounts_of_their_own(open_daemon: OpenDaemon) -> None:
    rules = [
        budget(0.004, name="each-key", of="key", at_stop="reject"),
        budget(0.004, name="each-team", of="tag:team", per="day", at_stop="reject"),
    ]
    async with open_daemon(budgets=rules) as daemon:
        made = await ask(daemon, key_name="alice", tags={"team": "a"})
        assert {charge.key.account for charge in made.charges} == {"alice", "a"}
        await settle(daemon, made, 1.0)
        await daemon.jobs.run_now("budgets")
        for spent in ({"key_name": "alice"}, {"tags": {"team": "a"}}):
            with pytest.raises(BudgetExhaustedError):
                await ask(daemon, **spent)
        await ask(daemon, key_name="bob", tags={"team": "b"})
        assert (await ask(daemon)).charges == ()  # nobody to charge
        assert await charged(daemon, "alice") == pytest.approx(1.0)


async def test_an_account_that_others_push_out_meanwhile_is_charged_all_the_same(
    open_daemon: OpenDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    budgets = [budget(100.0, of="tag:team"), {**budget(1.0, of="tag:user"), "name": "user"}]
    monkeypatch.setattr("banditd.services.money.budgets.ACCOUNTS_KEPT", 2)
    async with open_daemon(budgets=budgets) as daemon:
        await ask(daemon, tags={"team": "t"})
        before = await charged(daemon, "t")
        read = daemon.storage.budgets.accounts

        async def crowded(keys: Sequence[AccountKey]) -> Mapping[AccountKey, AccountTotals]:
            if any(key.account == "late" for key in keys):
                for user in "abc":  # more than are kept: the team's account has to go
                    await ask(daemon, tags={"user": user})
            return await read(keys)

        monkeypatch.setattr(daemon.storage.budgets, "accounts", crowded)
        made = await ask(daemon, tags={"team": "t", "user": "late"})
        monkeypatch.undo()
        assert [charge.key.account for charge in made.charges] == ["t", "late"]
        assert await charged(daemon, "t") == pytest.approx(before + made.charges[0].usd)


async def test_a_batch_that_breaks_frees_what_it_had_reserved(
    open_daemon: OpenDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_daemon(budgets=[budget(0.05, at_stop="reject")]) as daemon:
        routing = daemon.services.routing
        encode = routing._encoder.encode

        async def broken(text: str) -> object:
            if text == "odd":
                raise KeyError(text)
            return await encode(text)

        monkeypatch.setattr(routing._encoder, "encode", broken)
        fine = Query(text="fine", candidates=("large",))
        for _ in range(30):  # together they would reserve the whole budget
            with pytest.raises(KeyError):
                await routing.route_batch([fine, Query(text="odd")])
        made = await routing.route(fine)
        assert made.arm == "large"
        assert await charged(daemon) == pytest.approx(made.charges[0].usd)


async def test_a_rate_is_held_across_replicas(open_daemon: OpenDaemon) -> None:
    usd = 0.0006
    async with open_daemon(budget_usd_per_decision=usd) as first, open_daemon(budget_usd_per_decision=usd) as second:
        for step in range(20):
            await asyncio.gather(*(ask((first, second)[i % 2], 20 * step + i) for i in range(20)))
        assert await charged(first) <= usd * 400 + 21 * usd
    async with open_daemon(budget_usd_per_decision=usd) as again:
        before = await charged(again)
        await ask(again)
        book = again.services.routing._books["default"].budget  # type: ignore[attr-defined]
        [account] = book.of_all_decisions()
        assert account.totals.decisions == 401
        assert account.totals.charged_usd > before


async def test_several_budgets_hold_at_once(open_daemon: OpenDaemon) -> None:
    rules = [budget(0.02, at_stop="reject"), {"name": "mean", "usd": 0.0006}]
    async with open_daemon(budgets=rules) as daemon:
        routed = await spend_until_refused([daemon], 400)
        mean = next(a for a in daemon.services.routing._books["default"].budget.of_all_decisions() if a.rule.is_rate)  # type: ignore[attr-defined]
        assert mean.totals.decisions == routed
        assert mean.totals.charged_usd <= 0.0006 * (routed + 21)
        [newest] = await daemon.storage.decisions.page(DecisionFilter(limit=1))
        whole: Any = await daemon.services.reports.decision(str(newest["decision_id"]))
        assert [charge["budget"] for charge in whole["charges"]] == ["cap", "mean"]


async def test_a_dry_run_costs_nothing(open_daemon: OpenDaemon) -> None:
    async with open_daemon(budgets=[budget(0.05)]) as daemon:
        await ask(daemon, dry_run=True)
        assert await charged(daemon) == 0.0
        book = daemon.services.routing._books["default"].budget  # type: ignore[attr-defined]
        assert [account.pending_usd for account in book.of_all_decisions()] == [0.0]


async def test_a_batch_is_decided_again_where_the_cap_refuses_it(open_daemon: OpenDaemon) -> None:
    async with open_daemon(budgets=[budget(0.004, at_stop="reject")]) as daemon:
        queries = [Query(text=f"number {i}", candidates=("vision",)) for i in range(5)]  # 0.0016 dollars each
        outcomes = await daemon.services.routing.route_batch(queries)
        assert [isinstance(o, BudgetExhaustedError) for o in outcomes] == [False, False, True, True, True]
        assert await charged(daemon) <= 0.004


async def test_usage_for_what_is_unknown_or_settled_changes_nothing(open_daemon: OpenDaemon) -> None:
    async with open_daemon(budgets=[budget(1.0)]) as daemon:
        decision = await ask(daemon)
        await settle(daemon, decision, 0.25)
        await settle(daemon, decision, 0.25)
        unknown = UsageReport(decision_id="00000000-0000-7000-8000-000000000000", cost_usd=1.0, body_hash="x")
        with pytest.raises(NotFoundError):
            await daemon.services.rewards.report_usage(unknown)
        assert await charged(daemon) == pytest.approx(0.25)


async def test_a_patched_price_counts_from_the_next_decision(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        before = await ask(daemon, candidates=("large",))
        await daemon.services.arms.patch("default", "large", {"price": Price(0.03, 0.15)})
        after = await ask(daemon, candidates=("large",))
        assert after.cost_usd[0] == pytest.approx(before.cost_usd[0] / 100)
        # The tokens of the first were bought at the first price.
        report = UsageReport(decision_id=before.decision_id, output_tokens=1_000_000, body_hash="t")
        assert (await daemon.services.rewards.report_usage(report)).cost_usd == pytest.approx(15.0)


async def test_a_scheduled_price_begins_by_itself(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        now_us = time.time_ns() // 1000
        with pytest.raises(InvalidInputError, match="past"):
            await daemon.services.arms.patch("default", "large", {"price": Price(1.0)}, price_from_us=now_us - 1)
        begins_us = time.time_ns() // 1000 + 2_000_000  # nobody is so slow that it lies in the past by then
        await daemon.services.arms.patch("default", "large", {"price": Price(1.0)}, price_from_us=begins_us)
        assert (await daemon.services.arms.get("default", "large")).arm.price == Price(3.0, 15.0)
        await asyncio.sleep(max(begins_us / 1e6 - time.time(), 0.0) + 0.01)
        await daemon.jobs.run_now("prices")
        view = await daemon.services.arms.get("default", "large")
        assert view.arm.price == Price(1.0)
        assert [price for _, price in view.price_history] == [Price(3.0, 15.0), Price(1.0)]


async def test_a_price_file_is_applied_once_per_content(open_daemon: OpenDaemon, tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text("large: {usd_per_mtok_in: 2.0}\nunknown: {usd_per_mtok_in: 1.0}\n")
    async with open_daemon(prices_file=str(path)) as daemon:
        await daemon.jobs.run_now("prices")
        assert (await daemon.services.arms.get("default", "large")).arm.price == Price(2.0)
        await daemon.services.arms.patch("default", "large", {"price": Price(5.0)})
        await daemon.jobs.run_now("prices")
        assert (await daemon.services.arms.get("default", "large")).arm.price == Price(5.0)
    async with open_daemon(prices_file=str(path)) as daemon:
        await daemon.jobs.run_now("prices")
        assert (await daemon.services.arms.get("default", "large")).arm.price == Price(5.0)
        path.write_text("large: {usd_per_mtok_in: -2.0}\n")
        await daemon.jobs.run_now("prices")
        assert (await daemon.services.arms.get("default", "large")).arm.price == Price(5.0)
        path.write_text("large: {usd_per_mtok_in: 2.5}\n")
        await daemon.jobs.run_now("prices")
        assert (await daemon.services.arms.get("default", "large")).arm.price == Price(2.5)


async def test_a_price_file_waits_for_a_database_that_does_not_answer(
    open_daemon: OpenDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text("small: {usd_per_mtok_in: 5.0}\nlarge: {usd_per_mtok_in: 7.0}\n")
    async with open_daemon(prices_file=str(path)) as daemon:
        update = daemon.storage.arms.update

        async def flaky(policy: str, arm: str, revise: Revise) -> None:
            if arm == "large":
                raise StorageUnavailableError("not now")
            await update(policy, arm, revise)

        with monkeypatch.context() as patch:
            patch.setattr(daemon.storage.arms, "update", flaky)
            for _ in range(2):
                await daemon.jobs.run_now("prices")
        assert (await daemon.services.arms.get("default", "large")).arm.price == Price(3.0, 15.0)
        await daemon.jobs.run_now("prices")
        prices = {arm.arm: arm.price for arm in await daemon.storage.arms.arms("default")}
        assert (prices["small"], prices["large"]) == (Price(5.0), Price(7.0))
        # Applied once: what is patched afterwards stands.
        await daemon.services.arms.patch("default", "large", {"price": Price(1.0)})
        await daemon.jobs.run_now("prices")
        assert (await daemon.services.arms.get("default", "large")).arm.price == Price(1.0)


async def test_a_minimum_share_is_a_least_probability(open_daemon: OpenDaemon) -> None:
    async with open_daemon(cost_weight=1000.0) as daemon:
        assert (await ask(daemon)).probability.max() > 0.9
        await daemon.services.arms.patch("default", "large", {"min_share": 0.25})
        decision = await ask(daemon)
        assert decision.probability[decision.arms.index("large")] >= 0.25
        with pytest.raises(InvalidInputError, match="min_share"):
            await daemon.services.arms.patch("default", "large", {"min_share": 0.5, "max_share": 0.4})
        with pytest.raises(InvalidInputError, match="add up"):
            await daemon.services.arms.patch("default", "small", {"min_share": 0.8})


async def test_shares_that_leave_traffic_without_an_arm_are_refused(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        for arm in ("small", "large"):
            await daemon.services.arms.patch("default", arm, {"max_share": 0.2})
        with pytest.raises(InvalidInputError, match="no arm could answer"):
            await daemon.services.arms.patch("default", "vision", {"max_share": 0.2})


async def test_profiles_and_floors_choose_by_what_was_asked(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        economy = await ask(daemon, profile="economy")
        assert economy.cost_weight == 0.3
        with pytest.raises(InvalidInputError, match="economy"):
            await ask(daemon, profile="thrifty")
        # Nothing is known of any arm: no floor can be cleared, and the policy is asked.
        assert (await ask(daemon, quality_floor=0.99)).reason == "policy"
        above = await ask(daemon, quality_floor=0.01)
        assert (above.reason, above.arm) == ("quality_floor", "small")


async def test_energy_counts_for_the_weight_but_is_not_billed(open_daemon: OpenDaemon) -> None:
    price = {"usd_per_kwh": 0.1, "kg_co2_per_kwh": 0.4, "usd_per_kg_co2": 0.5}
    async with open_daemon(cost_weight=0.1, resources=price) as daemon:
        before = await ask(daemon)
        await daemon.services.arms.patch("default", "small", {"kwh_per_mtok_out": 1000.0})
        after = await ask(daemon)
        small = after.arms.index("small")
        assert after.cost_usd[small] == pytest.approx(before.cost_usd[small])
        assert after.penalty[small] > before.penalty[small]
        scale = daemon.runtimes["default"].view.cost_scale_usd
        assert after.penalty[small] - before.penalty[small] == pytest.approx(0.1 / scale * 0.3 * 400 * 1000 / 1e6)


async def test_usage_teaches_how_long_answers_are_by_query(open_daemon: OpenDaemon) -> None:
    """Questions about code get long answers, others short ones; after some reports the predicted costs differ."""
    kinds = ("def f(x): return x + {i} # fix this Python function", "What is the capital of country {i}?")
    async with open_daemon() as daemon:
        for i in range(40):
            text = kinds[i % 2].format(i=i)
            decision = await daemon.services.routing.route(Query(text=text, candidates=("small",)))
            report = UsageReport(
                decision_id=decision.decision_id, input_tokens=20, output_tokens=(2000, 20)[i % 2], body_hash="u"
            )
            await daemon.services.rewards.report_usage(report)
        await daemon.learner.refresh_arms()
        await daemon.jobs.run_now("amounts")
        code, capital = [
            await daemon.services.routing.route(Query(text=kind.format(i=99), candidates=("small",), dry_run=True))
            for kind in kinds
        ]
        assert code.cost_usd[0] > 5 * capital.cost_usd[0]
        # What the client says itself comes first.
        said = await ask(daemon, expected_output_tokens=1_000_000.0, candidates=("small",), dry_run=True)
        assert said.cost_usd[0] == pytest.approx(0.4, rel=0.01)


async def test_a_price_that_falls_frees_its_money_at_the_next_decision(open_daemon: OpenDaemon) -> None:
    async with open_daemon(budget_usd_per_decision=0.0006) as daemon:
        for i in range(120):
            await ask(daemon, i)
        book = daemon.services.routing._books["default"].budget  # type: ignore[attr-defined]
        [account] = book.of_all_decisions()
        before = account.pacer.price_per_usd
        assert before > 0.0
        await daemon.services.arms.patch("default", "large", {"price": Price(0.01, 0.05)})
        await daemon.services.arms.patch("default", "vision", {"price": Price(0.01, 0.05)})
        await ask(daemon)
        await ask(daemon)
        assert account.pacer.price_per_usd < before / 10


async def test_the_mixture_is_logged_beside_a_decision_and_never_drawn_from(open_daemon: OpenDaemon) -> None:
    async with open_daemon(budget_usd_per_decision=0.0006) as daemon:
        await ask(daemon)
        guard = daemon.services.routing._books["default"].budget.guard  # type: ignore[attr-defined]
        guard._judged.weight, guard._judged._phi, guard._judged._square = 500.0, -50.0, 10.0
        guard._judged._weight_squares = 500.0
        assert guard.alarm
        decision = await ask(daemon)
        assert decision.mixture is not None
        assert decision.mixture.share == 1.0
        assert decision.mixture.own(decision.probability) == pytest.approx(decision.probability)
        row: Any = await daemon.services.reports.decision(decision.decision_id)
        assert row["mixture"]["fixed"] == pytest.approx(decision.mixture.fixed.tolist())


async def test_what_a_dear_arm_would_have_cost_counts_where_a_budget_took_it_out(open_daemon: OpenDaemon) -> None:
    async with open_daemon(budgets=[budget(0.002)]) as daemon:
        decisions = [await ask(daemon, i) for i in range(12)]
        assert any("large" in one.unaffordable_usd for one in decisions)
        stats: Any = await daemon.services.reports.stats("default", None)
        for arm in stats["savings"]["arms"]:
            if arm["arm"] in {"small", "large"}:
                assert arm["saved_usd_per_decision"] is not None
        [large] = [arm for arm in stats["arms"] if arm["arm"] == "large"]
        assert large["fixed"]["on_decisions"] == 12


@pytest.mark.parametrize("spent", [1.0, 1.000001, 5.0])
async def test_a_free_arm_answers_when_nothing_is_left(open_daemon: OpenDaemon, spent: float) -> None:
    arms = [{"arm": "free", "price": {}}, {"arm": "large", "price": {"usd_per_mtok_out": 15.0}}]
    async with open_daemon(arms=arms, budgets=[budget(1.0, at_stop="reject")]) as daemon:
        await settle(daemon, await ask(daemon), spent)
        for _ in range(3):
            assert (await ask(daemon)).arm == "free"
        with pytest.raises(BudgetExhaustedError, match="is used up") as caught:
            await ask(daemon, candidates=("large",))
        assert caught.value.code == "BUDGET_EXHAUSTED"


async def test_used_up_means_charged(open_daemon: OpenDaemon) -> None:
    """What one call costs is more than the whole budget: nothing is charged, and nobody says otherwise."""
    async with open_daemon(budgets=[budget(0.000001, at_stop="reject")]) as daemon:
        with pytest.raises(BudgetExhaustedError, match="0 dollars are charged") as caught:
            await ask(daemon)
        assert caught.value.code == "BUDGET_SHORT"
        assert "used up" not in caught.value.message
