"""Wrong numbers of usage reports or candidates shut nothing out, to the next decision and the job of amounts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.walks.conftest import OpenDaemon
from tests.walks.test_release_walk import ask, begin

from banditd.core.rewards import UsageReport
from banditd.core.types import Query
from banditd.daemon.open import Daemon
from banditd.deciding import release

CAP = {"name": "cap", "usd": 0.5, "per": "month", "at_stop": "reject"}


async def predicted(daemon: Daemon) -> float:
    made = await daemon.services.routing.route(Query(text="How is it?", candidates=("large",), dry_run=True))
    return float(made.cost_usd[made.chosen_index])


async def report(daemon: Daemon, **said: float) -> None:
    made = await daemon.services.routing.route(Query(text="How is it?", candidates=("large",)))
    await daemon.services.rewards.report_usage(UsageReport(decision_id=made.decision_id, **said))  # type: ignore[arg-type]


async def learned(daemon: Daemon) -> None:
    await daemon.learner.refresh_arms()
    await daemon.jobs.run_now("amounts")


@pytest.mark.parametrize(
    "wild",
    [{"cost_usd": 0.2}, {"cost_usd": 1e6}, {"output_tokens": 10**9}, {"input_tokens": 10**9, "output_tokens": 300},
     {"latency_ms": 1e9, "output_tokens": 10**9}],
    ids=["dear", "very dear", "long", "long input", "slow and long"],
)  # fmt: skip
@pytest.mark.parametrize("normal", [0, 42])
async def test_one_wild_report_moves_no_prediction_far_and_shuts_no_arm_out(
    open_daemon: OpenDaemon, wild: dict[str, float], normal: int
) -> None:
    async with open_daemon() as daemon:
        before = await predicted(daemon)
        for number in range(normal):
            if number == normal // 2:
                await report(daemon, **wild)
            await report(daemon, input_tokens=60, output_tokens=350 + 10 * (number % 10), latency_ms=900.0)
        if not normal:
            await report(daemon, **wild)
        await learned(daemon)
        after = await predicted(daemon)
        assert 0.2 * before < after < 5.0 * before
    # ... and where the money is counted from now on, it is called as before.
    async with open_daemon(budgets=[{**CAP, "of": "tag:team"}]) as daemon:
        await learned(daemon)
        made = await daemon.services.routing.route(
            Query(text="How is it?", candidates=("large",), tags={"team": "a"})
        )
        assert made.arm == "large"


@pytest.mark.parametrize("normal", [0, 42])
async def test_one_wild_latency_shuts_out_no_arm_whose_latency_nobody_has_assumed(
    open_daemon: OpenDaemon, normal: int
) -> None:
    """Neither before the model of latencies has been fitted nor after."""
    async with open_daemon() as daemon:
        for _ in range(normal):
            await report(daemon, latency_ms=900.0)
        await report(daemon, latency_ms=3.6e6)
        quick = Query(text="How is it?", candidates=("large",), max_latency_ms=2000.0, dry_run=True)
        for step in (daemon.learner.refresh_arms, lambda: learned(daemon)):
            await step()
            assert (await daemon.services.routing.route(quick)).arm == "large"


async def test_a_candidate_that_decides_no_numbers_costs_nobody_an_answer(
    open_daemon: OpenDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide, calls = release.decide, 0

    def wild(*of: Any) -> Any:
        nonlocal calls
        calls += 1
        decided = decide(*of)
        if calls % 2 == 0:  # the candidate's turn
            decided.draw.probability[:] = np.nan
        return decided

    async with open_daemon(kind="thompson") as daemon:
        await begin(daemon, settings={"exploration_floor": 0.1})
        monkeypatch.setattr(release, "decide", wild)
        made = [await ask(daemon) for _ in range(6)]
    assert calls == 12
    assert [one.release for one in made] == [None] * 6
    assert all(sum(one.probability) == pytest.approx(1.0) for one in made)
