"""Batches of one: what a snapshot says of a single query, over the arms that may answer it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from banditd.bandit.policies.exploration import draw
from banditd.bandit.snapshot import Snapshot
from banditd.core.contexts import Contexts
from banditd.core.types import Context, FloatArray, IntArray

TIE = 1e-12


@dataclass(frozen=True)
class Choice:
    """Vectors, and indices, over the arms that were passed."""

    index: int
    propensity: float
    probability: FloatArray
    mean: FloatArray
    deviation: FloatArray
    explored: bool
    greedy: int


def choose(
    snapshot: Snapshot,
    context: Context,
    *,
    arms: IntArray,
    penalty: FloatArray,
    floors: FloatArray,
    uniform: float,
    least: FloatArray | None = None,
) -> Choice:
    """Draw one of ``arms``; the other arguments are of these arms, (n,)."""
    n = len(snapshot.arms)

    def spread(values: FloatArray) -> FloatArray:
        row = np.zeros((1, n), dtype=np.asarray(values).dtype)
        row[0, arms] = values
        return row

    scores = snapshot.scores(
        Contexts.of([context]),
        penalty=spread(penalty),
        allowed=spread(np.ones(len(arms), dtype=bool)),
        floors=spread(floors),
        least=None if least is None else spread(least),
    )
    outside = np.setdiff1d(np.arange(n), arms)
    assert not scores.probability[0, outside].any()
    drawn = int(draw(scores.probability, np.array([uniform]))[0])
    index = int(np.flatnonzero(np.asarray(arms) == drawn)[0])
    utility = scores.mean[0, arms] - penalty
    return Choice(
        index,
        float(scores.probability[0, drawn]),
        scores.probability[0, arms],
        scores.mean[0, arms],
        scores.deviation[0, arms],
        bool(utility[index] < utility.max() - TIE),
        int(utility.argmax()),
    )


def predict(snapshot: Snapshot, context: Context) -> tuple[FloatArray, FloatArray]:
    """(mean, standard deviation) of every arm: (n_arms,) each."""
    mean, deviation = snapshot.predict(context.x[None, :])
    return mean[0], deviation[0]
