"""Thompson sampling with computed rather than sampled probabilities, directed by expected information.

``scores`` does not sample: it gives a probability vector, from which the caller draws. Source: Thompson 1933; for
linear models Agrawal and Goyal 2013. The posterior standard deviation of the difference to the leader is scaled by
``scale``; below 1 it explores less than the posterior warrants, which pays off over finite horizons.

By default arms are not chosen by P(a = argmax) (``quadrature.py``) but by weighing the same beliefs
(``information.py``): an arm is tried where its reward is expected to tell most for what the trial is expected to
cost. docs/learning.md has the figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from banditd.bandit.policies.base import Scores
from banditd.bandit.policies.information import directed_probabilities
from banditd.bandit.policies.quadrature import win_probabilities
from banditd.bandit.policies.view import PolicyView
from banditd.core.contexts import Contexts
from banditd.core.types import BoolArray, FloatArray

EXPLORATIONS: Final = ("directed", "sampled")


@dataclass(frozen=True, slots=True, kw_only=True)
class ThompsonOptions:
    """scale : factor on the posterior standard deviation, > 0. model : ``pooled`` or ``disjoint``.

    exploration : ``directed`` by information, or ``sampled`` from the posterior (Thompson sampling as published).
    """

    scale: float = 0.6
    model: str = "pooled"
    exploration: str = "directed"


class Thompson:
    kind = "thompson"

    def __init__(self, view: PolicyView, options: ThompsonOptions) -> None:
        self._posterior = view.posterior
        self._curiosity = view.curiosity
        self._scale = options.scale
        self._directed = options.exploration == "directed"

    def scores(self, contexts: Contexts, penalty: FloatArray, allowed: BoolArray) -> Scores:
        moments = self._posterior.moments(contexts.x, penalty, allowed)
        utility, deviation = moments.utility, self._scale * np.sqrt(moments.contrast)
        if self._directed:
            probability = directed_probabilities(
                utility, deviation, moments.contrast, self._posterior.noise, allowed, self._curiosity
            )
        else:
            probability = win_probabilities(utility, deviation, allowed)
        return Scores(moments.mean, np.sqrt(moments.variance), probability)
