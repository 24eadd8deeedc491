"""``make bench-promise``: promises kept cold on real pools, beside what hindsight, a coin and a rule by hand save."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

from rich.console import Console  # noqa: E402 - after the threads are limited

from bench.documents import write_between  # noqa: E402
from bench.promise import tables  # noqa: E402
from bench.promise.cache import OUT, Cache  # noqa: E402
from bench.promise.cases import BASELINES, DATA, KEEPS, MADE_UP, POOLS, RATES, ROOT, Case, cases  # noqa: E402
from bench.promise.musts import musts  # noqa: E402
from bench.promise.play import Figures, Hindsight, arm_of, hindsight, play  # noqa: E402

DOCUMENT = ROOT / "docs" / "benchmarks.md"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="make bench-promise", description=__doc__)
    parser.add_argument("--pools", nargs="+", choices=[*POOLS, *MADE_UP], default=[*POOLS, *MADE_UP], metavar="POOL")
    parser.add_argument("--baselines", nargs="+", choices=BASELINES, default=list(BASELINES[:2]))
    parser.add_argument("--keep", nargs="+", type=float, default=list(KEEPS), help="shares, in [0.5, 1]")
    parser.add_argument("--rates", nargs="+", type=float, default=list(RATES), help="of decisions with a reward")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=200, help="nothing was chosen by looking at those from 200")
    parser.add_argument(
        "--cache", type=Path, default=OUT, metavar="FILE", help="where passes are kept, so that none is played again"
    )
    parser.add_argument("--json", metavar="FILE", help="write every figure; - prints them instead of tables")
    parser.add_argument("--write", action="store_true", help=f"write the tables into {DOCUMENT.name}")
    given = parser.parse_args(arguments)
    if any(not (DATA / POOLS[pool][0]).is_dir() for pool in given.pools if pool not in MADE_UP):
        parser.error(f"no replay data at {DATA}: set BANDITD_DATA to the folder that holds them")
    console = Console(stderr=True)
    wanted = _different(cases(given.pools, given.baselines, given.keep, given.rates))
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    found, known = play_all(wanted, seeds, console, Cache(given.cache))
    mixllm = {
        pool: hindsight(Case(pool, "dearest", tables.MIXLLM[0], 1.0))
        for pool in dict.fromkeys(c.pool for c in wanted)
    }
    _tell(given, found, known, mixllm)


def _different(wanted: Sequence[Case]) -> list[Case]:
    """Without those whose baseline is the arm of an earlier one."""
    kept: dict[tuple[str, str, float, float], Case] = {}
    for case in wanted:
        kept.setdefault((case.pool, arm_of(case), case.keep, case.rate), case)
    return list(kept.values())


def play_all(
    wanted: Sequence[Case], seeds: range, console: Console, cache: Cache
) -> tuple[dict[Case, list[Figures]], dict[Case, Hindsight]]:
    """Every pass that is not kept yet, one after the other in this process, and hindsight's shares."""
    missing = [(case, seed) for case in wanted for seed in seeds if cache.get(case, seed) is None]
    begun = time.monotonic()
    for done, (case, seed) in enumerate(missing, start=1):
        cache.put(case, seed, play(case, seed))
        left = (time.monotonic() - begun) / done * (len(missing) - done) / 60.0
        console.print(f"... {done} of {len(missing)}, about {left:.0f} min left: {case.shown()}, seed {seed}")
    found = {case: [figures for seed in seeds if (figures := cache.get(case, seed))] for case in wanted}
    return found, {case: hindsight(case) for case in wanted}


def _tell(
    given: argparse.Namespace,
    found: dict[Case, list[Figures]],
    known: dict[Case, Hindsight],
    mixllm: dict[str, Hindsight],
) -> None:
    judged = musts(found, known)
    sheets = tables.sheets(found, known, judged, mixllm)
    if given.json is not None:
        text = json.dumps(tables.content(found, known, judged, mixllm), indent=2)
        if given.json == "-":
            print(text)
        else:
            Path(given.json).write_text(text + "\n", encoding="utf-8")
    if given.json != "-":
        console = Console(width=None if sys.stdout.isatty() else 210)
        for sheet in sheets:
            console.print(tables.as_table(*sheet))
        missed = sum(not must.met for must in judged)
        console.print(f"{len(judged) - missed} of {len(judged)} met, {missed} missed")
    if given.write:
        machine = f"{os.cpu_count()} cores {platform.machine()}, Python {platform.python_version()}"
        seeds = f"seeds {given.first_seed} to {given.first_seed + given.seeds - 1}"
        header = f"`make bench-promise` of {time.strftime('%Y-%m-%d')}, {seeds}: {machine}."
        counted = f"{sum(must.met for must in judged)} of {len(judged)} bounds are met."
        written = tables.sheets(found, known, [must for must in judged if not must.met], mixllm)
        parts = [f"{header} {counted} The others are below."]
        parts += [tables.markdown(*sheet) for sheet in written if sheet[0] in {tables.CASES, tables.MUSTS}]
        write_between(DOCUMENT, "promise", "\n\n".join(parts))


if __name__ == "__main__":
    main()
