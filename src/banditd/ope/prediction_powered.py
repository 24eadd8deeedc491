"""What answers are worth to people, from many scores of a judge and few labels of people: prediction-powered.

A judge is cheap and biased, people are right and few. With j the judge's score of a decision, judged with a known
probability, and h the label of people where there is one, labelled with a known probability (Angelopoulos, Duchi and
Zrnic 2023, PPI++):

    theta = lam mean(j, all) + mean(h - lam j, labelled)

is right whatever the judge thinks, since lam j is added and taken away again; lam is chosen so that the interval is
narrowest, and is 0 for a judge that knows nothing. Means are weighted by the inverse of the probabilities. Pure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import stdtrit

from banditd.core.types import FloatArray
from banditd.ope.fixed import LEVEL

PSEUDO_LABELS: Final = 2.0
FEWEST_LABELS: Final = 10
"""With fewer labels there is no interval: even Student's is too narrow for so few rewards of 0 or 1."""


@dataclass(frozen=True, slots=True)
class PoweredMean:
    """Estimated mean of people's labels over all answers.

    mean : in rewards. low, high : its 95 % interval, within [0, 1].
    power : lam, in [0, 1], how much the judge is used.
    worth : number of labels that would give the same precision without a judge.
    labelled, judged : number of decisions.
    """

    mean: float
    low: float
    high: float
    power: float
    worth: float
    labelled: int
    judged: int

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2.0


def powered_mean(
    scores: FloatArray,
    labels: FloatArray,
    *,
    judge_probability: FloatArray | None = None,
    label_probability: FloatArray | None = None,
) -> PoweredMean | None:
    """The mean label over all judged decisions' population.

    Parameters
    ----------
    scores : (n,) the judge's, in [0, 1]. labels : (n,) of people, in [0, 1]; NaN where there is none.
    judge_probability, label_probability : (n,) with which each was judged, and labelled if judged, in (0, 1]; None:
        the same for all.

    Returns
    -------
    None with fewer labels than ``FEWEST_LABELS``.
    """
    known = ~np.isnan(labels)
    labelled = int(known.sum())
    if labelled < FEWEST_LABELS:
        return None
    judge_weight = _normal(np.ones_like(scores) if judge_probability is None else 1.0 / judge_probability)
    label_weight = np.where(known, 1.0 if label_probability is None else 1.0 / label_probability, 0.0)
    label_weight = _normal(label_weight if judge_probability is None else label_weight / judge_probability)
    human = np.where(known, labels, 0.0)
    # Each decision's part in the estimate: of the labels, of the judge on the labelled, and of the judge on all.
    of_labels = label_weight * (human - label_weight @ human)
    difference = label_weight * (scores - label_weight @ scores) - judge_weight * (scores - judge_weight @ scores)
    power = _power(of_labels, difference)
    mean = float(label_weight @ human - power * (label_weight @ scores - judge_weight @ scores))
    effective = 1.0 / float(label_weight @ label_weight)
    # Labels so far may be more alike than those to come: as many more as PSEUDO_LABELS that miss by one half.
    pseudo = PSEUDO_LABELS * 0.25 / effective**2
    alone = float(of_labels @ of_labels) + pseudo
    variance = float(np.square(of_labels - power * difference).sum()) + pseudo
    half = float(stdtrit(max(effective - 1.0, 1.0), LEVEL)) * math.sqrt(variance)
    return PoweredMean(
        mean=min(max(mean, 0.0), 1.0),
        low=max(mean - half, 0.0),
        high=min(mean + half, 1.0),
        power=power,
        worth=effective * alone / variance,
        labelled=labelled,
        judged=len(scores),
    )


def _normal(weights: FloatArray) -> FloatArray:
    normal: FloatArray = weights / weights.sum()
    return normal


def _power(of_labels: FloatArray, difference: FloatArray) -> float:
    """The lam in [0, 1] that leaves the least variance."""
    spread = float(difference @ difference)
    if spread <= 1e-12 / len(difference):
        return 0.0
    return min(max(float(of_labels @ difference) / spread, 0.0), 1.0)
