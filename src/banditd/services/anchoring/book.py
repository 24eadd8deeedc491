"""One policy's anchor in this process: which side a query is on, and how the anchor decides.

The anchor decides from the sums and settings of the moment when it was taken, but with the present arms, prices and
predicted amounts. So the two sides differ only in what has been learned and set since.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from banditd.bandit.snapshot import Snapshot
from banditd.core.anchor import Anchor
from banditd.core.ids import new_id
from banditd.core.release import ReleasePart
from banditd.core.types import Query
from banditd.deciding.decide import Case, Situation
from banditd.deciding.rollout import place_of
from banditd.deciding.view import RouteView
from banditd.services.anchoring.freezing import Held
from banditd.services.policy import PolicyRuntime


class AnchorBook:
    """Follows a policy's anchor.

    share : share of the traffic that it decides; 0: off.
    anchor : as last read, or None.
    problem : why it cannot decide.
    """

    def __init__(self, runtime: PolicyRuntime, share: float) -> None:
        self._runtime = runtime
        self.share = share
        self.anchor: Anchor | None = None
        self.problem: str | None = None
        self._held: Held | None = None
        self._snapshot: Snapshot | None = None
        self._beside: RouteView | None = None
        self._view: RouteView | None = None

    @property
    def idle(self) -> bool:
        """Whether no query is affected by an anchor; a rollout or shadow mode takes precedence."""
        switches = self._runtime.switches
        return self._snapshot is None or switches.rollout < 1.0 or switches.mode != "route"

    def adopt(self, anchor: Anchor, held: Held, snapshot: Snapshot) -> None:
        """Decide by this anchor from now on."""
        self.anchor, self._held, self._snapshot, self.problem = anchor, held, snapshot, None
        self._view = self._beside = None

    def leave(self, anchor: Anchor | None, problem: str | None = None) -> None:
        """Stop deciding by an anchor."""
        self.anchor, self.problem = anchor, problem
        self._held = self._snapshot = self._view = self._beside = None

    # ---------------------------------------------------------------- a query

    def parts(self, cases: Sequence[Case]) -> list[ReleasePart | None]:
        """The side of each query; None for those that take no part."""
        anchor = self.anchor
        if anchor is None:
            return [None] * len(cases)
        return [None if case.query.pinned else self._part(case.query, anchor.anchor_id) for case in cases]

    def _part(self, query: Query, anchor_id: str) -> ReleasePart:
        place = place_of(anchor_id, query.session_key or new_id(0))
        return ReleasePart.at(anchor_id, place, self.share, anchor=True)

    def asking(self, cases: list[Case], _anchor: Situation) -> list[Case]:
        """The cases unchanged: both sides keep the same promise."""
        return cases

    def situation(self, situation: Situation) -> Situation | None:
        """The anchor's situation, given the policy's; None while the policy has other arms than it was built for."""
        held, snapshot = self._held, self._snapshot
        if held is None or snapshot is None or snapshot.arms != situation.view.snapshot.arms:
            return None
        if self._view is None or situation.view is not self._beside:
            self._view, self._beside = (
                self._runtime.view_of(snapshot, held.over(self._runtime.arms)),
                situation.view,
            )
        return replace(
            situation, view=self._view, exploration_floor=held.settings.floor, cost_weight=held.cost_weight
        )
