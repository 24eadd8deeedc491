"""Real daemons: one is frozen, the network of another is gone, and SIGTERM is obeyed all the same."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bench.proxy import Proxy

from banditd.cli.process import start_daemon, stop_daemon, wait_until_serving
from banditd.client import NO_RETRIES, DaemonClient, RefusedError
from banditd.core.errors import UnavailableError

CONFIG = """
policies:
  default:
    arms:
      - {arm: small, price: {usd_per_mtok_in: 0.1, usd_per_mtok_out: 0.4}}
      - {arm: large, price: {usd_per_mtok_in: 3.0, usd_per_mtok_out: 15.0}}
    budgets:
      - {name: month, usd: 1000000, per: month, at_stop: cheapest}
"""
QUICK = {"BANDITD_LEARNER__LEASE_S": "1", "BANDITD_LEARNER__POLL_S": "0.1", "BANDITD_SERVER__SHUTDOWN_TIMEOUT_S": "3"}
Start = Callable[..., tuple[str, subprocess.Popen[bytes]]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG)
    running: list[subprocess.Popen[bytes]] = []

    def run(database: str, **environment: str) -> tuple[str, subprocess.Popen[bytes]]:
        log = tmp_path / f"daemon-{len(running)}.log"
        process = start_daemon(database=database, config=config, log=log, environment={**QUICK, **environment})
        running.append(process)
        return wait_until_serving(process), process

    yield run
    for process in running:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
        stop_daemon(process)


@pytest.fixture
async def client_of() -> AsyncIterator[Callable[[str], Any]]:
    opened: list[DaemonClient] = []

    async def connect(url: str) -> DaemonClient:
        client = DaemonClient(url, timeout_s=60.0, connections=8, retries=NO_RETRIES)
        opened.append(await client.__aenter__())
        return opened[-1]

    yield connect
    for client in opened:
        await client.__aexit__(None, None, None)


async def load(client: DaemonClient, stop: asyncio.Event) -> None:
    while not stop.is_set():
        try:
            await client.route({"input": "a question"})
        except (RefusedError, UnavailableError):
            await asyncio.sleep(0.01)


async def learned(client: DaemonClient, decision_id: str) -> bool:
    return (await client.call("GET", f"/v1/decisions/{decision_id}"))["contribution"] is not None


async def test_a_frozen_replica_does_not_stop_the_others(start: Start, client_of: Any, postgres_url: str) -> None:
    (first_url, first), (second_url, _) = start(postgres_url), start(postgres_url)
    first_client, second_client = await client_of(first_url), await client_of(second_url)
    stop = asyncio.Event()
    busy = [asyncio.ensure_future(load(first_client, stop)) for _ in range(6)]
    worst_s = 0.0
    for _ in range(6):  # wherever in a transaction it is caught
        await asyncio.sleep(0.3)
        first.send_signal(signal.SIGSTOP)
        began_s = time.monotonic()
        answered = await second_client.route({"input": "a question"})  # no 503: it waits, and is answered
        worst_s = max(worst_s, time.monotonic() - began_s)
        decision_id = answered["decision_id"]
        await second_client.reward({"decision_id": decision_id, "value": 1.0, "source": "metric"})
        while not await learned(second_client, decision_id):  # noqa: ASYNC110 - the other side is a process
            await asyncio.sleep(0.05)  # the learner's lease comes over, too
        first.send_signal(signal.SIGCONT)
    stop.set()
    await asyncio.gather(*busy)
    print(f"longest wait of the other replica: {worst_s:.2f} s")
    assert (await first_client.route({"input": "a question"}))["decision_id"]


async def test_a_replica_that_is_cut_off_does_not_stop_the_others(
    start: Start, client_of: Any, postgres_url: str
) -> None:
    with Proxy.before(postgres_url) as proxy:
        (first_url, _), (second_url, _) = start(proxy.url), start(postgres_url)
        first_client, second_client = await client_of(first_url), await client_of(second_url)
        stop = asyncio.Event()
        busy = [asyncio.ensure_future(load(first_client, stop)) for _ in range(6)]
        worst_s = 0.0
        for _ in range(4):
            await asyncio.sleep(0.3)
            proxy.black_hole(new=True)
            began_s = time.monotonic()
            await second_client.route({"input": "a question"})  # no 503: it waits, and is answered
            worst_s = max(worst_s, time.monotonic() - began_s)
            proxy.heal()
            proxy.drop()
        stop.set()
        await asyncio.gather(*busy)
        print(f"longest wait of the other replica: {worst_s:.2f} s")


async def test_a_replica_whose_network_is_gone_answers_and_stops(
    start: Start, client_of: Any, postgres_url: str
) -> None:
    with Proxy.before(postgres_url) as proxy:
        waits = {"TRANSACTION_S": "3", "LOCK_S": "2", "SILENCE_S": "1"}
        url, process = start(proxy.url, **{f"BANDITD_DATABASE__{name}": value for name, value in waits.items()})
        client = await client_of(url)
        await client.route({"input": "a question"})
        proxy.black_hole()
        answers = await asyncio.gather(
            *(client.route({"input": "a question"}) for _ in range(20)), return_exceptions=True
        )
        assert all(isinstance(a, dict) or (isinstance(a, RefusedError) and a.status == 503) for a in answers)
        await client.route({"input": "a question"})  # by way of a new connection
        proxy.black_hole(new=True)
        with pytest.raises(RefusedError) as told:
            await client.call("GET", "/health/readiness")
        assert told.value.status == 503
        with pytest.raises(RefusedError) as told:
            await client.route({"input": "a question"})
        assert told.value.status == 503
        process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(process.wait)  # whoever runs the tests stops what never ends
        assert process.returncode == 0  # all that was acknowledged is in the database


async def test_no_answer_is_false_when_commits_are_cut(start: Start, client_of: Any, postgres_url: str) -> None:
    """Every kind of write, its COMMIT cut before or after it happened: each is answered as if nothing had been."""
    with Proxy.before(postgres_url) as proxy:
        url, _ = start(proxy.url)
        client = await client_of(url)
        made: list[str] = []

        async def cut(number: int, path: str, body: Any, method: str = "POST") -> Any:
            before = proxy.cuts
            proxy.cut_commits(1, before=number % 3 == 0)
            try:
                return await client.call(method, path, body=body)
            finally:
                proxy.cut_commits(0)
                proxy.cut_commits(0, before=True)
                assert proxy.cuts >= before

        for number in range(12):
            one = await cut(number, "/v1/route", {"input": "a question", "defer_activation": True})
            two = await cut(number, "/v1/route/batch", {"queries": [{"input": "a question"}] * 2})
            made += [one["decision_id"], *(item["decision"]["decision_id"] for item in two["results"])]
            assert (await cut(number, f"/v1/decisions/{one['decision_id']}/activate", None))["activated"]
            rewarded = {"decision_id": one["decision_id"], "value": 1.0, "source": "metric"}
            assert not (await cut(number, "/v1/rewards", rewarded))["duplicate"]
            used = await cut(number, f"/v1/decisions/{one['decision_id']}/usage", {"cost_usd": 0.5})
            assert (used["duplicate"], used["cost_usd"]) == (False, 0.5)
            arm = {"arm": f"arm-{number}", "price": {"usd_per_mtok_in": 1.0, "usd_per_mtok_out": 2.0}}
            assert (await cut(number, "/v1/arms", arm))["arm"] == arm["arm"]
            await cut(number, f"/v1/arms/arm-{number}", {"enabled": False}, "PATCH")
        assert proxy.cuts >= 40
        page = await client.call("GET", "/v1/decisions", query={"limit": 100})
        assert {row["decision_id"] for row in page["decisions"]} == set(made)
        [month] = [b for b in (await client.call("GET", "/v1/budgets"))["budgets"] if b["name"] == "month"]
        assert month["decisions"] == len(made)
