"""What a policy is compared with: constant and all-knowing policies, and the headroom score between them.

Everything here knows the outcomes; nothing here learns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from banditd.budget.frontier import fixed_mixture_at_cost
from banditd.core.types import FloatArray, IntArray

FIRST = 500


@dataclass(frozen=True, slots=True, eq=False)
class References:
    """Utilities of the reference policies on the scored rows.

    uniform_rows, category_rows, fixed_rows, oracle_rows : float64 (n,), expected utility per row (NaN where
    a score is missing) of the uniform policy, of the best arm per category, of the best fixed arm, and of
    the best arm per row. The last contains luck, the others are honest.
    """

    uniform_rows: FloatArray
    category_rows: FloatArray
    fixed_rows: FloatArray
    oracle_rows: FloatArray
    best_arm: int

    def headroom(self, utility: FloatArray, rows: IntArray) -> float | None:
        """(U - U_uniform) / (U_category - U_uniform) over decisions on ``rows``: 0 random, 1 a perfect table.

        utility : float64, aligned with ``rows``, NaN where unknown. None when the references coincide.
        """
        got, uniform = known_mean(utility), known_mean(self.uniform_rows[rows])
        table = known_mean(self.category_rows[rows])
        if got is None or uniform is None or table is None or table - uniform <= 1e-12:
            return None
        return (got - uniform) / (table - uniform)


def references(utility: FloatArray, category: IntArray) -> References:
    """Reference policies for utilities (n, K) with NaN where a score is missing; each row has one at least."""
    means = column_means(utility)
    best = int(means.argmax())
    category_rows = np.empty(utility.shape[0])
    for label in np.unique(category):
        rows = category == label
        category_rows[rows] = utility[rows, int(column_means(utility[rows]).argmax())]
    return References(
        uniform_rows=np.nanmean(utility, axis=1),
        category_rows=category_rows,
        fixed_rows=utility[:, best],
        oracle_rows=np.nanmax(utility, axis=1),
        best_arm=best,
    )


def known_mean(values: FloatArray) -> float | None:
    """Mean without NaNs, None when there is nothing else."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else None


def column_means(values: FloatArray) -> FloatArray:
    """Mean of every column without its NaNs, -inf for a column of nothing else: float64 (K,)."""
    known = np.isfinite(values)
    counts = known.sum(axis=0)
    sums = np.where(known, values, 0.0).sum(axis=0)
    return np.where(counts > 0, sums / np.maximum(counts, 1), -np.inf)


def mixture_utility(score: FloatArray, cost_usd: FloatArray, spend_usd: float, price: float) -> float:
    """Utility of the best fixed-arm mixture that spends at most ``spend_usd`` per decision.

    score : (n, K) with NaN; cost_usd : (n, K); price : utility per dollar (0 where a budget is the objective).
    """
    means = column_means(score)
    scored = np.isfinite(means)  # an arm without any score is worth nobody knows what
    mixture = fixed_mixture_at_cost(means[scored], cost_usd.mean(axis=0)[scored], spend_usd)
    return mixture.reward - price * mixture.cost_usd


def budget_headroom(got: FloatArray, score: FloatArray, cost_usd: FloatArray, budget_usd: float) -> float | None:
    """Headroom score under a budget: 0 is always the cheapest arm, 1 the best fixed-arm mixture within the budget.

    References that do not look at costs are none here: a table of the best arms may cost any multiple of the budget.

    Parameters
    ----------
    got : float64 (n,), rewards on some rows. score, cost_usd : float64 (n, K), those of every arm there.

    None where both references coincide, because the budget buys nothing but the cheapest arm.
    """
    earned, means = known_mean(got), column_means(score)
    cheapest = float(means[int(cost_usd.mean(axis=0).argmin())])
    mixture = mixture_utility(score, cost_usd, budget_usd, 0.0)
    return None if earned is None or mixture - cheapest <= 1e-3 else (earned - cheapest) / (mixture - cheapest)


def phases(n: int) -> Sequence[tuple[str, slice]]:
    """Names and extents of the parts of a run that are reported apart."""
    return (("all", slice(0, n)), ("first_500", slice(0, FIRST)), ("last_third", slice(n - max(n // 3, 1), n)))
