"""Clients that route and reward, alone or in batches, over raw connections: cheap beside the daemons they drive."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from banditd.simulate.families import Prompt, draw
from banditd.simulate.world import SimulatedArm, outcome

REWARD_AFTER: Final = 20
"""A connection rewards the decision that it made so many decisions ago."""
MOST_FAILURES: Final = 500
TEAMS: Final = 20
TURNS: Final = 4
"""Decisions of one session; one query in four belongs to a session, and another one in four has a key of its own."""


@dataclass(slots=True)
class Seen:
    """What clients saw since it was last taken away: latencies of both requests by replica, in milliseconds."""

    routes_ms: list[list[float]]
    rewards_ms: list[list[float]]

    @classmethod
    def of(cls, replicas: int) -> Seen:
        return cls([[] for _ in range(replicas)], [[] for _ in range(replicas)])


@dataclass(slots=True)
class _Sent:
    decision_id: str
    arm: str
    prompt: Prompt
    index: int


class Traffic:
    """Decisions over all replicas in turn, each rewarded a little later at the next replica.

    batch : decisions or rewards that go in one request; 1 for requests of their own. failures : answers that were no
    success, by what they said. done : decisions so far.
    """

    def __init__(
        self,
        urls: Sequence[str],
        arms: Mapping[str, SimulatedArm],
        *,
        connections: int,
        batch: int,
        on_decision: Callable[[], None],
    ) -> None:
        self.urls, self._arms, self._on_decision = urls, arms, on_decision
        self.batch = batch
        self._next = 0
        self._clients = [_Client(self, number) for number in range(connections)]
        self.failures: Counter[str] = Counter()
        self.seen = Seen.of(len(urls))
        self.done = 0

    async def run(self, until: int) -> None:
        """Go on until so many decisions are made, and those of this call are rewarded."""
        await asyncio.gather(*(client.run(until) for client in self._clients))

    def close(self) -> None:
        for client in self._clients:
            client.close()

    def query(self, index: int) -> tuple[Prompt, dict[str, Any], str | None]:
        """The query of that number: (prompt, body, key). Hardly two have the same text."""
        prompt = draw(random.Random(f"soak/{index}"))
        body: dict[str, Any] = {"input": prompt.text, "tags": {"team": f"team-{index % TEAMS}"}}
        if index % 4 == 0:
            body["session_id"] = f"session-{index // (4 * TURNS)}"
        return prompt, body, f"soak-{index}" if index % 4 == 1 else None

    def claim(self, until: int) -> range:
        """The next numbers, those of one request; empty where all are taken."""
        taken = range(self._next, min(self._next + self.batch, until))
        self._next = max(self._next, taken.stop)
        return taken

    def decided(self) -> None:
        self.done += 1
        self._on_decision()

    def failed(self, what: str) -> None:
        """Count it. Raises RuntimeError when too many have."""
        self.failures[what] += 1
        if self.failures.total() > MOST_FAILURES:
            raise RuntimeError(f"more than {MOST_FAILURES} requests failed, most of them with {what}")

    def earned(self, sent: _Sent) -> float:
        return outcome(self._arms[sent.arm], sent.prompt, seed=0, index=sent.index).reward


@dataclass(slots=True)
class _Client:
    """One connection to every replica."""

    traffic: Traffic
    number: int
    open: dict[int, tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(default_factory=dict)

    async def run(self, until: int) -> None:
        waiting: deque[list[_Sent]] = deque()
        while taken := self.traffic.claim(until):
            if sent := await self._route(taken):
                waiting.append(sent)
                for _ in sent:
                    self.traffic.decided()
            if sum(map(len, waiting)) > REWARD_AFTER:
                await self._reward(waiting.popleft())
        for sent in waiting:
            await self._reward(sent)

    def close(self) -> None:
        for _, writer in self.open.values():
            writer.close()
        self.open.clear()

    async def _route(self, taken: range) -> list[_Sent]:
        asked = [self.traffic.query(index) for index in taken]
        replica, key = self._replica(taken.start), asked[0][2]
        if len(taken) == 1:
            answer = await self._post(replica, "/v1/route", asked[0][1], key)
            answers = [] if answer is None else [{"decision": answer}]
        else:
            answer = await self._post(replica, "/v1/route/batch", {"queries": [body for _, body, _ in asked]}, key)
            answers = [] if answer is None else answer["results"]
        sent = []
        for index, (prompt, _, _), one in zip(taken, asked, answers, strict=False):
            if (decision := one.get("decision")) is not None:
                sent.append(_Sent(decision["decision_id"], decision["arm"], prompt, index))
            else:
                self.traffic.failed(f"/v1/route/batch: {json.dumps(one)[:200]}")
        return sent

    async def _reward(self, sent: Sequence[_Sent]) -> None:
        rewards = [
            {"decision_id": one.decision_id, "value": self.traffic.earned(one), "source": "judge"} for one in sent
        ]
        replica = self._replica(sent[0].index + self.traffic.batch)
        answer = await self._post(replica, "/v1/rewards", rewards[0] if len(rewards) == 1 else rewards, None)
        for one in answer["results"] if answer is not None and len(rewards) > 1 else ():
            if one["status_code"] >= 300:
                self.traffic.failed(f"/v1/rewards: {json.dumps(one)[:200]}")

    def _replica(self, index: int) -> int:
        return index // self.traffic.batch % len(self.traffic.urls)

    async def _post(self, replica: int, path: str, body: object, key: str | None) -> Any:
        """The answer, or None after a failure, which is counted."""
        began_s = time.perf_counter()
        try:
            status, answer = await self._exchange(replica, path, json.dumps(body).encode(), key)
        except (OSError, asyncio.IncompleteReadError) as error:
            self.traffic.failed(f"{path}: {type(error).__name__}")
            self.close()
            await asyncio.sleep(0.1)
            return None
        seen = self.traffic.seen
        took_ms = seen.rewards_ms if path == "/v1/rewards" else seen.routes_ms
        took_ms[replica].append(1e3 * (time.perf_counter() - began_s))
        if status >= 300:
            self.traffic.failed(f"{path}: {status} {answer[:200].decode(errors='replace')}")
            return None
        return json.loads(answer)

    async def _exchange(self, replica: int, path: str, body: bytes, key: str | None) -> tuple[int, bytes]:
        parts = urlsplit(self.traffic.urls[replica])
        if replica not in self.open:
            self.open[replica] = await asyncio.open_connection(parts.hostname, parts.port)
        reader, writer = self.open[replica]
        more = f"Idempotency-Key: {key}\r\n" if key is not None else ""
        head = f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n{more}"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        return int(answer[9:12]), await reader.readexactly(length)
