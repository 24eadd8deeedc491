"""What routing saves, and what that does to quality: against every arm alone, and against the best mix of arms. Pure.

Costs are compared like with like (predicted against predicted, on the same decisions), quality by doubly robust
estimates on the decisions that were rewarded. Where those say too little the answer is "not enough data".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from banditd.budget.frontier import fixed_mixture_at_cost
from banditd.ope.fixed import FixedArmSums, MeanEstimate
from banditd.services.reports.summaries import Row, ratio

# A difference in quality that nobody would notice.
NEGLIGIBLE: Final = 0.005


@dataclass(frozen=True, slots=True)
class _Fixed:
    """One arm alone: its sums, and its mean predicted cost over the decisions it was eligible for."""

    arm: str
    sums: FixedArmSums
    cost_usd: float | None
    complete: bool  # eligible for every decision, or taken out by a budget only
    estimated: bool  # eligible for every rewarded decision


def savings(rows: Sequence[Row], arms: Sequence[str], total: Mapping[str, float]) -> dict[str, object]:
    """The comparison with every present arm and with the fixed-arm mixture of the same cost.

    Parameters
    ----------
    rows : sums per arm (``ReportReader.arm_totals``). arms : the present ones. total : the sums of all rows.
    """
    by_arm = {str(row["arm"]): row for row in rows}
    decisions = int(total.get("decisions", 0))
    ours = ratio(total.get("predicted_spend_usd", 0.0), decisions)
    rewarded = max((int(row.get("estimated_rewards", 0)) for row in rows), default=0)
    fixed = [_fixed(arm, by_arm.get(arm, {}), decisions, rewarded) for arm in arms]
    return {
        "cost_usd_per_decision": ours,
        "arms": [_against(one, ours) for one in fixed],
        "mixture": _mixture(fixed, ours),
    }


def fixed_arm_sums(row: Row) -> FixedArmSums:
    """The sums of one row."""

    def value(name: str) -> float:
        return float(row.get(name, 0.0))

    return FixedArmSums(
        decisions=int(row.get("estimated_rewards", 0)),
        estimate=value("estimate_sum"),
        estimate_square=value("estimate_square"),
        difference=value("difference_sum"),
        difference_square=value("difference_square"),
        weight=value("inverse_propensity_sum"),
        weight_square=value("inverse_propensity_square"),
    )


def _fixed(arm: str, row: Row, decisions: int, rewarded: int) -> _Fixed:
    eligible = int(row.get("fixed_decisions", 0))
    cost = ratio(float(row.get("fixed_cost_usd", 0.0)), eligible)
    sums = fixed_arm_sums(row)
    return _Fixed(arm, sums, cost, bool(decisions) and eligible >= decisions, sums.decisions >= rewarded)


def _against(one: _Fixed, ours_usd: float | None) -> dict[str, object]:
    reward, gain = one.sums.reward(), one.sums.gain()
    saved = one.cost_usd - ours_usd if one.cost_usd is not None and ours_usd is not None and one.complete else None
    objection = _objection(one)
    # What the arm alone would have brought beyond us is what we lose by routing.
    difference = None if gain is None else MeanEstimate(-gain.mean, gain.error)
    return {
        "arm": one.arm,
        "cost_usd_per_decision": one.cost_usd,
        "saved_usd_per_decision": saved,
        "saved_share": ratio(saved, one.cost_usd) if saved is not None and one.cost_usd else None,
        "reward": _shown(reward),
        "reward_difference": _shown(difference),
        "effective_sample_size": one.sums.effective,
        "verdict": None if objection else _verdict(difference, saved),
        "reason": objection,
    }


def _objection(one: _Fixed) -> str | None:
    """Why nothing is concluded of an arm; None when something may be."""
    if not one.complete:
        return "not enough data: it was not eligible for every decision"
    if not one.estimated:
        return "not enough data: budgets kept it from some of the rewarded decisions"
    return one.sums.objection


def _mixture(fixed: Sequence[_Fixed], ours_usd: float | None) -> dict[str, object]:
    """The best random mix of two arms at our cost, and our reward against it; of arms of which enough is known."""
    unknown = [one.arm for one in fixed if _objection(one)]
    known = [
        (one, reward)
        for one in fixed
        if one.arm not in unknown and (reward := one.sums.reward()) is not None and one.cost_usd is not None
    ]
    nothing: dict[str, object] = {
        "arms": [], "cost_usd_per_decision": None, "reward": None, "reward_difference": None, "verdict": None,
    }  # fmt: skip
    short = f"not enough data of {', '.join(unknown)}" if unknown else None
    if ours_usd is None or not known:
        return nothing | {"reason": short or "not enough data: no rewarded decision"}
    mix = fixed_mixture_at_cost(
        np.array([reward.mean for _, reward in known]), np.array([one.cost_usd for one, _ in known]), ours_usd
    )
    shares = [(known[mix.first][0], mix.share)]
    if mix.share < 1.0:
        shares.append((known[mix.second][0], 1.0 - mix.share))
    reward, difference = _combined(shares, gain=False), _combined(shares, gain=True)
    return {
        "arms": [{"arm": one.arm, "share": share} for one, share in shares],
        "cost_usd_per_decision": mix.cost_usd,
        "reward": _shown(reward),
        "reward_difference": _shown(difference),
        "verdict": None if short else _verdict(difference, None),
        "reason": short,
    }


def _combined(shares: Sequence[tuple[_Fixed, float]], *, gain: bool) -> MeanEstimate | None:
    """A mix of estimates. They hang together, so their errors are added: at worst that is too careful."""
    mean = error = 0.0
    for one, share in shares:
        estimate = one.sums.gain() if gain else one.sums.reward()
        if estimate is None:
            return None
        mean += share * estimate.mean
        error += share * estimate.error
    return MeanEstimate(-mean if gain else mean, error)


def _verdict(difference: MeanEstimate | None, saved_usd: float | None) -> str | None:
    """``better``, ``worse``, ``as good`` (not worse by more than NEGLIGIBLE), or ``undecided``; with ``cheaper``."""
    if difference is None:
        return None
    low, high = difference.interval()
    quality = "better" if low > 0.0 else "worse" if high < 0.0 else "as good" if low > -NEGLIGIBLE else "undecided"
    if saved_usd is None:
        return quality
    return f"{'cheaper' if saved_usd > 0.0 else 'not cheaper'}, {quality}"


def _shown(estimate: MeanEstimate | None) -> dict[str, object] | None:
    if estimate is None:
        return None
    interval = None if math.isinf(estimate.error) else list(estimate.interval())
    return {"mean": estimate.mean, "interval": interval}
