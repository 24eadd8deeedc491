"""Does anything grow with the log? Decisions and pages at 10^3 to 10^6 decisions, memory over 10^5 requests."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from banditd.cli.process import start_daemon, stop_daemon, wait_until_serving
from banditd.client import DaemonClient
from banditd.core.ids import new_id
from banditd.core.types import Context, Decision
from banditd.encoders.static import SHIPPED_FOLDER, load_static_encoder
from banditd.features.context import ContextBuilder
from banditd.features.maps import load_feature_maps
from banditd.storage import migrate, open_storage
from bench.http import CONFIG, Server, daemon, teach
from bench.load import drive
from bench.queries import text_bodies, texts
from bench.table import Row

SECTION = "Processor time of a request at {:,} decisions over that at {:,} (SQLite): what grows most"
MEMORY = "Memory of the daemon"
TAG_VALUES = 1000
ARMS = ("tiny-general", "small-general", "medium-general", "code-specialist", "large-reasoner")
GROUP = 256
SECONDS_BETWEEN_US = 30_000_000  # one decision in thirty seconds: a million are a year of roll-ups
PAGES = ("/v1/stats", "/v1/stats/contexts", "/v1/decisions?limit=50", "/v1/arms")
FLAT = 1.5  # the largest log may cost this much more than the smallest


def measure_flatness(folder: Path, *, largest: int, progress: Callable[[str], None]) -> list[Row]:
    """Fill the log through the storage layer, stop at every power of ten, and time a daemon on it."""
    sizes = [10**k for k in range(3, 7) if 10**k <= largest]
    url, times, filled = f"sqlite:///{folder}/flat.db", {}, 0
    migrate(url)
    config = folder / "flat.yaml"
    config.write_text(CONFIG.format(access="true"), encoding="utf-8")
    for size in sizes:
        progress(f"writing decisions up to {size:,}")
        asyncio.run(_fill(url, filled, size))
        filled = size
        process = start_daemon(database=url, config=config, log=folder / "flat.log")
        try:
            server = Server(wait_until_serving(process), process.pid)
            times[size] = asyncio.run(_time(server))
        finally:
            stop_daemon(process)
    rows = []
    growth = {name: times[sizes[-1]][name].cpu_ms / first.cpu_ms for name, first in times[sizes[0]].items()}
    for name, ratio in growth.items():
        shown = ", ".join(
            f"{size:,}: {times[size][name].cpu_ms:.2f} ({times[size][name].wall_ms:.2f})"
            for size in (sizes[0], sizes[-1])
        )
        rows.append(
            Row(
                section=SECTION.format(sizes[-1], sizes[0]), name=name, value=ratio, unit="x", target=FLAT,
                note=f"processor time in ms per request (median wall) at {shown}",
                detail=ratio < max(growth.values()),
            )
        )  # fmt: skip
    return rows


async def _fill(url: str, start: int, stop: int) -> None:
    """Decisions ``start`` to ``stop`` in groups, at even distances in time, with contexts of real prompts."""
    encoder = load_static_encoder()
    builder = ContextBuilder(encoder_id=encoder.encoder_id, maps=load_feature_maps(SHIPPED_FOLDER))
    contexts = [builder.build(text=text, embedding=encoder.encode_now(text)) for text in texts(64)]
    template = _template(builder.schema.hash)
    began_us = time.time_ns() // 1000 - 1_000_000 * SECONDS_BETWEEN_US
    async with open_storage(url, writer_name="bench") as storage:
        for group in range(start, stop, GROUP):
            rows = [
                _decision(template, contexts, began_us, index) for index in range(group, min(group + GROUP, stop))
            ]
            await storage.decisions.append(rows)
            if group // GROUP % 100 == 99:
                # As the jobs of a daemon that runs all that time would.
                await storage.journal.add_up()
                await storage.maintenance.compact_rollups(rows[-1].created_at_us)
        await storage.journal.add_up()
        await storage.maintenance.compact_rollups(time.time_ns() // 1000)


def _template(schema_hash: str) -> Decision:
    return Decision(
        decision_id="", policy="default", policy_kind="thompson", created_at_us=0, expires_at_us=0, arm=ARMS[0],
        upstream_model="m", propensity=0.2, uniform=0.5, explored=False, reason="policy", degraded=None, arms=ARMS,
        probability=np.full(5, 0.2), mean=np.full(5, 0.5), deviation=np.full(5, 0.1), cost_usd=np.full(5, 1e-3),
        penalty=np.zeros(5), exclusions={}, context=Context(x=np.zeros(1), cluster=0), schema_hash=schema_hash,
        snapshot_version=1, epoch=0, cost_weight=0.0, input_tokens=60, input_hash="0" * 64, input_text=None,
        session_id=None, tags={}, deferred=False,
    )  # fmt: skip


def _decision(template: Decision, contexts: list[Context], began_us: int, index: int) -> Decision:
    at_us = began_us + index * SECONDS_BETWEEN_US
    return replace(
        template,
        decision_id=new_id(at_us),
        created_at_us=at_us,
        expires_at_us=at_us + 1_000_000,
        arm=ARMS[index % 5],
        tags={"task": f"task-{index * 7919 % TAG_VALUES}"},
        context=contexts[index % len(contexts)],
    )


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one kind of request. The processor time is the daemon's, so other load on the machine matters little."""

    cpu_ms: float
    wall_ms: float


async def _time(server: Server) -> dict[str, Cost]:
    """The cost of routing, of rewarding, and of each page."""
    queries, decisions = texts(400, seed=5), []
    async with DaemonClient(server.url, connections=1) as client:

        async def route(index: int) -> None:
            decisions.append((await client.route({"input": queries[index % 400]}))["decision_id"])

        async def reward(index: int) -> None:
            await client.reward({"decision_id": decisions[index], "value": 0.5, "source": "judge"})

        for index in range(100):  # warm up
            await route(index)
        costs = {
            "POST /v1/route": await _cost(server, route, 400),
            "POST /v1/rewards (and learning)": await _cost(server, reward, 400),
        }
        for page in PAGES:
            costs[f"GET {page}"] = await _cost(server, lambda _, page=page: client.call("GET", page), 60)
    return costs


async def _cost(server: Server, call: Callable[[int], Awaitable[object]], times: int) -> Cost:
    wall, before_s = [], server.cpu_s()
    for index in range(times):
        began = time.perf_counter()
        await call(index)
        wall.append(time.perf_counter() - began)
    return Cost(1e3 * (server.cpu_s() - before_s) / times, 1e3 * statistics.median(wall))


def measure_memory(folder: Path, *, requests: int, progress: Callable[[str], None]) -> list[Row]:
    """Resident memory after a tenth of the requests and after all of them."""
    bodies = text_bodies(4000)
    with daemon(folder, access=False, name="memory") as server:
        asyncio.run(teach(server.url, 300))
        progress(f"{requests:,} requests for the memory")
        _send(server.url, bodies, requests // 10)
        early = _rss_mb(server.pid)
        _send(server.url, bodies, requests - requests // 10)
        late = _rss_mb(server.pid)
    return [
        Row(section=MEMORY, name=f"resident after {requests // 10:,} requests", value=early, unit="MB"),
        Row(
            section=MEMORY, name=f"growth over {requests:,} requests", value=100 * (late / early - 1), unit="%",
            target=10.0, note=f"{late:.1f} MB after all of them",
        ),
    ]  # fmt: skip


def _send(url: str, bodies: list[bytes], requests: int) -> None:
    sent = 0
    while sent < requests:
        sent += drive(f"{url}/v1/route", bodies, connections=16, seconds=5).requests


def _rss_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
