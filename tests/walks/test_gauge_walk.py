"""Gauges that say how things are now: with their cause they go away."""

from __future__ import annotations

from tests.walks.conftest import OpenDaemon, ShiftedClock

from banditd.core.types import Query
from banditd.daemon.open import Daemon

MONTH_H = 32 * 24


async def gauge(daemon: Daemon, name: str, **labels: str) -> float | None:
    await daemon.jobs.run_now("observe")
    return daemon.metrics.registry.get_sample_value(f"banditd_{name}", {"policy": "default", **labels})


async def ask(daemon: Daemon) -> float:
    decision = await daemon.services.routing.route(Query(text="a query"))
    return float(decision.cost_usd[decision.chosen_index])


async def test_an_arm_that_is_deleted_has_not_changed_any_more(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        view = await daemon.services.arms.get("default", "large")
        assert await gauge(daemon, "arm_changed", arm="large") == 0
        await daemon.services.arms.delete("default", "large")
        assert await gauge(daemon, "arm_changed", arm="large") is None
        assert await gauge(daemon, "arm_changed", arm="small") == 0
        await daemon.services.arms.add(view.arm)
        assert await gauge(daemon, "arm_changed", arm="large") == 0


async def test_without_traffic_nothing_is_said_of_the_last_hour(open_daemon: OpenDaemon, clock: ShiftedClock) -> None:
    async with open_daemon() as daemon:
        await ask(daemon)
        for name in ("exploration_ratio", "selection_entropy"):
            assert await gauge(daemon, name) is not None
        clock.hours = 3
        for name in ("exploration_ratio", "selection_entropy"):
            assert await gauge(daemon, name) is None


async def test_the_gap_to_the_best_mix_goes_when_the_log_says_too_little(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        daemon.metrics.baseline_gap.labels("default").set(-0.5)
        assert await gauge(daemon, "baseline_gap") is None


async def test_budgets_are_those_of_the_present_window(open_daemon: OpenDaemon, clock: ShiftedClock) -> None:
    budgets = [{"name": "cap", "usd": 0.5, "per": "month"}, {"name": "each", "usd": 0.01, "per": "decision"}]
    async with open_daemon(budgets=budgets) as first, open_daemon(budgets=budgets) as second:

        async def shown(budget: str) -> list[float | None]:
            return [await gauge(first, name, budget=budget) for name in ("budget_charged_usd", "budget_spend_ratio")]

        assert await shown("cap") == [0.0, 0.0]
        assert await shown("each") == [0.0, None]
        cost = await ask(first)
        assert await shown("cap") == [cost, cost / 0.5]
        assert await shown("each") == [cost, cost / 0.01]
        clock.hours = MONTH_H
        assert await shown("cap") == [0.0, 0.0]
        assert await shown("each") == [cost, cost / 0.01]
        # This replica has made no decision in the new window: what others spend there counts all the same.
        other = await ask(second)
        assert await shown("cap") == [other, other / 0.5]
