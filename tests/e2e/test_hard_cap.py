"""A budget that rejects, on two real daemons under load, one of them killed: what was really spent stays below it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from tests.e2e.conftest import Start

from banditd.budget.windows import window_of
from banditd.ports import DecisionFilter
from banditd.storage import open_storage

CAP_USD = 0.02
IN_FLIGHT = 8
ARMS = [
    {"arm": "small", "price": {"usd_per_mtok_in": 0.1, "usd_per_mtok_out": 0.4}},
    {"arm": "large", "price": {"usd_per_mtok_in": 3.0, "usd_per_mtok_out": 15.0}, "expected_output_tokens": 50},
]


def config(folder: Path) -> Path:
    budget = {"name": "cap", "usd": CAP_USD, "per": "month", "at_stop": "reject"}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({"policies": {"default": {"arms": ARMS, "budgets": [budget]}}}))
    return path


async def client(session: aiohttp.ClientSession, urls: list[str], number: int, dearest: list[float]) -> None:
    """Route and report a real cost (up to a fifth above the estimate) until the budget refuses."""
    for turn in range(500):
        url = urls[(number + turn) % len(urls)]
        try:
            async with session.post(f"{url}/v1/route", json={"input": f"client {number}, query {turn}"}) as answer:
                body: dict[str, Any] = await answer.json()
                if answer.status == 429:
                    assert body["code"] in {
                        "BUDGET_SHORT",
                        "BUDGET_EXHAUSTED",
                    }  # a rest that pays for no answer, or none
                    return
                assert answer.status == 200, body
            cost_usd = body["predicted_cost_usd"] * (0.6 + 0.06 * (turn % 11))
            dearest.append(cost_usd)
            path = f"{url}/v1/decisions/{body['decision_id']}/usage"
            async with session.post(path, json={"cost_usd": cost_usd}) as answer:
                assert answer.status == 200
        except aiohttp.ClientError:  # that daemon was killed; what it had acknowledged stands
            if url in urls and len(urls) > 1:
                urls.remove(url)
    raise AssertionError("the budget never refused")


async def test_a_cap_holds_when_a_replica_is_killed(start: Start, tmp_path: Path, database_url: str) -> None:
    path = config(tmp_path)
    daemons = [start(config=path, database=database_url) for _ in range(2)]
    urls, dearest = [daemon.url for daemon in daemons], [0.0]
    async with aiohttp.ClientSession() as session:
        load = asyncio.gather(*(client(session, urls, i, dearest) for i in range(IN_FLIGHT)))
        await asyncio.sleep(0.3)
        daemons[0].process.kill()
        await load
        again = start(config=path, database=database_url)
        late: list[float] = []
        await asyncio.gather(*(client(session, [again.url], i, late) for i in range(IN_FLIGHT)))
    daemons[1].stop()
    again.stop()
    async with open_storage(database_url, writer_name="audit") as storage:
        totals = await storage.reports.arm_totals("default", None)
        [(_, account)] = await storage.budgets.dearest("default", "cap", await window(storage), 1)
    real = sum(float(row["spend_usd"]) for row in totals)
    assert account.charged_usd > 0.8 * CAP_USD
    # Every answer in flight may cost more than was charged for it, the others may not.
    assert account.charged_usd <= CAP_USD + IN_FLIGHT * max(dearest)
    assert real <= CAP_USD + IN_FLIGHT * max(dearest)
    assert account.decisions == sum(int(row["decisions"]) for row in totals)


async def window(storage: Any) -> int:
    [newest] = await storage.decisions.page(DecisionFilter(limit=1))
    assert newest["charges"] == [{"budget": "cap", "account": "all"}]
    return window_of("month", int(newest["created_at_us"]))[0]
