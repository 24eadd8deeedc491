"""One soak: replicas, the traffic through them, and what is measured at even distances."""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from banditd.client import DaemonClient
from banditd.encoders.wordpiece import MAX_REMEMBERED
from banditd.simulate.world import SimulatedArm, simulated_arms
from bench.chaos.daemons import Replica
from bench.http import CONFIG
from bench.soak.measures import Meter, RowCounter, Sample
from bench.soak.report import Soak
from bench.soak.traffic import Seen, Traffic
from bench.soak.trend import FEWEST

_WINDOWS: Final = 400
_WINDOW: Final = 50
"""Samples of a run, at most; and decisions of each replica between two of them, at least."""
FEWEST_DECISIONS: Final = 2 * FEWEST * _WINDOW
"""Of each replica: what the trend over the second half needs."""
_WORDS_A_TEXT: Final = 250  # of six digits: fewer characters than the encoder reads of a text


async def soak(
    *, folder: Path, database: str, replicas: int, decisions: int, connections: int, batch: int, name: str
) -> Soak:
    """Start that many daemons on the database, send the traffic through them, and stop them.

    ``name`` heads its table; ``connections`` are those to each replica; ``batch`` decisions or
    rewards go in one request. Progress goes to standard error.
    """
    config = folder / "soak.yaml"
    config.write_text(CONFIG.format(access="false"), encoding="utf-8")
    daemons = [Replica(database=database, config=config, log=folder / f"{n}.log") for n in range(replicas)]
    counter = None
    try:
        for daemon in daemons:  # one after the other: the first migrates
            await daemon.start()
        counter = RowCounter(database)
        return await _measured(daemons, counter, decisions=decisions, connections=connections, batch=batch, name=name)
    finally:
        if counter is not None:
            counter.close()
        await asyncio.gather(*(daemon.stop() for daemon in daemons))


async def _measured(
    daemons: Sequence[Replica], counter: RowCounter, *, decisions: int, connections: int, batch: int, name: str
) -> Soak:
    await asyncio.gather(*(_fill_the_encoder(daemon.url) for daemon in daemons))
    watch = _Watch(daemons, decisions)
    traffic = Traffic(
        [daemon.url for daemon in daemons],
        await arms_of(daemons[0].url),
        connections=connections,
        batch=batch,
        on_decision=lambda: watch.look(traffic),
    )
    seconds = 0.0
    stored = [await asyncio.to_thread(counter.count, 0)]
    for until in (decisions // 2, decisions):
        began_s = time.monotonic()
        await traffic.run(until)
        seconds += time.monotonic() - began_s
        traffic.close()  # a daemon does not keep idle connections for as long as this may take
        stored.append(await asyncio.to_thread(counter.count, traffic.done))
    watch.end()
    return Soak(
        name=name,
        seconds=seconds,
        samples=watch.samples,
        stored=stored,
        failures=dict(traffic.failures.most_common(20)),
    )


async def _fill_the_encoder(url: str) -> None:
    """Let it meet as many words as it remembers: else its memory would grow for hours, and then no more."""
    words = map(str, itertools.count(100_000))
    async with DaemonClient(url) as client:
        for _ in range(1 + MAX_REMEMBERED // _WORDS_A_TEXT):
            await client.route({"input": " ".join(itertools.islice(words, _WORDS_A_TEXT)), "dry_run": True})


async def arms_of(url: str) -> dict[str, SimulatedArm]:
    """What the daemon's arms are worth, by name."""
    async with DaemonClient(url) as client:
        return {arm.name: arm for arm in simulated_arms(await client.arms("default"))}


class _Watch:
    """Takes the samples, and shows how far it is."""

    def __init__(self, daemons: Sequence[Replica], decisions: int) -> None:
        self._meters = [Meter(daemon.pid, number) for number, daemon in enumerate(daemons)]
        self._all, self._every = decisions, max(_WINDOW * len(daemons), decisions // _WINDOWS)
        self._since_s = time.monotonic()
        self._on_terminal = sys.stderr.isatty()
        self.samples: list[list[Sample]] = [[] for _ in daemons]

    def look(self, traffic: Traffic) -> None:
        """After a decision: every so often a sample of all replicas. Raises OSError where one has gone."""
        if traffic.done % self._every:
            return
        seen, traffic.seen = traffic.seen, Seen.of(len(self._meters))
        newest = [meter.sample(traffic.done, seen) for meter in self._meters]
        for samples, sample in zip(self.samples, newest, strict=True):
            samples.append(sample)
        now_s = time.monotonic()
        per_s, self._since_s = self._every / (now_s - self._since_s), now_s
        if self._on_terminal or len(self.samples[0]) % 20 == 0:
            memory = " + ".join(f"{one.resident_mb:.1f}" for one in newest)
            median = max(one.route_p50_ms for one in newest)
            line = f"{traffic.done:,} of {self._all:,} decisions, {per_s:,.0f}/s, {memory} MB, median {median:.1f} ms"
            self._show(f"\r{line}   " if self._on_terminal else f"... {line}\n")

    def end(self) -> None:
        if self._on_terminal:
            self._show("\n")

    @staticmethod
    def _show(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
