"""What the contract tests build their cases from."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text
from tests.patience import PATIENT

from banditd.core.errors import ConflictError, NotFoundError
from banditd.core.ids import new_id
from banditd.core.rewards import RewardSubmission
from banditd.core.types import Arm, Context, Decision, Price
from banditd.ports import DecisionFacts, FoldCommit, StoredReward, StoredSegment, Verdict
from banditd.services.upkeep.retention import Retention
from banditd.storage import Storage, open_storage
from banditd.storage.partitions.layout import SPAN_US
from banditd.storage.watch import Deadlines

NOW_US = 1_750_000_000_000_000
HOUR_US = 3_600_000_000

OpenStorage = Callable[..., AbstractAsyncContextManager[Storage]]


@asynccontextmanager
async def _checked(url: str, writer_name: str) -> AsyncIterator[Storage]:
    async with open_storage(url, writer_name=writer_name, deadlines=Deadlines(**PATIENT)) as opened:
        pool = opened.database.engine.pool
        yield opened
    # Whatever the test did, no store may have kept a connection.
    assert pool.checkedout() == 0


@pytest.fixture
def open_replica(database_url: str) -> OpenStorage:
    """Opens the test's database once more, as another replica would."""
    return lambda name="second": _checked(database_url, name)


@pytest.fixture
async def storage(database_url: str) -> AsyncIterator[Storage]:
    async with _checked(database_url, "first") as opened:
        yield opened


def judge(submission: RewardSubmission, facts: DecisionFacts | None, stored: StoredReward | None) -> Verdict:
    """A small judge: hold what is not activated, correct without a key, refuse another body under a key."""
    if facts is None:
        return Verdict(error=NotFoundError("no such decision"))
    if stored is not None and stored.body_hash == submission.body_hash:
        return Verdict(duplicate_of=stored)
    if stored is not None and submission.keyed:
        return Verdict(error=ConflictError("another body under this key"))
    status = "held" if facts.deferred and not facts.activated else "recorded"
    if submission.metric == "late":
        status = "logged"
    return Verdict(
        kind="retraction" if submission.retract else "reward",
        status=status,
        revision=0 if stored is None else stored.revision + 1,
        reward=submission.value,
        noise_variance=0.25,
        late=submission.metric == "late",
    )


def make_decision(at_us: int = NOW_US, **changes: Any) -> Decision:
    arms = changes.pop("arms", ("cheap", "middle", "dear"))
    n = len(arms)
    values: dict[str, Any] = {
        "decision_id": new_id(at_us),
        "policy": "default",
        "policy_kind": "thompson",
        "created_at_us": at_us,
        "expires_at_us": at_us + HOUR_US,
        "arm": arms[0],
        "upstream_model": "maker/model",
        "propensity": 0.5,
        "uniform": 0.25,
        "explored": False,
        "reason": "policy",
        "degraded": None,
        "arms": arms,
        "probability": np.full(n, 1 / n),
        "mean": np.linspace(0.9, 0.1, n),
        "deviation": np.linspace(0.1, 0.3, n),
        "cost_usd": np.linspace(0.001, 0.003, n),
        "penalty": np.zeros(n),
        "exclusions": {"slow": "max_latency_ms"},
        "context": Context(np.array([1.0, 0.5, -0.25]), 7, {"length": 12.0, "100 % code": 0.5}),
        "schema_hash": "schema",
        "snapshot_version": 3,
        "epoch": 2,
        "cost_weight": 0.1,
        "input_tokens": 42,
        "input_hash": "00ff",
        "input_text": None,
        "session_id": None,
        "tags": {"team": "a"},
        "deferred": False,
    }
    return Decision(**(values | changes))


_numbers = itertools.count()


def make_reward(decision_id: str, value: float | None = 1.0, **changes: Any) -> RewardSubmission:
    values: dict[str, Any] = {
        "decision_id": decision_id,
        "identity": f"src:{decision_id}/quality/human",
        "keyed": False,
        "body_hash": f"{value}",
        "metric": "quality",
        "source": "human",
        "value": value,
        "retract": False,
        "metadata": {},
        "received_at_us": NOW_US + 1_000_000 + next(_numbers),
    }
    return RewardSubmission(**(values | changes))


def make_arm(name: str = "cheap", **changes: Any) -> Arm:
    values: dict[str, Any] = {
        "policy": "default",
        "arm": name,
        "upstream_model": f"maker/{name}",
        "price": Price(1.0, 2.0, 0.0),
        "capabilities": frozenset({"tools", "vision"}),
        "created_at_us": NOW_US,
        "updated_at_us": NOW_US,
    }
    return Arm(**(values | changes))


def make_fold(base_version: int = 0, **changes: Any) -> FoldCommit:
    values: dict[str, Any] = {
        "policy": "default",
        "schema_hash": "schema",
        "base_version": base_version,
        "version": base_version + 1,
        "epoch": 2,
        "hyperparameters": '{"noise":1}',
        "learner": '{"folded":1}',
        "segments": [StoredSegment(arm="cheap", epoch=2, sums=b"\x00\x01", version=base_version + 1)],
        "at_us": NOW_US + base_version,
    }
    return FoldCommit(**(values | changes))


class Make:
    """The builders, as one fixture: ``importlib`` mode has no shared module to import them from."""

    now_us = NOW_US
    decision = staticmethod(make_decision)
    reward = staticmethod(make_reward)
    arm = staticmethod(make_arm)
    fold = staticmethod(make_fold)
    judge = staticmethod(judge)


@pytest.fixture
def make() -> type[Make]:
    return Make


@pytest.fixture
async def old_log(whole_url: str) -> str:
    """A database of an older release whose log has decisions of two spans, and one of no time."""
    async with open_storage(whole_url, writer_name="first") as storage:
        times = [NOW_US + week * SPAN_US + i * 1000 for week in range(2) for i in range(25)]
        await storage.decisions.append([*map(make_decision, times), make_decision(decision_id="zz-no-uuid")])
        with storage.database.engine.begin() as connection:
            connection.execute(text("GRANT SELECT ON decision TO PUBLIC"))
    return whole_url


@pytest.fixture
def retention() -> Callable[..., Retention]:
    """Of a storage: ``days`` for decisions (0: for ever), a minute for request keys."""

    def made(storage: Storage, now_us: Callable[[], int], days: float = 0.0) -> Retention:
        return Retention(
            maintenance=storage.maintenance,
            judging=storage.judging,
            probing=storage.probing,
            comparing=storage.comparing,
            shadows=storage.shadows,
            clock=SimpleNamespace(now_us=now_us),
            retention_days=days,
            idempotency_s=60.0,
        )

    return made
