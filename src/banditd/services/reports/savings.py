"""What routing saves and how it affects quality, against every arm alone and the best mix of arms. Pure.

Costs are compared like with like, on the same decisions (``saved.py``). Quality is compared by doubly robust
estimates with design-based intervals, on the rated decisions on which the arm could have been drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from banditd.budget.frontier import fixed_mixture_at_cost
from banditd.ope.fixed import FIXED_ARM_COUNTS, FIXED_ARM_SUMS, FixedArmSums, MeanEstimate
from banditd.services.reports.saved import Saved, alone_usd, as_routed, saved_against
from banditd.services.reports.summaries import Row, ratio
from banditd.services.reports.verdicts import (
    DEFAULT_PRECISION,
    Pace,
    arm_in_words,
    difference_of,
    settles,
    unknown_because,
    verdict_on_routing,
)

# Answers that an arm's estimate must be worth before it may be in the best mix: the best of noisy means is too high.
MIXABLE: Final = 50.0


@dataclass(frozen=True, slots=True)
class Reference:
    """The arm that routing is mainly compared with: a promise's baseline, else the dearest.

    share : least share of the traffic that it gets.
    precision : to which the difference should be known.
    keep : promised share of its quality, or None.
    missing : why there is no such arm.
    billed : arms whose reported dollars differ from their price -> by which factor.
    """

    arm: str | None
    share: float = 0.0
    precision: float = DEFAULT_PRECISION
    keep: float | None = None
    missing: str = "no arm is enabled, so there is nothing to compare with"
    billed: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Fixed:
    """One arm alone: its sums, its mean cost per decision, and the dollars compared with it."""

    arm: str
    sums: FixedArmSums
    cost_usd: float | None
    saved: Saved
    complete: bool  # eligible for every decision, or only excluded by a budget
    rated: int  # rated decisions among all drawn ones, including those that say nothing about this arm


def savings(
    rows: Sequence[Row], arms: Sequence[str], total: Mapping[str, float], pace: Pace, reference: Reference
) -> dict[str, object]:
    """The comparison with every present arm and with the fixed-arm mixture of the same cost.

    Parameters
    ----------
    rows : sums per arm (``ReportReader.arm_totals``). arms : the present ones. total : the sums of all rows.
    """
    by_arm = {str(row["arm"]): row for row in rows}
    # Every rated decision drew one arm.
    rated = int(total.get("drawn_rewards", 0))
    fixed = [_fixed(arm, by_arm.get(arm, {}), total, rated) for arm in arms]
    ours, basis = as_routed((one.saved for one in fixed), total)
    return {
        "cost_usd_per_decision": ours,
        "basis": basis,
        "arms": [_against(one, pace, reference) for one in fixed],
        "mixture": _mixture(fixed, ours),
    }


def fixed_arm_sums(row: Row) -> FixedArmSums:
    """The sums of one row, which has the columns ``FIXED_ARM_SUMS``."""
    counts = [int(row.get(name, 0)) for name in FIXED_ARM_SUMS[:FIXED_ARM_COUNTS]]
    return FixedArmSums(*counts, *(float(row.get(name, 0.0)) for name in FIXED_ARM_SUMS[FIXED_ARM_COUNTS:]))


def _fixed(arm: str, row: Row, total: Mapping[str, float], rated: int) -> _Fixed:
    eligible, decisions = int(row.get("fixed_decisions", 0)), int(total.get("decisions", 0))
    saved = saved_against(arm, row, total)
    complete = bool(decisions) and eligible >= decisions
    return _Fixed(arm, fixed_arm_sums(row), alone_usd(saved, row), saved, complete, rated)


def _against(one: _Fixed, pace: Pace, reference: Reference) -> dict[str, object]:
    sums, ours_usd = one.sums, one.saved.usd_per_decision[1]
    saved = one.cost_usd - ours_usd if one.cost_usd is not None and ours_usd is not None and one.complete else None
    difference = difference_of(sums)
    is_reference = one.arm == reference.arm
    found = settles(sums, pace, share=reference.share if is_reference else 0.0, precision=reference.precision)
    cost_ratio = ratio(one.cost_usd, ours_usd) if saved is not None and one.cost_usd and ours_usd else None
    return {
        "arm": one.arm,
        "cost_usd_per_decision": one.cost_usd,
        "saved_usd_per_decision": saved,
        "saved_share": ratio(saved, one.cost_usd) if saved is not None and one.cost_usd else None,
        "cheaper": None if saved is None else saved > 0.0,
        "reward": estimate_answer(sums.mean_reward()),
        "reward_difference": estimate_answer(difference),
        "effective_sample_size": sums.worth,
        "worth": sums.worth,
        "rated_decisions": sums.rated,
        "unsupported_decisions": sums.unsupported,
        "drawn_decisions": sums.drawn,
        "verdict": verdict_on_routing(difference),
        "settles": found,
        "words": arm_in_words(one.arm, sums, cost_ratio, found),
        "reason": _reservation(one),
    }


def _reservation(one: _Fixed) -> str | None:
    """Why there is no verdict, or what it leaves out; None if it covers everything."""
    reason = unknown_because(one.arm, one.sums)
    if reason is not None:
        return reason
    if one.sums.rated < one.rated:
        return f"on {one.sums.rated:,} of {one.rated:,} rated decisions: on the others it could not be drawn"
    return None if one.complete else "it could not answer every decision, so costs do not compare"


def _mixture(fixed: Sequence[_Fixed], ours_usd: float | None) -> dict[str, object]:
    """The best random mix of two well-known arms at our cost, and our reward compared with it."""
    unknown = [one.arm for one in fixed if not one.complete or one.sums.rated < one.rated or one.sums.worth < MIXABLE]
    known = [
        (one, reward)
        for one in fixed
        if one.arm not in unknown and (reward := one.sums.mean_reward()) is not None and one.cost_usd is not None
    ]
    nothing: dict[str, object] = {
        "arms": [], "cost_usd_per_decision": None, "reward": None, "reward_difference": None, "verdict": None,
    }  # fmt: skip
    short = f"too little is known of {', '.join(unknown)} to say what the best mix is" if unknown else None
    if ours_usd is None or not known:
        return nothing | {"reason": short or "no decision has a reward yet"}
    mix = fixed_mixture_at_cost(
        np.array([reward.mean for _, reward in known]), np.array([one.cost_usd for one, _ in known]), ours_usd
    )
    shares = [(known[mix.first][0].sums, mix.share)]
    if mix.share < 1.0:
        shares.append((known[mix.second][0].sums, 1.0 - mix.share))
    names = (known[mix.first][0].arm, known[mix.second][0].arm)
    reward, difference = _combined(shares)
    return {
        "arms": [{"arm": name, "share": share} for name, (_, share) in zip(names, shares, strict=False)],
        "cost_usd_per_decision": mix.cost_usd,
        "reward": estimate_answer(reward),
        "reward_difference": estimate_answer(difference),
        "verdict": None if short else verdict_on_routing(difference),
        "reason": short,
    }


def _combined(shares: Sequence[tuple[FixedArmSums, float]]) -> tuple[MeanEstimate, MeanEstimate]:
    """(reward of a mix, ours minus that). Adds the widths of correlated estimates, which is at worst too cautious."""
    reward = sum(share * sums.estimate / sums.rated for sums, share in shares)
    gain = sum(share * sums.gain / sums.rated for sums, share in shares)
    half = sum(share * sums.half_width for sums, share in shares)
    return MeanEstimate.within(reward, half, 0.0, 1.0), MeanEstimate.within(-gain, half, -1.0, 1.0)


def estimate_answer(estimate: MeanEstimate | None) -> dict[str, object] | None:
    """A mean as the API writes it."""
    if estimate is None:
        return None
    return {"mean": estimate.mean, "interval": None if estimate.interval is None else list(estimate.interval)}
