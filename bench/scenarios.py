"""``make bench-scenarios``: arms degrade, come and go, traffic shifts; real data, beside published figures."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402 - after the threads are limited
from rich.console import Console  # noqa: E402
from rich.progress import Progress  # noqa: E402

from banditd.bandit.policies.base import PolicySettings  # noqa: E402
from banditd.core.types import Context, FeatureSchema, FloatArray  # noqa: E402
from banditd.replay.contexts import build_contexts  # noqa: E402
from banditd.replay.dataset import ReplayData, load_dataset  # noqa: E402
from bench import scenario_shift  # noqa: E402
from bench.documents import write_between  # noqa: E402
from bench.scenario_figures import Figures, running_share, summary, trace_figures  # noqa: E402
from bench.scenario_streams import BUDGETS_USD, SCENARIOS, Roles, play_stream  # noqa: E402
from bench.scenario_tables import as_json, markdown, plot_shares, rich_tables  # noqa: E402
from bench.scenario_targets import Result  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("BANDITD_DATA", ROOT / "../shared/data"))
DOCUMENT, PLOT = ROOT / "docs" / "benchmarks.md", ROOT / "docs" / "img" / "scenarios.png"
K3 = "llama-3.1-8b-instruct,mistral-large-2512,gemini-2.5-pro"
POOLS = {3: K3, 4: f"{K3},gemini-2.5-flash"}
SHIFT = "covariate-shift"
# Which scenarios are played with which number of arms; a newcomer makes four of three.
CASES = {
    "degradation": (3, 4),
    "degradation-scaled": (3, 4),
    "new-good-arm": (4,),
    "new-bad-arm": (4,),
    "new-dear-arm": (4,),
    "arm-disappears": (3, 4),
}


@dataclass(frozen=True, slots=True)
class Task:
    """One pass to play."""

    scenario: str
    arms: int
    budget: str
    seed: int
    detection: bool


@dataclass(slots=True)
class _Data:
    """What a process has read: by number of arms."""

    read: dict[int, tuple[ReplayData, FeatureSchema, list[Context]]] = field(default_factory=dict)

    def of(self, arms: int) -> tuple[ReplayData, FeatureSchema, list[Context]]:
        if arms not in self.read:
            data = load_dataset(DATA / "paretobandit4", POOLS[arms])
            self.read[arms] = (data, *build_contexts(data.prompts, with_facts=False))
        return self.read[arms]


_DATA = _Data()


def play(task: Task) -> tuple[Task, Figures, FloatArray]:
    """One pass: its figures, and the watched arm's share over the last 50 decisions at each decision."""
    data, schema, contexts = _DATA.of(task.arms)
    newcomer = 3 if task.scenario.startswith("new-") else None
    roles, budget_usd = Roles(changing=1, newcomer=newcomer), BUDGETS_USD[task.budget]
    stream = SCENARIOS[task.scenario](data, task.seed, roles)
    trace = play_stream(
        stream,
        data=data,
        schema=schema,
        contexts=contexts,
        budget_usd=budget_usd,
        seed=task.seed,
        settings=PolicySettings(change_detection=task.detection),
    )
    figures = trace_figures(trace, data.category, budget_usd, data.arms[stream.watched])
    return task, figures, running_share((trace.chosen == stream.watched).astype(float), 50)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-scenarios", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="shuffles (default 20)")
    parser.add_argument("--first-seed", type=int, default=0, help="the first of them: others show what tuning fitted")
    parser.add_argument("--only", choices=[*CASES, SHIFT], action="append", help="may be repeated")
    parser.add_argument("--budget", choices=list(BUDGETS_USD), action="append", help="may be repeated")
    parser.add_argument("--no-detection", action="store_true", help="change_detection: false, to compare")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", metavar="FILE", help="write all figures as JSON; - prints them instead of tables")
    parser.add_argument("--write", action="store_true", help=f"write tables into {DOCUMENT.name}, the plot to {PLOT}")
    parser.add_argument("--plot", metavar="FILE", type=Path, help="write the plot here")
    given = parser.parse_args()
    if not (DATA / "paretobandit4").is_dir():
        sys.exit(f"no replay data at {DATA}: set BANDITD_DATA to the folder that holds paretobandit4")
    wanted = given.only or [*CASES, SHIFT]
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    tasks = list(_tasks(wanted, given.budget or list(BUDGETS_USD), seeds, detection=not given.no_detection))
    results, shares = _play_all(tasks, given.workers)
    if SHIFT in wanted:
        results += scenario_shift.measure(DATA, seeds, given.workers, detection=not given.no_detection)
    _tell(given, results, shares)


def _tasks(wanted: list[str], budgets: list[str], seeds: range, *, detection: bool) -> Iterator[Task]:
    for scenario, pools in CASES.items():
        for arms in pools:
            for budget in budgets:
                if scenario in wanted:
                    yield from (Task(scenario, arms, budget, seed, detection) for seed in seeds)


def _play_all(tasks: list[Task], workers: int) -> tuple[list[Result], dict[tuple[str, str, int], FloatArray]]:
    played: dict[tuple[str, int, str], list[Figures]] = {}
    curves: dict[tuple[str, str, int], list[FloatArray]] = {}
    console = Console(stderr=True)
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    with pool, Progress(console=console, disable=not console.is_terminal) as bar:
        line = bar.add_task("replaying", total=len(tasks))
        for done, future in enumerate(as_completed([pool.submit(play, task) for task in tasks]), start=1):
            task, figures, share = future.result()
            played.setdefault((task.scenario, task.arms, task.budget), []).append(figures)
            curves.setdefault((task.scenario, task.budget, task.arms), []).append(share)
            bar.advance(line)
            if not console.is_terminal and done % 50 == 0:
                print(f"... {done} of {len(tasks)} passes", file=sys.stderr, flush=True)
    order = dict.fromkeys((task.scenario, task.arms, task.budget) for task in tasks)
    results = [
        Result(name, f"K={arms}, {budget}", summary(played[name, arms, budget])) for name, arms, budget in order
    ]
    return results, {key: np.mean(value, axis=0) for key, value in curves.items()}


def _tell(given: argparse.Namespace, results: list[Result], shares: dict[tuple[str, str, int], FloatArray]) -> None:
    content = as_json(results)
    if given.json == "-":
        print(json.dumps(content, indent=2))
    else:
        console = Console(width=None if sys.stdout.isatty() else 170)
        for table in rich_tables(results):
            console.print(table)
    if given.json not in {None, "-"}:
        Path(given.json).write_text(json.dumps(content, indent=2), encoding="utf-8")
    plot = given.plot or (PLOT if given.write else None)
    if plot is not None and any(name == "degradation" for name, _, _ in shares):
        plot.parent.mkdir(parents=True, exist_ok=True)
        plot_shares(shares, plot)
    if given.write:
        machine = f"{os.cpu_count()} cores {platform.machine()}, Python {platform.python_version()}"
        after = f" from {given.first_seed}" if given.first_seed else ""
        header = f"`make bench-scenarios` of {time.strftime('%Y-%m-%d')}, {given.seeds} seeds{after}: {machine}."
        write_between(DOCUMENT, "scenarios", markdown(results, header))


if __name__ == "__main__":
    main()
