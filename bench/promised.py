"""What a promise costs: solving for its terms, and choosing under it beside a daemon that promises nothing."""

from __future__ import annotations

import asyncio
import statistics
import time
from pathlib import Path
from typing import Final

import numpy as np

from banditd.bandit.policies.base import ArmPrior, PolicySettings
from banditd.bandit.state import PolicyState
from banditd.cli.process import start_daemon, stop_daemon, wait_until_serving
from banditd.deciding.promise import Misses, Promise
from banditd.deciding.promise_window import WINDOW
from banditd.encoders.static import SHIPPED_FOLDER, load_static_encoder
from banditd.features.context import ContextBuilder
from banditd.features.maps import load_feature_maps
from banditd.ope.reference import RatedDecision
from bench.http import CONFIG, PROMISED, Server, teach
from bench.load import drive
from bench.queries import text_bodies, texts
from bench.table import Row
from bench.threads import processor_s, split_s

SECTION: Final = "A promise"
ARMS: Final = 12
TAUGHT: Final = 600


def measure(folder: Path, *, quick: bool) -> list[Row]:
    solve_ms = _solve_ms(20 if quick else 100)
    ratio, (plain_us, promised_us) = _choose(folder, rounds=4 if quick else 20)
    return [
        Row(
            section=SECTION,
            name=f"solve, {WINDOW} contexts x {ARMS} arms, median",
            value=solve_ms,
            unit="ms",
            target=5,
            note="not on the request path",
        ),
        Row(
            section=SECTION,
            name="POST /v1/route: with a promise against without",
            value=ratio,
            unit="x",
            target=1.05,
            note=f"processor time {promised_us:,.0f} us against {plain_us:,.0f} us",
        ),
    ]


def _solve_ms(times: int) -> float:
    encoder = load_static_encoder()
    builder = ContextBuilder(encoder_id=encoder.encoder_id, maps=load_feature_maps(SHIPPED_FOLDER))
    contexts = [builder.build(text=text, embedding=encoder.encode_now(text)).x for text in texts(WINDOW)]
    generator = np.random.default_rng(0)
    names, cost_usd = [f"arm-{i}" for i in range(ARMS)], np.geomspace(1e-4, 1e-2, ARMS)
    priors = [ArmPrior(name, cost_usd=float(cost)) for name, cost in zip(names, cost_usd, strict=True)]
    state = PolicyState(schema=builder.schema, settings=PolicySettings(), arms=priors)
    promise = Promise(n_arms=ARMS, n_features=builder.schema.n_features, baseline=ARMS - 1, keep=0.95)
    misses, worth = Misses(), np.linspace(0.5, 0.8, ARMS)
    vector, everything = np.full((1, ARMS), 1.0 / ARMS), np.ones((1, ARMS), dtype=bool)
    for number in range(TAUGHT):
        x, arm = contexts[number % WINDOW], int(generator.integers(ARMS))
        reward = float(generator.random() < worth[arm])
        state.fold(arm=names[arm], epoch=0, x=x, weight=1.0, reward=reward)
        misses.add(RatedDecision(reward, float(worth[arm]), 0.8, 1.0 / ARMS, is_baseline=arm == ARMS - 1))
        promise.observe(x[None], cost_usd=cost_usd[None], eligible=everything, own=vector)
    posterior, seen = state.snapshot().posterior, []
    for _ in range(times):
        began = time.perf_counter()
        promise.solve(posterior, misses, silence=0)
        seen.append(1e3 * (time.perf_counter() - began))
    return statistics.median(seen)


def _choose(folder: Path, *, rounds: int) -> tuple[float, list[float]]:
    """(processor time under a promise over that without, us a request of either), of short rounds in turn."""
    processes = []
    bodies = text_bodies(500)
    try:
        for name, promise in (("plain", ""), ("promised", PROMISED)):
            config = folder / f"{name}.yaml"
            config.write_text(CONFIG.format(access="false") + promise, encoding="utf-8")
            database = f"sqlite:///{folder}/{name}.db"
            processes.append(start_daemon(database=database, config=config, log=folder / f"{name}.log"))
        servers = [Server(wait_until_serving(process), process.pid) for process in processes]
        for server in servers:
            asyncio.run(teach(server.url, 300))
        seen: list[list[float]] = [[], []]
        for turn in range(rounds):
            for which in (0, 1) if turn % 2 else (1, 0):
                seen[which].append(_processor_us(servers[which], bodies))
        ratios = [promised / plain for plain, promised in zip(*seen, strict=True)]
        return statistics.median(ratios), [statistics.median(one) for one in seen]
    finally:
        for process in processes:
            stop_daemon(process)


def _processor_us(server: Server, bodies: list[bytes]) -> float:
    """Of a request, all threads, over one connection for a second."""
    before = processor_s(server.pid)
    load = drive(f"{server.url}/v1/route", bodies, connections=1, seconds=1)
    return 1e6 * sum(split_s(server.pid, before).values()) / max(load.requests, 1)
