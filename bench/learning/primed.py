"""A warm start that no log can give: of the first tenth of the rows the score of every arm is told."""

from __future__ import annotations

import numpy as np

from banditd.replay import Row, Served
from bench.learning.own import AfterUniform
from bench.learning.prepared import Prepared


class AfterFullTenth(AfterUniform):
    """``AfterUniform``, but for what its learner is told until scoring begins: everything about those rows."""

    def __init__(self, prepared: Prepared, seed: int) -> None:
        super().__init__(prepared, seed)
        self._score = prepared.plan.data.score

    async def decide(self, row: Row) -> Served:
        served = await super().decide(row)
        return Served(served.arm, (row.index, served))

    async def reward(self, served: Served, *, reward: float | None, cost_usd: float) -> None:
        assert isinstance(served.token, tuple)  # made above
        index, drawn = served.token
        if self._scoring:
            await super().reward(drawn, reward=reward, cost_usd=cost_usd)
            return
        for arm, score in enumerate(self._score[index].tolist()):
            told = score if np.isfinite(score) else None
            await super().reward(Served(arm, drawn.token), reward=told, cost_usd=cost_usd)
