"""The fixed-arm mixture beside a policy under budgets: logged with decisions, and compared with them.

What the arms are worth on average is kept here, over the decisions of this process. Whether contexts pay is a
function of the newest rewarded decisions in the log, so that replicas agree and a restart forgets nothing.
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
    """One policy's. ``recent`` reads the log."""

    def __init__(self, policy: str, recent: RecentOutcomes) -> None:
        self._policy = policy
        self._recent = recent
        self._arms: tuple[str, ...] = ()
        self._mixtures: dict[int, Mixture] = {}  # by target, as ``_near`` tells them apart
        self._mixed_at = 0
        self._observed = 0
        self._window = Guard(0)
        self._judged = Guard(0)
        self._judged_at = -1

    @property
    def alarm(self) -> bool:
        """Whether contexts look worse than the mixture."""
        return self._judged.alarm

    @property
    def advantage(self) -> tuple[float, float] | None:
        """(mean, standard error) of the policy's priced reward over the mixture's; None without any outcome."""
        return self._judged.advantage if self._judged.weight > 0.0 else None

    def observe(self, arms: tuple[str, ...], eligible: IntArray, mean: FloatArray, cost_usd: FloatArray) -> None:
        """Note what the arms promise and cost on a decision.

        Parameters
        ----------
        arms : all arms of the policy, n of them. eligible : those that might have answered, indices (m,). mean,
        cost_usd : of theirs, (m,) each.
        """
        if arms != self._arms:
            self._arms, self._window, self._mixtures = arms, Guard(len(arms)), {}
        self._observed += 1
        every = np.full((2, len(arms)), np.nan)
        every[:, eligible] = mean, cost_usd
        self._window.observe(every)

    def forget(self) -> None:
        """Prices have changed: what the arms cost must be seen again."""
        self._arms = ()

    def fixed(
        self, arms: tuple[str, ...], among: IntArray, cost_usd: FloatArray, target_usd: float
    ) -> FloatArray | None:
        """The mixture at that mean spend over the arms ``among``: float64 (n,); None before it is known."""
        mixture = self._present(target_usd) if arms == self._arms else None
        return None if mixture is None else mixture_vector(mixture, among, cost_usd)

    def _present(self, target_usd: float) -> Mixture | None:
        """The mixture of the arms' recent means, which a few decisions and a slightly other target hardly move."""
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
        """Judge anew, if rewards have been folded since (``version`` : of the policy's snapshot)."""
        if version == self._judged_at:
            return
        self._judged = judge(await self._recent.guarded(self._policy, OUTCOMES_USED))
        self._judged_at = version


def _near(target_usd: float) -> int:
    """One number for targets that are the same to ``SAME_TARGET``."""
    return round(math.log(target_usd) / SAME_TARGET)


def judge(outcomes: Sequence[GuardedOutcome]) -> Guard:
    """The comparison of the policy's own vectors with the mixture on these decisions, oldest first."""
    judged = Guard(0)
    for one in outcomes:
        paired = Paired.of(one.blend, np.array(one.probability), np.array(one.mean), np.array(one.penalty))
        judged.learn(paired.difference(one.index, one.reward))
    return judged
