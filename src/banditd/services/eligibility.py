"""Which arms may answer a query: masks come before the probabilities, never after. Pure but for the caps' counters.

Hard exclusions (disabled, not a candidate, too dear, too slow, ...) always hold. Soft ones (a breaker of
``breakers.py``, a traffic cap) give way when they would leave nothing: serving something beats serving nobody.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from banditd.core.errors import InvalidInputError, NoEligibleArmError
from banditd.core.types import FloatArray, IntArray, Query
from banditd.services.breakers import Breakers
from banditd.services.policy import RouteView

# A capped arm may exceed its share by this many decisions in a burst.
SHARE_BURST = 20.0


class TrafficCaps:
    """Traffic caps of one policy in this process.

    A cap is a token bucket: every decision adds ``max_share`` tokens to every capped arm, a decision for that arm
    takes one.
    """

    def __init__(self) -> None:
        self._tokens: dict[str, float] = {}

    def count(self, view: RouteView, chosen: str) -> None:
        """Account one decision against the caps."""
        for arm in view.arms:
            if arm.max_share < 1.0:
                tokens = min(SHARE_BURST, self._tokens.get(arm.arm, 1.0) + arm.max_share)
                self._tokens[arm.arm] = tokens - (1.0 if arm.arm == chosen else 0.0)

    def take_back(self, view: RouteView, chosen: str) -> None:
        """Undo ``count`` of a decision that was not committed."""
        for arm in view.arms:
            if arm.max_share < 1.0 and arm.arm in self._tokens:
                self._tokens[arm.arm] += (1.0 if arm.arm == chosen else 0.0) - arm.max_share

    def exclusions(self, view: RouteView) -> dict[str, str]:
        """Arms that have had their share: arm -> reason."""
        return {
            arm.arm: "max_share" for arm in view.arms if arm.max_share < 1.0 and self._tokens.get(arm.arm, 1.0) < 1.0
        }


@dataclass(frozen=True, slots=True)
class ArmGuards:
    """What excludes arms softly: the breakers and the traffic caps of one policy."""

    breakers: Breakers
    caps: TrafficCaps

    def drawn(self, view: RouteView, chosen: str, now_us: int) -> None:
        """A decision was drawn."""
        self.caps.count(view, chosen)
        self.breakers.drawn(chosen, now_us)

    def take_back(self, view: RouteView, chosen: str) -> None:
        """Undo ``drawn`` of a decision that was not committed."""
        self.caps.take_back(view, chosen)
        self.breakers.take_back(chosen)

    def exclusions(self, view: RouteView, now_us: int) -> dict[str, str]:
        """Soft exclusions: arm -> reason."""
        return self.caps.exclusions(view) | self.breakers.exclusions(now_us)


def is_plain(query: Query) -> bool:
    """Whether the query constrains nothing: the fast path."""
    return (
        query.candidates is None
        and not query.excluded_arms
        and not query.capabilities
        and query.upstreams is None
        and query.max_cost_usd is None
        and query.max_latency_ms is None
    )


def hard_exclusions(
    view: RouteView, query: Query, cost_usd: FloatArray, input_tokens: int, latency_ms: FloatArray | None = None
) -> dict[str, str]:
    """Arms that may not answer this query, with the reason."""
    _require_known(view, query)
    latency = view.latency_ms if latency_ms is None else latency_ms
    excluded: dict[str, str] = {}
    for i, arm in enumerate(view.arms):
        reason = _reason(view, query, i, float(cost_usd[i]), input_tokens, float(latency[i]))
        if reason is not None:
            excluded[arm.arm] = reason
    return excluded


def _reason(
    view: RouteView, query: Query, i: int, cost_usd: float, input_tokens: int, latency_ms: float
) -> str | None:
    arm = view.arms[i]
    if not arm.enabled:
        return "disabled"
    if query.upstreams is not None and arm.upstream not in query.upstreams:
        return "no_upstream"
    if query.candidates is not None and arm.arm not in query.candidates:
        return "not_a_candidate"
    if arm.arm in query.excluded_arms:
        return "excluded_by_request"
    if not query.capabilities <= arm.capabilities:
        return "capability_missing"
    if arm.context_window_tokens is not None and input_tokens > arm.context_window_tokens:
        return "context_window"
    if query.max_cost_usd is not None and cost_usd > query.max_cost_usd:
        return "max_cost_usd"
    if query.max_latency_ms is not None and latency_ms > query.max_latency_ms:
        return "max_latency_ms"
    return None


def _require_known(view: RouteView, query: Query) -> None:
    for field, names in (("candidates", query.candidates or ()), ("excluded_arms", query.excluded_arms)):
        unknown = sorted(name for name in names if name not in view.index)
        if unknown:
            raise InvalidInputError(
                f"no such arm: {', '.join(unknown)}; arms of policy {query.policy} are "
                f"{', '.join(view.index) or '(none)'}",
                code="ARM_UNKNOWN",
                field=f"/{field}",
            )


def eligible_arms(
    view: RouteView,
    query: Query,
    cost_usd: FloatArray,
    input_tokens: int,
    soft: dict[str, str],
    latency_ms: FloatArray | None = None,
) -> tuple[IntArray, dict[str, str]]:
    """Indices of the arms that may answer, and the reason of every exclusion.

    Raises
    ------
    NoEligibleArmError : nothing is left by the hard exclusions.
    """
    if not soft and is_plain(query) and view.enabled.size == len(view.arms) and view.enabled.size:
        windows_ok = all(
            a.context_window_tokens is None or input_tokens <= a.context_window_tokens for a in view.arms
        )
        if windows_ok:
            return view.enabled, {}
    excluded = hard_exclusions(view, query, cost_usd, input_tokens, latency_ms)
    allowed = [i for i, a in enumerate(view.arms) if a.arm not in excluded]
    if not allowed:
        raise NoEligibleArmError(
            "no arm may answer this query: "
            + ("; ".join(f"{arm}: {why}" for arm, why in excluded.items()) or "the policy has no arms")
            + ". Relax the constraints, or add or enable an arm.",
            exclusions=excluded,
        )
    kept = [i for i in allowed if view.arms[i].arm not in soft]
    if kept:
        excluded |= {a: why for a, why in soft.items() if a in view.index and a not in excluded}
        allowed = kept
    return np.array(allowed, dtype=np.intp), excluded
