"""The simulated first day of ``make demo``: four models, eight families of queries; the truth is the simulator's.

Four in five answers get a reward, a thumb or a judge's score, late by some fifteen queries.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Final

import numpy as np

from banditd.replay.dataset import ReplayData
from banditd.replay.feedback import FeedbackSource
from banditd.replay.options import ReplayOptions
from banditd.replay.plan import Plan
from banditd.simulate import feedback, world
from banditd.simulate.families import FAMILIES, draw

NAME: Final = "first_day"
QUERIES: Final = 2000
RATE: Final = 1.0 - feedback.SILENT_SHARE
_THUMBS: Final = RATE * feedback.THUMB_SHARE
FEEDBACK: Final = (
    FeedbackSource(kind="thumb", rate=_THUMBS),
    FeedbackSource(kind="judge", rate=1.0 - feedback.SILENT_SHARE / (1.0 - _THUMBS), sd=world.NOISE_SD),
)


def plan(keep: float, baseline: str, seed: int) -> Plan:
    """The plan of one seed: every seed has queries of its own."""
    options = ReplayOptions(
        directory=Path(NAME), keep=keep, baseline=baseline, feedback=FEEDBACK, order="source", seeds=1,
        reward_delay=round(feedback.MEAN_DELAY_QUERIES),
    )  # fmt: skip
    rows = np.arange(QUERIES, dtype=np.intp)
    data = _world(seed)
    return Plan(options=options, data=data, warmup=rows[:0], scored=rows, penalty=np.zeros(len(data.arms)), price=0.0)


def _world(seed: int) -> ReplayData:
    """score : the mean reward, which a thumb is drawn from and a judge errs about."""
    arms = world.simulated_arms(world.EXAMPLE_ARMS)
    prompts = [draw(random.Random(f"{seed}/{index}/prompt")) for index in range(QUERIES)]
    outcomes = [
        [world.outcome(arm, prompt, seed=seed, index=index) for arm in arms] for index, prompt in enumerate(prompts)
    ]
    families = list(FAMILIES)
    return ReplayData(
        name=NAME,
        prompts=tuple(prompt.text for prompt in prompts),
        arms=tuple(arm.name for arm in arms),
        score=np.array([[one.mean_reward for one in row] for row in outcomes]),
        cost_usd=np.array([[one.cost_usd for one in row] for row in outcomes]),
        category=np.array([families.index(prompt.family) for prompt in prompts], dtype=np.intp),
        split=("",) * QUERIES,
        prices={},
        features=({},) * QUERIES,
    )
