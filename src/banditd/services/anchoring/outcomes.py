"""What a decision's rewards say of the anchor that it was made beside. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from banditd.core.anchor import AnchorOutcome
from banditd.core.rewards import RewardEvent


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
