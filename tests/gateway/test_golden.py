"""A golden set over the whole daemon: arms answer it once a day, a judge scores it, a fall is named with its arm."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from tests.gateway.conftest import Serve, Served
from tests.gateway.test_judges import PRICE, client_of, judging, until
from tests.gateway.test_probes import Honest

from banditd.core.types import DAY_US
from banditd.ope.drops import BASELINE_DAYS, GoldenTest
from banditd.settings import Settings
from banditd.storage.schema import golden_case, golden_watch

ARMS = [{"arm": name, "upstream": "judging", "upstream_model": name, "price": PRICE} for name in ("a", "b")]
CALL_USD = 100 * PRICE["usd_per_mtok_in"] / 1e6 + 10 * PRICE["usd_per_mtok_out"] / 1e6


@pytest.fixture
async def honest() -> AsyncIterator[Honest]:
    async with judging(Honest()) as made:
        assert isinstance(made, Honest)
        yield made


def golden(folder: Path, prompts: int = 3, **more: Any) -> dict[str, Any]:
    path = folder / "golden.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"Question {i}, even"}) + "\n" for i in range(prompts)))
    return {"drift": {"golden": {"file": path, "judge": "quality", "usd_per_day": 100.0, **more}}}


async def cases(served: Served) -> list[dict[str, Any]]:
    query = select(golden_case).order_by(*golden_case.primary_key.columns)
    found = await served.daemon.storage.database.read(lambda connection: connection.execute(query).mappings().all())
    return [dict(row) for row in found]


async def all_judged(served: Served, n: int) -> None:
    async def over() -> bool:
        return [row["state"] for row in await cases(served)] == ["judged"] * n

    await until(over)


async def test_every_arm_answers_every_prompt_once_a_day_and_replicas_ask_nothing_again(
    serve: Serve, honest: Honest, tmp_path: Path
) -> None:
    policy = golden(tmp_path)
    more: dict[str, Any] = {"judges": honest.section(share=0.01), "upstreams": honest.upstreams}
    async with serve(*ARMS, policy=policy, **more) as served, serve(*ARMS, policy=policy, **more) as other:
        await all_judged(served, 6)
        assert sorted(call["model"] for call in honest.calls) == ["a"] * 3 + ["b"] * 3 + ["judge-model"] * 6
        assert {row["arm"]: row["score"] for row in await cases(served)} == {"a": 0.9, "b": 0.4}
        async with client_of(other) as session:
            answer = await (await session.get("v1/policies/default/drift")).json()
            savings = await (await session.get("v1/savings")).json()
        # Routed traffic has seen none of it, and what was spent is what the calls have cost.
        assert (await served.daemon.storage.reports.totals())["decision"] == 0
        assert answer["provider"]["golden"] == {
            "judge": "quality", "prompts": 3, "today": {"judged": 6}, "usd_per_day": 100.0,
            "spend_day_usd": pytest.approx(12 * CALL_USD),
        }  # fmt: skip
        assert savings["judges"]["probes_usd"] == pytest.approx(12 * CALL_USD)
        assert (answer["causes"], answer["level"]) == ([], None)
    calls = len(honest.calls)
    async with serve(*ARMS, policy=policy, **more) as again:
        step = next(task for name, task in steps_of(again).items() if name.startswith("golden"))
        await step()
        assert len(honest.calls) == calls == 12


def steps_of(served: Served) -> dict[str, Any]:
    judges: Any = served.daemon.services.judges
    return dict(judges._wake.__self__._workers)


async def test_no_call_is_made_that_the_cap_does_not_allow(serve: Serve, honest: Honest, tmp_path: Path) -> None:
    """A call of an arm sets its expected answer aside four times over."""
    policy = golden(tmp_path, usd_per_day=CALL_USD)
    async with serve(*ARMS, policy=policy, judges=honest.section(share=0.01), upstreams=honest.upstreams) as served:

        async def planned() -> bool:
            return len(await cases(served)) == 6

        await until(planned)
        await steps_of(served)["golden:default"]()
        assert honest.calls == []
        assert {row["state"] for row in await cases(served)} == {"waiting"}


async def fallen(served: Served) -> None:
    """The arm b has answered worse for some days; today has been counted already."""
    golden = served.daemon.storage.golden

    async def counted() -> bool:
        return len(await golden.watches("default")) == 2

    await steps_of(served)["golden:default"]()
    await until(counted)
    test, today = GoldenTest(), 0
    for day in range(BASELINE_DAYS + 20):
        today = 20_000 + day
        test.add_day(today, {f"p{i}": 1.0 if day < BASELINE_DAYS or i else 0.0 for i in range(5)}, 0.01)
    new = {"test": json.dumps(test.as_json()), "alarm_day": today, "updated_at_us": today * DAY_US}
    of_b = golden_watch.update().where(golden_watch.c.arm == "b").values(new)
    await served.daemon.storage.database.write(lambda connection: connection.execute(of_b) and None)


async def test_an_alarm_names_the_arm_since_when_how_sure_and_what_to_do(
    serve: Serve, honest: Honest, tmp_path: Path
) -> None:
    policy = golden(tmp_path)
    async with (
        serve(*ARMS, policy=policy, judges=honest.section(share=0.01), upstreams=honest.upstreams) as served,
        client_of(served) as session,
    ):
        await all_judged(served, 6)
        await fallen(served)
        answer = await (await session.get("v1/policies/default/drift")).json()
        assert answer["causes"] == ["provider"]
        assert answer["words"] == answer["provider"]["words"]
        [found] = [one for one in answer["provider"]["arms"] if one["arm"] == "b"]
        assert (found["alarm"], found["since"]) == (True, "2024-10-18")
        for part in ("b: 0.800", "1.000 in the baseline", "2024-10-18", "Of 1,000 days one", "Disable the arm"):
            assert part in answer["words"]
        await served.daemon.jobs.run_now("drift")
        shown = served.daemon.metrics.render().decode()
        [line] = [one for one in shown.splitlines() if one.startswith("banditd_drift_evidence") and 'arm="b"' in one]
        assert float(line.split()[-1]) > 1.0
        assert 'banditd_golden_calls_total{outcome="judged",policy="default"} 6.0' in shown
        missing = await session.get("v1/policies/nobody/drift")
        assert (missing.status, (await missing.json())["code"]) == (404, "POLICY_UNKNOWN")


def test_a_golden_set_needs_a_judge_that_the_daemon_calls() -> None:
    arms = [{"arm": "a", "upstream": "up", "upstream_model": "a"}]
    section = {"golden": {"file": "golden.jsonl", "judge": "mine", "usd_per_day": 1}}
    base: dict[str, Any] = {
        "upstreams": {"up": {"base_url": "http://127.0.0.1:1/v1"}},
        "policies": {"default": {"arms": arms, "drift": section}},
    }
    with pytest.raises(ValueError, match=r"policies\.default\.drift\.golden\.judge names mine; judges has none"):
        Settings(**base)
    with pytest.raises(ValueError, match="needs a judge of kind upstream"):
        Settings(**base, judges={"mine": {"kind": "client"}})
