"""The anchor (what a policy was when it was last good, beside what it has become), and what may slowly be lost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from banditd.core.rewards import RewardEvent

FIRST_REWARDS: Final = 500
"""Rewarded decisions from which a policy that has no anchor takes its first one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """What of a policy stands still beside its sums. All are JSON.

    settings : fields of ``PolicySettings`` but its prior, and ``cost_weight``. arms : by name, fields of
    ``ArmPrior``, with ``enabled`` and ``min_share``. prior : text of a prior file; None without one.
    """

    settings: Mapping[str, Any]
    arms: Mapping[str, Mapping[str, Any]]
    prior: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """How an anchor stands.

    version : of the learner's state. promotion : the newest release that was promoted when it was taken; None for
    none. test : ``ope.drops.AnchorTest`` as JSON. alarm_day : of the first alarm, since 1970; None for none.
    """

    policy: str
    anchor_id: str
    schema_hash: str
    version: int
    taken_at_us: int
    promotion: str | None = None
    reason: str | None = None
    key_name: str | None = None
    test: str = "{}"
    alarm_day: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorState:
    """An anchor with all that it decides by. segments : (arm, epoch, packed sums)."""

    anchor: Anchor
    frozen: Frozen
    hyperparameters: str
    learner: str
    segments: tuple[tuple[str, int, bytes], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorOutcome:
    """A rewarded decision beside an anchor. live : on whose side. share : of the traffic that is the anchor's.
    differ : whether both have drawn otherwise. value : in [0, 1].
    """

    anchor_id: str
    decision_id: str
    unit: str
    live: bool
    share: float
    differ: bool
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorEvent:
    """event : ``taken``, ``renewed`` or ``alarm``."""

    event: str
    anchor_id: str
    at_us: int
    reason: str | None = None
    key_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Taking:
    """Who takes an anchor, and why. promotion : the newest release that was promoted."""

    at_us: int
    frozen: Frozen
    reason: str | None = None
    key_name: str | None = None
    promotion: str | None = None


def anchored_outcome(
    decision_id: str, events: tuple[RewardEvent, ...], merged: tuple[float, float] | None, kept: Mapping[str, object]
) -> AnchorOutcome | None:
    """None where the decision was made beside no anchor, or has default rewards alone.

    merged : (weight, reward) of the events. kept : what the decision has of a release or an anchor; where that is
    damaged, it says nothing.
    """
    if "anchor" not in kept or merged is None or all(event.kind == "default" for event in events):
        return None
    try:
        share = float(kept["share"])  # type: ignore[arg-type]  # a number, as it was stored
        outcome = AnchorOutcome(
            anchor_id=str(kept["anchor"]),
            decision_id=decision_id,
            unit=str(kept["unit"]),
            live=kept["side"] == "live",
            share=share,
            differ=bool(kept["differ"]),
            value=merged[1],
        )
    except (KeyError, TypeError, ValueError):
        return None
    return outcome if 0.0 < share < 1.0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftRule:
    """What is tolerated of a slow loss of quality.

    anchor_share : of the traffic that the anchor decides, in [0, 1); 0: there is none. worse_by : how much lower
    the mean reward may become, in (0, 1). days_per_false_alarm : of each test, on the average at least, > 1.
    """

    anchor_share: float = 0.0
    worse_by: float = 0.01
    days_per_false_alarm: float = 1000.0

    @property
    def log_needed(self) -> float:
        """Logarithm of the evidence that is an alarm."""
        return math.log(self.days_per_false_alarm)
