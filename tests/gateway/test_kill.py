"""A daemon that is killed in the middle of streams has charged every call that it had begun, once."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from bench.faulty.app import Faulty
from tests.gateway.conftest import KEY, PRICE

from banditd.cli.process import start_daemon, stop_daemon, wait_until_serving

KILLS = 3
AT_ONCE = 8
USD = 1000.0
ENDLESS = {"model": "banditd/arm/endless", "stream": True, "messages": [{"role": "user", "content": "Go on."}]}


@pytest.fixture
def config(faulty: Faulty, tmp_path: Path) -> Path:
    arms = [
        {"arm": name, "upstream": "up", "price": PRICE, "expected_output_tokens": 10} for name in ("endless", "ok")
    ]
    budget = {"name": "month", "usd": USD, "per": "month", "at_stop": "reject"}
    content = {
        "upstreams": {"up": {"base_url": faulty.url, "api_key_env": "UPSTREAM_KEY"}},
        "jobs": {"usage_window_s": 0.001, "usage_silence_s": 0.2},
        "policies": {"default": {"arms": arms, "budgets": [budget]}},
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


class Restarted:
    """One database, several lives."""

    def __init__(self, config: Path, folder: Path) -> None:
        self._config, self._folder = config, folder
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        self.process = start_daemon(
            database=f"sqlite:///{self._folder}/banditd.db",
            config=self._config,
            log=self._folder / "daemon.log",
            environment={"UPSTREAM_KEY": KEY, "BANDITD_LEARNER__LEASE_S": "1"},
        )
        return wait_until_serving(self.process)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def rows(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(f"file:{self._folder}/banditd.db?mode=ro", uri=True)) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture
def daemon(config: Path, tmp_path: Path) -> Iterator[Restarted]:
    made = Restarted(config, tmp_path)
    yield made
    if made.process is not None:
        stop_daemon(made.process)


async def _streams(url: str, started: asyncio.Event) -> None:
    async with aiohttp.ClientSession() as session:
        begun = 0

        async def one() -> None:
            nonlocal begun
            body = {
                "model": "banditd/arm/endless",
                "stream": True,
                "messages": [{"role": "user", "content": "Go on."}],
            }
            async with session.post(f"{url}/v1/chat/completions", json=body) as answer:
                await answer.content.readuntil(b"content")
                begun += 1
                if begun == AT_ONCE:
                    started.set()
                await answer.read()

        ended = await asyncio.gather(*(one() for _ in range(AT_ONCE)), return_exceptions=True)
        assert all(isinstance(one_end, aiohttp.ClientError) for one_end in ended)  # cut, never clean


async def test_after_kill_9_every_started_call_is_charged_once(faulty: Faulty, daemon: Restarted) -> None:
    for _ in range(KILLS):
        url = await asyncio.to_thread(daemon.start)
        started = asyncio.Event()
        running = asyncio.create_task(_streams(url, started))
        await started.wait()
        await asyncio.to_thread(daemon.kill)
        await running
    calls = len(faulty.calls)
    decisions = daemon.rows("SELECT decision_id, predicted_cost_usd, charges FROM decision")
    assert calls == len(decisions) == KILLS * AT_ONCE
    assert all(json.loads(charges) for *_, charges in decisions)
    [(charged, counted)] = daemon.rows("SELECT SUM(charged_usd), SUM(decisions) FROM budget_account")
    assert counted == calls
    assert charged == pytest.approx(sum(predicted for _, predicted, _ in decisions))
    # The next life settles what nobody reported, at its estimate, and nothing twice.
    await asyncio.to_thread(daemon.start)
    settled: list[Any] = []
    while len(settled) < calls:
        settled = daemon.rows("SELECT decision_id, cost_usd, estimated FROM usage_report")
        await asyncio.sleep(0.1)
    await asyncio.sleep(1.0)  # the job has run again
    assert len(daemon.rows("SELECT decision_id FROM usage_report")) == calls
    assert {one[0] for one in settled} == {one[0] for one in decisions}
    [(after,)] = daemon.rows("SELECT SUM(charged_usd) FROM budget_account")
    assert after == pytest.approx(charged)


async def test_keys_are_in_no_file_of_a_daemon(faulty: Faulty, daemon: Restarted, tmp_path: Path) -> None:
    url = await asyncio.to_thread(daemon.start)
    async with aiohttp.ClientSession() as session:
        body = {"model": "banditd/arm/ok", "messages": [{"role": "user", "content": "hi"}]}
        async with session.post(f"{url}/v1/chat/completions", json=body) as answer:
            assert answer.status == 200
    assert faulty.calls[0].headers["authorization"] == f"Bearer {KEY}"
    await asyncio.to_thread(daemon.kill)
    files = await asyncio.to_thread(lambda: [path for path in tmp_path.rglob("*") if path.is_file()])
    assert {"banditd.db", "daemon.log"} <= {path.name for path in files}
    for path in files:
        assert KEY.encode() not in path.read_bytes(), path
