"""Money: the price that holds a budget, and the fixed-arm mixture it is measured against. Pure."""

from banditd.budget.frontier import Mixture, fixed_mixture_at_cost
from banditd.budget.pacer import Pacer, solve_price

__all__ = ["Mixture", "Pacer", "fixed_mixture_at_cost", "solve_price"]
