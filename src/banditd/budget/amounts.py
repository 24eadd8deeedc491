"""Predictions of output tokens and latency for every arm on a query, from a fitted log-linear model. Pure."""

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

    columns : intp, of a context. exponents : float64 (K, n_columns).
    factors : float64 (K,), NaN if nothing is known.
    spread : float64 (K,), standard deviation of one amount relative to its mean.
    typical : float64 (K,), mean amount over the queries that were fitted.
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
        """The model for another list of arms; new arms get the constant from ``otherwise``.

        Parameters
        ----------
        arms : of this model. to : the wanted arms, n of them. otherwise : float64, shape (n,).
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
    """The models of one policy for its arms in this order; None while nothing was reported.

    input_tokens : of a typical query.
    billed : arms whose reported cost differs from their tokens at their price -> by which factor.
    """

    arms: tuple[str, ...]
    output_tokens: AmountModel | None
    latency_ms: AmountModel | None
    input_tokens: float | None = None
    billed: Mapping[str, float] = field(default_factory=dict)
