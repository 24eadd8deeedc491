"""Small in-memory services for tests of the HTTP layer alone. The walks themselves are tested elsewhere."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from banditd.core.errors import BanditdError, ConflictError, NoEligibleArmError, NotFoundError
from banditd.core.request_keys import RequestKey
from banditd.core.rewards import RewardReceipt, UsageReport
from banditd.core.types import Arm, ArmUsage, Context, Decision, Query
from banditd.obs.metrics import Metrics
from banditd.ports.tags import TagValue
from banditd.services.arms import ArmView
from banditd.services.bundle import Services
from banditd.services.walks import RewardInput, UsageReceipt
from banditd.web.app import WebSettings, create_app

Client = TestClient[web.Request, web.Application]

NOW_US = 1_760_000_000_000_000
UNKNOWN = "00000000-0000-7000-8000-00000000dead"


@dataclass
class Turns:
    """How many turns of the event loop somebody else has had."""

    taken: int = 0


@contextmanager
def somebody_else() -> Iterator[Turns]:
    """Somebody who takes every turn of the event loop that is left to others."""
    turns = Turns()

    async def take() -> None:
        while True:
            await asyncio.sleep(0)
            turns.taken += 1

    beside = asyncio.get_running_loop().create_task(take())
    try:
        yield turns
    finally:
        beside.cancel()


def decision_of(query: Query) -> Decision:
    return Decision(
        decision_id=str(uuid.uuid4()),
        policy=query.policy,
        policy_kind="fixed",
        created_at_us=NOW_US,
        expires_at_us=NOW_US + 3_600_000_000,
        arm="small",
        upstream_model="vendor/small-1",
        propensity=0.75,
        uniform=0.5,
        explored=False,
        reason="policy",
        degraded=None,
        arms=("large", "small", "middle"),
        probability=np.array([0.05, 0.75, 0.2]),
        mean=np.array([0.9, 0.8, 0.7]),
        deviation=np.array([0.1, 0.1, np.nan]),
        cost_usd=np.array([0.01, 0.001, 0.002]),
        penalty=np.array([0.5, 0.05, 0.1]),
        exclusions={"gone": "disabled"},
        context=Context(np.ones(1), 0),
        schema_hash="s",
        snapshot_version=7,
        epoch=0,
        cost_weight=0.0,
        input_tokens=3,
        input_hash=None,
        input_text=None,
        session_id=query.session_id,
        tags=query.tags,
        deferred=query.defer_activation,
    )


@dataclass
class MemoryRouting:
    queries: list[Query] = field(default_factory=list)
    failure: BaseException | None = None
    recipes: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    async def route(self, query: Query) -> Decision:
        self.queries.append(query)
        if self.failure is not None:
            raise self.failure
        if query.candidates == ("gone",):
            raise NoEligibleArmError("no arm is eligible", exclusions={"gone": "disabled"})
        return decision_of(query)

    def recipes_of(self, decision: Decision) -> Mapping[str, Mapping[str, object]]:
        return self.recipes

    async def route_batch(self, queries: list[Query]) -> list[Decision | BanditdError]:
        results: list[Decision | BanditdError] = []
        for query in queries:
            try:
                results.append(await self.route(query))
            except BanditdError as error:
                results.append(error)
        return results


@dataclass
class MemoryRewards:
    given: list[RewardInput] = field(default_factory=list)
    usage: list[UsageReport] = field(default_factory=list)

    async def submit(self, rewards: list[RewardInput]) -> list[RewardReceipt | BanditdError]:
        self.given.extend(rewards)
        return [self._one(reward) for reward in rewards]

    def _one(self, reward: RewardInput) -> RewardReceipt | BanditdError:
        if reward.decision_id == UNKNOWN:
            return NotFoundError("no such decision", code="DECISION_NOT_FOUND", field="/decision_id")
        if reward.idempotency_key == "taken":
            return ConflictError("another body", code="IDEMPOTENCY_KEY_REUSED", field="/idempotency_key")
        status = "held" if reward.source == "held" else "recorded"
        return RewardReceipt(
            reward_id=str(uuid.uuid4()),
            decision_id=reward.decision_id,
            status=status,
            duplicate=False,
            revision=0,
            reward=reward.value,
        )

    async def retract(self, reward_id: str, owner: str | None = None) -> RewardReceipt:
        if reward_id == UNKNOWN:
            raise NotFoundError("no such reward", code="REWARD_NOT_FOUND")
        return RewardReceipt(
            reward_id=reward_id,
            decision_id=str(uuid.uuid4()),
            status="recorded",
            duplicate=False,
            revision=1,
            reward=None,
        )

    async def report_usage(self, report: UsageReport) -> UsageReceipt:
        self.usage.append(report)
        return UsageReceipt(decision_id=report.decision_id, duplicate=False, cost_usd=report.cost_usd, revision=0)

    async def activate(
        self, decision_id: str, key: RequestKey | None = None, owner: str | None = None
    ) -> tuple[bool, bool]:
        return decision_id != UNKNOWN, False

    async def abandon(
        self, decision_id: str, key: RequestKey | None = None, owner: str | None = None
    ) -> tuple[bool, bool]:
        return decision_id != UNKNOWN, False


@dataclass
class MemoryArms:
    arms: dict[str, Arm] = field(default_factory=dict)

    async def list(self, policy: str) -> list[ArmView]:
        return [self._view(arm) for arm in self.arms.values() if arm.policy == policy]

    async def positions(self, policy: str) -> dict[str, int]:
        return {arm: at for at, arm in enumerate(self.arms, 1)}

    async def get(self, policy: str, arm: str) -> ArmView:
        if arm not in self.arms:
            raise NotFoundError(f"policy {policy} has no arm {arm}", code="ARM_UNKNOWN")
        return self._view(self.arms[arm])

    async def add(self, arm: Arm, key: RequestKey | None = None, *, anew: bool = True) -> ArmView:
        if arm.arm in self.arms:
            raise ConflictError("it exists", code="ARM_EXISTS", field="/arm")
        self.arms[arm.arm] = arm
        return self._view(arm)

    async def patch(
        self, policy: str, arm: str, changes: Any, *, price_from_us: int | None = None, key: RequestKey | None = None
    ) -> ArmView:
        await self.get(policy, arm)
        if price_from_us is not None:
            del changes["price"]
        if "price" in changes:
            changes["price"] = dataclasses.replace(self.arms[arm].price, **changes["price"])
        self.arms[arm] = dataclasses.replace(self.arms[arm], **changes)
        return self._view(self.arms[arm])

    async def delete(self, policy: str, arm: str, key: RequestKey | None = None) -> bool:
        await self.get(policy, arm)
        del self.arms[arm]
        return False

    def _view(self, arm: Arm) -> ArmView:
        return ArmView(arm=arm, usage=ArmUsage(arm=arm.arm), price_history=[(NOW_US, arm.price)])


class MemoryTags:
    """Answers its arguments too."""

    async def tags(self, policy: str) -> dict[str, object]:
        return {"policy": policy, "tags": []}

    async def value_of(self, policy: str, text: str) -> TagValue:
        tag, _, value = text.partition(":")
        return TagValue(tag, value or None)

    async def stats(
        self, policy: str, window_s: int | None, *, of: str | None = None, by: str | None = None
    ) -> dict[str, object]:
        return {"policy": policy, "window_s": window_s} | _asked(of, by)

    async def timeseries(
        self, policy: str, since_us: int | None, until_us: int | None, step_s: int, **asked: str | None
    ) -> dict[str, object]:
        told = {"policy": policy, "since": since_us, "until": until_us, "step_s": step_s, "steps": []}
        return told | _asked(**asked)

    async def contexts(self, policy: str, *, of: str | None = None, by: str | None = None) -> dict[str, object]:
        return {"policy": policy, "clusters": []} | _asked(of, by)

    async def rename(self, policy: str, cluster: int, name: str | None) -> dict[str, object]:
        return {"policy": policy, "cluster": cluster, "name": name or "shipped", "name_source": "user"}


def _asked(of: str | None, by: str | None) -> dict[str, object]:
    return {name: value for name, value in (("of", of), ("by", by)) if value is not None}


class MemoryReports:
    """Answers its arguments: what the HTTP layer hands over is what these tests look at."""

    async def stats(self, policy: str, window_s: int | None) -> dict[str, object]:
        return {"policy": policy, "window_s": window_s}

    async def savings(
        self, policy: str, since_us: int | None = None, until_us: int | None = None, step_s: int | None = None
    ) -> dict[str, object]:
        return {"policy": policy, "since": since_us, "until": until_us, "step_s": step_s}

    async def contexts(self, policy: str) -> dict[str, object]:
        return {"policy": policy, "clusters": []}

    async def timeseries(
        self, policy: str, since_us: int | None, until_us: int | None, step_s: int
    ) -> dict[str, object]:
        return {"policy": policy, "since": since_us, "until": until_us, "step_s": step_s, "steps": []}

    async def decisions(self, filters: Any) -> dict[str, object]:
        return dataclasses.asdict(filters)

    async def decision(self, decision_id: str) -> dict[str, object]:
        raise NotFoundError("no such decision", code="DECISION_NOT_FOUND")

    async def policies(self) -> dict[str, object]:
        return {"policies": []}

    async def policy_report(self, policy: str) -> dict[str, object]:
        return {"policy": policy}

    async def snapshots(self, policy: str, limit: int) -> dict[str, object]:
        return {"policy": policy, "snapshots": [], "limit": limit}


class MemoryDashboard:
    """The same for the dashboard's endpoints."""

    async def map(self, policy: str, limit: int) -> dict[str, object]:
        return {"policy": policy, "points": [], "limit": limit}

    async def choices(self, policy: str) -> dict[str, object]:
        return {"policy": policy, "clusters": []}

    async def learning(self, policy: str) -> dict[str, object]:
        return {"policy": policy}

    async def abilities(self, policy: str) -> dict[str, object]:
        return {"policy": policy, "arms": [], "clusters": [], "misfit": None}


@dataclass
class MemoryHealth:
    ready: bool = True

    async def readiness(self) -> tuple[bool, dict[str, object]]:
        return self.ready, {"database": {"ok": self.ready}, "failing": [] if self.ready else ["database"]}


class MemoryBudgets:
    async def budgets(self, policy: str) -> dict[str, object]:
        return {"policy": policy, "budgets": [], "guard": None}


class MemoryPromises:
    def promise(self, policy: str) -> dict[str, object]:
        return {"policy": policy}

    async def change(self, policy: str, changes: Mapping[str, object]) -> dict[str, object]:
        return {"policy": policy, **changes}


class MemoryCorrections:
    async def correct(self, asked: Any) -> dict[str, object]:
        return {"correction_id": asked.correction_id or "c"}


@dataclass
class MemoryDaemon:
    """What ``create_app`` opens in these tests."""

    routing: MemoryRouting = field(default_factory=MemoryRouting)
    rewards: MemoryRewards = field(default_factory=MemoryRewards)
    arms: MemoryArms = field(default_factory=MemoryArms)
    health: MemoryHealth = field(default_factory=MemoryHealth)
    metrics: Metrics = field(default_factory=Metrics)
    closed: bool = False

    @property
    def services(self) -> Services:
        return Services(
            routing=self.routing,
            rewards=self.rewards,
            arms=self.arms,
            reports=MemoryReports(),
            tags=MemoryTags(),
            budgets=MemoryBudgets(),
            corrections=MemoryCorrections(),
            dashboard=MemoryDashboard(),
            abilities=MemoryDashboard(),
            health=self.health,
            promises=MemoryPromises(),
        )

    @asynccontextmanager
    async def open(self) -> AsyncIterator[MemoryDaemon]:
        yield self
        self.closed = True


@pytest.fixture
def daemon() -> MemoryDaemon:
    return MemoryDaemon()


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Any]]:
    """Start an application over the given daemon; everything is stopped at the end of the test."""
    async with AsyncExitStack() as stack:

        async def start(daemon: MemoryDaemon, **settings: Any) -> Client:
            settings.setdefault("access_log", False)
            app = create_app(daemon.open, WebSettings(**settings))
            return await stack.enter_async_context(TestClient(TestServer(app)))

        yield start


@pytest.fixture
async def client(serve: Callable[..., Any], daemon: MemoryDaemon) -> Client:
    return await serve(daemon)
