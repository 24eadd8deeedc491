"""Outcomes of the newest decisions, for models that depend on them alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from banditd.core.types import Blend, BoolArray, FloatArray
from banditd.ope.reference import RatedDecision


@dataclass(frozen=True, slots=True, eq=False)
class UsageOutcome:
    """What an answer took: ``arm`` served, None where the report does not say. x : float64, shape (n_features,).

    decided_at_us : when its prices were in force. input_tokens : as reported, else as estimated.
    cached_input_tokens : of those that were reported, None where none were.
    """

    arm: str
    x: FloatArray
    decided_at_us: int
    input_tokens: int
    output_tokens: int | None
    cost_usd: float | None
    latency_ms: float | None
    cached_input_tokens: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class GuardedOutcome:
    """A rewarded decision that a mixture was blended into; vectors over its eligible arms, ``index`` was drawn."""

    index: int
    reward: float
    blend: Blend
    probability: Sequence[float]
    mean: Sequence[float]
    penalty: Sequence[float]


@dataclass(frozen=True, slots=True, eq=False)
class RatedOutcome:
    """A rewarded decision under a promise, drawn from its logged vector, whose drawn arm served."""

    decision_id: str
    keep: float
    baseline: str
    rated: RatedDecision


@dataclass(frozen=True, slots=True, eq=False)
class PromisedOutcome:
    """A decision under a promise as it was drawn; vectors over ``arms``, the listed ones. x : (n_features,).

    eligible : bool, those that could answer on the side of a release that is asked for.
    """

    keep: float
    baseline: str
    x: FloatArray
    arms: tuple[str, ...]
    cost_usd: FloatArray
    own_probability: FloatArray
    eligible: BoolArray


class RecentOutcomes(Protocol):
    async def usage(self, policy: str, schema_hash: str, limit: int, of_each_arm: int) -> Sequence[UsageOutcome]:
        """The newest reported (not estimated, not failed) usage under a schema, oldest first.

        limit : of all arms. of_each_arm : the newest of every present arm that are older than those.
        """

    async def guarded(self, policy: str, limit: int) -> Sequence[GuardedOutcome]:
        """Among the ``limit`` newest rewarded decisions, those with a blend whose drawn arm served, oldest first."""

    async def rated(self, policy: str, limit: int, *, before_id: str | None = None) -> Sequence[RatedOutcome]:
        """Among the ``limit`` newest rewarded decisions, those drawn under a promise, oldest first.

        before_id : of the decisions before that one.
        """

    async def promised(
        self, policy: str, schema_hash: str, limit: int, *, release_id: str | None = None
    ) -> Sequence[PromisedOutcome]:
        """Among the ``limit`` newest decisions, those under a promise with contexts of a schema, oldest first.

        release_id : those under the promise of this release's candidate, on whichever side they were.
        """

    async def promised_since(self, policy: str, decision_id: str, limit: int) -> int:
        """How many decisions were drawn under a promise, from that one on; ``limit`` where there are more."""
