"""Thompson sampling, its probabilities computed rather than sampled.

Not a sampler: ``scores`` gives P(a = argmax) by quadrature (``quadrature.py``); the caller draws from it.
Source: Thompson 1933; for linear models Agrawal and Goyal 2013. The posterior standard deviation of the
difference to the leader is scaled by ``scale``: below 1 it explores less than the posterior warrants, which
pays on horizons that are not infinite (docs/learning.md has the figures).

The factor rises where an arm is much less known than the leader (``_scales``): one unlucky start must not
exclude an arm for good from a region where the leader has answered hundreds of times since. As in MOSS and its
kin (Audibert and Bubeck 2009) the width grows with the logarithm of how unequally the two were tried.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from banditd.bandit.base import Scores
from banditd.bandit.quadrature import win_probabilities
from banditd.bandit.view import PolicyView
from banditd.core.types import Context, FloatArray, IntArray

UNEQUAL: Final = 4.0  # variances further apart than this factor widen the less known arm
WIDENING: Final = 1.0  # growth of the squared factor per factor e of variance beyond that
PATIENCE: Final = 1000.0  # rewards after which it grows in full; before, it costs more than it finds
WIDEST: Final = 2.0  # and the factor at most doubles
_LEAST_VARIANCE: Final = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class ThompsonOptions:
    """scale : factor on the posterior standard deviation, > 0; up to twice that for neglected arms.

    model : ``pooled`` or ``disjoint``.
    """

    scale: float = 0.5
    model: str = "pooled"


class Thompson:
    kind = "thompson"

    def __init__(self, view: PolicyView, options: ThompsonOptions) -> None:
        self._posterior = view.posterior
        self._scale = options.scale
        self._rewards = float(view.posterior.counts.sum())

    def scores(self, context: Context, arms: IntArray, penalty: FloatArray) -> Scores:
        moments = self._posterior.moments(context.x, arms, penalty)
        deviation = self._scale * np.sqrt(widened(moments.contrast, moments.leader, self._rewards))
        probability = win_probabilities(moments.mean - penalty, deviation)
        return Scores(moments.mean, np.sqrt(moments.variance), probability)


def widened(contrast: FloatArray, leader: int, rewards: float) -> FloatArray:
    """Variances, larger where an arm is much less known than the leader.

    Parameters
    ----------
    contrast : float64, shape (n,), >= 0, of ``Moments``. leader : index of the highest utility.
    rewards : effective number over all arms. Traffic that has lasted can be expected to last, so exploration
        pays more.

    Returns
    -------
    float64, shape (n,): ``contrast`` times 1 + ``WIDENING`` min(1, rewards / ``PATIENCE``) log(ratio /
    ``UNEQUAL``), where ratio is to the leader's variance; at least ``contrast`` and at most ``WIDEST`` squared
    times it. A variance of 0 stays 0.
    """
    known = max(UNEQUAL * float(contrast[leader]), _LEAST_VARIANCE)
    strength = WIDENING * min(1.0, rewards / PATIENCE)
    growth = 1.0 + strength * np.log(np.maximum(contrast / known, 1.0))
    result: FloatArray = contrast * np.minimum(growth, WIDEST**2)
    return result
