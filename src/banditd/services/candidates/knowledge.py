"""What a policy knew at each decision of its log: the learner's sums, walked through once more. No clock, no I/O.

The start is what is known now less what every decision of the window has taught; sums are additive, so that is exact.
From there each contribution is added when its reward had come. So no decision is judged by its own reward, nor by any
that came after it. What cannot be had again is the course of the prior scales and of detected changes: they are
today's all along.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Generator, Iterator, Sequence

import numpy as np

from banditd.bandit.policies.base import ArmPrior, PolicySettings
from banditd.bandit.snapshot import Snapshot
from banditd.bandit.state import PolicyState
from banditd.core.errors import InvariantError
from banditd.core.generations import learned_as
from banditd.core.rewards import Contribution
from banditd.core.types import FeatureSchema
from banditd.ports import StoredLearning
from banditd.ports.evaluations import LoggedDecision
from banditd.services.candidates.rebinding import rebound, restating, shares_posterior


class Knowledge:
    """The states of two rules over the same sums, at the first decision of ``rows`` and from there on.

    rows : every decision of the window that has taught something, oldest first. restored : whether the start is what
    was known then; else it is empty, since the stored sums do not hold what these decisions have taught.
    """

    def __init__(
        self,
        *,
        schema: FeatureSchema,
        settings: PolicySettings,
        other: PolicySettings,
        arms: Sequence[ArmPrior],
        stored: StoredLearning,
        rows: Sequence[LoggedDecision],
    ) -> None:
        self.restored = True
        self._settings, self._other = settings, other
        self._arms, self._schema = arms, schema
        self._stored = stored
        self._rows = rows
        self._waiting: list[tuple[int, int]] = []  # (when its reward came, index of the row), a heap
        self._shared = shares_posterior(settings, other)
        self._states: list[PolicyState] = []

    def beginning(self) -> Iterator[None]:
        """Go back to the beginning, in pieces. Call it to its end before anything else."""
        state = yield from self._restoring(self._stored)
        for row in self._rows:
            self._fold([state], row, -1.0)
            yield
        try:
            yield from state.refreshing()
        except InvariantError:
            self.restored = False
            empty = StoredLearning(
                version=1, epoch=0, hyperparameters=self._stored.hyperparameters, learner=None, segments=()
            )
            state = yield from self._restoring(empty)
        self._states = [state]
        if not self._shared:
            other = yield from restating(state, self._other)
            self._states.append(other)

    def until(self, at_us: int) -> Iterator[None]:
        """Learn what had come before that time, in pieces."""
        while self._waiting and self._waiting[0][0] < at_us:
            _, index = heapq.heappop(self._waiting)
            self._fold(self._states, self._rows[index], 1.0)
            yield
        for state in self._states:
            yield from state.refreshing()

    def passed(self, index: int) -> None:
        """The decision ``rows[index]`` was made: its reward may come."""
        heapq.heappush(self._waiting, (self._rows[index].rated_at_us, index))

    def snapshots(self) -> tuple[Snapshot, Snapshot]:
        """What is known now, as either of the two rules sees it."""
        first = self._states[0].snapshot()
        state = self._states[0]
        other = rebound(first, state, self._other) if self._shared else self._states[1].snapshot()
        return first, other

    def _restoring(self, stored: StoredLearning) -> Generator[None, None, PolicyState]:
        learner = stored.learner
        if learner is not None and self._rows:
            # Evidence is as old as it was then.
            counters = json.loads(learner)
            learner = json.dumps(counters | {"epoch": min(int(counters["epoch"]), self._rows[0].epoch)})
        state = PolicyState(schema=self._schema, settings=self._settings, arms=self._arms)
        yield from state.applying(
            [(one.arm, one.epoch, one.sums) for one in stored.segments],
            version=max(stored.version, 1),
            hyperparameters=stored.hyperparameters,
            learner=learner,
        )
        return state

    def _fold(self, states: Sequence[PolicyState], row: LoggedDecision, sign: float) -> None:
        x = row.x.astype(np.float64)
        for put, served in _taught(row):
            for state in states:
                state.fold(
                    arm=learned_as(put.arm, row.generations.get(put.arm, 1)), epoch=put.epoch, x=x,
                    weight=sign * put.weight, reward=put.reward, first=False, served=served,
                )  # fmt: skip


def _taught(row: LoggedDecision) -> Iterator[tuple[Contribution, bool]]:
    """(what it has put into the sums, whether of the arm that served)."""
    if row.contribution is not None:
        yield row.contribution, True
    for other in row.others:
        yield other, False
