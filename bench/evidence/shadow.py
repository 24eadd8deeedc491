"""What eight shadows cost a query: the route's median with them and without, turn by turn in one run.

One daemon in this process; queries come at even times and every one is rewarded, which is the most that shadows can
have to do. Each round is half with eight shadowed candidates and half without.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Final

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402 - after the threads are limited

from banditd.core.shadow import MOST_SHADOWS  # noqa: E402
from banditd.core.types import Query  # noqa: E402
from banditd.daemon.open import Daemon, open_services  # noqa: E402
from banditd.services.walks import RewardInput  # noqa: E402
from banditd.settings import Settings  # noqa: E402
from banditd.storage import migrate  # noqa: E402

POLICY: Final = "default"
ARMS: Final = 9
RATE: Final = 50.0  # queries a second
HALF_S: Final = 3.0
MOST_SLOWER: Final = 0.02
_ANSWERS_AFTER_S: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowCost:
    """Medians over all rounds, in milliseconds. slower : median over rounds of the ratio less 1."""

    rounds: int
    queries: int
    without_ms: float
    shadowed_ms: float
    slower: float
    counted: int


async def shadow_cost(rounds: int, half_s: float = HALF_S, rate: float = RATE) -> ShadowCost:
    """Play so many rounds."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'bench.db'}"
        migrate(url)
        arms = [
            {"arm": f"arm-{i}", "price": {"usd_per_mtok_in": 0.1 * 2**i, "usd_per_mtok_out": 0.4 * 2**i}}
            for i in range(ARMS)
        ]
        settings = Settings(
            database={"url": url}, policies={POLICY: {"arms": arms, "cost_weight": 0.1, "exploration_floor": 0.05}}
        )  # type: ignore[arg-type]
        async with open_services(settings) as daemon:
            return await _measured(daemon, rounds, half_s, rate)


async def _measured(daemon: Daemon, rounds: int, half_s: float, rate: float) -> ShadowCost:
    candidates: Any = daemon.services.candidates
    names = [f"c{i}" for i in range(MOST_SHADOWS)]
    for i, name in enumerate(names):
        settings = {"cost_weight": 0.02 * i} if i % 2 else {"kind": "linucb", "exploration_floor": 0.01 * (i + 1)}
        await candidates.create(POLICY, name, settings=settings, arms={})
    rng = np.random.default_rng(16)
    await _half(daemon, rng, half_s, rate)
    medians: dict[bool, list[float]] = {False: [], True: []}
    queries = 0
    for number in range(rounds):
        for shadowed in (bool(number % 2), not number % 2):
            for name in names:
                await candidates.shadow(POLICY, name, running=shadowed)
            taken_ms = await _half(daemon, rng, half_s, rate)
            medians[shadowed].append(float(np.median(taken_ms)))
            queries += len(taken_ms)
    counted = (await candidates.get(POLICY, names[0]))["shadow"]["rated"]
    ratio = np.array(medians[True]) / np.array(medians[False])
    return ShadowCost(
        rounds=rounds,
        queries=queries,
        without_ms=float(np.median(medians[False])),
        shadowed_ms=float(np.median(medians[True])),
        slower=float(np.median(ratio)) - 1.0,
        counted=counted,
    )


async def _half(daemon: Daemon, rng: np.random.Generator, half_s: float, rate: float) -> list[float]:
    """What every query of so many seconds has taken, in milliseconds."""
    taken_ms: list[float] = []
    tasks = []

    async def one(number: int, worth: float) -> None:
        started = perf_counter()
        decision = await daemon.services.routing.route(Query(text=f"Explain number {number} to a child, please."))
        taken_ms.append(1000.0 * (perf_counter() - started))
        await asyncio.sleep(_ANSWERS_AFTER_S)
        await daemon.services.rewards.submit([RewardInput(decision_id=decision.decision_id, value=worth)])

    begun = perf_counter()
    for number in range(int(half_s * rate)):
        await asyncio.sleep(max(begun + number / rate - perf_counter(), 0.0))
        tasks.append(asyncio.create_task(one(number, float(rng.random()))))
    await asyncio.gather(*tasks)
    await daemon.learner.drained()
    return taken_ms


def line(cost: ShadowCost) -> str:
    """What it says, in a line."""
    return (
        f"{MOST_SHADOWS} shadows, every decision rewarded: the route's median is {cost.shadowed_ms:.3f} ms, without "
        f"{cost.without_ms:.3f} ms; {100.0 * cost.slower:+.1f} % over {cost.rounds} rounds "
        f"({cost.queries:,} queries, {cost.counted:,} counted)"
    )


def main(arguments: list[str] | None = None) -> int:
    """Print it. 1 where it is more than 2 %."""
    parser = argparse.ArgumentParser(prog="python -m bench.evidence.shadow", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="each 6 s (10)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds is at least 1")
    cost = asyncio.run(shadow_cost(options.rounds))
    print(json.dumps(asdict(cost)) if options.json else line(cost))
    return 0 if cost.slower < MOST_SLOWER else 1


if __name__ == "__main__":
    sys.exit(main())
