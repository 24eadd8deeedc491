"""What is done to the daemons: a menu. Each inflicts something for a while, and puts it right again."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from bench.chaos.daemons import Disk, Postgres, Replica, clock_library

DAY = "+1d", "-1d"


@dataclass(slots=True, kw_only=True)
class Scene:
    """What there is to break. hold_s : how long to hold what is held; the learner's lease is shorter."""

    replicas: Sequence[Replica]
    hold_s: float
    postgres: Postgres | None = None
    disk: Disk | None = None


Inflict = Callable[[Scene, Replica], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Nemesis:
    """One entry of the menu.

    hits_all : it is the database that breaks, so no replica is expected to go on. ends_learner : a learner that it
    hits can learn no more, so another one takes over.
    """

    name: str
    inflict: Inflict
    hits_all: bool = False
    ends_learner: bool = False
    needs: Callable[[Scene], str | None] = lambda _scene: None
    """Why it cannot be done here, or None."""


async def _kill(_scene: Scene, victim: Replica) -> None:
    victim.kill()
    await victim.start()


async def _freeze(scene: Scene, victim: Replica) -> None:
    victim.signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(scene.hold_s)
    finally:
        victim.signal(signal.SIGCONT)


async def _drop(scene: Scene, victim: Replica) -> None:
    """Connections are cut, and for a while no new ones are taken."""
    assert victim.proxy is not None
    victim.proxy.drop(refuse=True)
    await asyncio.sleep(scene.hold_s / 4)
    victim.proxy.heal()


async def _black_hole(scene: Scene, victim: Replica) -> None:
    """Nothing arrives any more, on old connections and new ones; nobody is told."""
    assert victim.proxy is not None
    victim.proxy.black_hole(new=True)
    await asyncio.sleep(scene.hold_s)
    victim.proxy.heal()


async def _cut_commits(scene: Scene, victim: Replica) -> None:
    """Connections are cut when a COMMIT has happened, some just before it: the client of the database cannot know."""
    assert victim.proxy is not None
    until_s = time.monotonic() + scene.hold_s / 2
    while time.monotonic() < until_s:
        victim.proxy.cut_commits(2)
        await asyncio.sleep(0.1)
        victim.proxy.cut_commits(1, before=True)
        await asyncio.sleep(0.1)
    victim.proxy.cut_commits(0)
    victim.proxy.cut_commits(0, before=True)


def _clock(offset: str) -> Inflict:
    async def inflict(scene: Scene, victim: Replica) -> None:
        """It runs with a wrong clock for a while, dies, and comes back with the right one."""
        victim.kill()
        faked = {"FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}
        await victim.start({"LD_PRELOAD": clock_library() or "", **faked})
        await asyncio.sleep(scene.hold_s / 2)
        victim.kill()
        await victim.start()

    return inflict


async def _fill_disk(scene: Scene, _victim: Replica) -> None:
    assert scene.disk is not None
    await asyncio.to_thread(scene.disk.fill)
    await asyncio.sleep(scene.hold_s / 2)
    scene.disk.empty()
    if scene.postgres is not None:
        await asyncio.to_thread(scene.postgres.ensure_running)


async def _restart_postgres(scene: Scene, _victim: Replica) -> None:
    assert scene.postgres is not None
    await asyncio.to_thread(scene.postgres.restart_at_once)


def _postgres(scene: Scene) -> str | None:
    return None if scene.postgres is not None else "there is no PostgreSQL; --postgres starts one"


def _faketime(_scene: Scene) -> str | None:
    return None if clock_library() else "libfaketime is not installed (Debian: apt install faketime)"


def _disk(scene: Scene) -> str | None:
    return None if scene.disk is not None else "only root may mount a small disk"


MENU = {
    nemesis.name: nemesis
    for nemesis in (
        Nemesis("kill", _kill, ends_learner=True),
        Nemesis("freeze", _freeze, ends_learner=True),
        Nemesis("drop", _drop, needs=_postgres),
        Nemesis("black-hole", _black_hole, ends_learner=True, needs=_postgres),
        Nemesis("cut-commit", _cut_commits, needs=_postgres),
        Nemesis("clock-ahead", _clock(DAY[0]), needs=_faketime),
        Nemesis("clock-behind", _clock(DAY[1]), needs=_faketime),
        Nemesis("disk-full", _fill_disk, hits_all=True, needs=_disk),
        Nemesis("postgres-restart", _restart_postgres, hits_all=True, needs=_postgres),
    )
}
