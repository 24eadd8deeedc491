"""What evaluations read from the log, and their store. Each method is one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from banditd.core.evaluation import Evaluation, Finding
from banditd.core.rewards import Contribution
from banditd.core.types import Float32Array, FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoggedDecision:
    """A decision of the log that has taught something: how it was made, and what became of it.

    probability, mean : float64 (n,), aligned with ``arms``, as logged when it was made. x : float32 (d,).
    price_per_usd : what money took off the utility, per dollar, where budgets had a say; None elsewhere.
    call_price : what caps took off each arm's utility for a call, float64 (n,). promise : how the promise stood.
    contribution : what the arm that served has put into the sums; others : other arms. rated_at_us : when the newest
    reward came that counts.
    """

    decision_id: str
    created_at_us: int
    arm: str
    reason: str
    arms: tuple[str, ...]
    probability: FloatArray
    mean: FloatArray
    price_per_usd: float | None
    call_price: FloatArray
    exclusions: Mapping[str, str]
    x: Float32Array
    cluster: int
    facts: Mapping[str, float]
    cost_weight: float
    input_tokens: int
    keep: float | None
    baseline: str | None
    promise: Mapping[str, float | str]
    tags: Mapping[str, str] = field(default_factory=dict)
    epoch: int
    generations: Mapping[str, int]
    contribution: Contribution | None
    rated_at_us: int
    others: Sequence[Contribution] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How much of the log has rewards. decisions, rated : by arm."""

    decisions: Mapping[str, int] = field(default_factory=dict)
    rated: Mapping[str, int] = field(default_factory=dict)


class EvaluationLog(Protocol):
    async def taught(
        self, policy: str, schema_hash: str, *, since_us: int | None, before_id: str | None, limit: int
    ) -> tuple[list[LoggedDecision], str | None]:
        """(those of the next ``limit`` decisions before that id that have taught something, newest first; the id to
        go on from, None at the end). Rows that are damaged are left out.
        """

    async def logged(self, decision_ids: Sequence[str]) -> list[LoggedDecision]:
        """These decisions as they were made, oldest first, without what became of them. Damaged rows are left out."""

    async def coverage(self, policy: str, *, since_us: int, until_us: int) -> Coverage:
        """Of the decisions of that time that were drawn, by arm."""


class EvaluationStore(Protocol):
    async def add(self, evaluation: Evaluation, *, most_running: int, most_kept: int) -> bool:
        """Keep a new one; older ones that are finished go. False where too many of the policy are running."""

    async def get(self, evaluation_id: str) -> Evaluation | None: ...

    async def list(self, policy: str | None, candidate: str | None, limit: int) -> Sequence[Evaluation]:
        """Newest first."""

    async def claim(self, lease: str, *, now_us: int, until_us: int) -> Evaluation | None:
        """The oldest that runs nowhere, claimed until then; each claim is one more of its attempts."""

    async def progress(self, evaluation_id: str, lease: str, *, done: int, total: int, until_us: int) -> bool:
        """Say how far it is and keep the claim. False where the claim is over."""

    async def release(self, evaluation_id: str, lease: str) -> None:
        """Leave it to whoever comes next, as if it had not been claimed."""

    async def finish(self, evaluation_id: str, lease: str, finding: Finding, *, at_us: int) -> bool:
        """Keep what was found. False where the claim is over: nothing is kept then."""
