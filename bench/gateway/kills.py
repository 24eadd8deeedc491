"""kill -9 in mid-stream: every call that was started is in the log and charged once."""

from __future__ import annotations

import asyncio
import json
import math
import random
import sqlite3
import urllib.request
from collections.abc import Callable
from pathlib import Path

import aiohttp

from banditd.cli.process import start_daemon, stop_daemon, wait_until_serving
from bench.gateway.servers import Subject, write_config
from bench.table import Row

SECTION = "The gateway: kill -9 in mid-stream"
POLICY = "ok-slow"
CLIENTS = 8


def measure(up: Subject, folder: Path, *, kills: int, progress: Callable[[str], None]) -> list[Row]:
    """Kill the daemon while eight clients stream, so often; then hold the log against the account."""
    config = write_config(up, folder / "kills.yaml")
    database = folder / "kills.db"
    rng = random.Random(0)
    seen: set[str] = set()
    called_before = len(_calls(up))
    open_streams = 0
    for number in range(kills + 1):
        process = start_daemon(
            database=f"sqlite:///{database}", config=config, log=folder / "kills.log",
            environment={"BANDITD_LOGGING__LEVEL": "ERROR"},
        )  # fmt: skip
        try:
            url = wait_until_serving(process)
            if number == kills:  # the last one only opens the log again
                break
            open_streams += asyncio.run(_streaming(url, seen, process.kill, rng.uniform(0.1, 1.0)))
        finally:
            stop_daemon(process)
        if number % 10 == 9:
            progress(f"{number + 1} of {kills} kills, {len(seen)} streams begun")
    called = [call["model"] for call in _calls(up)[called_before:]]
    return _audit(database, seen, called, kills, open_streams)


async def _streaming(url: str, seen: set[str], kill: Callable[[], None], after_s: float) -> int:
    """Stream with all clients and kill; how many streams had begun and not ended then."""
    open_now: set[str] = set()
    begun = asyncio.Event()
    async with aiohttp.ClientSession(headers={"Content-Type": "application/json"}) as session:

        async def client() -> None:
            body = {"model": f"banditd/{POLICY}", "stream": True, "messages": [{"role": "user", "content": "Count."}]}
            while True:
                async with session.post(f"{url}/v1/chat/completions", json=body) as answer:
                    decision_id = answer.headers["x-banditd-decision-id"]
                    seen.add(decision_id)
                    open_now.add(decision_id)
                    begun.set()
                    await answer.read()
                    open_now.discard(decision_id)

        clients = [asyncio.ensure_future(client()) for _ in range(CLIENTS)]
        await begun.wait()
        await asyncio.sleep(after_s)
        count = len(open_now)
        kill()
        for one in clients:
            one.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
    return count


def _calls(up: Subject) -> list[dict[str, str]]:
    with urllib.request.urlopen(f"{up.server.url}/calls") as answer:
        calls: list[dict[str, str]] = json.load(answer)["calls"]
    return calls


def _audit(database: Path, seen: set[str], called: list[str], kills: int, open_streams: int) -> list[Row]:
    connection = sqlite3.connect(database)
    try:
        costs = dict(
            connection.execute(
                "SELECT d.decision_id, coalesce(u.cost_usd, d.predicted_cost_usd) FROM decision d "
                "LEFT JOIN usage_report u ON u.decision_id = d.decision_id WHERE d.policy = ?", (POLICY,)
            )
        )  # fmt: skip
        counted, charged = connection.execute(
            "SELECT sum(decisions), sum(charged_usd) FROM budget_account WHERE policy = ?", (POLICY,)
        ).fetchone()
        settled = connection.execute("SELECT count(*) FROM usage_report WHERE policy = ?", (POLICY,)).fetchone()[0]
    finally:
        connection.close()
    spent = math.fsum(costs.values())
    missing = len(seen - {str(key) for key in costs}) + max(0, len(called) - len(costs))
    return [
        Row(section=SECTION, name="kills", value=kills, unit="",
            note=f"{open_streams} streams were open; {len(costs)} decisions, {settled} settled by their usage"),
        Row(section=SECTION, name="started calls that are not in the log", value=missing, unit="", target=0,
            note=f"{len(called)} calls reached the upstream, {len(seen)} streams reached a client"),
        Row(section=SECTION, name="decisions charged not at all, or twice", value=abs(len(costs) - counted), unit="",
            target=0),
        Row(section=SECTION, name="account against the sum over the log", value=abs(charged - spent), unit="USD",
            target=1e-6, note=f"{spent:.6f} USD"),
    ]  # fmt: skip
