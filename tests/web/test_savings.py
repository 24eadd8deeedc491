"""The headline over HTTP, on the command line and in the metrics: one method, the same figures, on both databases."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from click.testing import CliRunner
from tests.over_http import get
from tests.patience import PATIENT
from tests.web.test_real_daemon import ARMS, until_learned, walk

from banditd.cli import commands
from banditd.daemon.open import Daemon, open_services
from banditd.settings import Settings
from banditd.web.app import WebSettings, create_app


@pytest.fixture
async def opened() -> list[Daemon]:
    return []


@pytest.fixture
async def live(database_url: str, opened: list[Daemon]) -> AsyncIterator[Any]:
    settings = Settings(
        database={"url": database_url, **PATIENT},
        learner={"pause_ms": 0, "poll_s": 0.25, "lease_s": 2},
        policies={"default": {"arms": ARMS}, "even": {"kind": "uniform", "arms": ARMS}},
    )

    @asynccontextmanager
    async def opening() -> AsyncIterator[Daemon]:
        async with open_services(settings, start_jobs=False) as daemon:
            opened.append(daemon)
            yield daemon

    async with TestClient(TestServer(create_app(opening, WebSettings(access_log=False)))) as client:
        yield client


async def command(live: Any, *arguments: str) -> str:
    url = str(live.make_url("/")).rstrip("/")
    result = await asyncio.to_thread(CliRunner().invoke, commands, [*arguments, "--url", url, "--policy", "even"])
    assert result.exit_code == 0, result.output
    return result.output


async def test_http_the_command_line_and_the_metrics_say_the_same(live: Any, opened: list[Daemon]) -> None:
    decisions = await walk(live, "even", 40)
    await until_learned(live, "even", 40)
    found = await get(live, "/v1/savings?policy=even")
    # Settled: a large answer costs (100 x 3 + 50 x 15) / 1e6 dollars, a small one (100 x .1 + 50 x .4) / 1e6.
    spent = sum(0.00105 if d["arm"] == "large" else 0.00003 for d in decisions)
    saved, lost = found["saved"], found["lost"]
    assert (found["baseline"], saved["basis"], saved["compared_decisions"]) == ("large", "settled", 40)
    assert saved["spent_usd"] == pytest.approx(spent)
    assert saved["usd"] == pytest.approx(saved["would_have_cost_usd"] - spent)
    large = sum(d["arm"] == "large" for d in decisions)
    assert lost["reward"] == pytest.approx((0.8 * large + 0.2 * (40 - large)) / 40)
    assert lost["interval"][0] <= lost["points"] <= lost["interval"][1]
    assert (found["held"], found["keep"], found["groups"]) == ("unknown", None, [])
    # One method: the arm's own verdict in the statistics is that very interval, the other way round.
    stats = await get(live, "/v1/stats?policy=even")
    [arm] = [one for one in stats["savings"]["arms"] if one["arm"] == "large"]
    assert [-100 * end for end in arm["reward_difference"]["interval"][::-1]] == pytest.approx(lost["interval"])
    assert arm["verdict"] == lost["verdict"]
    # The command line, twice, and the metrics.
    assert json.loads(await command(live, "stats", "--json"))["headline"]["saved"] == saved
    assert (await command(live, "stats")).splitlines()[0] == found["headline"]
    assert json.loads(await command(live, "top", "--json"))["savings"]["headline"] == found["headline"]
    await opened[0].jobs.run_now("observe")
    value = opened[0].metrics.registry.get_sample_value
    assert value("banditd_savings_usd", {"policy": "even"}) == pytest.approx(saved["usd"])
    assert value("banditd_savings_ratio", {"policy": "even"}) == pytest.approx(saved["share"])
    bounds = [value("banditd_quality_ratio", {"policy": "even", "bound": b}) for b in ("low", "value", "high")]
    low, high = lost["quality_interval"]
    assert bounds == pytest.approx([low, lost["quality_ratio"], high])
    assert value("banditd_promise_held", {"policy": "even"}) is None


async def test_a_correction_of_the_usage_moves_both_sides_alike(live: Any) -> None:
    """A promise's first minutes: whatever the baseline answered itself has saved nothing, however long it was."""
    [decision] = await walk(live, "even", 1)
    before = (await get(live, "/v1/savings?policy=even"))["saved"]
    corrected = {"input_tokens": 100, "output_tokens": 50, "cost_usd": 0.5}
    answer = await live.post(f"/v1/decisions/{decision['decision_id']}/usage", json=corrected)
    assert answer.status == 200
    after = (await get(live, "/v1/savings?policy=even"))["saved"]
    assert after["spent_usd"] == pytest.approx(0.5)
    assert after["compared_decisions"] == before["compared_decisions"] == 1
    assert after["share"] == pytest.approx(before["share"], abs=1e-9)
    assert (after["share"] == 0.0) == (decision["arm"] == "large")


@pytest.mark.parametrize("output_tokens", [11, 3000])
async def test_what_the_baseline_answered_itself_has_saved_nothing(live: Any, output_tokens: int) -> None:
    by_arm: dict[str, float] = {"large": 0.0, "small": 0.0}
    for i in range(12):
        made = await (await live.post("/v1/route", json={"input": f"a query {i}", "policy": "even"})).json()
        usage = {"input_tokens": 5, "output_tokens": output_tokens}
        answer = await live.post(f"/v1/decisions/{made['decision_id']}/usage", json=usage)
        by_arm[made["arm"]] += (await answer.json())["cost_usd"]
    found = await get(live, "/v1/savings?policy=even")
    saved = found["saved"]
    # All that was saved was saved by the small one's answers: the large one's cost what they cost, either way.
    assert saved["usd"] + by_arm["small"] == pytest.approx(saved["would_have_cost_usd"] - by_arm["large"])
    [large, small] = sorted(
        (arm for arm in (await get(live, "/v1/stats?policy=even"))["savings"]["arms"]),
        key=lambda arm: -arm["cost_usd_per_decision"],
    )
    dearer = large["cost_usd_per_decision"] / small["cost_usd_per_decision"]
    assert saved["would_have_cost_usd"] == pytest.approx(by_arm["large"] + dearer * by_arm["small"], rel=0.05)


async def test_dollars_that_the_configured_prices_do_not_explain_make_the_savings_wrong_until_they_are_corrected(
    live: Any, opened: list[Daemon]
) -> None:
    """The small arm is billed ten times what was configured; of the large one nobody reports dollars."""

    async def answered(count: int) -> None:
        for i in range(count):
            made = await (await live.post("/v1/route", json={"input": f"a query {i}", "policy": "even"})).json()
            usage = {"input_tokens": 100, "cached_input_tokens": 40, "output_tokens": 50}
            if made["arm"] == "small":
                usage["cost_usd"] = 10 * (100 * 0.1 + 50 * 0.4) / 1e6
            assert (await live.post(f"/v1/decisions/{made['decision_id']}/usage", json=usage)).status == 200
        nonlocal reported
        reported += count
        usage_of = opened[0].runtimes["even"]
        while sum(one.usage_reports for one in usage_of.usage.values()) < reported:
            await opened[0].jobs.run_now("sums")
            await asyncio.sleep(0.05)
        await opened[0].jobs.run_now("amounts")

    reported = 0
    await answered(40)
    found = await get(live, "/v1/savings?policy=even")
    assert found["saved"]["billed_over_priced"] == {"small": pytest.approx(10.0)}
    assert "not what the configured prices say (small: 10 times), so this is wrong" in found["headline"]
    new = {"price": {"usd_per_mtok_in": 1.0, "usd_per_mtok_out": 4.0}}
    assert (await live.patch("/v1/arms/small?policy=even", json=new)).status == 200
    await answered(60)
    assert (await get(live, "/v1/savings?policy=even"))["saved"]["billed_over_priced"] == {}


async def test_before_any_usage_costs_are_predicted_against_predicted(live: Any) -> None:
    for i in range(4):
        assert (await live.post("/v1/route", json={"input": f"a query {i}", "policy": "even"})).status == 200
    found = await get(live, "/v1/savings?policy=even")
    stats = await get(live, "/v1/stats?policy=even")
    [large] = [arm for arm in stats["arms"] if arm["arm"] == "large"]
    assert (found["saved"]["basis"], found["saved"]["usd"]) == (
        "predicted",
        pytest.approx(large["fixed"]["saved_usd"]),
    )
    assert "by predicted costs" in found["words"]["saved"]
    assert found["lost"]["points"] is None
    assert "no decision that large could have answered has a reward so far" in found["words"]["lost"]


async def test_what_was_abandoned_saves_nothing(live: Any) -> None:
    made = await (await live.post("/v1/route", json={"input": "never sent", "policy": "even"})).json()
    assert (await live.post(f"/v1/decisions/{made['decision_id']}/abandon", json={})).status == 200
    await walk(live, "even", 3)
    saved = (await get(live, "/v1/savings?policy=even"))["saved"]
    assert (saved["basis"], saved["compared_decisions"]) == ("settled", 3)


async def test_every_step_of_a_stretch_is_told_as_if_it_were_asked_for_alone(live: Any) -> None:
    await walk(live, "even", 6)
    await until_learned(live, "even", 6)
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    edges = [f"{hour + timedelta(hours=h):%Y-%m-%dT%H:%M:%S.%fZ}" for h in (-3, -1, 1, 2)]
    stretch = f"/v1/savings?policy=even&since={edges[0]}&until={edges[-1]}"
    found, whole = await get(live, f"{stretch}&step_s=7200"), await get(live, stretch)
    assert whole["steps"] is None
    # Words foretell, by the clock.
    figures = ("baseline", "decisions", "saved", "lost", "held", "exploration")
    assert {name: found[name] for name in figures} == {name: whole[name] for name in figures}
    assert [(step["since"], step["until"]) for step in found["steps"]] == list(pairwise(edges))
    assert sum(step["decisions"] for step in found["steps"]) == 6
    for step in found["steps"]:
        alone = await get(live, f"/v1/savings?policy=even&since={step['since']}&until={step['until']}")
        assert {name: alone[name] for name in figures} == {name: step[name] for name in figures}


@pytest.mark.parametrize("wrong", ["step_s=3600", "since={ago}&step_s=3600", "since={ago}&step_s=299"])
async def test_steps_without_a_beginning_too_many_or_too_short_are_refused(live: Any, wrong: str) -> None:
    ago = (datetime.now(UTC) - timedelta(days=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert (await live.get(f"/v1/savings?policy=even&{wrong.format(ago=ago)}")).status == 422


async def test_a_stretch_without_decisions_says_so_and_a_wrong_one_is_refused(live: Any) -> None:
    await walk(live, "even", 2)
    long_ago = (datetime.now(UTC) - timedelta(days=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
    before = await get(live, f"/v1/savings?policy=even&until={long_ago}")
    assert before["headline"] == "No decisions yet: nothing is saved and nothing is lost."
    assert (await get(live, f"/v1/savings?policy=even&since={long_ago}"))["decisions"] == 2
    wrong = await live.get(f"/v1/savings?policy=even&since={long_ago}&until={long_ago}")
    assert wrong.status == 422
    assert (await live.get("/v1/savings?policy=nobody")).status == 404


async def test_so_many_values_as_are_asked_for_the_busiest_first(live: Any) -> None:
    for value, times in (("legal", 1), ("sales", 3), ("support", 2)):
        for _ in range(times):
            body = {"input": "hello", "policy": "even", "tags": {"team": value}}
            assert (await live.post("/v1/route", json=body)).status == 200
    path = "/v1/savings?policy=even&by=tag:team"
    everybody = (await get(live, path))["groups"]
    assert [group["value"] for group in everybody] == ["sales", "support", "legal"]
    for limit in (1, 2, 1000):
        assert (await get(live, f"{path}&limit={limit}"))["groups"] == everybody[:limit]
    for wrong in ("0", "-1", "1001", "many"):
        answer = await live.get(f"{path}&limit={wrong}")
        assert (answer.status, (await answer.json())["errors"][0]["pointer"]) == (422, "limit")
    answer = await live.get("/v1/savings?policy=even&limit=5")
    [error] = (await answer.json())["errors"]
    assert (answer.status, error["pointer"]) == (422, "limit")
    assert "add by=tag:NAME" in error["message"]
