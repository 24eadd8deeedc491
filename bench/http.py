"""POST /v1/route beside a bare handler: throughput, median, tail; with text and with a supplied embedding."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from banditd.cli.process import start_daemon, stop_daemon, wait_until_serving
from banditd.client import DaemonClient
from banditd.simulate.families import draw
from banditd.simulate.world import outcome, simulated_arms
from bench.load import Load, drive
from bench.queries import embedding_bodies, text_bodies
from bench.table import Row

SECTION = "POST /v1/route beside a bare aiohttp handler (one process each, durable commit, 5 arms)"
ROUNDS = 3
CONFIG = """
logging: {{access: {access}}}
policies:
  default:
    arms:
      - {{arm: tiny-general, price: {{usd_per_mtok_in: 0.05, usd_per_mtok_out: 0.2}}}}
      - {{arm: small-general, price: {{usd_per_mtok_in: 0.1, usd_per_mtok_out: 0.4}}}}
      - {{arm: medium-general, price: {{usd_per_mtok_in: 0.6, usd_per_mtok_out: 1.8}}}}
      - {{arm: code-specialist, price: {{usd_per_mtok_in: 0.4, usd_per_mtok_out: 1.2}}}}
      - {{arm: large-reasoner, price: {{usd_per_mtok_in: 2.5, usd_per_mtok_out: 10}}}}
"""
PROMISED = "    promise: {baseline: dearest, keep: 0.95}\n"  # to be put behind it


@dataclass(frozen=True, slots=True)
class Server:
    """A server under load: its address and its process."""

    url: str
    pid: int

    def cpu_s(self) -> float:
        """Processor time used so far, all threads, user and system. 0 where there is no /proc."""
        stat = Path(f"/proc/{self.pid}/stat")
        if not stat.exists():
            return 0.0
        fields = stat.read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Round:
    """One stretch of load, and the processor time per request: the figure that a busy machine spoils least."""

    load: Load
    cpu_us: float


@contextmanager
def bare_handler() -> Iterator[Server]:
    process = subprocess.Popen([sys.executable, "-m", "bench.bare"], stdout=subprocess.PIPE)
    try:
        yield Server(wait_until_serving(process), process.pid)
    finally:
        stop_daemon(process)


@contextmanager
def daemon(folder: Path, *, access: bool = True, name: str = "bench", tree: Path | None = None) -> Iterator[Server]:
    """A daemon of five arms with default settings and its log in a file; its log goes to that folder.

    tree : a work tree whose daemon it is, in place of this one's.
    """
    config = folder / f"{name}.yaml"
    config.write_text(CONFIG.format(access=str(access).lower()), encoding="utf-8")
    with started(config, folder, name=name, tree=tree, level="INFO") as server:
        yield server


@contextmanager
def started(config: Path, folder: Path, *, name: str, level: str, tree: Path | None = None) -> Iterator[Server]:
    """A daemon with that configuration, its database and its log in the folder. tree : as ``daemon`` has it."""
    source = {} if tree is None else {"PYTHONPATH": str(tree.resolve() / "src")}
    process = start_daemon(
        database=f"sqlite:///{folder}/{name}.db", config=config, log=folder / f"{name}.log",
        environment={"BANDITD_LOGGING__LEVEL": level, **source},
    )  # fmt: skip
    try:
        yield Server(wait_until_serving(process), process.pid)
    finally:
        stop_daemon(process)


async def teach(url: str, queries: int) -> None:
    """Route and reward, so that what is measured is a policy that has learned."""
    async with DaemonClient(url) as client:
        arms = {arm.name: arm for arm in simulated_arms(await client.arms("default"))}
        for index in range(queries):
            prompt = draw(random.Random(f"teach/{index}"))
            answer = await client.route({"input": prompt.text})
            earned = outcome(arms[answer["arm"]], prompt, seed=0, index=index).reward
            await client.reward({"decision_id": answer["decision_id"], "value": earned, "source": "judge"})


def measure(folder: Path, *, seconds: float, quick: bool) -> list[Row]:
    """Side by side: rounds of bare handler and daemon alternate, the median round counts."""
    bodies = {"static encoder, 60 tokens": text_bodies(), "supplied embedding": embedding_bodies()}
    rows: list[Row] = []
    with bare_handler() as bare, daemon(folder) as ours:
        asyncio.run(teach(ours.url, 200 if quick else 1000))
        for kind, posts in bodies.items():
            _round(ours, posts, connections=16, seconds=1)  # warm up: caches, connections, WAL
            for connections in (1, 16):
                pairs = [
                    (
                        _round(bare, posts, connections=connections, seconds=seconds),
                        _round(ours, posts, connections=connections, seconds=seconds),
                    )
                    for _ in range(1 if quick else ROUNDS)
                ]
                rows += _rows(kind, connections, pairs)
    return rows


def _round(server: Server, posts: list[bytes], *, connections: int, seconds: float) -> Round:
    before_s = server.cpu_s()
    load = drive(f"{server.url}/v1/route", posts, connections=connections, seconds=seconds)
    return Round(load, 1e6 * (server.cpu_s() - before_s) / max(1, load.requests))


def _rows(kind: str, connections: int, pairs: list[tuple[Round, Round]]) -> list[Row]:
    static = kind.startswith("static")
    yardstick, measured = (
        sorted(rounds, key=lambda one: one.load.per_s)[len(rounds) // 2] for rounds in zip(*pairs, strict=True)
    )
    base, ours = yardstick.load, measured.load
    ratios = sorted(mine.load.per_s / yours.load.per_s for yours, mine in pairs)
    share = 100 * ratios[len(ratios) // 2]
    at = f"{kind}, {connections} connection{'s' if connections > 1 else ''}"
    rows = [
        Row(section=SECTION, name=f"{at}: throughput", value=ours.per_s, unit="/s"),
        Row(section=SECTION, name=f"{at}: throughput, bare", value=base.per_s, unit="/s", detail=True),
        Row(section=SECTION, name=f"{at}: processor time", value=measured.cpu_us, unit="us"),
        Row(section=SECTION, name=f"{at}: processor time, bare", value=yardstick.cpu_us, unit="us"),
        Row(
            section=SECTION, name=f"{at}: share of the bare throughput", value=share, unit="%", most=False,
            target=22.0 if static and connections == 16 else None,
            aim=33.0 if static and connections == 16 else None, detail=connections == 1,
        ),
    ]  # fmt: skip
    if connections == 1:
        above = ours.p50_ms - base.p50_ms
        rows.append(
            Row(
                section=SECTION, name=f"{at}: median above the bare", value=above, unit="ms",
                target=1.0 if static else None, aim=0.6 if static else None, detail=not static,
            )
        )  # fmt: skip
    else:
        rows.append(
            Row(
                section=SECTION, name=f"{at}: p99", value=ours.p99_ms, unit="ms",
                target=10.0 if static else None, aim=5.0 if static else None, detail=not static,
            )
        )  # fmt: skip
    wrong = sum(mine.load.bad + mine.load.lost for _, mine in pairs)
    if wrong:
        rows.append(Row(section=SECTION, name=f"{at}: failed requests", value=wrong, unit="", target=0))
    return rows
