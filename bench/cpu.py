"""Processor time of POST /v1/route over the bare handler's, and how much Python that is: load spoils these least.

Servers take turns in many short rounds, and what counts is the median of the rounds' ratios. ``--against TREE`` puts
the daemon of another work tree beside them: what a change of the code does shows where throughput shows the weather.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from bench.http import Server, bare_handler, daemon, teach
from bench.load import drive
from bench.queries import text_bodies
from bench.table import Row
from bench.threads import processor_s, split_s

SECTION = "Processor time of POST /v1/route over the bare handler's (short rounds in turn, static encoder, 60 tokens)"
CONNECTIONS = (16, 1)
PARTS = ("loop", "writer", "rest")
_Rounds = dict[str, list[dict[str, float]]]
"""Of each server, of every round: microseconds a request by what the threads do, and the median wait in ms."""


def measure(folder: Path, *, quick: bool, against: Path | None) -> list[Row]:
    """All rows; ``against`` is another work tree."""
    bodies = text_bodies(500)
    trees = {"daemon": None} | ({} if against is None else {"other": against})
    rows: list[Row] = []
    with ExitStack() as stack:
        servers = {"bare": stack.enter_context(bare_handler())}
        for name, tree in trees.items():
            servers[name] = stack.enter_context(daemon(folder, name=name, tree=tree))
            asyncio.run(teach(servers[name].url, 300))
            drive(f"{servers[name].url}/v1/route", bodies, connections=16, seconds=1)
        for connections in CONNECTIONS:
            seen: _Rounds = {name: [] for name in servers}
            for turn in range(4 if quick else 16):
                order = list(servers)[:: 1 if turn % 2 else -1]
                for name in order:
                    seen[name].append(_round(servers[name], bodies, connections))
            rows += _rows(seen, connections)
    for name, tree in trees.items():
        rows += _counted(name, tree)
    return rows


def _round(server: Server, bodies: list[bytes], connections: int) -> dict[str, float]:
    before = processor_s(server.pid)
    load = drive(f"{server.url}/v1/route", bodies, connections=connections, seconds=1)
    used = {part: 1e6 * spent / max(load.requests, 1) for part, spent in split_s(server.pid, before).items()}
    return used | {"p50_ms": load.p50_ms, "wrong": float(load.bad + load.lost)}


def _rows(seen: _Rounds, connections: int) -> list[Row]:
    at = f"{connections} connection{'s' if connections > 1 else ''}"
    total = {name: [sum(one[part] for part in PARTS) for one in rounds] for name, rounds in seen.items()}
    rows = []
    for name in [name for name in seen if name != "bare"]:
        over = [mine / yours for mine, yours in zip(total[name], total["bare"], strict=True)]
        parts = ", ".join(f"{part} {_median(seen[name], part):.0f}" for part in PARTS)
        bare, mine = total["bare"], total[name]
        note = (
            f"{statistics.median(mine):.0f} us a request ({parts}), bare {statistics.median(bare):.0f} us; least "
            f"{min(mine):.0f} and {min(bare):.0f}; p50 {_median(seen[name], 'p50_ms'):.2f} and "
            f"{_median(seen['bare'], 'p50_ms'):.2f} ms; rounds {_spread(over)}"
        )
        target = 4.5 if connections == 16 and name == "daemon" else None
        called = f"{at}: processor time over the bare handler's{'' if name == 'daemon' else ', other tree'}"
        rows.append(
            Row(section=SECTION, name=called, value=statistics.median(over), unit="x", target=target, note=note)
        )
        wrong = sum(one["wrong"] for one in seen[name])
        if wrong:
            rows.append(Row(section=SECTION, name=f"{at}: failed requests of {name}", value=wrong, unit="", target=0))
    if "other" in seen:
        ratios = [mine / yours for mine, yours in zip(total["daemon"], total["other"], strict=True)]
        wait = _median(seen["daemon"], "p50_ms") - _median(seen["other"], "p50_ms")
        note = f"rounds {_spread(ratios)}; median wait {wait:+.2f} ms"
        name = f"{at}: processor time, this tree over the other"
        rows.append(Row(section=SECTION, name=name, value=statistics.median(ratios), unit="x", note=note))
    return rows


def _median(rounds: list[dict[str, float]], name: str) -> float:
    return statistics.median(one[name] for one in rounds)


def _spread(values: list[float]) -> str:
    """The middle half."""
    low, _, high = statistics.quantiles(values, n=4)
    return f"{low:.3g} to {high:.3g}"


def _counted(name: str, tree: Path | None) -> list[Row]:
    """Calls and bytecodes of a request, which no load changes."""
    environment = dict(os.environ) if tree is None else os.environ | {"PYTHONPATH": str(tree.resolve() / "src")}
    rows = []
    for connections in CONNECTIONS:
        command = [sys.executable, "-m", "bench.bytecodes", str(connections), "--json"]
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        found = json.loads(done.stdout)
        at = f"{connections} connection{'s' if connections > 1 else ''}{'' if name == 'daemon' else ', other tree'}"
        for what in ("calls", "bytecodes"):
            split = f"event loop {found[what]['loop']:.0f}, writer {found[what]['writer']:.0f}"
            rows.append(
                Row(
                    section=SECTION, name=f"{at}: Python {what} a request", value=sum(found[what].values()), unit="",
                    note=split if what == "bytecodes" else "",
                )
            )  # fmt: skip
    return rows
