"""Keeps a mean spend per decision by a price of a dollar, solved repeatedly, and a token bucket. No clock, no I/O.

The price is the smallest lambda (reward per dollar) at which the policy, playing the best mean - lambda x cost on the
recent contexts, would spend no more than the budget, less the extra spend of exploration, corrected by the debt so
far. Where the spend jumps from one arm to another between two prices, it alternates between both so that the mean
spend meets the budget. It neither chooses arms nor predicts costs; both are passed in.

Source: re-solving heuristics for budgeted bandits (Agrawal and Devanur 2016 give the dual view). The effect of the
debt and the bucket is measured in docs/benchmarks.md and explained in docs/money.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from banditd.budget.window import Window
from banditd.core.errors import ConfigurationError
from banditd.core.types import BoolArray, FloatArray

WINDOW: Final = 500  # recent decisions on which the price is solved
RESOLVE_EVERY: Final = 20
HORIZON: Final = 100.0  # decisions over which debt is paid back and savings are spent
RESERVE: Final = 10.0  # savings to aim for, in budgets of one decision, so that errors stay on the safe side
CREDIT: Final = 100.0  # most that can be saved up, in budgets of one decision
IDLE_CREDIT: Final = 10.0  # the same while the budget does not bind, since there is nothing to spend it on
OVERDRAFT: Final = 15.0  # hard stop: most that can be owed, in budgets of one decision
SPREADS: Final = 2.0  # standard deviations of a call's cost that the hard stop allows for
FLOOR_SHARE: Final = 0.03  # share of the budget that floors may spend
NO_MATTER: Final = 0.003  # in rewards: a price that takes less than this off the dearest arm counts as 0
EXCESS_MEMORY: Final = 200.0  # decisions over which exploration's spend is averaged
_STEER: Final = (0.3, 1.5)  # bounds of the steered budget, relative to the budget


class Pacer:
    """One budget, held in the mean. ``owed_usd`` is what was spent over plan, negative when saved.

    Raises
    ------
    ConfigurationError : a budget that is not positive.
    """

    def __init__(self, budget_usd_per_decision: float) -> None:
        self.budget_usd = _checked(budget_usd_per_decision)
        self.owed_usd = 0.0
        self.spent_usd = 0.0
        self.decisions = 0
        self._seen = Window(WINDOW)
        self._excess_usd = 0.0  # mean spend of a decision over that of the greedy one: exploration
        self._low = self._high = 0.0  # prices on both sides of the kink; low spends more
        self._low_share = 0.0  # share of decisions at the low price
        self._phase = 0.0
        self._at_low = False
        self._due = False  # solve at the next decision, whatever its number
        self._cheapest_usd = 0.0  # mean cost of the cheapest arm, of the remembered decisions

    @property
    def price_per_usd(self) -> float:
        """What a dollar of predicted cost takes off the utility of the next decision."""
        return self._low if self._at_low else self._high

    @property
    def deficit(self) -> float:
        """``owed_usd`` in budgets of one decision."""
        return self.owed_usd / self.budget_usd

    @property
    def credit_usd(self) -> float:
        """Most that may be saved up now, in dollars."""
        return (CREDIT if self._high > 0.0 else IDLE_CREDIT) * self.budget_usd

    def retarget(self, budget_usd: float) -> None:
        """Keep another mean spend per decision from now on, such as the rest of a month's budget over its decisions.

        The debt stays the same in dollars, and recent decisions are kept; the price is solved again at the next
        decision.

        Raises
        ------
        ConfigurationError : a budget that is not positive.
        """
        if budget_usd == self.budget_usd:
            return
        self.budget_usd = _checked(budget_usd)
        self._due = True

    def open_account(self) -> None:
        """Start a new period: forget the spend and debt, but keep what is known about incoming decisions."""
        self.owed_usd = self.spent_usd = 0.0
        self.decisions = 0
        self._due = True

    def owe(self, usd: float) -> None:
        """Add dollars to the debt (or, if negative, to the savings) that no decision of this pacer accounts for.

        Savings beyond ``CREDIT`` lapse. So do those beyond ``IDLE_CREDIT`` while the price is 0, because the policy
        already buys everything useful, and a hoard would be spent at once when prices rise.
        """
        self.owed_usd = max(self.owed_usd + usd, min(self.owed_usd, -self.credit_usd))

    def mask(self, cost_usd: FloatArray, spread_usd: FloatArray | None = None) -> BoolArray:
        """Which arms the bucket can pay for: bool, shape (n,).

        An arm within the budget never adds to the debt, so it is always allowed, and so is the cheapest.

        Parameters
        ----------
        cost_usd : float64, shape (n,), predicted.
        spread_usd : float64, shape (n,), by how much a call may well cost more than predicted; None for 0. The debt
        exceeds the overdraft by at most what one last call costs beyond ``SPREADS`` of them.
        """
        dear = cost_usd if spread_usd is None else cost_usd + SPREADS * spread_usd
        allowed: BoolArray = (dear <= self._left_usd) | (
            cost_usd <= max(self.budget_usd, float(cost_usd.min(initial=np.inf)))
        )
        return allowed

    def covers(self, dear_usd: float) -> bool:
        """Whether ``mask`` would allow every arm if the dearest costs this much, ``SPREADS`` deviations included."""
        return dear_usd <= self._left_usd

    def floors(self, floors: FloatArray, cost_usd: FloatArray) -> FloatArray:
        """Floors cut to what exploration may spend: float64, shape (n,).

        f_a <= FLOOR_SHARE B / (n c_a): no arm's floor spends more than its part of a small share of the budget or, if
        the cheapest arm leaves less than that, of what is left.

        Parameters
        ----------
        floors : float64, shape (n,), wanted. cost_usd : float64, shape (n,), predicted.
        """
        spare = min(FLOOR_SHARE * self.budget_usd, max(self.budget_usd - float(cost_usd.min()), 0.0))
        limit = spare / (cost_usd.shape[0] * np.maximum(cost_usd, 1e-300))
        cut: FloatArray = np.minimum(floors, np.where(cost_usd <= cost_usd.min(), 1.0, limit))
        return cut

    def observe(
        self, mean: FloatArray, cost_usd: FloatArray, *, probability: FloatArray | None = None, key: object = None
    ) -> None:
        """Learn what decisions come: predicted rewards and costs of the eligible arms, (n,) each.

        Include the arms that ``mask`` excluded: without them money would seem plentiful, the price would sink, and
        the bucket, which does not know who needs the dear arms most, would do the rationing.

        Parameters
        ----------
        probability : float64, shape (n,), that the arm was drawn from, 0 for excluded arms. Its expected spend beyond
        the greedy arm is exploration, which the price then allows for. None: no exploration.
        key : whatever ``reprice`` needs to find this decision's costs again.
        """
        self._seen.add(mean, cost_usd, key)
        if probability is None:
            return
        playable = np.where(probability > 0.0, mean - self.price_per_usd * cost_usd, -np.inf)
        excess = float(probability @ cost_usd) - float(cost_usd[int(playable.argmax())])
        self._excess_usd += (excess - self._excess_usd) / min(self.decisions + 1.0, EXCESS_MEMORY)

    def reprice(self, cost_of: Callable[[object], FloatArray]) -> None:
        """Prices have changed: recompute the costs of remembered decisions, and solve at the next decision.

        Otherwise the price would be based on old costs until the window has filled again.

        Parameters
        ----------
        cost_of : from the ``key`` of a decision to the predicted costs of its arms, in their order at the time, (n,).
        Decisions without a key keep their costs.
        """
        self._seen.reprice(cost_of)
        self._excess_usd = 0.0
        self._due = True

    def reserve(self, cost_usd: float) -> None:
        """Charge the predicted cost of a decision just drawn; periodically solve for the price again."""
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
                "excess_usd": self._excess_usd,
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
            # Older states hold the debt in budgets of one decision.
            owed = values.get("owed_usd", values.get("deficit", 0.0) * pacer.budget_usd)
            pacer.owed_usd = float(owed)
            pacer.spent_usd = float(values["spent_usd"])
            pacer.decisions = int(values["decisions"])
            pacer._excess_usd = float(values.get("excess_usd", 0.0))
            pacer._low, pacer._high = float(values["low"]), float(values["high"])
            pacer._low_share = float(values["low_share"])
        return pacer

    @property
    def target_usd(self) -> float:
        """Mean spend per decision to aim for now: the budget, corrected for debt or savings."""
        low, high = _STEER
        # If the cheapest arm leaves too little to pay a debt back, the same amount is saved beforehand.
        reserve = RESERVE + OVERDRAFT - self._overdraft_usd / self.budget_usd
        return self.budget_usd * min(max(1.0 - (self.deficit + reserve) / HORIZON, low), high)

    @property
    def _overdraft_usd(self) -> float:
        """Most that may be owed: what can soon be paid back if only the cheapest arm is played, minus the reserve.

        Below 0 if that is next to nothing: then a dear call, including a bad surprise, must be saved up for.
        """
        spare = max(self.budget_usd - self._cheapest_usd, 0.0)
        return min(OVERDRAFT * self.budget_usd, HORIZON * spare - RESERVE * self.budget_usd)

    @property
    def _left_usd(self) -> float:
        """What a call may cost."""
        return self._overdraft_usd - self.owed_usd + self.budget_usd

    def _resolve(self) -> None:
        self._due = False
        if not self._seen:
            return
        mean, cost = self._seen.arrays()
        self._cheapest_usd = _spend(mean, cost, float("inf"))
        price = self._low_share * self._low + (1.0 - self._low_share) * self._high
        price = max(price, NO_MATTER / max(float(cost.max()), 1e-300))
        self._low, self._high, self._low_share = solve_price(
            mean.T, cost.T, self.target_usd, exploration=Exploration(self._excess_usd, price)
        )


def _checked(budget_usd: float) -> float:
    if not budget_usd > 0.0 or not np.isfinite(budget_usd):
        raise ConfigurationError("A budget per decision must be a positive number of dollars.")
    return budget_usd


@dataclass(frozen=True, slots=True)
class Exploration:
    """What a policy spends beyond its greedy arms at a price; negative if it tries cheaper ones.

    Trying a dear arm forgoes price x cost, so a policy that takes this into account explores less at a higher price:
    about as 1 / price. That is exact at the present price and only needs to be roughly right on the way to the next.
    """

    usd: float = 0.0
    at_price: float = 1.0

    def at(self, price: float) -> float:
        return self.usd * min(self.at_price / price, 1.0) if price > 0.0 else self.usd


def solve_price(
    mean: FloatArray, cost_usd: FloatArray, target_usd: float, *, exploration: Exploration | None = None
) -> tuple[float, float, float]:
    """Prices around the kink, and the share of the lower one that spends ``target_usd`` on average.

    Parameters
    ----------
    mean, cost_usd : float64, shape (n_decisions, n_arms); an arm that was not eligible has mean -inf.
    target_usd : mean spend per decision to reach. exploration : spent on top of the greedy arms.

    Returns
    -------
    (low, high, share_low) : reward per dollar. Both 0 if the target is not binding; if even the cheapest arms spend
    more than the target, the price at which only they are played. O(40 n K).
    """
    more = exploration or Exploration()
    mean, cost_usd = np.ascontiguousarray(mean.T), np.ascontiguousarray(cost_usd.T)

    def spend(price: float) -> float:
        return _spend(mean, cost_usd, price) + more.at(price)

    if spend(0.0) <= target_usd:
        return 0.0, 0.0, 0.0
    low, high = 0.0, 1.0 / max(float(cost_usd.max()), 1e-300)
    cheapest = _spend(mean, cost_usd, float("inf"))
    while spend(high) > max(target_usd, cheapest * (1.0 + 1e-9)) and high < 1e15:
        low, high = high, high * 4.0
    for _ in range(40):
        middle = 0.5 * (low + high)
        if spend(middle) > target_usd:
            low = middle
        else:
            high = middle
        if high - low <= 1e-4 * high:
            break
    over, under = spend(low), spend(high)
    share = (target_usd - under) / (over - under) if over > under else 0.0
    return low, high, float(np.clip(share, 0.0, 1.0))


def _spend(mean: FloatArray, cost_usd: FloatArray, price: float) -> float:
    """Mean cost of playing the best mean - price x cost; ties go to the cheaper arm.

    mean, cost_usd : (n_arms, n_decisions), because numpy finds the best arm faster along the first axis.
    """
    if np.isinf(price):
        return float(np.where(np.isfinite(mean), cost_usd, np.inf).min(axis=0).mean())
    utility = mean - price * cost_usd
    best = utility.max(axis=0)
    return float(np.where(utility >= best - 1e-12, cost_usd, np.inf).min(axis=0).mean())
