"""The anchor: the frozen policy of a time when it was last known to be good. Live decisions are compared with it,
so that a slow loss of quality is noticed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from banditd.core.rewards import RewardEvent

FIRST_REWARDS: Final = 500
"""A policy without an anchor takes its first one after this many rewarded decisions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """The configuration that an anchor keeps, next to the policy's sums. Everything in it is JSON.

    settings : fields of ``PolicySettings`` (without its prior) and ``cost_weight``.
    arms : arm name -> fields of ``ArmPrior``, plus ``enabled`` and ``min_share``.
    prior : text of a prior file, or None.
    """

    settings: Mapping[str, Any]
    arms: Mapping[str, Mapping[str, Any]]
    prior: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """An anchor and the state of its tests.

    version : version of the learner's state when the anchor was taken.
    promotion : the newest release that had been promoted by then, or None.
    test : ``ope.drops.AnchorTest`` as JSON.
    alarm_day : day of the first alarm, counted from 1970-01-01; None if there was none.
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
    """An anchor with everything it needs to decide. segments : (arm, epoch, packed sums)."""

    anchor: Anchor
    frozen: Frozen
    hyperparameters: str
    learner: str
    segments: tuple[tuple[str, int, bytes], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorOutcome:
    """A rewarded decision that was made while an anchor was running.

    live : True if the live policy decided it, False if the anchor did.
    share : share of the traffic that the anchor decides.
    differ : whether the drawn arm came from the part where the two probability vectors do not overlap.
    value : reward in [0, 1].
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
    """An entry in an anchor's history. event : ``taken``, ``renewed`` or ``alarm``."""

    event: str
    anchor_id: str
    at_us: int
    reason: str | None = None
    key_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Taking:
    """A request to take an anchor: by whom and why. promotion : the newest release that was promoted."""

    at_us: int
    frozen: Frozen
    reason: str | None = None
    key_name: str | None = None
    promotion: str | None = None


def anchored_outcome(
    decision_id: str, events: tuple[RewardEvent, ...], merged: tuple[float, float] | None, kept: Mapping[str, object]
) -> AnchorOutcome | None:
    """The outcome for an anchor's tests; None if no anchor was running or all rewards are defaults.

    merged : (weight, reward) of the events.
    kept : what the decision stored about its release or anchor; a damaged entry gives None.
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
    """How much slow loss of quality is tolerated.

    anchor_share : share of the traffic that the anchor decides, in [0, 1); 0 turns the anchor off.
    worse_by : how far the mean reward may fall, in (0, 1).
    days_per_false_alarm : least mean number of days between false alarms, for each test; > 1.
    """

    anchor_share: float = 0.0
    worse_by: float = 0.01
    days_per_false_alarm: float = 1000.0

    @property
    def log_needed(self) -> float:
        """Natural logarithm of the evidence that raises an alarm."""
        return math.log(self.days_per_false_alarm)
