"""A prior from an evaluation: every arm answered the same prompts and was scored. No policy plays here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from banditd.bandit.policies.base import ArmPrior, PolicySettings
from banditd.bandit.posterior.prior import Prior
from banditd.bandit.state import PolicyState
from banditd.core.errors import InvalidInputError
from banditd.core.types import Context, FeatureSchema
from banditd.replay.dataset import ReplayData

FIT_ROUNDS: Final = 4  # refits, each beginning where the last one ended
_BATCH: Final = 50  # rows between two reports of progress


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedArm:
    """rewards : number of its scores. mean_reward : their mean, in [0, 1]. mean_cost_usd : over all rows."""

    arm: str
    rewards: int
    mean_reward: float
    mean_cost_usd: float


def evaluated_arms(data: ReplayData) -> list[EvaluatedArm]:
    """Every arm that has any score."""
    reported = np.isfinite(data.score)
    return [
        EvaluatedArm(
            arm=arm,
            rewards=int(reported[:, i].sum()),
            mean_reward=float(data.score[reported[:, i], i].mean()),
            mean_cost_usd=float(data.cost_usd[:, i].mean()),
        )
        for i, arm in enumerate(data.arms)
        if reported[:, i].any()
    ]


def evaluation_prior(
    data: ReplayData,
    schema: FeatureSchema,
    contexts: Iterable[Context],
    *,
    source: str,
    progress: Callable[[int], None] = lambda _rows: None,
) -> Prior:
    """What the score of every arm on every row teaches, for a policy to start from.

    A log tells one score a row, an evaluation as many as there are arms, and all on the same queries.

    Parameters
    ----------
    contexts : one per row of ``data``, in its order, of ``schema``. source : where it came from, in words.
    progress : told the number of rows that are done.

    Raises
    ------
    InvalidInputError : no row has a score.
    """
    state = PolicyState(
        schema=schema,
        settings=PolicySettings(change_detection=False),
        arms=[
            ArmPrior(arm, cost_usd=float(cost))
            for arm, cost in zip(data.arms, data.cost_usd.mean(axis=0), strict=True)
        ],
    )
    for row, (context, scores) in enumerate(zip(contexts, data.score.tolist(), strict=True), start=1):
        for arm, score in zip(data.arms, scores, strict=True):
            if not math.isnan(score):  # it was scored here
                state.fold(arm=arm, epoch=0, x=context.x, weight=1.0, reward=score)
        if row % _BATCH == 0:
            progress(row)
    if not state.folded:
        raise InvalidInputError("No row has a score: there is nothing to start from.")
    for _ in range(FIT_ROUNDS):
        state.adopt(state.tuning().run())
    progress(data.n_rows)
    return state.to_prior(source)
