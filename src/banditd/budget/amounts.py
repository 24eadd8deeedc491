"""Log-linear predictions, frozen for reading: output tokens and latency of every arm on a query. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from banditd.core.types import FloatArray, IntArray

_LARGEST_EXPONENT: Final = 30.0


@dataclass(frozen=True, slots=True, eq=False)
class AmountModel:
    """Mean amount of K arms: exp(exponents @ x[columns]) x factors.

    columns : intp, of a context. exponents : float64 (K, n_columns). factors : float64 (K,), NaN where nothing is
    known. spread : float64 (K,), standard deviation of one amount over its mean. typical : float64 (K,), mean amount
    over the queries that it was learned from.
    """

    columns: IntArray
    exponents: FloatArray
    factors: FloatArray
    spread: FloatArray
    typical: FloatArray

    def predict(self, x: FloatArray) -> FloatArray:
        """X : float64 (n_features,) or (n, n_features). Returns float64 (K,) or (n, K)."""
        exponent = x[..., self.columns] @ self.exponents.T
        amounts: FloatArray = np.exp(np.minimum(exponent, _LARGEST_EXPONENT)) * self.factors
        return amounts

    def aligned(self, arms: Sequence[str], to: Sequence[str], otherwise: FloatArray) -> AmountModel:
        """The same for other arms in another order; those that are new have the constant of ``otherwise``.

        Parameters
        ----------
        arms : of this model. to : the arms wanted, n of them. otherwise : float64, shape (n,).
        """
        place = {arm: i for i, arm in enumerate(arms)}
        exponents = np.zeros((len(to), self.columns.shape[0]))
        factors, typical, spread = np.array(otherwise), np.array(otherwise), np.ones(len(to))
        for i, arm in enumerate(to):
            if arm in place:
                exponents[i], factors[i] = self.exponents[place[arm]], self.factors[place[arm]]
                spread[i], typical[i] = self.spread[place[arm]], self.typical[place[arm]]
        return AmountModel(self.columns, exponents, factors, spread, typical)


@dataclass(frozen=True, slots=True, eq=False)
class Amounts:
    """The models of one policy for its arms in this order; None where nothing was reported yet.

    input_tokens : of a typical query. billed : of arms that cost something else than their tokens at their price, how
    many times as much.
    """

    arms: tuple[str, ...]
    output_tokens: AmountModel | None
    latency_ms: AmountModel | None
    input_tokens: float | None = None
    billed: Mapping[str, float] = field(default_factory=dict)
