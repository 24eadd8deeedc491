"""What happens when an arm changes: its evidence is discounted and its return is watched for. Holds no sums itself.

An alarm starts a new *stretch* of the arm's evidence in the epoch sums, and everything before it counts little;
nothing is deleted. If the arm returns to its old level, the old stretch counts in full again and the changed one
little. Both are properties of epochs, so late rewards, corrections and folding the log again give the same sums.

An arm that became worse is *probed*: it gets a small share of the traffic, fading with time, so that its return is
noticed. A probe that goes well is followed by more; how many are needed to see that it was luck does not depend on
how fast they come. While probes are frequent they provide all information about the arm, so exploration need not pay
for it again.

If the queries have changed too (``drift.py``), an alarm means that the arm does not do here what it did there. Its
evidence is discounted all the same, but there is no return to watch for: no probes, and exploration as usual.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any, Final

import numpy as np

from banditd.bandit.changes.change import (
    CLEARED,
    SUSPICION,
    Direction,
    Finding,
    ResidualTest,
    ReturnTest,
    common_part,
    residual,
)
from banditd.bandit.changes.drift import FAST, QueryDrift
from banditd.bandit.posterior.epochs import EpochSums
from banditd.core.types import FloatArray

KEPT: Final = 0.05  # weight of a stretch that no longer holds ...
KEPT_REWARDS: Final = 3.0  # ... but at most this many rewards' worth
PROBE_SHARE: Final = 0.05  # of the traffic, at first
PROBE_FADE: Final = 1000.0  # rewarded decisions after which it is half
FOLLOW_UP_SHARE: Final = 0.40  # while an arm seems to be back
FOLLOW_UP_ODDS: Final = 0.5  # log-odds from which it seems to be back
PROBE_TOTAL: Final = 0.40  # of all probed arms together
HISTORY: Final = 50  # events remembered

# Arm -> its coefficients (d,) and centre in the present posterior.
Belief = Callable[[str], tuple[FloatArray, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeEvent:
    """One alarm or return, as shown to people.

    kind : ``changed`` or ``recovered``. direction : of the change, ``down`` or ``up``.
    old_level, new_level : mean reward before and after, in [0, 1], over the ``rewards`` that showed it.
    epoch : the first of the new stretch. folded : rewarded decisions so far.
    queries_moved : whether the queries had changed too when it was detected.
    at_us : when it was committed, microseconds; None until then.
    """

    arm: str
    kind: str
    direction: str
    old_level: float
    new_level: float
    rewards: int
    epoch: int
    folded: int
    at_us: int | None = None
    queries_moved: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """One reward and its prediction. variance : of the prediction; noise : of the reward around it."""

    arm: str
    x: FloatArray
    reward: float
    mean: float
    variance: float
    noise: float


@dataclass(slots=True)
class _Changed:
    """The state of an arm that has changed.

    event : the last alarm. first : the first one, which holds what the arm was before. seen : rewarded contexts until
    then.
    factors : of its stretches before the first alarm, by first epoch.
    """

    event: ChangeEvent
    first: ChangeEvent
    seen: int
    since: int
    factors: dict[int, float]
    test: ReturnTest

    @property
    def now(self) -> ChangeEvent:
        """The last alarm, compared with the level before the first."""
        direction: Direction = "down" if self.event.new_level < self.first.old_level else "up"
        moved = self.first.queries_moved
        return replace(self.event, direction=direction, old_level=self.first.old_level, queries_moved=moved)

    @property
    def is_awaited(self) -> bool:
        """Whether to watch for the arm's return: it became worse, on unchanged queries."""
        return self.event.new_level < self.first.old_level and not self.first.queries_moved


@dataclass(frozen=True, slots=True)
class Signal:
    """The result of a look, to be acted upon once its reward is folded."""

    arm: str
    finding: Finding | None = None
    returned: bool = False
    noise: float = 0.0


class ArmChanges:
    """Watches every arm of one policy; owned by its ``PolicyState``."""

    def __init__(self, epoch_sums: EpochSums, n_features: int, known: Mapping[str, float]) -> None:
        """Watch arms; ``known`` gives, by arm, how many rewards its prior is worth (``PolicySettings.prior``)."""
        self.drift = QueryDrift(n_features)
        self._epoch_sums = epoch_sums
        self._known = known
        self._tests: dict[str, ResidualTest] = {}
        self._changed: dict[str, _Changed] = {}
        self._suspected: dict[str, int] = {}  # first epoch of the rewards since a change was suspected
        self._history: list[ChangeEvent] = []
        self._news: list[ChangeEvent] = []

    @property
    def history(self) -> tuple[ChangeEvent, ...]:
        """The most recent events, oldest first."""
        return tuple(self._history)

    @property
    def changed(self) -> Mapping[str, ChangeEvent]:
        """Arms that are not at their old level now -> the last alarm, compared with the level before the first."""
        return {arm: state.now for arm, state in self._changed.items()}

    @property
    def watched(self) -> dict[str, tuple[float, float]]:
        """Arm -> (height of its test in nats, rewards seen since it restarted)."""
        return {arm: (test.height, test.rewards) for arm, test in self._tests.items()}

    def probes(self, arms: Sequence[str], folded: int) -> FloatArray:
        """Least share of the traffic that each arm should have so that its return is noticed: float64 (K,)."""
        share = np.zeros(len(arms))
        for i, arm in enumerate(arms):
            state = self._changed.get(arm)
            if state is not None and state.is_awaited:
                age = max(0, folded - state.event.folded)
                follow = state.test.log_odds >= FOLLOW_UP_ODDS
                share[i] = FOLLOW_UP_SHARE if follow else PROBE_SHARE * PROBE_FADE / (PROBE_FADE + age)
        total = float(share.sum())
        return share if total <= PROBE_TOTAL else share * (PROBE_TOTAL / total)

    def curiosity(self, arms: Sequence[str], folded: int) -> FloatArray:
        """Factor on the value of an arm's information to exploration, float64 (K,): 0 if probes provide it, else 1.

        Probes provide it until they are half as frequent as at first; what is left to learn then is worth exploring
        again.
        """
        return np.array([0.0 if self._is_probed_often(arm, folded) else 1.0 for arm in arms])

    def observe(self, look: Look, epoch: int) -> Signal | None:
        """Test one new reward before it is folded. epoch : of its decision."""
        self.drift.add(look.x)
        self._attribute_to_queries()
        if epoch < self._epoch_sums.spans(look.arm)[-1][0]:
            return None  # the reward is about the arm before its change
        test = self._tests.setdefault(look.arm, ResidualTest())
        z = residual(look.reward, look.mean, look.noise + look.variance)
        for other in self._tests.values():
            other.fade()
        test.say(z)
        finding = test.add(z, look.reward, look.mean, common_part(self._tests.values()))
        state = self._changed.get(look.arm)
        if state is not None and state.test.add(look.x, look.reward, look.mean, look.noise + look.variance):
            return Signal(look.arm, returned=True)
        if finding is not None:
            return Signal(look.arm, finding=finding, noise=look.noise)
        if test.height < SUSPICION:
            if test.height < CLEARED:
                self._suspected.pop(look.arm, None)
            return None
        # With forgetting a new epoch would age all evidence, so a suspicion does not start one.
        suspect = look.arm not in self._suspected and self._epoch_sums.discount == 1.0
        return Signal(look.arm) if suspect else None

    def act(self, signal: Signal, belief: Belief, folded: int) -> bool:
        """Act on a signal after its reward was folded. Returns whether the weights of sums have changed."""
        if signal.returned:
            self._recover(signal.arm, folded)
        elif signal.finding is not None:
            self._alarm(signal, signal.finding, belief, folded)
        else:
            self._suspected[signal.arm] = self._next_epoch()
            return False
        return True

    def stamp(self, at_us: int) -> list[ChangeEvent]:
        """The events since the last call, with the time of their commit."""
        news = [replace(event, at_us=at_us) for event in self._news]
        if news:
            self._history[-len(news) :] = news[-len(self._history) :]
        for event in news:
            state = self._changed.get(event.arm)
            if state is not None and state.event == replace(event, at_us=None):
                state.event = event
        self._news.clear()
        return news

    def to_dict(self) -> dict[str, Any]:
        """What a restart needs, JSON-compatible."""
        return {
            "tests": {arm: test.to_list() for arm, test in self._tests.items()},
            "suspected": dict(self._suspected),
            "changed": {
                arm: {
                    "event": asdict(state.event),
                    "first": asdict(state.first),
                    "seen": state.seen,
                    "since": state.since,
                    "factors": list(state.factors.items()),
                    "test": state.test.to_list(),
                }
                for arm, state in self._changed.items()
            },
            "history": [asdict(event) for event in self._history],
            "drift": self.drift.to_list(),
        }

    def load(self, values: Mapping[str, Any]) -> None:
        """Inverse of ``to_dict``."""
        self._tests = {arm: ResidualTest.from_list(test) for arm, test in values["tests"].items()}
        self._suspected = {arm: int(epoch) for arm, epoch in values["suspected"].items()}
        self._changed = {
            arm: _Changed(
                event=ChangeEvent(**state["event"]),
                first=ChangeEvent(**state.get("first", state["event"])),  # older databases only have the last
                seen=int(state.get("seen", 0)),
                since=int(state["since"]),
                factors={int(first): float(factor) for first, factor in state["factors"]},
                test=ReturnTest.from_list(state["test"]),
            )
            for arm, state in values["changed"].items()
        }
        self._history = [ChangeEvent(**event) for event in values["history"]]
        if "drift" in values:  # older databases have none
            self.drift = QueryDrift.from_list(values["drift"])
        self._news = []

    # ------------------------------------------------------------ inside

    def _is_probed_often(self, arm: str, folded: int) -> bool:
        state = self._changed.get(arm)
        return state is not None and state.is_awaited and folded - state.event.folded < PROBE_FADE

    def _alarm(self, signal: Signal, finding: Finding, belief: Belief, folded: int) -> None:
        arm, epoch_sums = signal.arm, self._epoch_sums
        first = max(self._suspected.pop(arm, self._epoch_sums.epoch + 1), epoch_sums.base_epoch + 1)
        if first > epoch_sums.epoch:
            epoch_sums.advance(first)
        coefficients, centre = belief(arm)
        epoch_sums.begin_span(arm, first)
        before = dict(epoch_sums.spans(arm)[:-1])
        worth = epoch_sums.total(arm, before=first).n + self._known.get(arm, 0.0) * epoch_sums.oldest_factor(arm)
        kept = min(KEPT, KEPT_REWARDS / worth) if worth > 0 else KEPT
        epoch_sums.set_factors(arm, {epoch: kept * factor for epoch, factor in before.items()})
        event = ChangeEvent(
            arm=arm,
            kind="changed",
            direction=finding.direction,
            old_level=finding.old,
            new_level=finding.new,
            rewards=finding.rewards,
            epoch=first,
            folded=folded,
            queries_moved=self.drift.moved,
        )
        earlier = self._changed.get(arm)
        if earlier is None or earlier.since not in dict(epoch_sums.spans(arm)):
            test = ReturnTest(coefficients, centre, signal.noise)
            self._changed[arm] = _Changed(
                event=event, first=event, seen=self.drift.seen, since=first, factors=before, test=test
            )
        else:  # it may still return to what it was before the first alarm
            earlier.event = event
        self._tests[arm].restart()
        self._note(event)

    def _recover(self, arm: str, folded: int) -> None:
        state, epoch_sums = self._changed.pop(arm), self._epoch_sums
        self._suspected.pop(arm, None)
        first = self._next_epoch()
        epoch_sums.begin_span(arm, first)
        spans = epoch_sums.spans(arm)
        factors = {}
        for (epoch, factor), (end, _) in pairwise(spans):
            if epoch < state.since:  # stretches may have been joined since the alarm, with the smaller factor
                earlier = [known for began, known in state.factors.items() if epoch <= began < end]
                factors[epoch] = min(earlier, default=factor)
            else:
                factors[epoch] = KEPT * factor
        epoch_sums.set_factors(arm, factors)
        self._tests[arm].restart()
        self._note(
            replace(
                state.now,
                kind="recovered",
                old_level=state.event.new_level,
                new_level=state.first.old_level,
                rewards=state.test.rewards,
                epoch=first,
                folded=folded,
                at_us=None,
            )
        )

    def _attribute_to_queries(self) -> None:
        """Attribute recent alarms to a change of the queries that is only detected now."""
        seen = self.drift.seen
        recent = [one for one in self._changed.values() if not one.first.queries_moved and seen - one.seen < FAST]
        if not recent or not self.drift.moved:
            return
        for state in recent:
            reported = {event: replace(event, queries_moved=True) for event in (state.first, state.event)}
            state.first, state.event = reported[state.first], reported[state.event]
            self._history = [reported.get(event, event) for event in self._history]
            self._news = [reported.get(event, event) for event in self._news]

    def _next_epoch(self) -> int:
        self._epoch_sums.advance(self._epoch_sums.epoch + 1)
        return self._epoch_sums.epoch

    def _note(self, event: ChangeEvent) -> None:
        self._news.append(event)
        self._history = [*self._history, event][-HISTORY:]
