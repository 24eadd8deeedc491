"""Chains that know the score of every arm on four fifths of the queries, and play the fifth. Nothing here learns
online: these are what chains of a pool could earn, beside routing that knows as much (``recipe_report.routed``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Final

import numpy as np

from banditd.core.types import BoolArray, FloatArray, IntArray
from banditd.replay.recipe_report import FOLDS
from banditd.replay.references import known_mean

MOST_PAIRS: Final = 60  # of arms, a pool of eleven: with more, chains end at two calls here
RIDGES: Final = (10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10000.0)  # of features of unit variance
_QUANTILES: Final = (0.1, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FullInformation:
    """What such a chain knows.

    x : float64 (n, d), contexts with a bias first. score : float64 (n, K), no NaN. signals : float64 (n, K, S), of
    any scale (``ranked``), NaN where missing. same : bool (n, K, K), None where nobody can tell. call : float64 (K,),
    utility that a call costs. ask : float64 (n, K), what seeing an arm's signals costs beside.
    """

    x: FloatArray
    score: FloatArray
    signals: FloatArray
    same: BoolArray | None
    call: FloatArray
    ask: FloatArray


def chain_references(full: FullInformation, max_calls: int) -> dict[str, float | None]:
    """``stop`` : the best first arm, then keep or call. ``joint`` : whatever first arm the query asks for, with or
    without going on. ``oracle`` : see ``oracle_cascade``. None for fewer queries than folds.
    """
    n, k = full.score.shape
    oracle = oracle_cascade(full.score, full.call, max_calls)
    if n < FOLDS or max_calls < 2 or k < 2:
        return {"stop": None, "joint": None, "oracle": oracle}
    depth = min(max_calls, 3, k) if k * (k - 1) // 2 <= MOST_PAIRS else 2
    fold = np.random.default_rng(0).permutation(n) % FOLDS
    stop, joint = np.full(n, np.nan), np.full(n, np.nan)
    for one in range(FOLDS):
        seen = np.flatnonzero(fold != one)
        held = np.flatnonzero(fold == one)
        chains = _Chains(full, seen, depth)
        first = int(chains.returns[seen].mean(axis=0).argmax())
        stop[held] = chains.returns[held, first]
        options = np.column_stack([chains.returns, full.score - full.call])
        worth = _fitted(full.x, options, seen)
        joint[held] = options[held, worth[held].argmax(axis=1)]
    return {"stop": known_mean(stop), "joint": known_mean(joint), "oracle": oracle}


def ranked(signals: FloatArray) -> FloatArray:
    """Ranks in [-1, 1] of signals, float64 (n, K, S), each among those of its arm; NaN stays."""
    found = np.full(signals.shape, np.nan)
    for place in np.ndindex(signals.shape[1:]):
        values = signals[(slice(None), *place)]
        known = np.isfinite(values)
        if known.any():
            ordered = np.sort(values[known])
            around = [ordered.searchsorted(values[known], side) for side in ("left", "right")]
            found[(known, *place)] = (around[0] + around[1]) / ordered.size - 1.0
    return found


class _Chains:
    """What going on from every first arm earns on all rows, by models of the rows ``seen`` alone.

    Backwards from the last call: what a hand is worth is what was realised with it, not what was predicted of it.
    returns : float64 (n, K), utility of the chain that begins with each arm, its calls and signals paid.
    """

    def __init__(self, full: FullInformation, seen: IntArray, depth: int) -> None:
        self._full, self._seen = full, seen
        n, k = full.score.shape
        self._n, self._k, self._depth = n, k, depth
        worth: dict[frozenset[int], FloatArray] = {}
        for size in range(depth, 0, -1):
            found: dict[frozenset[int], FloatArray] = {}
            for hand in combinations(range(k), size):
                found[frozenset(hand)] = self._worth(hand, worth if size < depth else {})
            worth = found
        first = np.column_stack([worth[frozenset((arm,))] for arm in range(k)])
        self.returns = first - full.call - full.ask

    def _worth(self, hand: tuple[int, ...], later: dict[frozenset[int], FloatArray]) -> FloatArray:
        """float64 (n,): score of what is kept less all that is still paid."""
        full = self._full
        x = np.column_stack([full.x, _shown(full, hand)])
        options = [full.score[:, arm] for arm in hand]
        if later:
            is_last = len(hand) + 1 == self._depth  # nothing is asked of the last answer
            paid = np.broadcast_to(full.call, full.ask.shape) if is_last else full.call + full.ask
            options += [later[frozenset((*hand, arm))] - paid[:, arm] for arm in range(self._k) if arm not in hand]
        values = np.column_stack(options)
        choice = _fitted(x, values, self._seen).argmax(axis=1)
        found: FloatArray = values[np.arange(self._n), choice]
        return found


def _shown(full: FullInformation, hand: Sequence[int]) -> FloatArray:
    """float64 (n, m): signals of the answers in hand, whether each is missing, and which of them agree."""
    signals = full.signals[:, list(hand)].reshape(full.score.shape[0], -1)
    missing = np.isnan(signals)
    columns = [np.where(missing, 0.0, signals), missing.astype(np.float64)]
    if full.same is not None and len(hand) > 1:
        pairs = [full.same[:, a, b].astype(np.float64) for a, b in combinations(hand, 2)]
        columns.append(np.column_stack(pairs))
    return np.column_stack(columns)


def _fitted(x: FloatArray, y: FloatArray, seen: IntArray) -> FloatArray:
    """Ridge regressions of every column of ``y`` on the rows seen, for all rows: float64 (n, m).

    Each has the strength with the least generalised cross-validation error.
    """
    centre, spread = x[seen].mean(axis=0), x[seen].std(axis=0)
    used = spread > 1e-12
    z = (x[:, used] - centre[used]) / spread[used]
    level = y[seen].mean(axis=0)
    inner, n = z[seen], seen.size
    values, vectors = np.linalg.eigh(inner.T @ inner)
    values = np.maximum(values, 0.0)
    turned = vectors.T @ (inner.T @ (y[seen] - level))
    total = ((y[seen] - level) ** 2).sum(axis=0)
    found = np.zeros((x.shape[0], y.shape[1]))
    basis = z @ vectors
    least = np.full(y.shape[1], np.inf)
    for ridge in RIDGES:
        weight = turned / (values + ridge)[:, None]
        residual = total - 2.0 * (weight * turned).sum(axis=0) + (weight**2 * values[:, None]).sum(axis=0)
        error = residual / max(n - 1.0 - float((values / (values + ridge)).sum()), 1.0) ** 2
        better = error < least
        found[:, better] = (level + basis @ weight)[:, better]
        least = np.minimum(least, error)
    return found


def oracle_cascade(score: FloatArray, call: FloatArray, max_calls: int) -> float | None:
    """Utility of the best chain of fixed order that sees the true score of every answer, and nothing beforehand.

    It goes on while the best score in hand is below a threshold, the best of a few, and keeps the best.

    score : float64 (n, K), NaN where missing: rows with one are left out.
    """
    known = score[np.isfinite(score).all(axis=1)]
    if not known.size:
        return None
    levels = np.unique(known)
    thresholds = (0.5 * (levels[:-1] + levels[1:])).tolist()
    if len(thresholds) > len(_QUANTILES):
        thresholds = np.quantile(known, _QUANTILES).tolist()
    found = float((known.mean(axis=0) - call).max())
    for size in range(2, min(max_calls, known.shape[1]) + 1):
        for order in permutations(range(known.shape[1]), size):
            for threshold in thresholds:
                best, paid = known[:, order[0]], np.full(len(known), call[order[0]])
                for arm in order[1:]:
                    on = best < threshold
                    paid = paid + np.where(on, call[arm], 0.0)
                    best = np.where(on, np.maximum(best, known[:, arm]), best)
                found = max(found, float((best - paid).mean()))
    return found
