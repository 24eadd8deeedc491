"""The load: clients that route, reward, correct, take back, report, abandon and patch, and repeat what is unknown."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from banditd.simulate.families import draw
from bench.chaos.config import API_KEYS, ARMS, POLICIES, TEAMS
from bench.chaos.history import MARKER_TAG, History, Operation, Outcome
from bench.chaos.requests import TIMEOUT_S, Endpoint, Request

WORKERS_PER_REPLICA = 3
PROBE_PAUSE_S = 0.05
PATCH_PAUSE_S = 0.4


@dataclass(slots=True)
class Decided:
    """A decision that was acknowledged, and what its client has told of it since."""

    decision_id: str
    policy: str
    arm: str
    values: dict[str, float | None] = field(default_factory=dict)  # by source; None: taken back
    keyed: dict[str, bool] = field(default_factory=dict)  # key -> whether it was taken back
    closed: set[str] = field(default_factory=set)  # subjects of which a request may still be on its way
    told: bool = False  # usage or rewards were sent, so it cannot be abandoned


@dataclass(slots=True)
class Probe:
    """One small route that only one replica was asked for, to see whether it answers. Monotonic seconds."""

    replica: int
    start_s: float
    end_s: float
    answered: bool


class Load:
    """Several clients per replica until ``stop``; all of them record in ``history``."""

    def __init__(self, urls: Sequence[str], history: History, *, seed: str, pause_s: float = 0.05) -> None:
        self._urls = urls
        self._history = history
        self._seed = seed
        self._pause_s = pause_s
        self._stopping = False
        self.probes: list[Probe] = []
        self.decided: list[Decided] = []

    async def run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S, sock_connect=2.0)
        async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as group:
            endpoints = [Endpoint(self._urls, key, self._history, session) for key in API_KEYS.values()]
            for replica in range(len(self._urls)):
                group.create_task(self._probe(replica, endpoints[0]))
                for number in range(WORKERS_PER_REPLICA):
                    worker = _Worker(f"{self._seed}/{replica}.{number}", replica, endpoints[number % len(endpoints)])
                    group.create_task(self._work(worker))
            group.create_task(self._patch(endpoints[0]))

    def stop(self) -> None:
        self._stopping = True

    async def _work(self, worker: _Worker) -> None:
        while not self._stopping:
            began = len(worker.decided)
            await worker.step()
            self.decided += worker.decided[began:]
            await asyncio.sleep(worker.rng.uniform(0.0, 2.0 * self._pause_s))

    async def _probe(self, replica: int, endpoint: Endpoint) -> None:
        number = 0
        while not self._stopping:
            number += 1
            marker = f"{self._seed}/probe{replica}/{number}"
            body = {"input": "a question", "tags": {MARKER_TAG: marker}}
            request = Request(
                marker=marker, kind="route", policy="default", path="/v1/route", body=body, repeatable=False
            )
            [one] = await endpoint.send(request, replica)
            answered = one.outcome is Outcome.DONE
            self.probes.append(Probe(replica, one.start_s, one.end_s, answered))
            await asyncio.sleep(PROBE_PAUSE_S)

    async def _patch(self, endpoint: Endpoint) -> None:
        """One client patches all arms: prices that nobody else sets, so that each can be found again."""
        rng = random.Random(f"{self._seed}/patch")
        number = 0
        while not self._stopping:
            number += 1
            await self._correct(endpoint, f"{self._seed}/correct/{number}", rng)
            policy, arm = rng.choice(sorted(POLICIES)), rng.choice(sorted(ARMS))
            marker = f"{self._seed}/patch/{number}"
            # Of the size of the arm's own price and number of tokens, so that budgets behave as before.
            price = {"usd_per_mtok_out": round(ARMS[arm] * (1.0 + number * 1e-6), 9)}
            body = {"price": price, "expected_output_tokens": 300 + number % 50 + number / 65536}
            key = marker if rng.random() < 0.5 else None
            request = Request(
                marker=marker,
                kind="patch",
                policy=policy,
                path=f"/v1/arms/{arm}?policy={policy}",
                body=body,
                method="PATCH",
                key=key,
                subject=f"{policy}/{arm}",
                repeatable=key is not None,
            )
            await endpoint.perform(request, rng.randrange(len(self._urls)), rng)
            await asyncio.sleep(PATCH_PAUSE_S)

    async def _correct(self, endpoint: Endpoint, marker: str, rng: random.Random) -> None:
        """An operator puts some dollars on an account, or takes them off."""
        budget, account = rng.choice((("month", "all"), ("team", rng.choice(TEAMS)), ("mean", "all")))
        body = {"usd": round(rng.uniform(-1e-4, 1e-4), 9), "account": account, "reason": marker}
        key = marker if rng.random() < 0.5 else None
        request = Request(
            marker=marker,
            kind="correction",
            policy="default",
            path=f"/v1/budgets/{budget}/corrections",
            body=body,
            key=key,
            subject=f"{budget}/{account}",
            repeatable=key is not None,
        )
        await endpoint.perform(request, rng.randrange(len(self._urls)), rng)

    def worst_gap_s(self, replica: int, from_s: float, to_s: float) -> float:
        """Longest time in which this replica answered no probe that it was sent, within that stretch."""
        worst = 0.0
        waiting_since: float | None = None
        for probe in self.probes:
            if probe.replica != replica or probe.end_s < from_s or probe.start_s > to_s:
                continue
            waiting_since = probe.start_s if waiting_since is None else waiting_since
            worst = max(worst, probe.end_s - max(waiting_since, from_s))
            if probe.answered:
                waiting_since = None
        return worst

    def unacknowledged(self, from_s: float, to_s: float) -> int:
        """Requests on their way in that stretch that got no answer, or one of the daemon's failures."""
        return sum(
            one.end_s >= from_s and one.start_s <= to_s and (one.status is None or one.status >= 500)
            for one in self._history.tries
        )

    async def until_acknowledged(self, replica: int, since_s: float, patience_s: float) -> float | None:
        """Seconds from ``since_s`` until this replica acknowledges a probe begun later; None where it never does."""
        until_s = time.monotonic() + patience_s
        while time.monotonic() < until_s:
            for probe in reversed(self.probes):
                if probe.replica == replica and probe.answered and probe.start_s >= since_s:
                    return probe.end_s - since_s
                if probe.end_s < since_s:
                    break
            await asyncio.sleep(0.05)
        return None


class _Worker:
    """One client: its operations are sent one after the other."""

    def __init__(self, name: str, replica: int, endpoint: Endpoint) -> None:
        self.rng = random.Random(name)
        self.decided: list[Decided] = []
        self._name = name
        self._replica = replica
        self._endpoint = endpoint
        self._number = 0

    def _marker(self) -> str:
        self._number += 1
        return f"{self._name}/{self._number}"

    async def step(self) -> None:
        dice = self.rng.random()
        recent = self.decided[-60:]
        if dice < 0.3 or not recent:
            await self._route()
        elif dice < 0.38:
            await self._batch()
        elif dice < 0.65:
            await self._reward(self.rng.choice(recent))
        elif dice < 0.72:
            await self._retract(self.rng.choice(recent))
        elif dice < 0.95:
            await self._usage(self.rng.choice(recent))
        else:
            await self._abandon(self.rng.choice(recent))

    async def _perform(self, request: Request) -> list[Operation]:
        return await self._endpoint.perform(request, self._replica, self.rng)

    # ------------------------------------------------------------ deciding

    def _query(self, marker: str, policy: str) -> dict[str, Any]:
        query: dict[str, Any] = {"input": draw(self.rng).text, "policy": policy, "tags": {MARKER_TAG: marker}}
        if self.rng.random() < 0.7:
            query["tags"]["team"] = self.rng.choice(TEAMS)
        if self.rng.random() < 0.1:
            query["session_id"] = f"session-{self.rng.randrange(5)}"
        return query

    async def _route(self) -> None:
        marker, policy = self._marker(), self.rng.choice(sorted(POLICIES))
        key = marker if self.rng.random() < 0.5 else None
        body = self._query(marker, policy)
        request = Request(
            marker=marker,
            kind="route",
            policy=policy,
            path="/v1/route",
            body=body,
            key=key,
            repeatable=key is not None,
        )
        self._remember(await self._perform(request))

    async def _batch(self) -> None:
        marker, policy = self._marker(), self.rng.choice(sorted(POLICIES))
        key = marker if self.rng.random() < 0.5 else None
        items = [(f"{marker}#{i}", self._query(f"{marker}#{i}", policy)) for i in range(self.rng.randint(2, 4))]
        request = Request(
            marker=marker,
            kind="route",
            policy=policy,
            path="/v1/route/batch",
            body={"queries": [body for _, body in items]},
            key=key,
            items=items,
            repeatable=key is not None,
        )
        self._remember(await self._perform(request))

    def _remember(self, operations: list[Operation]) -> None:
        for operation in operations:
            for one in operation.done[:1]:
                self.decided.append(Decided(one.answer["decision_id"], one.policy, one.answer["arm"]))

    # ------------------------------------------------------------ what becomes of a decision

    async def _tell(
        self, kind: str, of: Decided, subject: str, path: str, body: dict[str, Any], key: str | None
    ) -> bool:
        """Send something about a decision; whether it was acknowledged. Uncertain subjects are left alone then."""
        marker = str(body.get("finish_reason") or body.get("metadata", {}).get(MARKER_TAG) or self._marker())
        of.told = True
        [operation] = await self._perform(
            Request(marker=marker, kind=kind, policy=of.policy, path=path, body=body, key=key, subject=subject)
        )
        if operation.outcome is Outcome.UNKNOWN or operation.may_come_late:
            of.closed.add(subject)
        return operation.outcome is Outcome.DONE

    async def _reward(self, of: Decided) -> None:
        """The first of a source, a correction, or one under a key."""
        marker, value = self._marker(), round(self.rng.random(), 6)
        source = self.rng.choice(("judge", "human"))
        body = {"decision_id": of.decision_id, "value": value, "source": source, "metadata": {MARKER_TAG: marker}}
        if self.rng.random() < 0.4:
            if await self._tell("reward", of, f"key:{marker}", "/v1/rewards", body, marker):
                of.keyed[marker] = False
            return
        subject = f"{of.decision_id}/{source}"
        if subject in of.closed or of.values.get(source) == value:
            return
        if await self._tell("reward", of, subject, "/v1/rewards", body, None):
            of.values[source] = value

    async def _retract(self, of: Decided) -> None:
        marker = self._marker()
        body = {"decision_id": of.decision_id, "retract": True, "metadata": {MARKER_TAG: marker}}
        standing = [source for source, value in of.values.items() if value is not None]
        keys = [key for key, gone in of.keyed.items() if not gone and f"key:{key}" not in of.closed]
        if keys and self.rng.random() < 0.5:
            of.keyed[keys[0]] = True
            await self._tell("retract", of, f"key:{keys[0]}", "/v1/rewards", body, keys[0])
        elif standing and f"{of.decision_id}/{standing[0]}" not in of.closed:
            subject = f"{of.decision_id}/{standing[0]}"
            if await self._tell("retract", of, subject, "/v1/rewards", body | {"source": standing[0]}, None):
                of.values[standing[0]] = None

    async def _usage(self, of: Decided) -> None:
        if of.decision_id in of.closed:
            return
        marker, rng = self._marker(), self.rng
        tokens = {"input_tokens": rng.randint(20, 400), "output_tokens": rng.randint(20, 900)}
        other = rng.choice(sorted(ARMS))
        body: dict[str, Any] = rng.choice(
            (
                {"latency_ms": round(rng.uniform(100.0, 3000.0), 3)},
                tokens,
                tokens | {"latency_ms": round(rng.uniform(100.0, 3000.0), 3)},
                {"cost_usd": round(rng.uniform(0.0001, 0.004), 7)},
                {"error": "timeout", "latency_ms": 800.0},
                {"attempts": [{"arm": of.arm, "error": "overload", "latency_ms": 50.0}, {"arm": other, **tokens}]},
            )
        )
        key = marker if rng.random() < 0.5 else None
        path = f"/v1/decisions/{of.decision_id}/usage"
        await self._tell("usage", of, of.decision_id, path, {**body, "finish_reason": marker}, key)

    async def _abandon(self, of: Decided) -> None:
        if of.told:
            return
        self.decided.remove(of)
        marker = self._marker()
        key = marker if self.rng.random() < 0.5 else None
        path = f"/v1/decisions/{of.decision_id}/abandon"
        request = Request(
            marker=marker, kind="abandon", policy=of.policy, path=path, body={}, key=key, subject=of.decision_id
        )
        await self._perform(request)
