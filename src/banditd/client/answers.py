"""What the daemon answers, as frozen values. ``raw`` is the whole JSON, with fields this release does not know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

Json = Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One routing decision.

    decision_id : to reward it by; empty for a dry run.
    arm, model : the arm, and the name to call its model by.
    propensity : the probability with which the arm was drawn, in (0, 1].
    predicted_reward : in [0, 1]; predicted_cost_usd : US dollars; None where nothing is known.
    fallbacks : the other eligible models, best first.
    degraded : why the decision was made without a context; None when it was not.
    """

    decision_id: str
    policy: str
    arm: str
    model: str
    propensity: float
    predicted_reward: float | None
    predicted_cost_usd: float | None
    explored: bool
    reason: str
    degraded: str | None
    fallbacks: tuple[str, ...]
    policy_version: int
    expires_at: datetime
    raw: Mapping[str, Json] = field(repr=False)

    @classmethod
    def from_json(cls, answer: Mapping[str, Json]) -> Self:
        return cls(
            decision_id=answer["decision_id"] or "",
            policy=answer["policy"],
            arm=answer["arm"],
            model=answer["upstream_model"],
            propensity=answer["propensity"],
            predicted_reward=answer["predicted_reward"],
            predicted_cost_usd=answer["predicted_cost_usd"],
            explored=answer["explored"],
            reason=answer["reason"],
            degraded=answer["degraded"],
            fallbacks=tuple(answer["fallbacks"]),
            policy_version=answer["policy_version"],
            expires_at=datetime.fromisoformat(answer["expires_at"]),
            raw=answer,
        )


class _Receipt:
    """An answer whose fields are those of its JSON; those that an older daemon does not send keep their defaults."""

    __slots__: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, answer: Mapping[str, Json]) -> Self:
        return cls(**{name: answer[name] for name in cls.__slots__ if name in answer})


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardReceipt(_Receipt):
    """What became of a reward. ``status``: recorded (will be learned), held or logged. ``reward``: in [0, 1].

    arm : the one that it is a reward of where another served; None: it is the decision's own.
    """

    reward_id: str
    decision_id: str
    status: str
    duplicate: bool
    revision: int
    reward: float | None
    late: bool
    arm: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskReceipt(_Receipt):
    """What became of a reward of a task.

    decisions : of the task. recorded : how many of them learn it. outweighed : how many have a reward of their own,
    which counts in its place. held : how many wait for activation. logged : how many never learn it.
    reward : in [0, 1].
    """

    task_id: str
    decisions: int
    recorded: int
    outweighed: int
    held: int
    logged: int
    reward: float | None
    duplicate: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageReceipt(_Receipt):
    """What became of a usage report. ``cost_usd``: None while neither dollars nor tokens of the answer are known.

    revision : 0 for a decision's first report, then one more for every one that told something new.
    """

    decision_id: str
    duplicate: bool
    cost_usd: float | None
    revision: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmView:
    """An arm as the daemon lists it. ``mean_reward`` is None before its first reward."""

    arm: str
    model: str
    enabled: bool
    decisions: int
    mean_reward: float | None
    raw: Mapping[str, Json] = field(repr=False)

    @classmethod
    def from_json(cls, answer: Mapping[str, Json]) -> Self:
        return cls(
            arm=answer["arm"],
            model=answer["upstream_model"],
            enabled=answer["enabled"],
            decisions=answer["usage"]["decisions"],
            mean_reward=answer["statistics"].get("mean_reward"),
            raw=answer,
        )
