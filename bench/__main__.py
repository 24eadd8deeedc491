"""``make bench``: every figure beside its target, in one run."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

from bench import (  # noqa: E402 - after the threads are limited
    accounts,
    cold,
    cpu,
    detectors,
    flat,
    http,
    micro,
    pages,
    partitions,
    promised,
)
from bench.load import tool  # noqa: E402
from bench.table import Row, as_json, as_text, write_markdown  # noqa: E402

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
PARTS = ("micro", "promise", "accounts", "cold", "http", "flat", "pages", "memory")
ASKED_FOR = ("cpu", "detectors", "partitions", "pages-postgres")  # need banditd[detectors], and PostgreSQL


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a minute instead of many: shorter runs, a smaller log")
    parser.add_argument("--only", choices=PARTS + ASKED_FOR, action="append", help="may be repeated")
    parser.add_argument("--against", metavar="TREE", type=Path, help="another work tree beside this one, for cpu")
    parser.add_argument("--json", metavar="FILE", help="write the rows as JSON; - prints them instead of the table")
    parser.add_argument("--write", action="store_true", help=f"write the tables into {DOCUMENT.name}")
    given = parser.parse_args()
    load = os.getloadavg()[0]
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="banditd-bench-") as folder:
        for part in given.only or PARTS:
            _tell(f"measuring {part}")
            rows += _measure(part, Path(folder), quick=given.quick, against=given.against)
    if given.json == "-":
        print(json.dumps(as_json(rows), indent=2))
    else:
        print(as_text(rows))
    if given.json not in {None, "-"}:
        Path(given.json).write_text(json.dumps(as_json(rows), indent=2), encoding="utf-8")
    if given.write:
        DOCUMENT.parent.mkdir(exist_ok=True)
        write_markdown(rows, DOCUMENT, _header(quick=given.quick, load=load))
    if any(row.met is False for row in rows):
        _tell("some targets are missed: see NO in the tables")


def _measure(part: str, folder: Path, *, quick: bool, against: Path | None) -> list[Row]:
    if part == "micro":
        return micro.measure(quick=quick)
    if part == "promise":
        return promised.measure(folder, quick=quick)
    if part == "accounts":
        return accounts.measure(quick=quick)
    if part == "cold":
        return cold.measure(folder, rounds=1 if quick else 3)
    if part == "http":
        return http.measure(folder, seconds=2 if quick else 5, quick=quick)
    if part == "cpu":
        return cpu.measure(folder, quick=quick, against=against)
    if part == "detectors":
        return detectors.measure(quick=quick)
    if part == "flat":
        return flat.measure_flatness(folder, largest=10**4 if quick else 10**6, progress=_tell)
    if part == "partitions":
        return partitions.measure(quick=quick)
    if part.startswith("pages"):
        decisions, postgres = 10**4 if quick else 10**6, part == "pages-postgres"
        return pages.measure_pages(folder, decisions=decisions, progress=_tell, postgres=postgres)
    return flat.measure_memory(folder, requests=10**4 if quick else 10**5, progress=_tell)


def _header(*, quick: bool, load: float) -> str:
    size = " (quick)" if quick else ""
    return f"{time.strftime('%Y-%m-%d')}{size}, {os.cpu_count()} cores, {tool()}, load {load:.1f}."


def _tell(text: str) -> None:
    print(f"... {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
