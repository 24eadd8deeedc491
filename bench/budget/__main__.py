"""``make bench-budget``: seven budgets and a price that falls, beside ParetoBandit and the fixed-arm mixture."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

from rich.console import Console  # noqa: E402 - after the threads are limited
from rich.progress import Progress  # noqa: E402

from bench.budget import pareto, report  # noqa: E402
from bench.budget.play import PLAYERS, Task, play  # noqa: E402
from bench.budget.setting import BUDGETS, DATA, DATASET, DRIFT_BUDGETS, ROOT, setting  # noqa: E402
from bench.documents import rich_table, write_between  # noqa: E402
from bench.learning import minilm  # noqa: E402

DOCUMENT, PLOT = ROOT / "docs" / "benchmarks.md", ROOT / "docs" / "img" / "budget.png"
Found = dict[tuple[str, int | str], list[dict[str, float]]]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="make bench-budget", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--only", choices=["budgets", "drift"], help="one of both parts")
    parser.add_argument("--no-peer", action="store_true", help="do not run ParetoBandit")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", metavar="FILE", help="write every figure; - prints them instead of tables")
    parser.add_argument("--write", action="store_true", help=f"write tables into {DOCUMENT.name}, the plot to {PLOT}")
    parser.add_argument("--plot", metavar="FILE", type=Path, help="write the plot here")
    given = parser.parse_args(arguments)
    if not (DATA / DATASET).is_dir():
        parser.error(f"no replay data at {DATA}: set BANDITD_DATA to the folder that holds {DATASET}")
    console = Console(stderr=True)
    players = list(PLAYERS)
    if given.no_peer or (reason := pareto.missing()):
        players.remove(PLAYERS[1])
        console.print("ParetoBandit is not run" + ("" if given.no_peer else f": {reason}"))
    else:
        minilm.ensure(setting().data.prompts, console.print)
    cases: list[int | str] = [] if given.only == "drift" else list(range(len(BUDGETS)))
    cases += [] if given.only == "budgets" else list(DRIFT_BUDGETS)
    tasks = [Task(player, case, seed) for player in players for case in cases for seed in range(given.seeds)]
    _tell(given, play_all(tasks, given.workers, console))


def play_all(tasks: Sequence[Task], workers: int, console: Console) -> Found:
    """Every pass; the figures of each player and case in the order of seeds."""
    done: dict[Task, dict[str, float]] = {}
    with Progress(console=console, disable=not console.is_terminal) as bar:
        line = bar.add_task("replaying", total=len(tasks))

        def note(task: Task, figures: dict[str, float]) -> None:
            done[task] = figures
            bar.advance(line)
            if not console.is_terminal and len(done) % 20 == 0:
                print(f"... {len(done)} of {len(tasks)} passes", file=sys.stderr, flush=True)

        if workers == 1:
            for task in tasks:
                note(*play(task))
        else:
            with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
                for future in as_completed([pool.submit(play, task) for task in tasks]):
                    note(*future.result())
    found: Found = {}
    for task in tasks:
        found.setdefault((task.player, task.case), []).append(done[task])
    return found


def _tell(given: argparse.Namespace, found: Found) -> None:
    reward, cost = setting().test_means
    rows = report.budget_rows(found, reward, cost)
    drift = {name: {p: found[p, name] for p in PLAYERS if (p, name) in found} for name in DRIFT_BUDGETS}
    drift = {name: of for name, of in drift.items() if of}
    content = {"seeds": given.seeds, "budgets": rows, "drift": drift}
    sheets = []
    if rows:
        sheets.append(("Seven budgets: learned on val, scored on test, K = 3", *report.budget_cells(rows)))
        sheets.append(("Fixed arms on the scored rows", *report.arm_cells(reward, cost)))
    if drift:
        title = "A price falls by 98 % in phase 2 and is restored in phase 3 (608 decisions each)"
        sheets.append((title, *report.drift_cells(found)))
    if given.json == "-":
        print(json.dumps(content, indent=2))
    else:
        console = Console(width=None if sys.stdout.isatty() else 190)
        for sheet in sheets:
            console.print(rich_table(*sheet))
    if given.json not in {None, "-"}:
        Path(given.json).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    target = given.plot or (PLOT if given.write else None)
    if target is not None and rows:
        target.parent.mkdir(parents=True, exist_ok=True)
        report.plot(target, rows, reward, cost)
    if given.write:
        machine = f"{os.cpu_count()} cores {platform.machine()}, Python {platform.python_version()}"
        header = f"`make bench-budget` of {time.strftime('%Y-%m-%d')}, {given.seeds} seeds: {machine}."
        write_between(DOCUMENT, "budget", "\n\n".join([header, *(report.markdown(*sheet) for sheet in sheets)]))


if __name__ == "__main__":
    main()
