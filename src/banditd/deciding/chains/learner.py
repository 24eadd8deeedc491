"""What it is worth to keep an answer, to call another arm, or to start with an arm; learned from realised returns.

Linear models with the same kind of prior and empirical-Bayes scales as the policy itself:

* keep: the reward of an answer, from the query, the answer's signals and the other answers in hand.
* call: the final reward if an arm is called now (or an answer's costly signals are requested), relative to the arm's
own expected reward.
* gain: what continuing after an arm's first answer earned over keeping it, by query. Starting with an arm is worth
its expected reward plus this gain.

The reward of a later answer is the chain's return and never trains the policy's own model of an arm, because the arm
was called in response to another arm's answer. The first answer's reward is then missing. Its expectation given its
signals stands in for it, which is valid since, given these, keeping was random.
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
    """Utility cost of a call and of an answer's costly signals: float64 (K,) each.

    ``signals`` is NaN for arms without any.
    """

    call: FloatArray
    signals: FloatArray


Action: TypeAlias = tuple[str, int]
"""``keep`` an arm's answer, ``call`` an arm, or ``ask`` for the costly signals of its answer."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Move:
    """One stage of a chain.

    actions : keeping first, aligned with ``probability``.
    utility : expected of each action, minus what remains to be paid.
    quality : arm -> expected reward of its answer in hand. keep_x : the features that it was predicted from.
    call_x : features of calling an arm or asking about it, float64 (K, 7).
    offsets : value expected of each call or question before learning.
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
        """Expected gain of the best way on over keeping; 0 if keeping is best."""
        return float(self.utility.max() - self.utility[0])

    def drawn(self, uniform: float) -> Action:
        """The action at the inverse CDF of ``uniform``, in [0, 1)."""
        return self.actions[int(draw(self.probability[None], np.array([uniform]))[0])]


class ChainLearner:
    """Learns for K arms and S signals.

    Not thread-safe. It draws nothing: it returns probabilities and is told the actions.
    """

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
        """Record the signals of an answer, whatever happens to the answer."""
        self._ranks.observe(answer.arm, answer.signals)

    def prospects(self, expected: FloatArray, prices: Prices) -> FloatArray:
        """Expected utility that continuing adds after each arm's answer: float64 (K,), >= 0.

        A lower bound: overrating a start costs on every query, underrating one only delays its discovery.
        """
        posterior = self._gain.snapshot().posterior
        guessed = np.array([self._guessed_gain(expected, prices, arm) for arm in range(expected.size)])
        mean, deviation = posterior.predict(_gain_features(guessed))
        return np.maximum(2.0 * (np.diagonal(mean) - np.diagonal(deviation) - MIDDLE), 0.0)

    def move(self, hand: Hand, prices: Prices, *, may_call: bool) -> Move:
        """Probabilities of everything that can be done with a hand: keep, call or ask."""
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
        """Learn from the reward of the answer that was kept.

        chance : probability of keeping it, given its signals. Kept answers mostly looked good; weighting by the
        chance lets the few that looked bad stand for all of those.
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
        """Learn from what a call, or a request for signals, led to: the final reward minus everything paid from
        then on.
        """
        kind, arm = action
        surplus = min(max(MIDDLE + 0.5 * (earned - move.offsets[action]), 0.0), 1.0)
        x = move.call_x[arm]
        self._call.fold(arm=f"{kind}:{self._names[arm]}", epoch=self._call.epoch, x=x, weight=1.0, reward=surplus)
        _tune(self._call)

    def learn_gain(self, expected: FloatArray, prices: Prices, arm: int, gain: float) -> None:
        """Learn what continuing after a first answer earned over keeping it; 0 if it was kept."""
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
        """float64 (K, d), one row for each arm that would be called or whose signals would be requested."""
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
        """Prior guess of a start's gain: the value of an option to call the best other arm.

        Assumes that typical signals are seen first. It is a feature from which the real gain is learned.
        """
        others = expected - prices.call
        others[arm] = -np.inf
        return SPREAD * option(float(others.max() - expected[arm]) / SPREAD)


def option(ahead: float) -> float:
    """E[max(0, z)] for z ~ N(ahead, 1): the value of seeing z before choosing between it and 0."""
    density = math.exp(-0.5 * ahead * ahead) / math.sqrt(2.0 * math.pi)
    return density + ahead * 0.5 * math.erfc(-ahead / math.sqrt(2.0))


def _gain_features(guessed: FloatArray) -> FloatArray:
    """float64 (n, 2): bias and the guessed gain in units of a tenth."""
    return np.column_stack([np.ones(guessed.size), 10.0 * guessed])


def _with_floors(utility: FloatArray, spread: FloatArray) -> FloatArray:
    """Probabilities of keeping (first) and of going on, each side with its floor."""
    if utility.size == 1:
        return np.ones(1)
    won = win_probabilities(utility[None], SCALE * spread[None], np.ones((1, utility.size), dtype=bool))[0]
    floors = np.full(utility.size, CALL_FLOOR / (utility.size - 1))
    floors[0] = KEEP_FLOOR
    mixed: FloatArray = (1.0 - KEEP_FLOOR - CALL_FLOOR) * won + floors
    return mixed


def _narrow(schema: FeatureSchema, scales: tuple[float, float], noise: float) -> Hyperparameters:
    """Starting point of the fit. scales : of what all moves share and of each move's own part, for every group."""
    names = [group.name for group in schema.groups]
    return Hyperparameters(
        shared=dict.fromkeys(names, scales[0]), own=dict.fromkeys(names, scales[1]), common_noise=noise
    )


def _tune(state: PolicyState) -> None:
    if state.tune_due():
        state.adopt(state.tuning().run())
