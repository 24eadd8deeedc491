"""One policy's promises in this process: what they ask of a query, and what has been seen and learned.

There is one keeper (``deciding/keeper.py``) for every promise in force: those of the policy, its profiles, tags and
requests. What keepers know about rewards is computed from the log (read by ``PromiseService``), so replicas agree and
a restart loses nothing. The recent decisions from which they solve are this process' own, initially those in the log.
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

# Requests may ask for any keep: it is rounded, and this many keepers, the newest, are maintained.
MOST_KEEPERS: Final = 16
PLACES: Final = 3
# Another arm replaces the dearest one only if it is dearer by this factor, so that rounding does not decide.
DEARER_BY: Final = 1.05
OVERRULED_MEMORY: Final = 50.0  # decisions
IN_A_ROW: Final = 20  # decisions in a row that could not draw the baseline: then it is said to be away

Standing = tuple[float, str]
"""A promise in force: (keep, name of the baseline)."""


class PromiseBook:
    """Every promise of a policy.

    switches, view : of the policy, or of a release's candidate in the subclass.
    wake : called when new terms are due.
    """

    def __init__(self, runtime: PolicyRuntime) -> None:
        self._runtime = runtime
        self.wake: Callable[[], None] = _no_wake
        self.keepers: OrderedDict[Standing, Keeper] = OrderedDict()
        self.outside = 0  # decisions of this process outside any promise, with another objective
        self.due = False
        self.solved = False  # whether every keeper has been solved at least once
        self._view: RouteView | None = None
        self._arms: tuple[Arm, ...] = ()
        self._baseline: int | None = None
        self._dearest: str | None = None
        self._switches: PolicySwitches | None = None
        self._overruled: dict[Standing, dict[str, float]] = {}
        self._without: dict[Standing, int] = {}  # newest decisions that could not draw the baseline

    @property
    def switches(self) -> PolicySwitches:
        return self._runtime.switches

    @property
    def view(self) -> RouteView:
        return self._runtime.view

    @property
    def idle(self) -> bool:
        """Whether neither a promise nor a rollout affects queries."""
        return self.switches.idle

    @property
    def in_force(self) -> bool:
        """Whether there is a promise."""
        return not self.idle and self.switches.promise is not None

    # -------------------------------------------------------------- a query

    def rest(self, view: RouteView) -> str | None:
        """The arm that answers what the policy does not decide; None while it decides everything."""
        if self.switches.mode == "route" and self.switches.rollout >= 1.0:
            return None
        baseline = self.baseline(view)
        return None if baseline is None else view.arms[baseline].arm

    def asking(self, cases: Sequence[Case], view: RouteView) -> None:
        """Set in the cases what the promise and the rollout ask of them."""
        baseline = None if self.idle else self.baseline(view)
        if baseline is None:
            return
        for case, pledge in zip(cases, self.pledges([case.query for case in cases], view), strict=True):
            case.pledge = pledge
        name = self.rest(view)
        if name is None:
            return
        for case in cases:
            if not case.query.pinned:
                case.rollout = _rollout(self.switches, self._runtime.name, case.query, baseline)
                case.session_arm = _session_arm(case, case.rollout, name)

    def pledges(self, queries: Sequence[Query], view: RouteView) -> Sequence[Pledge | None]:
        """What is promised for each query."""
        baseline = None if self.switches.promise is None else self.baseline(view)
        if baseline is None:
            return [None] * len(queries)
        keeps = [None if query.pinned else self.keep_of(query) for query in queries]
        made = {
            keep: None if keep is None else self.keeper(keep, view, baseline).pledge()
            for keep in dict.fromkeys(keeps)
        }
        return [made[keep] for keep in keeps]

    def keep_of(self, query: Query) -> float | None:
        """The share to keep on a query; None if it has another objective or there is no promise."""
        promise = self.switches.promise
        if promise is None or query.cost_weight is not None or query.quality_floor is not None:
            return None
        return promise.keep_of(query.tags) if query.keep is None else round(query.keep, PLACES)

    def baseline(self, view: RouteView) -> int | None:
        """Index of the baseline among the view's arms; None if it is not there."""
        if view is not self._view or self._switches is not self.switches:
            self._follow(view)
        return self._baseline

    def keeper(self, keep: float, view: RouteView, baseline: int) -> Keeper:
        """The keeper of a promise. A new one starts with another keeper's decisions and prediction errors."""
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
            self._without.pop(dropped, None)
        return found

    def _begin(self, found: Keeper, standing: Standing) -> None:
        sibling = next(reversed(self.keepers.items()), None)
        if sibling is not None:
            found.begin_with(sibling[1], misses=sibling[0][1] == standing[1])

    def observe(self, view: RouteView, cases: Sequence[Case], decided: Decided, rows: Sequence[int]) -> None:
        """Record decisions that were drawn and will be stored. rows : of ``decided``, aligned with the cases."""
        if self.idle:
            return
        reason = decided.draw.reason
        noted: dict[Standing, list[int]] = {}
        for case, row in zip(cases, rows, strict=True):
            pledge = case.pledge
            if pledge is None or reason[row] not in {"policy", "shadow"}:
                self.outside += 1
                continue
            standing = pledge.keep, view.arms[pledge.baseline].arm
            if standing not in self.keepers:
                continue
            noted.setdefault(standing, []).append(row)
            if case.accounts or self._overruled:
                self._note_overruled(standing, overruled_by(case, decided, row))
        for standing, noted_rows in noted.items():
            keeper = self.keepers[standing]
            taken = slice(None) if len(noted_rows) == decided.rows.size else noted_rows
            keeper.observe(
                decided.x[taken],
                cost_usd=decided.priced.cost_usd[taken],
                eligible=decided.allowed[taken],
                own=decided.scores.probability[taken],
            )
            self._note_without(standing, decided.eligible[taken, keeper.baseline])
            if keeper.due:
                self.due = True
                self.wake()

    def baseline_fails(self, standing: Standing) -> bool:
        """Whether none of the newest decisions could draw the baseline: its calls fail, or it cools down."""
        return self._without.get(standing, 0) >= IN_A_ROW

    def _note_without(self, standing: Standing, could: BoolArray) -> None:
        """Count the newest decisions that could not draw the baseline. could : bool (n,), oldest first."""
        if could[-1]:
            self._without.pop(standing, None)
        elif could.any():
            self._without[standing] = int(could[::-1].argmax())
        else:
            self._without[standing] = self._without.get(standing, 0) + could.size

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
        """The budget that has overridden the promise on most recent decisions, or None."""
        fading = self._overruled.get(standing, {})
        name = max(fading, key=fading.__getitem__, default=None)
        return name if name is not None and fading[name] > 0.5 else None

    # -------------------------------------------------------------- arms and prices

    def _follow(self, view: RouteView) -> None:
        """Convert what was seen to the present arms, prices and baseline."""
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
        """Start with decisions from the log, oldest first."""
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
            keeper.observe(one.x[None], cost_usd=cost[None], eligible=eligible[None], own=own[None])
        self.due = True

    def judges(self, rated: Sequence[RatedOutcome]) -> dict[Standing, Keeper]:
        """By promise in force, a keeper that has learned these outcomes, oldest first. Slow; changes nothing here."""
        found = {}
        for (keep, baseline), keeper in list(self.keepers.items()):
            outcomes = [(one.rated, one.keep == keep) for one in rated if one.baseline == baseline]
            found[keep, baseline] = keeper.judged_of(outcomes)
        return found


def _no_wake() -> None:
    """Used until a service waits for new terms."""


def typical_usd(view: RouteView) -> FloatArray:
    """Expected cost of every arm on a typical query: float64 (n_arms,)."""
    return view.cost_usd(view.typical_input_tokens, np.asarray(view.output_tokens))


def _rollout(switches: PolicySwitches, policy: str, query: Query, baseline: int) -> Rollout:
    if switches.mode == "shadow":
        return Rollout(baseline, 0.0, "shadow")
    unit = query.session_key or new_id(0)
    return Rollout(baseline, switches.rollout, side_of(policy, unit, switches.rollout))


def _session_arm(case: Case, rollout: Rollout, baseline: str) -> str | None:
    """The session's arm; the baseline if the session is not on the policy's side.

    While tools or thinking are under way the arm stays in any case, since another could not take over.
    """
    turn = case.query.turn
    if case.session_arm is None or rollout.side == "policy" or (turn is not None and turn.open):
        return case.session_arm
    return None if rollout.side == "shadow" else baseline


def _price_factor(before: RouteView, view: RouteView, columns: IntArray) -> FloatArray:
    """By which factor prices have changed, on a typical query: float64 (n_arms,), 1 for new arms.

    columns : previous index of each arm, -1 for a new one.
    """
    tokens = view.typical_input_tokens
    now = typical_usd(view)
    then = (
        before.usd_per_request[columns]
        + before.usd_per_token_in[columns] * tokens
        + before.usd_per_token_out[columns] * np.asarray(view.output_tokens)
    )
    # A price that was 0 has no factor: remembered costs stay as they are until they leave the window.
    factor: FloatArray = np.where((columns >= 0) & (then > 0.0), now / np.maximum(then, 1e-300), 1.0)
    return factor


def _spread(vector: FloatArray, places: IntArray, known: BoolArray, n_arms: int) -> FloatArray:
    found = np.zeros(n_arms)
    found[places[known]] = vector[known]
    return found
