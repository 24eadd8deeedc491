"""What budgets contribute to a decision: the price of a dollar, and the arms they can pay for. Pure: accounts are
only read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from banditd.budget.pacer import SPREADS
from banditd.core.errors import BudgetExhaustedError
from banditd.core.money import CHEAPEST, REJECT
from banditd.core.types import BoolArray, FloatArray
from banditd.deciding.account import Account, exhausted

NAMED_ARM = "named_arm"


class Terms(NamedTuple):
    """What a decision assumed about accounts that can pay for every arm.

    cost_usd : highest predicted cost of any arm. dear_usd : highest plausible cost.
    conditions : of each account, the price of a dollar and the budget per decision.
    """

    cost_usd: float
    dear_usd: float
    conditions: Sequence[tuple[float, float]]


class Admission(NamedTuple):
    """Which of the eligible arms the budgets allow.

    arms : bool (n_arms,).
    excluded : arm index -> name of the budget.
    stopped : used-up budgets and what was done (``cheapest``, ``named_arm``, ``reject``).
    refused : the error, if one of them rejects.
    terms : None without accounts or if some arm was too expensive.
    """

    arms: BoolArray
    excluded: Mapping[int, str] = MappingProxyType({})
    stopped: tuple[tuple[str, str], ...] = ()
    refused: BudgetExhaustedError | None = None
    terms: Terms | None = None


def price_per_usd(accounts: Iterable[Account]) -> float:
    """Utility cost of a dollar: the highest price of the budgets that apply, since that one keeps them all."""
    return max((account.pacer.price_per_usd for account in accounts), default=0.0)


def terms_of(
    accounts: Sequence[Sequence[Account]], eligible: BoolArray, cost_usd: FloatArray, spread_usd: FloatArray
) -> list[Terms]:
    """Terms of each query, assuming its accounts can pay for every arm; arrays are (n, n_arms)."""
    both = np.array([cost_usd, cost_usd + SPREADS * spread_usd])
    most: list[list[float]] = np.where(eligible, both, 0.0).max(2).T.tolist()
    return [Terms(cost, dear, _conditions(own)) for (cost, dear), own in zip(most, accounts, strict=True)]


def pays_for_all(accounts: Iterable[Account], terms: Terms) -> bool:
    """Whether every account can pay for every arm."""
    return all(terms.cost_usd <= one.left_usd() and one.pacer.covers(terms.dear_usd) for one in accounts)


def decides_alike(accounts: Sequence[Account], terms: Terms | None) -> bool:
    """Whether a decision made under these terms would come out the same now, after other charges to its accounts."""
    return terms is not None and _conditions(accounts) == terms.conditions and pays_for_all(accounts, terms)


def _conditions(accounts: Iterable[Account]) -> list[tuple[float, float]]:
    return [(account.pacer.price_per_usd, account.pacer.budget_usd) for account in accounts]


def admit(
    accounts: Sequence[Account],
    eligible: BoolArray,
    cost_usd: FloatArray,
    spread_usd: FloatArray,
    names: Sequence[str],
    now_us: int,
) -> Admission:
    """The eligible arms that all budgets can pay for.

    Parameters
    ----------
    eligible : bool (n_arms,), not empty. cost_usd, spread_usd : float64 (n_arms,), predicted cost of every arm and
    the standard deviation of a call's about it. names : of the arms.
    """
    allowed, cost = eligible.copy(), np.where(eligible, cost_usd, np.inf)
    excluded: dict[int, str] = {}
    stopped: list[tuple[str, str]] = []
    for account in accounts:
        rule = account.rule
        # A free arm is always affordable, even after an answer cost more than was left.
        affordable = eligible & (cost <= max(account.left_usd(), 0.0))
        if not affordable.any():
            if rule.at_stop == REJECT:
                stopped.append((rule.name, REJECT))
                return Admission(
                    allowed, excluded, tuple(stopped), exhausted(account, now_us, float(cost[eligible].min()))
                )
            affordable, done = _last_resort(rule.at_stop, eligible, cost, names)
            stopped.append((rule.name, done))
        else:
            affordable &= account.pacer.mask(np.where(affordable, cost, np.inf), spread_usd)
        for index in np.flatnonzero(allowed & ~affordable).tolist():
            excluded[index] = rule.name
        allowed = _both(allowed, affordable, cost)
    return Admission(allowed, {i: name for i, name in excluded.items() if not allowed[i]}, tuple(stopped))


def _last_resort(
    at_stop: str, eligible: BoolArray, cost_usd: FloatArray, names: Sequence[str]
) -> tuple[BoolArray, str]:
    """The only arm that a used-up budget allows (the one it names, else the cheapest), and which of the two it is."""
    last = np.zeros(eligible.shape[0], dtype=bool)
    named = [i for i in np.flatnonzero(eligible).tolist() if names[i] == at_stop]
    last[named[0] if named else int(cost_usd.argmin())] = True
    return last, NAMED_ARM if named else CHEAPEST


def _both(allowed: BoolArray, affordable: BoolArray, cost_usd: FloatArray) -> BoolArray:
    """The arms in both masks; if there are none, the cheapest arm of either."""
    common = allowed & affordable
    if not common.any():
        common[int(np.where(allowed | affordable, cost_usd, np.inf).argmin())] = True
    return common


def cut_floors(
    accounts: Sequence[Account], floors: FloatArray, cost_usd: FloatArray, allowed: BoolArray
) -> FloatArray:
    """Floors cut to what the budgets let exploration spend: float64 (n_arms,), like all arguments."""
    cut, cost = floors[allowed], cost_usd[allowed]
    for account in accounts:
        cut = account.pacer.floors(cut, cost)
    found = np.zeros(floors.shape)
    found[allowed] = cut
    return found
