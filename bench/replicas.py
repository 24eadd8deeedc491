"""``make replicas``: one, two and four replicas on one PostgreSQL, side by side.

For each number: decisions with their rewards a second, processor time of replicas and database, latency, how far the
learner is behind, and connections. All share this machine, so that throughput says little where cores are few;
processor time of a decision says how many cores a load takes: the second table, on paper.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

from sqlalchemy import create_engine  # noqa: E402 - after the threads are limited

from banditd.storage.dialect import normalise_url  # noqa: E402
from bench.chaos.daemons import Postgres, Replica, own_postgres  # noqa: E402
from bench.http import CONFIG  # noqa: E402
from bench.soak.measures import RowCounter  # noqa: E402
from bench.soak.run import arms_of  # noqa: E402
from bench.soak.traffic import Seen, Traffic  # noqa: E402
from bench.table import Row, as_json, as_text, write_markdown  # noqa: E402

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
NUMBERS: Final = (1, 2, 4)
CLIENTS: Final = 16
WARM_UP: Final = 300
SECTION: Final = "Replicas: decisions with their rewards on one PostgreSQL, all on one machine"
SIZES: Final = "Sizing: what so many decisions a month, all of them rewarded, would take"
MONTHLY: Final = (1_000_000, 10_000_000, 100_000_000)
MONTH_S: Final = 30 * 86_400
PEAK: Final = 5.0  # the busiest minutes over the month's mean
_LOOK_S: Final = 0.25


@dataclass(slots=True)
class Taken:
    """What a decision with its reward takes: of each replica, the learner first; of PostgreSQL; of its disk."""

    replicas_ms: Sequence[float]
    database_ms: float
    disk_bytes: float

    def sizing(self) -> list[Row]:
        """What a month's decisions take: cores in its peak, disk for all of them."""
        rows = []
        for monthly in MONTHLY:
            peak_s = PEAK * monthly / MONTH_S
            name = f"{monthly:,}"
            cores = [peak_s * one_ms / 1e3 for one_ms in self.replicas_ms]
            database, disk_gb = peak_s * self.database_ms / 1e3, monthly * self.disk_bytes / 1e9
            rows += [
                Row(section=SIZES, name=f"{name}: peak", value=peak_s, unit="/s"),
                Row(
                    section=SIZES, name=f"{name}: cores of {len(cores)} replicas then", value=sum(cores),
                    unit="", note=f"the learner's {cores[0]:.3g}",
                ),
                Row(section=SIZES, name=f"{name}: cores of PostgreSQL then", value=database, unit=""),
                Row(section=SIZES, name=f"{name}: disk", value=disk_gb, unit="GB"),
            ]  # fmt: skip
        return rows


@dataclass(slots=True)
class Watched:
    """Seen every quarter of a second while requests ran: age of the oldest reward not learned yet, connections."""

    lags_s: list[float] = field(default_factory=list)
    connections: int = 0


def main() -> None:
    parser = argparse.ArgumentParser(prog="make replicas", description=__doc__)
    parser.add_argument("--decisions", type=int, default=10_000, help="for each number of replicas (10000)")
    parser.add_argument("--replicas", type=int, nargs="+", default=NUMBERS, metavar="N", help="1 2 4")
    parser.add_argument("--json", metavar="FILE", help="write the rows as JSON; - prints them instead of the table")
    parser.add_argument("--write", action="store_true", help=f"write the table into {DOCUMENT.name}")
    given = parser.parse_args()
    if given.decisions < WARM_UP or min(given.replicas) < 1:
        parser.error(f"at least {WARM_UP} decisions and one replica")
    load = os.getloadavg()[0]
    rows: list[Row] = []
    taken: dict[int, Taken] = {}
    with tempfile.TemporaryDirectory(prefix="banditd-replicas-") as name, own_postgres() as postgres:
        for replicas in given.replicas:
            print(f"... {replicas} replicas", file=sys.stderr, flush=True)
            measured, taken[replicas] = asyncio.run(_measure(Path(name), postgres, replicas, given.decisions))
            rows += measured
            postgres.drop(f"replicas_{replicas}")
    rows += taken[2 if 2 in taken else max(taken)].sizing()
    print(json.dumps(as_json(rows), indent=2) if given.json == "-" else as_text(rows))
    if given.json not in {None, "-"}:
        Path(given.json).write_text(json.dumps(as_json(rows), indent=2), encoding="utf-8")
    if given.write:
        today = time.strftime("%Y-%m-%d")
        made = f'`make replicas ARGS="--decisions {given.decisions}"` of {today}'
        header = f"{made}, {os.cpu_count()} cores, {CLIENTS} clients, load {load:.1f}."
        write_markdown(rows, DOCUMENT, header)


async def _measure(folder: Path, postgres: Postgres, replicas: int, decisions: int) -> tuple[list[Row], Taken]:
    database = postgres.database(f"replicas_{replicas}")
    config = folder / "replicas.yaml"
    config.write_text(CONFIG.format(access="false"), encoding="utf-8")
    daemons = [Replica(database=database, config=config, log=folder / f"{n}.log") for n in range(replicas)]
    try:
        for daemon in daemons:  # one after the other: the first migrates
            await daemon.start()
        return await _measured(daemons, postgres, decisions)
    finally:
        await asyncio.gather(*(daemon.stop() for daemon in daemons))


async def _measured(daemons: Sequence[Replica], postgres: Postgres, decisions: int) -> tuple[list[Row], Taken]:
    database = daemons[0].database
    traffic = Traffic(
        [daemon.url for daemon in daemons],
        await arms_of(daemons[0].url),
        connections=CLIENTS,
        batch=1,
        on_decision=lambda: None,
    )
    await traffic.run(WARM_UP)
    counter = RowCounter(database)
    await asyncio.to_thread(_vacuum, database)
    empty = await asyncio.to_thread(counter.count, WARM_UP)
    traffic.seen = Seen.of(len(daemons))
    watched, over = Watched(), threading.Event()
    looking = asyncio.create_task(asyncio.to_thread(_watch, database, watched, over))
    before_s, before_database_s = [_used_s(one.pid) for one in daemons], _family_s(postgres.pid)
    began_s = time.monotonic()
    await traffic.run(WARM_UP + decisions)
    seconds = time.monotonic() - began_s
    used_s = [_used_s(one.pid) - spent for one, spent in zip(daemons, before_s, strict=True)]
    database_s = _family_s(postgres.pid) - before_database_s
    over.set()
    await looking
    stored = await asyncio.to_thread(counter.count, traffic.done)
    await asyncio.to_thread(_vacuum, database)
    size_bytes = (await asyncio.to_thread(counter.count, traffic.done)).size_bytes
    counter.close()
    traffic.close()
    failed = traffic.failures.total()
    took_ms = sorted(one for replica in traffic.seen.routes_ms for one in replica)
    name = f"{len(daemons)} replica{'s' if len(daemons) > 1 else ''}"

    def row(what: str, value: float, unit: str, note: str = "", *, detail: bool = False) -> Row:
        return Row(section=SECTION, name=f"{name}: {what}", value=value, unit=unit, note=note, detail=detail)

    taken = Taken(
        [1e3 * spent / decisions for spent in used_s],
        1e3 * database_s / decisions,
        (size_bytes - empty.size_bytes) / decisions,
    )
    shares = " + ".join(f"{one_ms:.2f}" for one_ms in taken.replicas_ms) if daemons[1:] else ""
    rows = [
        row("throughput", decisions / seconds, "/s", f"failed {failed}" if failed else ""),
        row("processor time of all (the learner's first)", sum(taken.replicas_ms), "ms", shares),
        row("of PostgreSQL", taken.database_ms, "ms"),
        row(
            "POST /v1/route, median", statistics.median(took_ms), "ms",
            f"p99 {took_ms[int(0.99 * len(took_ms))]:.1f} ms", detail=True,
        ),
        row(
            "oldest unlearned reward, median (most)", statistics.median(watched.lags_s), "s",
            f"{max(watched.lags_s):.1f}", detail=len(daemons) == 1,
        ),
        row("all learned after the last request", stored.waited_s, "s", detail=True),
        row("connections to PostgreSQL", watched.connections, ""),
        row("disk of a decision, vacuumed", taken.disk_bytes, "B", detail=True),
    ]  # fmt: skip
    return rows, taken


def _watch(database: str, watched: Watched, over: threading.Event) -> None:
    engine = create_engine(normalise_url(database), isolation_level="AUTOCOMMIT")
    oldest = "SELECT min(enqueued_at_us) FROM fold_queue"
    others = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    with engine.connect() as connection:
        while not over.is_set():
            enqueued_us = connection.exec_driver_sql(oldest).scalar_one()
            watched.lags_s.append(0.0 if enqueued_us is None else time.time() - enqueued_us / 1e6)
            watched.connections = max(watched.connections, connection.exec_driver_sql(others).scalar_one())
            time.sleep(_LOOK_S)
    engine.dispose()


def _vacuum(database: str) -> None:
    """Give back what dead rows hold: how much that is depends on when PostgreSQL last did it by itself."""
    engine = create_engine(normalise_url(database), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("VACUUM FULL")
    engine.dispose()


def _family_s(pid: int) -> float:
    """Seconds of processor time of a process and its children, those that have ended included."""
    total_s = _used_s(pid, ended=True)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # one that has just ended
            if int(_fields(stat)[1]) == pid:
                total_s += _used_s(int(stat.parent.name))
    return total_s


def _used_s(pid: int, *, ended: bool = False) -> float:
    """Seconds of processor time of a process so far. ended : and of its children that have ended."""
    fields = _fields(Path(f"/proc/{pid}/stat"))
    return sum(map(int, fields[11 : 15 if ended else 13])) / os.sysconf("SC_CLK_TCK")


def _fields(stat: Path) -> list[str]:
    """From the state on, behind the name in brackets."""
    return stat.read_text(encoding="ascii").rpartition(")")[2].split()


if __name__ == "__main__":
    main()
