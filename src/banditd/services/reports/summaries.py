"""From sums to figures for people: intervals, entropies, percentiles, convergence. Pure; no clock, no I/O.

"Not enough data" is a valid answer: None together with a reason, never an invented number.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from banditd.ope.fixed import Z, wilson_interval

Row: TypeAlias = Mapping[str, float | str]

FEWEST_REWARDS: Final = 3  # with fewer, an interval would reflect assumptions rather than data
_T_FROM: Final = 30  # rewards from which the observed variance is trusted
_SETTLED_SHIFT: Final = 0.05
CONVERGENCE_SUMS: Final = ("decisions", "entropy_sum")
"""Columns of ``ReportReader.timeseries`` that ``convergence`` reads."""
_HALF_DECISIONS: Final = 200
_ARM_REWARDS: Final = 10


@dataclass(frozen=True, slots=True)
class MeanReward:
    """Mean reward in [0, 1] of ``rewards`` rewarded decisions, with its 95 % interval; None if unknown."""

    rewards: int
    mean: float | None
    interval: tuple[float, float] | None
    method: str | None

    def fields(self) -> dict[str, object]:
        """As the API writes it."""
        return {
            "rewards": self.rewards,
            "mean_reward": self.mean,
            "interval": None if self.interval is None else list(self.interval),
            "interval_method": self.method,
        }


def mean_reward(*, rewards: int, weight: float, weighted_reward: float, weighted_square: float) -> MeanReward:
    """Weighted mean of rewards in [0, 1] and its 95 % interval, from ``FEWEST_REWARDS`` on.

    From 30 rewards on, Student's t with the observed variance. Below, or when all rewards are the same,
    Wilson's score interval.

    Parameters
    ----------
    rewards : int
        Rewarded decisions, >= 0.
    weight : float
        Sum of their weights w, >= 0.
    weighted_reward : float
        Sum of w r.
    weighted_square : float
        Sum of w r^2.

    Returns
    -------
    MeanReward
        Without mean when there is no reward, without interval below ``FEWEST_REWARDS``.
    """
    if rewards <= 0 or weight <= 0.0:
        return MeanReward(0, None, None, None)
    mean = min(1.0, max(0.0, weighted_reward / weight))
    if rewards < FEWEST_REWARDS:
        return MeanReward(rewards, mean, None, None)
    variance = max(0.0, weighted_square / weight - mean * mean)
    if rewards >= _T_FROM and variance > 1e-12:
        half = t_point(rewards - 1) * math.sqrt(variance / (rewards - 1))
        return MeanReward(rewards, mean, (max(0.0, mean - half), min(1.0, mean + half)), "student_t")
    return MeanReward(rewards, mean, wilson_interval(mean, rewards), "wilson")


def normal_interval(mean: float, deviation: float) -> tuple[float, float]:
    """95 % interval of a normal posterior of a mean reward, cut to [0, 1]."""
    low, high = mean - Z * deviation, mean + Z * deviation
    return min(1.0, max(0.0, low)), min(1.0, max(0.0, high))


def t_point(degrees: int) -> float:
    """The 97.5 % point of Student's t, by three terms of the Cornish-Fisher expansion.

    Parameters
    ----------
    degrees : int
        Degrees of freedom, >= 10 (the error is below 2e-3 there and below 1e-4 from 29 on).

    Returns
    -------
    float
        Abramowitz and Stegun 1964, 26.7.5.
    """
    z, v = Z, float(degrees)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / v + second / v**2 + third / v**3


def entropy_nats(counts: Iterable[float]) -> float | None:
    """Entropy of the shares of ``counts`` in nats; None when all are zero."""
    positive = [count for count in counts if count > 0]
    total = sum(positive)
    if not positive:
        return None
    return max(0.0, -sum(count / total * math.log(count / total) for count in positive))


def histogram_percentile(bins: Sequence[tuple[float, int]], share: float) -> float | None:
    """A percentile from a histogram, linear inside a bin.

    Parameters
    ----------
    bins : sequence of (float, int)
        (upper bound, count) in ascending order; the last bound may be infinite.
    share : float
        In (0, 1), such as 0.9.

    Returns
    -------
    float or None
        None without data, or when the percentile lies in the bin that has no upper bound.
    """
    total = sum(count for _, count in bins)
    if total <= 0:
        return None
    wanted, below, lower = share * total, 0.0, 0.0
    for upper, count in bins:
        if count > 0 and below + count >= wanted:
            if math.isinf(upper):
                return None
            return lower + (upper - lower) * (wanted - below) / count
        below += count
        lower = upper
    return None


def add_up(rows: Iterable[Row]) -> dict[str, float]:
    """The sums of every numeric column over rows."""
    total: dict[str, float] = {}
    for row in rows:
        for name, value in row.items():
            if not isinstance(value, str):
                total[name] = total.get(name, 0.0) + value
    return total


def ratio(part: float, whole: float) -> float | None:
    """Part / whole, None when whole is not positive."""
    return part / whole if whole > 0 else None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the selection has converged. ``converged`` is None if there is not enough data."""

    converged: bool | None
    reason: str
    evidence: Mapping[str, object]

    def fields(self) -> dict[str, object]:
        """As the API writes it."""
        return {"converged": self.converged, "reason": self.reason, "evidence": dict(self.evidence)}


def convergence(steps: Sequence[Row], rewards_by_arm: Mapping[str, int]) -> Verdict:
    """Whether a policy's selection has settled: compares the newer half of its recent decisions with the older.

    Settled means that the arms' shares differ by at most 0.05 (total variation) more than by chance, and the mean
    entropy of the probability vectors by at most 0.05 of its maximum. It does not mean that the policy is right, only
    that it no longer changes.

    Parameters
    ----------
    steps : sequence of rows
        Per step and arm: ``bucket_at_us``, ``arm``, ``decisions``, ``entropy_sum``.
    rewards_by_arm : mapping of str to int
        Rewards so far of every enabled arm.

    Returns
    -------
    Verdict
        None below 200 decisions in a half, or while an enabled arm has fewer than 10 rewards.
    """
    if len(rewards_by_arm) < 2:
        return Verdict(None, "fewer than two enabled arms: there is nothing to learn", {})
    poor = sorted(arm for arm, rewards in rewards_by_arm.items() if rewards < _ARM_REWARDS)
    if poor:
        reason = f"not enough data: fewer than {_ARM_REWARDS} rewards for {', '.join(poor)}"
        return Verdict(None, reason, {"rewards": dict(rewards_by_arm)})
    older, newer = _halves(steps)
    n_old, n_new = sum(older.decisions.values()), sum(newer.decisions.values())
    if min(n_old, n_new) < _HALF_DECISIONS:
        reason = f"not enough data: fewer than {_HALF_DECISIONS} decisions in each half of the last week"
        return Verdict(None, reason, {"decisions": [n_old, n_new]})
    shift, by_chance = _shift(older.decisions, newer.decisions)
    scale = math.log(len(rewards_by_arm))
    change = (newer.entropy_sum / n_new - older.entropy_sum / n_old) / scale
    evidence = {
        "decisions": [n_old, n_new],
        "share_shift": shift,
        "share_shift_by_chance": by_chance,
        "entropy_change": change,
        "tolerance": _SETTLED_SHIFT,
    }
    if shift > _SETTLED_SHIFT + by_chance:
        return Verdict(False, "the arms' shares still move", evidence)
    if abs(change) > _SETTLED_SHIFT:
        return Verdict(False, "the probabilities are still becoming more or less decided", evidence)
    return Verdict(True, "shares and entropy have been steady over the last week", evidence)


@dataclass(slots=True)
class _Half:
    decisions: dict[str, int]
    entropy_sum: float = 0.0


def _halves(steps: Sequence[Row]) -> tuple[_Half, _Half]:
    """The steps of the first half of the decisions, and the others; steps are not divided."""
    total = sum(float(row["decisions"]) for row in steps)
    halves = (_Half({}), _Half({}))
    seen, seen_before, bucket = 0.0, 0.0, None
    for row in sorted(steps, key=lambda row: float(row["bucket_at_us"])):
        if row["bucket_at_us"] != bucket:
            bucket, seen_before = row["bucket_at_us"], seen
        half = halves[0] if seen_before < total / 2 else halves[1]
        arm, decisions = str(row["arm"]), int(row["decisions"])
        half.decisions[arm] = half.decisions.get(arm, 0) + decisions
        half.entropy_sum += float(row["entropy_sum"])
        seen += decisions
    return halves


def _shift(older: Mapping[str, int], newer: Mapping[str, int]) -> tuple[float, float]:
    """Total variation between the shares, and its expectation if both come from the same distribution."""
    n_old, n_new = sum(older.values()), sum(newer.values())
    shift = by_chance = 0.0
    for arm in older.keys() | newer.keys():
        a, b = older.get(arm, 0), newer.get(arm, 0)
        shift += abs(a / n_old - b / n_new) / 2
        pooled = (a + b) / (n_old + n_new)
        deviation = math.sqrt(pooled * (1 - pooled) * (1 / n_old + 1 / n_new))
        by_chance += deviation * math.sqrt(2 / math.pi) / 2  # the mean of |N(0, s)| is s sqrt(2/pi)
    return shift, by_chance
