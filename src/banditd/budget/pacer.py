"""Hold a mean spend per decision: the re-solving price of money and a token bucket. No clock, no I/O.

The price is the smallest lambda (reward per dollar) at which the policy, playing the best mean - lambda x
cost on the recent contexts, would spend no more than the budget, corrected by the deficit so far. Between
two prices, where the spend jumps from one arm to another, it alternates between both so that the mean spend
meets the budget. It does not choose arms and does not predict costs; both are told to it.

Source: re-solving heuristics for budgeted bandits (Agrawal and Devanur 2016 give the dual view); the deficit
steering and the bucket are measured in docs/learning.md.
"""

from __future__ import annotations

import json
from collections import deque
from typing import Final

import numpy as np
from numpy.typing import NDArray

from banditd.core.errors import ConfigurationError
from banditd.core.types import FloatArray

BoolArray = NDArray[np.bool_]

WINDOW: Final = 500  # recent decisions that the price is solved on
RESOLVE_EVERY: Final = 20
HORIZON: Final = 200.0  # decisions over which a deficit is paid back
CREDIT: Final = 100.0  # most that can be saved up, in budgets of one decision
OVERDRAFT: Final = 20.0  # hard stop: most that can be owed, in budgets of one decision
_STEER: Final = (0.3, 1.2)  # bounds of the steered budget, relative to the budget


class Pacer:
    """One budget. ``owed_usd`` is what was spent over plan, negative when saved.

    Raises
    ------
    ConfigurationError : a budget that is not positive.
    """

    def __init__(self, budget_usd_per_decision: float) -> None:
        self.budget_usd = _checked(budget_usd_per_decision)
        self.owed_usd = 0.0
        self.spent_usd = 0.0
        self.decisions = 0
        self._seen: deque[tuple[FloatArray, FloatArray]] = deque(maxlen=WINDOW)
        self._low = self._high = 0.0  # prices on both sides of the kink; low spends more
        self._low_share = 0.0  # share of decisions at the low price
        self._phase = 0.0
        self._at_low = False
        self._due = False  # solve at the next decision, whatever its number

    @property
    def price_per_usd(self) -> float:
        """What a dollar of predicted cost takes off the utility of the next decision."""
        return self._low if self._at_low else self._high

    @property
    def deficit(self) -> float:
        """``owed_usd`` in budgets of one decision."""
        return self.owed_usd / self.budget_usd

    def retarget(self, budget_usd: float) -> None:
        """Hold another mean spend per decision from now on: what is left of a month over its decisions, say.

        What is owed stays owed in dollars, and the recent decisions are kept; the price is solved for anew at
        the next decision.

        Raises
        ------
        ConfigurationError : a budget that is not positive.
        """
        if budget_usd == self.budget_usd:
            return
        self.budget_usd = _checked(budget_usd)
        self._due = True

    def owe(self, usd: float) -> None:
        """Add to the debt (or, negative, to the savings) what no decision of this pacer accounts for, in dollars."""
        self.owed_usd = max(self.owed_usd + usd, -CREDIT * self.budget_usd)

    def mask(self, cost_usd: FloatArray) -> BoolArray:
        """Which arms the bucket can pay for: bool, shape (n,).

        An arm within the budget never adds to the debt, so it always may, and so may the cheapest.

        Parameters
        ----------
        cost_usd : float64, shape (n,), predicted.
        """
        affordable = max((OVERDRAFT - self.deficit + 1.0) * self.budget_usd, self.budget_usd)
        allowed: BoolArray = cost_usd <= max(affordable, float(cost_usd.min(initial=np.inf)))
        return allowed

    def observe(self, mean: FloatArray, cost_usd: FloatArray) -> None:
        """Learn what kind of decisions come: predicted rewards and costs of the eligible arms, (n,) each.

        Tell the arms that ``mask`` took away too: without them money would seem no object, the price would
        sink and the bucket, which does not know who needs the dear arms most, would do the rationing.
        """
        self._seen.append((mean, cost_usd))

    def reserve(self, cost_usd: float) -> None:
        """Charge the predicted cost of a decision just drawn; every so often solve for the price again."""
        self.spent_usd += cost_usd
        self.owe(cost_usd - self.budget_usd)
        self.decisions += 1
        if self._due or self.decisions % RESOLVE_EVERY == 0 or self.decisions <= RESOLVE_EVERY:
            self._resolve()
        self._phase += self._low_share
        self._at_low = self._phase >= 1.0
        if self._at_low:
            self._phase -= 1.0

    def settle(self, reserved_usd: float, actual_usd: float) -> None:
        """Replace what was reserved for a decision by what it cost."""
        self.spent_usd += actual_usd - reserved_usd
        self.owe(actual_usd - reserved_usd)

    def to_json(self) -> str:
        """What a restart needs; the window of recent decisions fills again by itself."""
        return json.dumps(
            {
                "owed_usd": self.owed_usd,
                "spent_usd": self.spent_usd,
                "decisions": self.decisions,
                "low": self._low,
                "high": self._high,
                "low_share": self._low_share,
            }
        )

    @classmethod
    def restore(cls, budget_usd_per_decision: float, state: str | None) -> Pacer:
        """A pacer with the state that ``to_json`` gave, or a fresh one."""
        pacer = cls(budget_usd_per_decision)
        if state is not None:
            values = json.loads(state)
            # Older states counted what is owed in budgets of one decision.
            owed = values.get("owed_usd", values.get("deficit", 0.0) * pacer.budget_usd)
            pacer.owed_usd = float(owed)
            pacer.spent_usd = float(values["spent_usd"])
            pacer.decisions = int(values["decisions"])
            pacer._low, pacer._high = float(values["low"]), float(values["high"])
            pacer._low_share = float(values["low_share"])
        return pacer

    def _resolve(self) -> None:
        self._due = False
        if not self._seen:
            return
        low, high = _STEER
        target = self.budget_usd * float(np.clip(1.0 - self.deficit / HORIZON, low, high))
        mean, cost = _padded(self._seen)
        self._low, self._high, self._low_share = solve_price(mean, cost, target)


def _checked(budget_usd: float) -> float:
    if not budget_usd > 0.0 or not np.isfinite(budget_usd):
        raise ConfigurationError("A budget per decision must be a positive number of dollars.")
    return budget_usd


def solve_price(mean: FloatArray, cost_usd: FloatArray, target_usd: float) -> tuple[float, float, float]:
    """Prices around the kink and the share of the lower one that spends ``target_usd`` on average.

    Parameters
    ----------
    mean, cost_usd : float64, shape (n_decisions, n_arms); an arm that was not eligible has mean -inf.
    target_usd : mean spend per decision to reach.

    Returns
    -------
    (low, high, share_low) : reward per dollar. Both 0 when money is no object; when even the cheapest arms
    spend more than the target, the price at which only they are played. O(40 n K).
    """
    if _spend(mean, cost_usd, 0.0) <= target_usd:
        return 0.0, 0.0, 0.0
    low, high = 0.0, 1.0 / max(float(cost_usd.max()), 1e-300)
    cheapest = _spend(mean, cost_usd, float("inf"))
    while _spend(mean, cost_usd, high) > max(target_usd, cheapest * (1.0 + 1e-9)) and high < 1e15:
        low, high = high, high * 4.0
    for _ in range(40):
        middle = 0.5 * (low + high)
        if _spend(mean, cost_usd, middle) > target_usd:
            low = middle
        else:
            high = middle
        if high - low <= 1e-4 * high:
            break
    over, under = _spend(mean, cost_usd, low), _spend(mean, cost_usd, high)
    share = (target_usd - under) / (over - under) if over > under else 0.0
    return low, high, float(np.clip(share, 0.0, 1.0))


def _spend(mean: FloatArray, cost_usd: FloatArray, price: float) -> float:
    """Mean cost of playing the best mean - price x cost; ties go to the cheaper arm."""
    if np.isinf(price):
        return float(np.where(np.isfinite(mean), cost_usd, np.inf).min(axis=1).mean())
    utility = mean - price * cost_usd
    best = utility.max(axis=1, keepdims=True)
    return float(np.where(utility >= best - 1e-12, cost_usd, np.inf).min(axis=1).mean())


def _padded(seen: deque[tuple[FloatArray, FloatArray]]) -> tuple[FloatArray, FloatArray]:
    width = max(mean.shape[0] for mean, _ in seen)
    means = np.full((len(seen), width), -np.inf)
    costs = np.zeros((len(seen), width))
    for row, (mean, cost) in enumerate(seen):
        means[row, : mean.shape[0]] = mean
        costs[row, : cost.shape[0]] = cost
    return means, costs
