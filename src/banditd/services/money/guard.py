"""The fixed-arm mixture of a policy under budgets: it is logged with decisions and compared with the policy.

The arms' mean rewards and costs are kept here, over this process' decisions. Whether contexts pay off is computed
from the newest rewarded decisions in the log, so replicas agree and a restart loses nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from banditd.budget.frontier import Mixture
from banditd.budget.guard import Guard, Paired, mixture_vector
from banditd.core.types import FloatArray, IntArray
from banditd.ports import GuardedOutcome, RecentOutcomes

OUTCOMES_USED: Final = 1000
REMIX_EVERY: Final = 20  # decisions
SAME_TARGET: Final = 0.02


class PolicyGuard:
    """The guard of one policy. ``recent`` reads the log."""

    def __init__(self, policy: str, recent: RecentOutcomes) -> None:
        self._policy = policy
        self._recent = recent
        self._arms: tuple[str, ...] = ()
        self._mixtures: dict[int, Mixture] = {}  # by target, rounded by ``_near``
        self._mixed_at = 0
        self._observed = 0
        self._window = Guard(0)
        self._judged = Guard(0)
        self._judged_at = -1

    @property
    def alarm(self) -> bool:
        """Whether contexts seem to do worse than the mixture."""
        return self._judged.alarm

    @property
    def advantage(self) -> tuple[float, float] | None:
        """(mean, standard error) of the policy's priced reward minus the mixture's; None without any outcome."""
        return self._judged.advantage if self._judged.weight > 0.0 else None

    def observe(self, arms: tuple[str, ...], eligible: IntArray, mean: FloatArray, cost_usd: FloatArray) -> None:
        """Record the arms' predicted rewards and costs for a decision.

        Parameters
        ----------
        arms : all n arms of the policy.
        eligible : indices (m,) of those that could have answered.
        mean, cost_usd : theirs, (m,) each.
        """
        if arms != self._arms:
            self._arms, self._window, self._mixtures = arms, Guard(len(arms)), {}
        self._observed += 1
        every = np.full((2, len(arms)), np.nan)
        every[:, eligible] = mean, cost_usd
        self._window.observe(every)

    def forget(self) -> None:
        """Forget what the arms cost: prices have changed."""
        self._arms = ()

    def fixed(
        self, arms: tuple[str, ...], among: IntArray, cost_usd: FloatArray, target_usd: float
    ) -> FloatArray | None:
        """The mixture over the arms ``among`` at that mean spend: float64 (n,); None if not known yet."""
        mixture = self._present(target_usd) if arms == self._arms else None
        return None if mixture is None else mixture_vector(mixture, among, cost_usd)

    def _present(self, target_usd: float) -> Mixture | None:
        """The mixture of the arms' recent means; cached, since a few decisions or a slightly different target
        hardly change it.
        """
        if self._observed - self._mixed_at >= REMIX_EVERY:
            self._mixtures, self._mixed_at = {}, self._observed
        near = _near(target_usd)
        if near not in self._mixtures:
            mixture = self._window.mixture(target_usd)
            if mixture is None:
                return None
            self._mixtures[near] = mixture
        return self._mixtures[near]

    async def refresh(self, version: int) -> None:
        """Judge again if rewards have been folded since. version : of the policy's snapshot."""
        if version == self._judged_at:
            return
        self._judged = judge(await self._recent.guarded(self._policy, OUTCOMES_USED))
        self._judged_at = version


def _near(target_usd: float) -> int:
    """One number for all targets that are equal to within ``SAME_TARGET``."""
    return round(math.log(target_usd) / SAME_TARGET)


def judge(outcomes: Sequence[GuardedOutcome]) -> Guard:
    """Compare the policy's own vectors with the mixture on these decisions, oldest first."""
    judged = Guard(0)
    for one in outcomes:
        paired = Paired.of(one.blend, np.array(one.probability), np.array(one.mean), np.array(one.penalty))
        judged.learn(paired.difference(one.index, one.reward))
    return judged
