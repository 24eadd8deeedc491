"""Keeping and calling: what signals are read as, what is learned from which reward, and the guard."""

from __future__ import annotations

import numpy as np
import pytest

from banditd.bandit.policies.base import ArmPrior
from banditd.core.types import FeatureGroup, FeatureSchema, FloatArray
from banditd.deciding.chains.guard import LEARNING, TRIAL, Guard
from banditd.deciding.chains.hand import Answer, Hand, SignalRanks
from banditd.deciding.chains.learner import KEEP_FLOOR, ChainLearner, Prices

SCHEMA = FeatureSchema(
    version=1,
    hash="test",
    groups=(FeatureGroup("bias", 0, 1),),
    names=("bias",),
    encoder_id="none",
    embedding_dimension=0,
    n_clusters=0,
)
PRICES = Prices(call=np.array([0.01, 0.1]), signals=np.full(2, np.nan))


def hand(*answers: Answer, expected: tuple[float, float] = (0.5, 0.9)) -> Hand:
    return Hand(x=np.ones(1), expected=np.array(expected), deviation=np.full(2, 0.01), answers=answers)


def cheap(signal: float) -> Answer:
    return Answer(arm=0, signals=np.array([signal]))


def learned(n: int = 150) -> ChainLearner:
    """The cheap arm is right exactly where its signal is positive; the dear one always."""
    learner = ChainLearner(SCHEMA, [ArmPrior("cheap"), ArmPrior("dear")], 1)
    for signal in np.random.default_rng(0).normal(size=n).tolist():
        answer = cheap(signal)
        learner.observe(answer)
        move = learner.move(hand(answer), PRICES, may_call=True)
        learner.learn_kept(move, 0, float(signal > 0), 1.0)
    return learner


def test_a_signal_is_its_rank_among_those_of_the_same_arm_and_missing_is_not_zero() -> None:
    ranks = SignalRanks(2, 1)
    for value in (1.0, 2.0, 2.0, 400.0):
        ranks.observe(0, np.array([value]))
    ranks.observe(0, np.array([np.nan]))

    def of(arm: int, value: float) -> list[float]:
        return ranks.features(arm, np.array([value])).tolist()

    assert of(0, 0.0) == [-1.0, 0.0]
    assert of(0, 2.0) == [0.0, 0.0]  # as many below as above
    assert of(0, 1e9) == [1.0, 0.0]
    assert of(0, np.nan) == [0.0, 1.0]
    assert of(1, 5.0) == [0.0, 0.0]  # nothing of another arm is known


def test_what_looks_bad_is_called_away_and_what_looks_good_is_kept() -> None:
    learner = learned()
    bad, good = (learner.move(hand(cheap(signal)), PRICES, may_call=True) for signal in (-2.0, 2.0))
    assert bad.quality[0] < 0.3
    assert good.quality[0] > 0.7
    assert bad.actions == good.actions == (("keep", 0), ("call", 1))
    assert bad.probability[1] > 0.9
    assert good.probability[0] > 0.9
    for move in (bad, good):
        assert move.probability.sum() == pytest.approx(1.0)
        assert move.probability.min() >= 0.005  # each side stays known
    assert bad.probability[0] == pytest.approx(KEEP_FLOOR, abs=0.02)
    assert bad.drawn(0.0) == ("keep", 0)
    assert bad.drawn(0.999) == ("call", 1)


def test_the_last_call_can_only_be_kept() -> None:
    move = learned(30).move(hand(cheap(-2.0)), PRICES, may_call=False)
    assert move.actions == (("keep", 0),)
    assert move.probability.tolist() == [1.0]
    assert move.promised == 0.0


def test_a_dear_call_is_not_worth_it_whatever_the_answer_looks_like() -> None:
    dear = Prices(call=np.array([0.01, 2.0]), signals=PRICES.signals)
    assert learned().move(hand(cheap(-2.0)), dear, may_call=True).probability[0] > 0.95


def test_costly_signals_are_asked_for_where_the_choice_is_close() -> None:
    learner = learned()
    sells = Prices(call=PRICES.call, signals=np.array([0.001, np.nan]))
    close = learner.move(hand(cheap(-0.02), expected=(0.5, 0.6)), sells, may_call=True)
    clear = learner.move(hand(cheap(2.0), expected=(0.5, 0.6)), sells, may_call=True)
    assert ("ask", 0) in close.actions
    assert ("ask", 1) not in close.actions  # not in hand, and sells none
    place = close.actions.index(("ask", 0))
    assert close.probability[place] > clear.probability[place]
    asked = hand(cheap(-0.02), expected=(0.5, 0.6)).with_signals(0, np.array([-0.5]))
    assert ("ask", 0) not in learner.move(asked, sells, may_call=True).actions
    assert asked.answers[0].signals.tolist() == [-0.5]


def test_calls_that_came_to_nothing_are_made_less() -> None:
    learner = learned()
    before = learner.move(hand(cheap(-0.2)), PRICES, may_call=True)
    for _ in range(60):
        move = learner.move(hand(cheap(-0.2)), PRICES, may_call=True)
        learner.learn_called(move, ("call", 1), -0.1)  # its answer was wrong, too, and it was paid for
    after = learner.move(hand(cheap(-0.2)), PRICES, may_call=True)
    assert after.utility[1] < before.utility[1] - 0.3


def test_equal_answers_count_for_each_other() -> None:
    learner = learned()
    dear = np.array([np.nan])
    agree = hand(
        Answer(arm=0, signals=np.array([0.0]), same_as=frozenset({1})),
        Answer(arm=1, signals=dear, same_as=frozenset({0})),
    )
    differ = hand(
        Answer(arm=0, signals=np.array([0.0]), same_as=frozenset()), Answer(arm=1, signals=dear, same_as=frozenset())
    )
    rng = np.random.default_rng(1)
    for _ in range(120):
        both = rng.random() < 0.5
        move = learner.move(agree if both else differ, PRICES, may_call=False)
        learner.learn_kept(move, 1, float(both), 1.0)
    quality = [learner.move(one, PRICES, may_call=False).quality[1] for one in (agree, differ)]
    assert quality[0] > quality[1] + 0.3


def test_a_start_is_worth_what_going_on_from_it_has_earned() -> None:
    learner = learned(40)
    expected: FloatArray = np.array([0.6, 0.7])
    assert learner.prospects(expected, PRICES).tolist() == [0.0, 0.0]  # nothing is known of going on
    for _ in range(80):
        learner.learn_gain(expected, PRICES, 0, 0.2)
        learner.learn_gain(expected, PRICES, 1, 0.0)
    gained, nothing = learner.prospects(expected, PRICES)
    assert 0.1 < gained < 0.21
    assert nothing < 0.02
    for _ in range(200):
        learner.learn_gain(expected, PRICES, 0, -0.2)
    assert learner.prospects(expected, PRICES)[0] == 0.0


def test_the_guard_gives_chains_up_that_lose_and_lets_them_come_back() -> None:
    guard = Guard()
    assert guard.record().state == "learning"
    for _ in range(LEARNING):
        guard.observe_reward()
    assert (guard.record().state, guard.share) == ("trial", 0.9)
    rng = np.random.default_rng(0)
    for _ in range(TRIAL):
        guard.observe_reward()
        guard.observe_chain(float(rng.normal(-0.02, 0.2)))
    record = guard.record()
    assert (record.state, record.chains) == ("off", TRIAL)
    assert record.off_since is not None
    assert LEARNING < record.off_since <= LEARNING + TRIAL
    assert record.gain < 0.0
    assert 0.0 < guard.share < 0.1  # it stays known
    for _ in range(4 * TRIAL):
        guard.observe_chain(float(rng.normal(0.05, 0.2)))
    assert guard.record().state == "on"
    assert guard.record().off_since is None
    assert guard.share < 1.0  # plain routing stays known


def test_chains_that_neither_gain_nor_lose_are_given_up() -> None:
    guard = Guard()
    for _ in range(LEARNING):
        guard.observe_reward()
    for _ in range(TRIAL):
        guard.observe_chain(0.0)
    assert guard.record().state == "off"
