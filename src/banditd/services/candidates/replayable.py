"""Which candidates can be evaluated on logged decisions or in a shadow."""

from __future__ import annotations

from typing import Final

from banditd.core.evaluation import Finding
from banditd.services.candidates.applying import NEW_ANSWERS, Applied
from banditd.services.candidates.verdict import ARM_OF_ITS_OWN, CHANGE_ITSELF
from banditd.services.policy import PolicyRuntime

CAPS: Final = "it changes traffic caps (max_share), and a cap depends on traffic that the log has not seen"


def not_to_be_replayed(runtime: PolicyRuntime, applied: Applied) -> Finding | None:
    """Why logged decisions cannot be decided again by it; None if they can."""
    pairs = list(zip(runtime.arms, applied.arms, strict=True))
    changed = [now.arm for now, then in pairs if any(getattr(now, f) != getattr(then, f) for f in NEW_ANSWERS)]
    if changed:
        reason = f"{', '.join(changed)} would answer differently than in the log: its rewards say nothing about that"
        return Finding(phase="inconclusive", reason=reason, settles=ARM_OF_ITS_OWN)
    if any(now.max_share != then.max_share for now, then in pairs):
        return Finding(phase="inconclusive", reason=CAPS, settles=CHANGE_ITSELF)
    return None
