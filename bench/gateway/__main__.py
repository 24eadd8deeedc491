"""``make bench-gateway``: the gateway beside the bare upstream, a bare proxy and LiteLLM's proxy, in one run."""

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

from bench.documents import write_between  # noqa: E402
from bench.gateway import endings, kills, servers, speed, streams  # noqa: E402 - after the threads are limited
from bench.load import tool  # noqa: E402
from bench.table import Row, as_json, as_text, write_markdown  # noqa: E402

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
PARTS = ("speed", "streams", "faults", "kills")


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-gateway", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="some two minutes: shorter runs, fewer streams and kills"
    )
    parser.add_argument("--only", choices=PARTS, action="append", help="may be repeated")
    parser.add_argument("--json", metavar="FILE", help="write the rows as JSON; - prints them instead of the tables")
    parser.add_argument("--write", action="store_true", help=f"write the tables into {DOCUMENT.name}")
    parser.add_argument("--against", metavar="TREE", type=Path, help="another work tree beside this one, for speed")
    given = parser.parse_args()
    load = os.getloadavg()[0]
    rows: list[Row] = []
    found: endings.Endings = {}
    parts = given.only or PARTS
    with tempfile.TemporaryDirectory(prefix="banditd-bench-") as name:
        folder = Path(name)
        if "speed" in parts or "faults" in parts:
            if not servers.litellm_there():
                _tell("LiteLLM is not installed (make bench-gateway does it), so it is left out")
            with servers.everybody(folder, given.against) as subjects:
                if "speed" in parts:
                    _tell("measuring speed")
                    rows += speed.measure(subjects, quick=given.quick)
                if "faults" in parts:
                    more, found = endings.measure(subjects, quick=given.quick, progress=_tell)
                    rows += more
        if "streams" in parts:
            _tell("measuring open streams")
            count, seconds = (200, 5.0) if given.quick else (1000, 20.0)
            with servers.upstream() as up, servers.banditd(up, folder, "streams") as ours:
                rows += streams.measure(ours, streams=count, seconds=seconds, progress=_tell)
        if "kills" in parts:
            with servers.upstream() as up:
                rows += kills.measure(up, folder, kills=5 if given.quick else 50, progress=_tell)
    _report(given, rows, found, load)


def _report(given: argparse.Namespace, rows: list[Row], found: endings.Endings, load: float) -> None:
    if given.json == "-":
        print(json.dumps(as_json(rows), indent=2))
    else:
        print(as_text(rows))
        print("\n" + endings.table(found) if found else "")
    if given.json not in {None, "-"}:
        Path(given.json).write_text(json.dumps(as_json(rows), indent=2), encoding="utf-8")
    if given.write:
        write_markdown(rows, DOCUMENT, _header(quick=given.quick, load=load))
        if found:
            write_between(DOCUMENT, "faults", endings.table(endings.worst(found)))
    if any(row.met is False for row in rows):
        _tell("some targets are missed: see NO in the tables")


def _header(*, quick: bool, load: float) -> str:
    size = " (quick)" if quick else ""
    return (
        f"{time.strftime('%Y-%m-%d')}{size}, {os.cpu_count()} cores, {tool()}, load {load:.1f}, "
        f"LiteLLM {servers.litellm_version()}."
    )


def _tell(text: str) -> None:
    print(f"... {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
