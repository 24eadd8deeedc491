"""Which other arms a probed query is sent to: those whose answer tells most for its price. Pure.

Arms with few rewards come first, the least known most often. Otherwise arms are asked in proportion to the expected
information about which arm is best for the query (``bandit/policies/information.py``) per dollar, and none if no
other arm can be the best. All probabilities are known, so that learning can weight probes by them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import numpy as np

from banditd.bandit.policies.information import pulls
from banditd.bandit.policies.quadrature import COARSE, contenders
from banditd.core.types import Decision, FloatArray, IntArray
from banditd.deciding.view import RouteView

HARDLY_SEEN: Final = 20.0
"""An arm with fewer effective rewards than this comes first; as many as the decisions granted to a new arm."""
CHEAP: Final = 1e-3
"""Price assumed for a free call, as a share of the dearest; otherwise nothing else would ever be asked."""
SPREADS: Final = 2.0
"""A call's reserve is its predicted cost plus this many standard deviations."""


@dataclass(frozen=True, slots=True)
class ProbedArm:
    """An arm to probe.

    probability : of asking it, in (0, 1], given that the query is probed.
    reserve_usd : set aside for the call.
    """

    arm: str
    probability: float
    reserve_usd: float


def probed_arms(
    view: RouteView,
    decision: Decision,
    *,
    without: Collection[str],
    most: int,
    judge_usd: float,
    most_output_tokens: float | None,
    uniform: float,
    first: str | None = None,
) -> list[ProbedArm]:
    """At most ``most`` of the arms that the decision could have drawn, excluding recipes.

    Parameters
    ----------
    view : as it is now.
    without : arms that are not asked because they were called.
    judge_usd : cost of judging one answer.
    most_output_tokens : that the request allows.
    uniform : in [0, 1).
    first : an arm that is always asked if it is possible.
    """
    names = [arm for arm in decision.arms if arm in view.index]
    among = np.array([view.index[arm] for arm in names], dtype=np.intp)
    able = [
        i for i, place in enumerate(among) if view.models[place] and view.serves[place] and names[i] not in without
    ]
    if not able:
        return []
    of_decision = {arm: i for i, arm in enumerate(decision.arms)}
    logged = np.array([of_decision[arm] for arm in names], dtype=np.intp)
    reserve_usd = _reserves(view, decision, among, logged, most_output_tokens)
    price_usd = decision.cost_usd[logged] + judge_usd
    dearest_usd = float(np.max(price_usd[able]))
    price_usd = np.maximum(price_usd, CHEAP * dearest_usd) if dearest_usd > 0.0 else np.ones(len(names))
    rest = np.array([i for i in able if names[i] != first], dtype=np.intp)
    left = most - (len(able) - rest.size)
    share = np.ones(len(able))
    share[np.isin(able, rest)] = _shares(view, decision, among, logged, rest, price_usd, left) if left > 0 else 0.0
    return [
        ProbedArm(names[able[i]], float(share[i]), float(reserve_usd[able[i]])) for i in systematic(share, uniform)
    ]


def inclusion(weight: FloatArray, most: int) -> FloatArray:
    """Probability in [0, 1] of each item to be among ``most``: proportional to its weight, capped at 1.

    weight : float64 (n,), >= 0. The result sums to ``most``, or to the number of positive weights if that is smaller.
    """
    share, left = np.zeros(weight.size), float(min(most, int(np.count_nonzero(weight))))
    open_: IntArray = np.flatnonzero(weight)
    while open_.size:
        share[open_] = left * weight[open_] / weight[open_].sum()
        full = open_[share[open_] >= 1.0 - 1e-12]
        if not full.size:
            break
        share[full] = 1.0
        left -= float(full.size)
        open_ = np.setdiff1d(open_, full)
    return share


def systematic(share: FloatArray, uniform: float) -> list[int]:
    """Systematic sampling: the items where the running sum of ``share`` passes uniform, uniform + 1, ...

    share : float64 (n,), in [0, 1], the probability of each item.
    """
    passed = np.concatenate([[0.0], np.cumsum(share)]) - uniform
    crossed = np.floor(passed[1:] + 1e-12) > np.floor(passed[:-1] + 1e-12)
    return [int(i) for i in np.flatnonzero(crossed & (share > 0.0))]


def _shares(
    view: RouteView,
    decision: Decision,
    among: IntArray,
    logged: IntArray,
    able: IntArray,
    price_usd: FloatArray,
    most: int,
) -> FloatArray:
    """Probability of asking each arm in ``able``, float64 (len(able),): little-known arms and the others."""
    posterior = view.snapshot.posterior
    lack = np.maximum(HARDLY_SEEN - posterior.counts[among][able], 0.0)
    share, left = inclusion(lack, most), most - int(np.count_nonzero(lack))
    if left <= 0:
        return share
    penalty = np.zeros((1, len(view.arms)))
    allowed = np.zeros((1, len(view.arms)), dtype=bool)
    penalty[0, among], allowed[0, among] = decision.penalty[logged], True
    found = posterior.moments(decision.context.x[None, :], penalty, allowed)
    rivals = contenders(found.utility, np.sqrt(found.contrast), allowed, COARSE)
    information = pulls(rivals, found.contrast / (found.contrast + posterior.noise))[1, 0]
    worth = np.where(rivals.able[0], information, 0.0)[among][able] / price_usd[able]
    return share + inclusion(np.where(lack > 0.0, 0.0, worth), left)


def _reserves(
    view: RouteView, decision: Decision, among: IntArray, logged: IntArray, most_output_tokens: float | None
) -> FloatArray:
    """Upper estimate of a call's cost for each arm; the true maximum if the request limits the length of its
    answer.
    """
    tokens = view.expected_output_tokens(decision.context.x[None, :])
    usd = decision.cost_usd[logged] + SPREADS * view.cost_spread_usd(tokens)[0, among]
    if most_output_tokens is None:
        return np.asarray(usd)
    at_most = view.cost_usd(float(decision.input_tokens), np.full(tokens.shape, most_output_tokens))[0, among]
    return np.asarray(np.minimum(usd, at_most))
