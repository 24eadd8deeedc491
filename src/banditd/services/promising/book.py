"""The promises of one policy in this process: what is asked of a query, what was seen, what is known.

A keeper (``deciding/keeper.py``) for every promise in force: those of the policy, its profiles, tags and requests.
What the keepers know of rewards is a function of the log (``PromiseService`` reads it), so that replicas agree and a
restart forgets nothing; the recent decisions they solve on are this process' own, at the start those of the log.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from banditd.core.ids import new_id
from banditd.core.types import Arm, BoolArray, FloatArray, IntArray, Query
from banditd.deciding.decide import Case, Decided
from banditd.deciding.keeper import Keeper, baseline_index
from banditd.deciding.pledge import Pledge
from banditd.deciding.rollout import Rollout, side_of
from banditd.deciding.view import RouteView
from banditd.ports import PromisedOutcome, RatedOutcome
from banditd.services.policy import PolicyRuntime, PolicySwitches
from banditd.services.promising.logged import overruled_by

# Requests may ask for any keep: of so many the newest are kept, and each to so many places.
MOST_KEEPERS: Final = 16
PLACES: Final = 3
# The dearest arm gives way to another only where that is so much dearer: their order is no matter of rounding.
DEARER_BY: Final = 1.05
OVERRULED_MEMORY: Final = 50.0  # decisions

Standing = tuple[float, str]
"""A promise in force: keep, and the baseline's name."""


class PromiseBook:
    """Every promise of a policy. wake : called where new terms are due.

    switches, view : whose promises these are, and the arms that they are kept with.
    """

    def __init__(self, runtime: PolicyRuntime) -> None:
        self._runtime = runtime
        self.wake: Callable[[], None] = _nobody
        self.keepers: OrderedDict[Standing, Keeper] = OrderedDict()
        self.outside = 0  # decisions of this process that had an objective of their own
        self.due = False
        self.solved = False  # whether every keeper has had its terms once
        self._view: RouteView | None = None
        self._arms: tuple[Arm, ...] = ()
        self._baseline: int | None = None
        self._dearest: str | None = None
        self._switches: PolicySwitches | None = None
        self._overruled: dict[Standing, dict[str, float]] = {}

    @property
    def switches(self) -> PolicySwitches:
        return self._runtime.switches

    @property
    def view(self) -> RouteView:
        return self._runtime.view

    @property
    def idle(self) -> bool:
        """Whether nothing is asked of any query."""
        return self.switches.idle

    @property
    def in_force(self) -> bool:
        """Whether something is promised."""
        return not self.idle and self.switches.promise is not None

    # -------------------------------------------------------------- a query

    def rest(self, view: RouteView) -> str | None:
        """Who answers what the policy does not decide; None while it decides everything."""
        if self.switches.mode == "route" and self.switches.rollout >= 1.0:
            return None
        baseline = self.baseline(view)
        return None if baseline is None else view.arms[baseline].arm

    def asking(self, cases: list[Case], view: RouteView) -> list[Case]:
        """The cases with what the promise and the rollout ask of them."""
        baseline = None if self.idle else self.baseline(view)
        if baseline is None:
            return cases
        switches, name = self.switches, view.arms[baseline].arm
        pledges: dict[float | None, Pledge | None] = {None: None}
        found = []
        for case in cases:
            if case.query.pinned:
                found.append(case)
                continue
            keep = self.keep_of(case.query)
            if keep is not None and keep not in pledges:
                pledges[keep] = self.keeper(keep, view, baseline).pledge()
            rollout = _rollout(switches, self._runtime.name, case.query, baseline)
            found.append(case.under(pledges[keep], rollout, _session_arm(case, rollout, name)))
        return found

    def keep_of(self, query: Query) -> float | None:
        """What is to be kept on a query; None where it has an objective of its own, or nothing is promised."""
        promise = self.switches.promise
        if promise is None or query.cost_weight is not None or query.quality_floor is not None:
            return None
        return promise.keep_of(query.tags) if query.keep is None else round(query.keep, PLACES)

    def baseline(self, view: RouteView) -> int | None:
        """Index of the baseline among the arms of the view; None where there is no such arm."""
        if view is not self._view or self._switches is not self.switches:
            self._follow(view)
        return self._baseline

    def keeper(self, keep: float, view: RouteView, baseline: int) -> Keeper:
        """The keeper of a promise. A new one begins with the decisions and misses that another has seen."""
        standing = keep, view.arms[baseline].arm
        found = self.keepers.get(standing)
        if found is not None:
            self.keepers.move_to_end(standing)
            return found
        promise = self.switches.promise
        if promise is None:
            raise RuntimeError(f"policy {self._runtime.name} promises nothing")
        found = Keeper(
            replace(promise, keep=keep),
            n_arms=len(view.arms),
            n_features=self._runtime.builder.schema.n_features,
            baseline=baseline,
        )
        self._begin(found, standing)
        self.keepers[standing] = found
        self.due = True
        self.wake()
        while len(self.keepers) > MOST_KEEPERS:
            dropped, _ = self.keepers.popitem(last=False)
            self._overruled.pop(dropped, None)
        return found

    def _begin(self, found: Keeper, standing: Standing) -> None:
        sibling = next(reversed(self.keepers.items()), None)
        if sibling is not None:
            found.begin_with(sibling[1], misses=sibling[0][1] == standing[1])

    def observe(self, view: RouteView, case: Case, decided: Decided, row: int) -> None:
        """Note a decision that was drawn, and will be stored."""
        if self.idle:
            return
        pledge = case.pledge
        if pledge is None or decided.draw.reason[row] not in {"policy", "shadow"}:
            self.outside += 1
            return
        standing = pledge.keep, view.arms[pledge.baseline].arm
        keeper = self.keepers.get(standing)
        if keeper is None:
            return
        keeper.observe(
            case.context.x,
            cost_usd=decided.priced.cost_usd[row],
            eligible=decided.admissions[row].arms,
            own=decided.scores.probability[row],
        )
        if keeper.due:
            self.due = True
            self.wake()
        if case.accounts or self._overruled:
            self._note_overruled(standing, overruled_by(case, decided, row))

    def _note_overruled(self, standing: Standing, name: str | None) -> None:
        fading = self._overruled.get(standing, {})
        if name is None and not fading:
            return
        self._overruled[standing] = fading
        for other in fading:
            fading[other] *= 1.0 - 1.0 / OVERRULED_MEMORY
        if name is not None:
            fading[name] = fading.get(name, 0.0) + 1.0 / OVERRULED_MEMORY

    def overruling(self, standing: Standing) -> str | None:
        """The budget that has overruled the promise on most of the recent decisions."""
        fading = self._overruled.get(standing, {})
        name = max(fading, key=fading.__getitem__, default=None)
        return name if name is not None and fading[name] > 0.5 else None

    # -------------------------------------------------------------- arms and prices

    def _follow(self, view: RouteView) -> None:
        """Put what was seen at the arms, the prices and the baseline of today."""
        before, self._view, self._switches = self._view, view, self.switches
        if before is not None and view.arms is not self._arms:
            self._realign(before, view)
        self._arms = view.arms
        self._baseline = self._find_baseline(view)
        promise = self.switches.promise
        if promise is None:
            self.keepers.clear()
            return
        for (keep, _), keeper in self.keepers.items():
            keeper.rule = replace(promise, keep=keep)

    def _find_baseline(self, view: RouteView) -> int | None:
        rule = self.switches.promise
        named = self.switches.baseline
        if named != "dearest" and rule is not None:
            return baseline_index(rule, view.snapshot.arms, typical_usd(view), view.serves & view.models)
        able = view.serves & view.models
        cost = np.where(able, typical_usd(view), -np.inf)
        if not able.any():
            return None
        index = int(cost.argmax())
        held = -1 if self._dearest is None else view.index.get(self._dearest, -1)
        if held >= 0 and able[held] and cost[index] <= cost[held] * DEARER_BY:
            index = held
        self._dearest = view.arms[index].arm
        return index

    def _realign(self, before: RouteView, view: RouteView) -> None:
        names, names_before = view.snapshot.arms, before.snapshot.arms
        columns = np.array([before.index.get(name, -1) for name in names], dtype=np.intp)
        factor = _price_factor(before, view, columns)
        for standing, keeper in list(self.keepers.items()):
            name = standing[1]
            if name not in view.index or view.generations.get(name, 1) != before.generations.get(name, 1):
                del self.keepers[standing]
                continue
            if names != names_before:
                keeper.realign(columns, baseline=view.index[standing[1]])
            keeper.reprice(factor)
            if view.serves[keeper.baseline]:
                keeper.baseline_is_back()
        self.due = True

    # -------------------------------------------------------------- the log

    def restore(self, view: RouteView, seen: Sequence[PromisedOutcome]) -> None:
        """Begin with decisions of the log, oldest first."""
        if seen and self._dearest is None:
            self._dearest = seen[-1].baseline
        promise = self.switches.promise
        if promise is None:
            return
        for one in seen:
            if one.baseline not in view.index:
                continue
            keeper = self.keeper(one.keep, view, view.index[one.baseline])
            places = np.array([view.index.get(arm, -1) for arm in one.arms], dtype=np.intp)
            known = places >= 0
            cost, own = (
                _spread(vector, places, known, len(view.arms)) for vector in (one.cost_usd, one.own_probability)
            )
            eligible: BoolArray = np.zeros(len(view.arms), dtype=bool)
            eligible[places[known]] = one.eligible[known]
            keeper.observe(one.x, cost_usd=cost, eligible=eligible, own=own)
        self.due = True

    def judges(self, rated: Sequence[RatedOutcome]) -> dict[Standing, Keeper]:
        """What each promise in force knows by these outcomes, oldest first; takes its time, changes nothing here."""
        found = {}
        for (keep, baseline), keeper in list(self.keepers.items()):
            mine = [(one.rated, one.keep == keep) for one in rated if one.baseline == baseline]
            found[keep, baseline] = keeper.judged_of(mine)
        return found


def _nobody() -> None:
    """Nobody waits for terms."""


def typical_usd(view: RouteView) -> FloatArray:
    """Expected cost of every arm on a typical query: float64 (n_arms,)."""
    return view.cost_usd(view.typical_input_tokens, np.asarray(view.output_tokens))


def _rollout(switches: PolicySwitches, policy: str, query: Query, baseline: int) -> Rollout | None:
    if switches.mode == "shadow":
        return Rollout(baseline, 0.0, "shadow")
    if switches.rollout >= 1.0:
        return None
    unit = query.session_key or new_id(0)
    return Rollout(baseline, switches.rollout, side_of(policy, unit, switches.rollout))


def _session_arm(case: Case, rollout: Rollout | None, baseline: str) -> str | None:
    """The session's arm, unless it is not on the policy's side: then the baseline goes on with it.

    Where tools or thinking are under way the arm goes on whatever was switched: another could not take over.
    """
    turn = case.query.turn
    if case.session_arm is None or rollout is None or rollout.side == "policy" or (turn is not None and turn.open):
        return case.session_arm
    return None if rollout.side == "shadow" else baseline


def _price_factor(before: RouteView, view: RouteView, columns: IntArray) -> FloatArray:
    """By how much the prices have changed, on a typical query: float64 (n_arms,), 1 for new arms.

    columns : where each arm was before, -1 for a new one.
    """
    tokens = view.typical_input_tokens
    now = typical_usd(view)
    then = (
        before.usd_per_request[columns]
        + before.usd_per_token_in[columns] * tokens
        + before.usd_per_token_out[columns] * np.asarray(view.output_tokens)
    )
    # What was free has no factor: what is remembered of it stays, and fades with the window.
    factor: FloatArray = np.where((columns >= 0) & (then > 0.0), now / np.maximum(then, 1e-300), 1.0)
    return factor


def _spread(vector: FloatArray, places: IntArray, known: BoolArray, n_arms: int) -> FloatArray:
    found = np.zeros(n_arms)
    found[places[known]] = vector[known]
    return found
