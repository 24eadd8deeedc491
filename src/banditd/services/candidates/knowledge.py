"""What a policy knew at each decision of its log, reconstructed from the learner's sums. No clock, no I/O.

The start is the present sums minus the contributions of every decision in the window; since sums are additive, this
is exact. From there each contribution is added at the time its reward arrived. So no decision is evaluated with its
own reward or a later one. Past prior scales and detected changes cannot be recovered; the present ones are used
throughout.
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
    """The states of two rules over the same sums, from the first decision of ``rows`` onwards.

    rows : every decision of the window that taught something, oldest first.
    restored : whether the start is what was known then; otherwise it is empty, because the stored sums do not contain
    these decisions.
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
        """Go back to the start, in pieces; run it to its end first."""
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
        """Learn the rewards that had arrived before that time, in pieces."""
        while self._waiting and self._waiting[0][0] < at_us:
            _, index = heapq.heappop(self._waiting)
            self._fold(self._states, self._rows[index], 1.0)
            yield
        for state in self._states:
            yield from state.refreshing()

    def passed(self, index: int) -> None:
        """The decision ``rows[index]`` has been made: its reward may now arrive."""
        heapq.heappush(self._waiting, (self._rows[index].rated_at_us, index))

    def snapshots(self) -> tuple[Snapshot, Snapshot]:
        """The present knowledge as a snapshot for each of the two rules."""
        first = self._states[0].snapshot()
        state = self._states[0]
        other = rebound(first, state, self._other) if self._shared else self._states[1].snapshot()
        return first, other

    def _restoring(self, stored: StoredLearning) -> Generator[None, None, PolicyState]:
        learner = stored.learner
        if learner is not None and self._rows:
            # Give the sums the age that they had then.
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
    """(contribution to the sums, whether it is the serving arm's)."""
    if row.contribution is not None:
        yield row.contribution, True
    for other in row.others:
        yield other, False
