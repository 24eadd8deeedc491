"""What keeping an answer, calling another arm and starting with one are worth, learned from realised returns.

Four linear models, each under the same prior and with scales by evidence as the policy itself:

* keep: the reward of an arm's answer, from the query, the answer's signals and the company it has in hand.
* call: the reward of what is kept in the end, if an arm is called now (or the costly signals of an answer are asked
  for), beside what the arm alone is expected to earn.
* gain: what going on after an arm's first answer has earned beyond keeping it, by query; a start is worth its own
  expected reward and that.

The reward of a later answer is the chain's return and never trains the policy's own model of an arm: the arm was
called because of what another had shown. The first answer's reward is missing then, and what it is expected to earn,
given what it showed, stands in: given that, keeping was at random.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from banditd.bandit.policies.base import ArmPrior, PolicySettings
from banditd.bandit.policies.exploration import draw
from banditd.bandit.policies.quadrature import win_probabilities
from banditd.bandit.posterior.hyperparameters import Hyperparameters
from banditd.bandit.state import PolicyState
from banditd.core.types import FeatureSchema, FloatArray
from banditd.deciding.chains.hand import Answer, Hand, SignalRanks, extended, small_schema

SCALE: Final = 0.3  # of the posterior's deviations that actions are drawn with
KEEP_FLOOR: Final = 0.03  # least probability of keeping,
CALL_FLOOR: Final = 0.01  # and of all that goes on together
LEAST_CHANCE: Final = 0.1  # that weights are limited by: a few rewards must not outweigh all others
ASK_SPREAD: Final = 0.1  # standard deviation of what costly signals tell of an answer beside the others
SPREAD: Final = 0.09  # of what going on is worth, given signals, in the feature that a start's gain is learned from
GAIN_HALF_LIFE: Final = 1500.0  # rewards: what going on earns changes while keeping and calling are learned
COMPANY: Final = 3  # columns: agrees with another answer, agrees with none, how much better the best other is
SHARED: Final = 0.6  # of the surprise that an answer was, how much is expected of every other arm's, too
CALL_SCALES: Final = (0.03, 0.015)  # of half a surplus
CALL_NOISE: Final = 0.04
GAIN_SCALES: Final = (0.02, 0.01)
GAIN_NOISE: Final = 0.02
CALL_FEATURES: Final = (("quality", 3), ("company", 3))
MIDDLE: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prices:
    """What a call and an answer's costly signals take off the utility: float64 (K,) each; ``signals`` is NaN for an
    arm that has none.
    """

    call: FloatArray
    signals: FloatArray


Action: TypeAlias = tuple[str, int]
"""``keep`` an arm's answer, ``call`` an arm, or ``ask`` for the costly signals of its answer."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Move:
    """One stage of a chain. actions : keeping first, in the order of ``probability``.

    utility : expected of each action, less what is still to pay. quality : expected reward of each answer in hand, by
    arm; keep_x : the features it follows from. call_x : those of calling an arm or asking about it, float64 (K, 7).
    offsets : what a call or a question was expected to come to before any was learned from.
    """

    actions: tuple[Action, ...]
    probability: FloatArray
    utility: FloatArray
    quality: dict[int, float]
    keep_x: dict[int, FloatArray]
    call_x: FloatArray
    offsets: dict[Action, float]

    @property
    def promised(self) -> float:
        """What the best way on is expected to earn beyond keeping, or 0 where keeping is best."""
        return float(self.utility.max() - self.utility[0])

    def drawn(self, uniform: float) -> Action:
        """The action that a uniform of [0, 1) stands for."""
        return self.actions[int(draw(self.probability[None], np.array([uniform]))[0])]


class ChainLearner:
    """K arms, S signals. Not thread-safe; draws nothing: probabilities are handed out and actions handed in."""

    def __init__(self, schema: FeatureSchema, arms: Sequence[ArmPrior], n_signals: int) -> None:
        names = [arm.arm for arm in arms]
        settings = PolicySettings(change_detection=False)
        keep = extended(schema, (("signals", 2 * n_signals), ("company", COMPANY)))
        call = small_schema(schema, CALL_FEATURES)
        self._names = names
        self._ranks = SignalRanks(len(names), n_signals)
        self._keep = PolicyState(schema=keep, settings=settings, arms=arms)
        moves = [ArmPrior(f"{kind}:{name}") for kind in ("call", "ask") for name in names]
        self._call = PolicyState(schema=call, settings=settings, arms=moves)
        self._gain = PolicyState(
            schema=small_schema(schema, (("guessed", 1),)),
            settings=PolicySettings(change_detection=False, forgetting=GAIN_HALF_LIFE, epoch_decisions=100),
            arms=[ArmPrior(name) for name in names],
        )
        self._call.adopt(_narrow(call, CALL_SCALES, CALL_NOISE))
        self._gain.adopt(_narrow(self._gain.schema, GAIN_SCALES, GAIN_NOISE))

    # ------------------------------------------------------------ what is expected

    def observe(self, answer: Answer) -> None:
        """An answer's signals were seen, whatever becomes of it."""
        self._ranks.observe(answer.arm, answer.signals)

    def prospects(self, expected: FloatArray, prices: Prices) -> FloatArray:
        """Of every arm what going on after its answer is expected to add to the utility: float64 (K,), >= 0.

        Less what is not known of it: a start that is worth less than it seems costs every query, one that is worth
        more only waits.
        """
        posterior = self._gain.snapshot().posterior
        guessed = np.array([self._guessed_gain(expected, prices, arm) for arm in range(expected.size)])
        mean, deviation = posterior.predict(_gain_features(guessed))
        return np.maximum(2.0 * (np.diagonal(mean) - np.diagonal(deviation) - MIDDLE), 0.0)

    def move(self, hand: Hand, prices: Prices, *, may_call: bool) -> Move:
        """Keep, call or ask: probabilities of all that can be done with a hand."""
        quality, deviation, keep_x = self._qualities(hand)
        best = max(hand.arms, key=lambda arm: quality[arm])
        actions: list[Action] = [("keep", best)]
        mean, spread = [quality[best]], [deviation[best]]
        call_x, offsets = self._call_features(hand, quality, best), {}
        if may_call:
            calls = [("call", arm) for arm in range(len(self._names)) if arm not in hand.arms]
            asks = [("ask", arm) for arm in hand.arms if arm not in hand.inspected and prices.signals[arm] >= 0.0]
            moments = self._call.snapshot().posterior.predict(call_x)
            surprise = SHARED * (quality[best] - float(hand.expected[best]))
            for kind, arm in calls + asks:
                if kind == "call":
                    offset = min(float(hand.expected[arm]) + surprise, 1.0) - float(prices.call[arm])
                    place, known = arm, float(hand.deviation[arm])
                else:  # after the calls: what signals tell matters where keeping and going on are close
                    ahead = max(mean[1 : 1 + len(calls)], default=-1.0) - quality[best]
                    offset = quality[best] - float(prices.signals[arm]) + ASK_SPREAD * option(ahead / ASK_SPREAD)
                    place, known = arm + len(self._names), 0.0
                offsets[kind, arm] = offset
                actions.append((kind, arm))
                mean.append(offset + 2.0 * (moments[0][arm, place] - MIDDLE))
                spread.append(math.hypot(2.0 * moments[1][arm, place], known))
        utility = np.array(mean)
        probability = _with_floors(utility, np.array(spread))
        return Move(
            actions=tuple(actions),
            probability=probability,
            utility=utility,
            quality=quality,
            keep_x=keep_x,
            call_x=call_x,
            offsets=offsets,
        )

    # ------------------------------------------------------------ what is learned

    def learn_kept(self, move: Move, arm: int, reward: float, chance: float) -> None:
        """The answer that was kept has its reward.

        chance : of its being kept, given what it showed. A line through answers that looked good misses those that
        did not; the few of these that were kept count for all.
        """
        self._keep.fold(
            arm=self._names[arm],
            epoch=self._keep.epoch,
            x=move.keep_x[arm],
            weight=1.0 / max(chance, LEAST_CHANCE),
            reward=reward,
        )
        _tune(self._keep)

    def learn_called(self, move: Move, action: Action, earned: float) -> None:
        """What a call, or asking for signals, came to in the end: the reward less all that was paid from then on."""
        kind, arm = action
        surplus = min(max(MIDDLE + 0.5 * (earned - move.offsets[action]), 0.0), 1.0)
        x = move.call_x[arm]
        self._call.fold(arm=f"{kind}:{self._names[arm]}", epoch=self._call.epoch, x=x, weight=1.0, reward=surplus)
        _tune(self._call)

    def learn_gain(self, expected: FloatArray, prices: Prices, arm: int, gain: float) -> None:
        """What going on after a first answer has earned beyond keeping it; 0 where it was kept."""
        guessed = self._guessed_gain(expected, prices, arm)
        [x] = _gain_features(np.array([guessed]))
        reward = min(max(MIDDLE + 0.5 * gain, 0.0), 1.0)
        self._gain.fold(arm=self._names[arm], epoch=self._gain.epoch, x=x, weight=1.0, reward=reward)
        _tune(self._gain)

    # ------------------------------------------------------------ inside

    def _qualities(self, hand: Hand) -> tuple[dict[int, float], dict[int, float], dict[int, FloatArray]]:
        posterior = self._keep.snapshot().posterior
        alone = {
            answer.arm: np.concatenate([hand.x, self._ranks.features(answer.arm, answer.signals), np.zeros(COMPANY)])
            for answer in hand.answers
        }
        arms = list(hand.arms)
        mean, deviation = posterior.predict(np.stack([alone[arm] for arm in arms]))
        single = {arm: float(mean[i, arm]) for i, arm in enumerate(arms)}
        if len(arms) == 1:
            return single, {arms[0]: float(deviation[0, arms[0]])}, alone
        for answer in hand.answers:
            best = max(single[arm] for arm in arms if arm != answer.arm)
            if answer.same_as is not None:
                alone[answer.arm][-3] = float(bool(answer.same_as))
                alone[answer.arm][-2] = float(not answer.same_as)
            alone[answer.arm][-1] = best - single[answer.arm]
        mean, deviation = posterior.predict(np.stack([alone[arm] for arm in arms]))
        rows = range(len(arms))
        return (
            {arms[i]: float(mean[i, arms[i]]) for i in rows},
            {arms[i]: float(deviation[i, arms[i]]) for i in rows},
            alone,
        )

    def _call_features(self, hand: Hand, quality: dict[int, float], best: int) -> FloatArray:
        """float64 (K, d) by arm that would be called, or whose signals would be asked for."""
        k = len(self._names)
        known = [answer for answer in hand.answers if answer.same_as is not None]
        x = np.zeros((k, 1 + sum(size for _, size in CALL_FEATURES)))
        x[:, 0] = 1.0
        x[:, 1] = quality[best] - MIDDLE
        x[:, 2] = quality[best] - hand.expected[best]
        x[:, 3] = hand.expected - MIDDLE
        if len(hand.answers) > 1:
            x[:, 4] = 1.0
            x[:, 5] = float(any(answer.same_as for answer in known))
            x[:, 6] = float(bool(known) and not any(answer.same_as for answer in known))
        return x

    def _guessed_gain(self, expected: FloatArray, prices: Prices, arm: int) -> float:
        """What the right to call the best other arm would be worth, if signals told so much of every answer.

        A feature of the query that the gain of a start is learned from.
        """
        others = expected - prices.call
        others[arm] = -np.inf
        return SPREAD * option(float(others.max() - expected[arm]) / SPREAD)


def option(ahead: float) -> float:
    """E[max(0, z)] of z ~ N(ahead, 1): what it is worth to be told z before choosing between it and nothing."""
    density = math.exp(-0.5 * ahead * ahead) / math.sqrt(2.0 * math.pi)
    return density + ahead * 0.5 * math.erfc(-ahead / math.sqrt(2.0))


def _gain_features(guessed: FloatArray) -> FloatArray:
    """float64 (n, 2): a start that is guessed to gain a tenth is at 1."""
    return np.column_stack([np.ones(guessed.size), 10.0 * guessed])


def _with_floors(utility: FloatArray, spread: FloatArray) -> FloatArray:
    """Probabilities of keeping, the first, and of going on, each side with its floor."""
    if utility.size == 1:
        return np.ones(1)
    won = win_probabilities(utility[None], SCALE * spread[None], np.ones((1, utility.size), dtype=bool))[0]
    floors = np.full(utility.size, CALL_FLOOR / (utility.size - 1))
    floors[0] = KEEP_FLOOR
    mixed: FloatArray = (1.0 - KEEP_FLOOR - CALL_FLOOR) * won + floors
    return mixed


def _narrow(schema: FeatureSchema, scales: tuple[float, float], noise: float) -> Hyperparameters:
    """Where fitting starts. scales : of what all moves share and of each of its own, in every group."""
    names = [group.name for group in schema.groups]
    return Hyperparameters(
        shared=dict.fromkeys(names, scales[0]), own=dict.fromkeys(names, scales[1]), common_noise=noise
    )


def _tune(state: PolicyState) -> None:
    if state.tune_due():
        state.adopt(state.tuning().run())
