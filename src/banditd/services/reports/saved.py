"""Dollars compared with one arm alone; every report compares costs in this way. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from banditd.services.reports.summaries import Row, ratio

SAVED_SUMS: Final = (
    "fixed_decisions", "fixed_cost_usd", "compared_decisions", "compared_usd", "compared_fixed_usd",
)  # fmt: skip
"""Columns of an arm that ``saved_against`` reads."""
_ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Saved:
    """Dollars compared with one arm.

    basis : ``settled`` costs, or ``predicted`` ones while too few are settled.
    compared : number of decisions in both figures.
    reason : why there is no comparison.
    """

    spent_usd: float | None = None
    would_have_cost_usd: float | None = None
    compared: int = 0
    basis: str | None = None
    reason: str | None = None

    @property
    def usd(self) -> float | None:
        if self.spent_usd is None or self.would_have_cost_usd is None:
            return None
        difference = self.would_have_cost_usd - self.spent_usd
        # For the baseline's own answers both sums are the same dollars, added up in different orders.
        return 0.0 if abs(difference) <= _ROUNDING * self.would_have_cost_usd else difference

    @property
    def share(self) -> float | None:
        if self.usd is None or not self.would_have_cost_usd:
            return None
        return self.usd / self.would_have_cost_usd

    @property
    def usd_per_decision(self) -> tuple[float | None, float | None]:
        """(with that arm alone, as routed), over the decisions in both figures."""
        if self.spent_usd is None or self.would_have_cost_usd is None:
            return None, None
        return ratio(self.would_have_cost_usd, self.compared), ratio(self.spent_usd, self.compared)

    def fields(self) -> dict[str, object]:
        """As the API writes it."""
        return {
            "usd": self.usd,
            "share": self.share,
            "would_have_cost_usd": self.would_have_cost_usd,
            "spent_usd": self.spent_usd,
            "compared_decisions": self.compared,
            "basis": self.basis,
            "reason": self.reason,
        }


def as_routed(compared: Iterable[Saved], total: Mapping[str, float]) -> tuple[float | None, str | None]:
    """(mean cost of a decision as routed, its basis), from the comparison that covers most decisions."""
    able = [one for one in compared if one.usd_per_decision[1] is not None]
    if able:
        most = max(able, key=lambda one: one.compared)
        return most.usd_per_decision[1], most.basis
    ours = ratio(total.get("predicted_spend_usd", 0.0), total.get("decisions", 0.0))
    return ours, None if ours is None else "predicted"


def alone_usd(saved: Saved, row: Row) -> float | None:
    """Mean cost of a decision with that arm alone, over those that it could have answered; None if there are none."""
    cost = saved.usd_per_decision[0]
    return (
        cost if cost is not None else ratio(float(row.get("fixed_cost_usd", 0.0)), int(row.get("fixed_decisions", 0)))
    )


def saved_against(arm: str, row: Row, total: Mapping[str, float]) -> Saved:
    """What was saved against ``arm``. row : its sums. total : the sums of all arms."""
    decisions, priced = int(total.get("decisions", 0)), int(row.get("fixed_decisions", 0))
    compared = int(row.get("compared_decisions", 0))
    if not decisions:
        return Saved(reason="no decision has been made yet")
    if compared > 0 and 2 * compared >= min(priced, decisions):
        spent, would = float(row.get("compared_usd", 0.0)), float(row.get("compared_fixed_usd", 0.0))
        return Saved(spent, would, compared, "settled")
    if priced >= decisions:
        return Saved(
            total.get("predicted_spend_usd", 0.0), float(row.get("fixed_cost_usd", 0.0)), decisions, "predicted"
        )
    if not priced:
        return Saved(reason=f"{arm} could not have answered any of these decisions")
    return Saved(
        reason=f"{arm} could have answered {priced:,} of {decisions:,} decisions, and few of them are settled"
    )
