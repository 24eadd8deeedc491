"""``make bench-learning``: banditd's policies and the published routers on the same rows, in the same shuffles."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

from rich.console import Console  # noqa: E402 - after the threads are limited
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: E402

from bench.learning import cases as catalogue  # noqa: E402
from bench.learning import policies  # noqa: E402
from bench.learning.cache import Cache, Job, make_jobs  # noqa: E402
from bench.learning.cases import ROOT, Case  # noqa: E402
from bench.learning.jobs import run_missing  # noqa: E402
from bench.learning.policies import PolicySpec  # noqa: E402
from bench.learning.prepared import OUT  # noqa: E402
from bench.learning.report import Report, make_report  # noqa: E402

DOCUMENT = ROOT / "docs" / "benchmarks.md"
SLOW_SEEDS = 3


def main(arguments: Sequence[str] | None = None) -> Report:
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        cases = catalogue.select(given.case, quick=given.quick)
        wanted = policies.select(given.policy)
    except ValueError as error:
        parser.error(str(error))
    console = Console(stderr=True)
    absent = sorted({case.dataset for case in cases if not case.folder.is_dir()})
    if absent:
        parser.error(f"{catalogue.data_folder()} has no {', '.join(absent)}: name the data in BANDITD_DATA.")
    playable = []
    for spec in wanted:
        if reason := spec.missing():
            console.print(f"skipped: {spec.name}: {reason}")
        else:
            playable.append(spec)
    jobs = make_jobs(cases, playable, {spec.name: _seeds(spec, given) for spec in playable})
    cache = Cache(given.cache)
    if not given.cached:
        _play_missing(jobs, cache, given.workers, console)
    results = {(job.case.name, job.policy, job.seed): one for job in jobs if (one := cache.get(job)) is not None}
    report = make_report(results, cases, playable, _header(cases, quick=given.quick))
    report.show(Console(width=240) if not sys.stdout.isatty() else Console())
    if given.json:
        text = json.dumps(report.content, indent=2, ensure_ascii=False, default=asdict) + "\n"
        Path(given.json).write_text(text, encoding="utf-8")
    if given.write:
        report.write(DOCUMENT)
    return report


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench-learning", description=__doc__)
    parser.add_argument("--case", action="append", default=[], help="a case, or what several begin with")
    parser.add_argument("--policy", action="append", default=[], help="a policy, or what several begin with")
    parser.add_argument(
        "--seeds", type=int, default=10, help="shuffles for banditd's policies and the ceilings (default 10)"
    )
    parser.add_argument("--peer-seeds", type=int, default=10, help="shuffles for peers (slow ones: 3 at most)")
    parser.add_argument("--quick", action="store_true", help="3 shuffles of 1,000 rows of each case")
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--cached", action="store_true", help="play nothing, show what is known")
    parser.add_argument("--cache", type=Path, default=OUT, metavar="FOLDER", help="where results are kept")
    parser.add_argument("--json", metavar="FILE", help="write every figure")
    parser.add_argument("--write", action="store_true", help=f"write tables and curves into docs/{DOCUMENT.name}")
    return parser


def _seeds(spec: PolicySpec, given: argparse.Namespace) -> int:
    seeds = given.seeds if spec.group != "peer" else given.peer_seeds
    if spec.slow:
        seeds = min(seeds, SLOW_SEEDS)
    return int(min(seeds, 3) if given.quick else seeds)


def _play_missing(jobs: list[Job], cache: Cache, workers: int, console: Console) -> None:
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console
    )
    with bar:
        task = bar.add_task("passes", total=None)

        def show(job: Job | None, done: int, total: int) -> None:
            what = "passes" if job is None else f"{job.case.name}: {job.policy}"
            bar.update(task, completed=done, total=total, description=what[:60])

        run_missing(jobs, cache, workers=workers, progress=show, tell=console.print)


def _header(cases: Sequence[Case], *, quick: bool) -> str:
    size = "quick: 1,000 rows of each case" if quick else "full"
    machine = f"{os.cpu_count()} cores {platform.machine()}, Python {platform.python_version()}"
    return f"`make bench-learning` ({size}) of {time.strftime('%Y-%m-%d')}: {machine}; {len(cases)} cases."


if __name__ == "__main__":
    main()
