"""A database that was moved, or restored from a backup, answers as the one it was made from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from tests.over_http import client_of
from tests.patience import PATIENT
from tests.walks.test_repair import refold

from banditd.daemon.workbench import SystemClock, open_workbench
from banditd.settings import Settings
from banditd.storage.archive import backup, copy_database, restore
from banditd.web.routes import ROUTES

ARMS = [
    {"arm": "small", "price": {"usd_per_mtok_in": 0.1, "usd_per_mtok_out": 0.4}},
    {"arm": "vendor/large", "price": {"usd_per_mtok_in": 3.0, "usd_per_mtok_out": 15.0}},
]
# These tell of the process, or are files of the package.
NOT_OF_THE_DATABASE = {"/metrics", "/openapi.json", "/docs", "/", "/dashboard/{file}", "/problems/{slug}"}
NOT_OF_THE_DATABASE |= {"/health/liveness", "/health/readiness", "/feedback/{token}"}
NOT_OF_THE_DATABASE |= {"/v1/models", "/v1/models/{model}"}


def quiet(_what: str, _done: int, _total: int | None) -> None:
    """Nobody watches."""


def settings_of(url: str) -> Settings:
    return Settings(
        database={"url": url, **PATIENT},
        privacy={"store_input": True},
        learner={"pause_ms": 0, "poll_s": 0.25, "lease_s": 2},
        policies={
            "default": {"arms": ARMS, "budgets": [{"name": "daily", "usd": 5.0, "per": "day"}]},
            "even": {"kind": "uniform", "arms": ARMS},
        },
    )


def serving(url: str) -> TestClient[Any, Any]:
    return client_of(settings_of(url))


async def fill(client: Any) -> dict[str, str]:
    """Decisions with texts, tags and sessions; rewards, a correction, a retraction, usage; changed arms; candidates.

    Returns an id by what it is of, as paths name it.
    """
    ids = []
    for number in range(24):
        query: dict[str, Any] = {
            "input": f"What is 17 times {number}? ä🎲",
            "policy": "even" if number % 3 == 0 else "default",
            "tags": {"team": f"t{number % 2}"},
        }
        if number % 4 == 0:
            query["session_id"] = f"s{number % 8}"
        decision = await (await client.post("/v1/route", json=query)).json()
        ids.append(decision["decision_id"])
        if number % 2:
            usage = {"input_tokens": 100 + number, "output_tokens": 50, "latency_ms": 40.5}
            assert (await client.post(f"/v1/decisions/{ids[-1]}/usage", json=usage)).status == 200
        reward = {"decision_id": ids[-1], "value": 0.1 * (number % 10), "source": "judge"}
        given = await (await client.post("/v1/rewards", json=reward)).json()
        if number % 5 == 0:
            assert (await client.post("/v1/rewards", json=reward | {"value": 0.33})).status == 200
        if number % 7 == 6:
            assert (await client.delete(f"/v1/rewards/{given['reward_id']}")).status == 200
    assert (await client.patch("/v1/arms/small", json={"price": {"usd_per_mtok_in": 0.2}})).status == 200
    assert (await client.post("/v1/arms", json={"arm": "late"})).status == 201
    assert (await client.delete("/v1/arms/late")).status == 204
    for policy in ("default", "even"):
        candidate = {"name": "cheaper", "settings": {"cost_weight": 0.3}}
        assert (await client.post(f"/v1/policies/{policy}/candidates", json=candidate)).status == 201
    asked = {"policy": "default", "candidate": "cheaper"}
    evaluation = await (await client.post("/v1/evaluations", json=asked)).json()
    release = await (await client.post("/v1/releases", json=asked)).json()
    return {
        "decisions": ids[-1], "evaluations": evaluation["evaluation_id"], "releases": release["release_id"]
    }  # fmt: skip


async def until_learned(client: Any, evaluation_id: str) -> None:
    async with asyncio.timeout(120):
        while True:
            stats = [await (await client.get(f"/v1/stats?policy={name}")).json() for name in ("default", "even")]
            evaluation = await (await client.get(f"/v1/evaluations/{evaluation_id}")).json()
            if sum(one["rewards"] for one in stats) == 21 and evaluation["phase"] != "running":
                return
            await asyncio.sleep(0.05)


async def answers(client: Any, ids: dict[str, str]) -> dict[str, Any]:
    """What every GET of the API says, for both policies."""
    places = {"arm": "vendor/large", "candidate": "cheaper"}
    found = {}
    for route in ROUTES:
        if route.method != "GET" or route.path in NOT_OF_THE_DATABASE:
            continue
        for policy in ("default", "even"):
            path = (
                route.path.format(**places, policy=policy, id=ids.get(route.path.split("/")[2])) + f"?policy={policy}"
            )
            answer = await client.get(
                path if route.parameters and "{policy}" not in route.path else path.split("?")[0]
            )
            assert answer.status == 200, (path, await answer.text())
            found[path] = await answer.json()
    return found


def assert_alike(one: Any, other: Any, path: str) -> None:
    """Equal, but for the last digits of sums that a database adds up in an order of its own."""
    assert type(one) is type(other), path
    if isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key, value in one.items():
            assert_alike(value, other[key], f"{path}/{key}")
    elif isinstance(one, list):
        assert len(one) == len(other), path
        for index, value in enumerate(one):
            assert_alike(value, other[index], f"{path}/{index}")
    elif isinstance(one, float):
        assert one == pytest.approx(other, rel=1e-9, abs=1e-12), path
    else:
        assert one == other, path


async def refolded(url: str) -> list[bool]:
    async with open_workbench(settings_of(url)) as bench:
        return [(await refold(bench, write=False, policy=name)).agrees for name in bench.runtimes]


@dataclass(frozen=True)
class Filled:
    """A database that nobody has open, and what its daemon answered at ``now_us``."""

    url: str
    ids: dict[str, str]
    now_us: int
    answers: dict[str, Any]
    agrees: list[bool]


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def filled(request: pytest.FixtureRequest, module_database: Callable[[str], str]) -> Filled:
    url = module_database(request.param)

    async def make() -> Filled:
        async with serving(url) as client:
            ids = await fill(client)
            await until_learned(client, ids["evaluations"])
        # Ages and windows of statistics are told by the clock.
        now_us = SystemClock().now_us()
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(SystemClock, "now_us", lambda _: now_us)
            async with serving(url) as client:
                before = await answers(client, ids)
        return Filled(url, ids, now_us, before, await refolded(url))

    with ThreadPoolExecutor(1) as pool:  # whose loop is its own
        return pool.submit(lambda: asyncio.run(make())).result()


@pytest.mark.parametrize("target", ["sqlite", "postgres"])
@pytest.mark.parametrize("way", ["copy", "backup"])
async def test_every_endpoint_answers_as_before(
    filled: Filled,
    target: str,
    way: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    to = str(request.getfixturevalue(f"empty_{target}_url"))
    if way == "copy":
        await asyncio.to_thread(copy_database, filled.url, to, progress=quiet)
    else:
        await asyncio.to_thread(backup, filled.url, tmp_path / "file.db", progress=quiet)
        await asyncio.to_thread(restore, tmp_path / "file.db", to, progress=quiet)
    monkeypatch.setattr(SystemClock, "now_us", lambda _: filled.now_us)
    async with serving(to) as client:
        after = await answers(client, filled.ids)
        assert len(after) >= 20
        for path, answer in filled.answers.items():
            assert_alike(after[path], answer, path)
        assert (await client.post("/v1/route", json={"input": "and it goes on"})).status == 200
    assert await refolded(to) == filled.agrees == [True, True]
