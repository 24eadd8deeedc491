"""The load under which the daemon is killed, and the ledger of what it has acknowledged.

What was acknowledged must be there afterwards; what was sent and not acknowledged may be. Nothing else may.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from banditd.client import DaemonClient, RefusedError
from banditd.core.errors import UnavailableError
from banditd.simulate.families import draw

RETRY_PAUSE_S = 0.05


@dataclass
class RewardEntry:
    """One reward identity. ``acknowledged``: the last value the daemon confirmed; ``sent``: every value tried."""

    decision_id: str
    key: str | None
    source: str
    sent: list[float] = field(default_factory=list)
    acknowledged: float | None = None
    revisions: int = 0  # acknowledged posts of a new value
    unsure: bool = False  # a post of a new value got no answer

    @property
    def identity(self) -> str:
        return f"key:{self.key}" if self.key else f"src:{self.decision_id}/quality/{self.source}"


@dataclass
class Ledger:
    """Everything the clients know."""

    decisions: dict[str, str] = field(default_factory=dict)
    rewards: list[RewardEntry] = field(default_factory=list)
    usage: set[str] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)


class Clients:
    """Several clients that route, reward, repeat and correct until they are stopped."""

    def __init__(self, urls: list[str], ledger: Ledger, *, seed: int, workers: int = 6) -> None:
        self._urls = urls
        self._ledger = ledger
        self._seed = seed
        self._workers = workers
        self._stopping = False
        self.acknowledged = asyncio.Event()  # set by every acknowledgement: the daemon is up and working

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(self._workers):
                group.create_task(self._work(random.Random(f"{self._seed}/{number}")))

    def stop(self) -> None:
        self._stopping = True

    async def _work(self, rng: random.Random) -> None:
        pending: list[str] = []
        clients = [DaemonClient(url, timeout_s=10.0, connections=4) for url in self._urls]
        for client in clients:
            await client.__aenter__()
        try:
            while not self._stopping:
                try:
                    await self._step(rng, rng.choice(clients), pending)
                    self.acknowledged.set()
                except UnavailableError:
                    self._ledger.counts["no answer"] += 1
                    await asyncio.sleep(RETRY_PAUSE_S)
                except RefusedError as error:
                    self._ledger.counts[f"refused {error.status}"] += 1
                    if error.status not in {429, 503}:
                        self._ledger.complaints.append(str(error))
                    await asyncio.sleep(RETRY_PAUSE_S)
        finally:
            for client in clients:
                await client.__aexit__(None, None, None)

    async def _step(self, rng: random.Random, client: DaemonClient, pending: list[str]) -> None:
        dice = rng.random()
        if dice < 0.5 or not pending:
            pending.append(await self._route(rng, client))
        elif dice < 0.75:
            await self._first_reward(rng, client, pending.pop(rng.randrange(len(pending))))
        elif dice < 0.93 and self._ledger.rewards:
            await self._again(rng, client, rng.choice(self._ledger.rewards[-400:]))
        else:
            await self._usage(client, rng.choice(pending))

    async def _route(self, rng: random.Random, client: DaemonClient) -> str:
        answer = await client.route({"input": draw(rng).text})
        self._ledger.decisions[answer["decision_id"]] = answer["arm"]
        self._ledger.counts["routed"] += 1
        return str(answer["decision_id"])

    async def _first_reward(self, rng: random.Random, client: DaemonClient, decision_id: str) -> None:
        key = f"{decision_id}-{rng.randrange(1 << 30)}" if rng.random() < 0.5 else None
        entry = RewardEntry(decision_id, key, rng.choice(("judge", "human")))
        self._ledger.rewards.append(entry)
        await self._post(client, entry, round(rng.random(), 3))

    async def _again(self, rng: random.Random, client: DaemonClient, entry: RewardEntry) -> None:
        """Repeat the last value (a retry), or, without a key, send another one (a correction)."""
        value = entry.sent[-1]
        if entry.key is None and not entry.unsure and rng.random() < 0.3:
            value = round(rng.random(), 3)
        await self._post(client, entry, value)

    async def _post(self, client: DaemonClient, entry: RewardEntry, value: float) -> None:
        new = value != entry.acknowledged
        if value not in entry.sent[-1:]:
            entry.sent.append(value)
        was_unsure, entry.unsure = entry.unsure, entry.unsure or new
        body: dict[str, Any] = {"decision_id": entry.decision_id, "value": value, "source": entry.source}
        receipt = await client.reward(body, idempotency_key=entry.key)
        self._ledger.counts["rewarded" if new else "repeated"] += 1
        if not new and not was_unsure and not receipt["duplicate"] and entry.sent[-1] == value == entry.acknowledged:
            self._ledger.complaints.append(f"a repeated reward was not told duplicate: {receipt}")
        if entry.sent[-1] == value:
            entry.acknowledged, entry.unsure = value, False
        else:
            entry.unsure = True  # another client corrected it meanwhile: either may be the last

    async def _usage(self, client: DaemonClient, decision_id: str) -> None:
        # The same tokens each time, so that a repeated report is a repetition and no conflict.
        await client.usage(decision_id, {"input_tokens": 50, "output_tokens": 200, "latency_ms": 700.0})
        self._ledger.usage.add(decision_id)
        self._ledger.counts["usage"] += 1
