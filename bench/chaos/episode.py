"""One episode: a fresh database, replicas under load, one nemesis after the other, then the checks."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from sqlalchemy import create_engine, text

from banditd.storage import open_storage
from banditd.storage.dialect import normalise_url
from bench.chaos.check import check
from bench.chaos.check_sums import late_defaults
from bench.chaos.config import API_KEYS, LEASE_S, POLICIES, limits, write_config
from bench.chaos.daemons import Disk, Postgres, Replica
from bench.chaos.history import History, Outcome
from bench.chaos.kept import read_kept
from bench.chaos.load import Load
from bench.chaos.nemeses import Nemesis, Scene
from bench.proxy import Proxy

PATIENCE_S = 60.0
SAMPLE = 20

Tell = Callable[[str], None]


@dataclass(slots=True, kw_only=True)
class Blow:
    """One nemesis inflicted once. Seconds; None where it was not to be seen.

    back_s : from the end of what was done until the victim acknowledged again. others_s : longest time that another
    replica answered nothing. failover_s : from its beginning until another replica had learned something. hurt :
    requests that were not acknowledged from its beginning until all were back: it was felt.
    """

    nemesis: str
    hurt: int
    back_s: float | None
    others_s: float | None
    failover_s: float | None


@dataclass(slots=True, kw_only=True)
class EpisodeReport:
    """What was done, found, and how long it took."""

    seconds: float
    blows: list[Blow] = field(default_factory=list)
    outcomes: dict[str, int] = field(default_factory=dict)
    learned: int = 0
    largest_difference: float = 0.0
    wrong: list[str] = field(default_factory=list)


async def run_episode(
    *,
    folder: Path,
    database: str,
    replicas: int,
    nemeses: Sequence[Nemesis],
    seed: str,
    seconds: float,
    hold_s: float = 2.5 * LEASE_S,
    postgres: Postgres | None = None,
    disk: Disk | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    tell: Tell = lambda _text: None,
) -> EpisodeReport:
    """Inflict these nemeses, in this order: each is one round.

    Parameters
    ----------
    folder : for the configuration and the logs. database : URL of an empty database. seconds : of load before every
    nemesis. overrides : of the configuration, by section.
    """
    began_s = time.monotonic()
    config = write_config(folder / "config.yaml", overrides)
    history = History()
    proxied = normalise_url(database).get_backend_name() == "postgresql"
    with ExitStack() as stack:
        proxies = [stack.enter_context(Proxy.before(database)) if proxied else None for _ in range(replicas)]
        running = [
            Replica(database=database, config=config, log=folder / f"replica-{number}.log", proxy=proxy)
            for number, proxy in enumerate(proxies)
        ]
        scene = Scene(replicas=running, hold_s=hold_s, postgres=postgres, disk=disk)
        attack = _Attack(scene, Load([one.url for one in running], history, seed=seed), database, seed, tell)
        try:
            for replica in running:
                await replica.start()
            read = await attack.run(nemeses, seconds)
        finally:
            codes = [await replica.stop() for replica in running]
    report = EpisodeReport(seconds=0.0, blows=attack.blows, outcomes=_outcomes(history), wrong=attack.wrong)
    report.wrong += [f"a daemon stopped with code {code}" for code in codes if code]
    async with open_storage(database, writer_name="chaos") as storage:
        await storage.journal.add_up()  # counters follow the log at leisure
    kept = read_kept(database, limits(), read)
    report.wrong += check(history, kept)
    for rebuilt in rebuild_check(database, config):
        report.learned += rebuilt["decisions"]
        report.largest_difference = max(report.largest_difference, rebuilt["largest_difference"])
        if not rebuilt["agrees"] or rebuilt["skipped"] or rebuilt["queued"] > len(late_defaults(kept)):
            report.wrong.append(f"rebuild does not agree with the state: {rebuilt}")
    if not report.learned:
        report.wrong.append("nothing was learned, so nothing was tested")
    report.seconds = time.monotonic() - began_s
    return report


class _Attack:
    """Load and nemeses on running replicas."""

    def __init__(self, scene: Scene, load: Load, database: str, seed: str, tell: Tell) -> None:
        self._scene = scene
        self._load = load
        self._watch = _LearnerWatch(database) if len(scene.replicas) > 1 else None
        self._rng = random.Random(seed)
        self._tell = tell
        self.blows: list[Blow] = []
        self.wrong: list[str] = []

    async def run(self, nemeses: Sequence[Nemesis], seconds: float) -> dict[str, dict[str, Any]]:
        """What /v1 says at the end. A replica that does not come back ends the attack, and is wrong."""
        load = asyncio.create_task(self._load.run())
        watch = asyncio.create_task(self._watch.run()) if self._watch else None
        try:
            for nemesis in nemeses:
                await self._all_back(time.monotonic())
                await asyncio.sleep(seconds)
                self._tell(nemesis.name)
                self.blows.append(await self._inflict(nemesis))
            await asyncio.sleep(seconds)
            self._load.stop()
            await load
            return await self._read()
        except TimeoutError as error:
            self.wrong.append(str(error))
            return {}
        finally:
            for task in (load, watch):
                if task is not None:
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)

    async def _inflict(self, nemesis: Nemesis) -> Blow:
        replicas = self._scene.replicas
        victim = self._victim(nemesis)
        pid, learner = replicas[victim].pid, self._watch.holder if self._watch else ""
        began_s = time.monotonic()
        await nemesis.inflict(self._scene, replicas[victim])
        ended_s = time.monotonic()
        back_s = await self._all_back(ended_s)
        others = [number for number in range(len(replicas)) if number != victim and not nemesis.hits_all]
        failover_s = None
        if self._watch and nemesis.ends_learner and f":{pid}:" in learner:
            failover_s = await self._watch.until_another(learner, began_s)
            if failover_s is None:
                self.wrong.append(f"{nemesis.name}: nobody else learned after its learner was hit")
        back_at_s = ended_s + back_s
        return Blow(
            nemesis=nemesis.name,
            hurt=self._load.unacknowledged(began_s, back_at_s),
            back_s=back_s,
            others_s=max((self._load.worst_gap_s(one, began_s, ended_s) for one in others), default=None),
            failover_s=failover_s,
        )

    def _victim(self, nemesis: Nemesis) -> int:
        """Any replica; the one that learns two times of three where another must take over."""
        if self._watch and nemesis.ends_learner and self._rng.random() < 2 / 3:
            for number, replica in enumerate(self._scene.replicas):
                if f":{replica.pid}:" in self._watch.holder:
                    return number
        return self._rng.randrange(len(self._scene.replicas))

    async def _all_back(self, since_s: float) -> float:
        """Wait until every replica acknowledges; the longest time that one took."""
        longest_s = 0.0
        for number, replica in enumerate(self._scene.replicas):
            took_s = await self._load.until_acknowledged(number, since_s, PATIENCE_S)
            if took_s is None:
                code = replica.ended
                ended = "" if code is None else f", it has ended with code {code}"
                raise TimeoutError(f"replica {number} acknowledged nothing for {PATIENCE_S:.0f} s{ended}")
            longest_s = max(longest_s, took_s)
        return longest_s

    async def _read(self) -> dict[str, dict[str, Any]]:
        """Wait until everything is learned; then what /v1 says, at every replica."""
        decided = self._rng.sample(self._load.decided, min(SAMPLE, len(self._load.decided)))
        read: dict[str, dict[str, Any]] = {}
        headers = {"x-api-key": API_KEYS["first"]}
        async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=PATIENCE_S)) as session:

            async def get(url: str) -> Any:
                async with session.get(url) as response:
                    return await response.json()

            await self._until_folded()
            for number, replica in enumerate(self._scene.replicas):
                v1 = f"{replica.url}/v1"
                read[f"replica {number}"] = {
                    "decisions": {one.decision_id: await get(f"{v1}/decisions/{one.decision_id}") for one in decided},
                    "stats": {policy: await get(f"{v1}/stats?policy={policy}") for policy in POLICIES},
                    "budgets": [
                        account
                        for policy in POLICIES
                        for account in (await get(f"{v1}/budgets?policy={policy}"))["budgets"]
                    ],
                }
        return read

    async def _until_folded(self) -> None:
        """Until the learner's queue is empty; it is wrong when it stays filled."""
        queued = await asyncio.to_thread(_wait_for_queue, self._scene.replicas[0].database)
        if queued:
            self.wrong.append(f"{queued} rewards were not learned in {PATIENCE_S:.0f} s")


def _wait_for_queue(database: str) -> int:
    """Wait until the learner's queue is empty. Returns what it still holds at the end of all patience."""
    engine = create_engine(normalise_url(database))
    until_s = time.monotonic() + PATIENCE_S
    try:
        while True:
            with engine.connect() as connection:
                queued = int(connection.execute(text("SELECT count(*) FROM fold_queue")).scalar_one())
            if not queued or time.monotonic() > until_s:
                return queued
            time.sleep(0.1)
    finally:
        engine.dispose()


class _LearnerWatch:
    """Looks who learns, ten times a second, past all proxies: (monotonic seconds, holder of the lease, versions)."""

    def __init__(self, database: str) -> None:
        self._engine = create_engine(normalise_url(database))
        self._seen: list[tuple[float, str, int]] = []

    @property
    def holder(self) -> str:
        return self._seen[-1][1] if self._seen else ""

    async def run(self) -> None:
        try:
            while True:
                try:
                    holder, versions = await asyncio.to_thread(self._look)
                    self._seen.append((time.monotonic(), holder, versions))
                except Exception:
                    self._engine.dispose()
                await asyncio.sleep(0.1)
        finally:
            self._engine.dispose()

    def _look(self) -> tuple[str, int]:
        with self._engine.connect() as connection:
            holder = connection.execute(text("SELECT holder FROM lease WHERE name = 'learner'")).scalar() or ""
            return holder, connection.execute(
                text("SELECT coalesce(sum(version), 0) FROM learner_state")
            ).scalar_one()

    async def until_another(self, before: str, since_s: float) -> float | None:
        """Seconds from ``since_s`` until another one has learned something while it holds the lease."""
        until_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < until_s:
            base: int | None = None
            for at_s, holder, versions in self._seen:
                if at_s < since_s or holder in {before, ""}:
                    continue
                base = versions if base is None else base
                if versions > base:
                    return at_s - since_s
            await asyncio.sleep(0.1)
        return None


def _outcomes(history: History) -> dict[str, int]:
    kinds = ("route", "reward", "retract", "usage", "abandon", "patch", "correction")
    counts: dict[str, int] = {}
    for operation in history.operations(*kinds):
        name = {Outcome.DONE: "acknowledged", Outcome.NOTHING: "refused", Outcome.UNKNOWN: "unknown"}
        for key in (name[operation.outcome], operation.kind):
            counts[key] = counts.get(key, 0) + 1
    counts["repeated"] = sum(len(one.done) > 1 for one in history.operations(*kinds))
    counts["outcome unknown, said so"] = sum(one.code == "OUTCOME_UNKNOWN" for one in history.tries)
    counts["no answer"] = sum(one.status is None and one.sent for one in history.tries)
    return counts


def rebuild_check(url: str, config: Path) -> list[dict[str, Any]]:
    """What ``banditd rebuild --check`` says, per policy."""
    command = [sys.executable, "-m", "banditd", "rebuild", "--check", "--json"]
    done = subprocess.run(
        [*command, "--database", url, "--config", str(config)], capture_output=True, text=True, check=False
    )
    if not done.stdout.strip():
        raise RuntimeError(f"rebuild --check failed: {done.stderr[-800:]}")
    reports: list[dict[str, Any]] = json.loads(done.stdout)
    return reports
