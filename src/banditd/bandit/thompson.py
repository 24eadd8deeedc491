"""Thompson sampling, its probabilities computed rather than sampled.

Not a sampler: ``scores`` gives P(a = argmax) by quadrature (``quadrature.py``); the caller draws from it.
Source: Thompson 1933; for linear models Agrawal and Goyal 2013. The posterior standard deviation of the
difference to the leader is scaled by ``scale``: below 1 it explores less than the posterior warrants, which
pays on horizons that are not infinite (docs/learning.md has the figures).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from banditd.bandit.base import Scores
from banditd.bandit.quadrature import win_probabilities
from banditd.bandit.view import PolicyView
from banditd.core.types import Context, FloatArray, IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class ThompsonOptions:
    """scale : factor on the posterior standard deviation, > 0. model : ``pooled`` or ``disjoint``."""

    scale: float = 0.5
    model: str = "pooled"


class Thompson:
    kind = "thompson"

    def __init__(self, view: PolicyView, options: ThompsonOptions) -> None:
        self._posterior = view.posterior
        self._scale = options.scale

    def scores(self, context: Context, arms: IntArray, penalty: FloatArray) -> Scores:
        moments = self._posterior.moments(context.x, arms, penalty)
        probability = win_probabilities(moments.mean - penalty, self._scale * np.sqrt(moments.contrast))
        return Scores(moments.mean, np.sqrt(moments.variance), probability)
