"""The promise's terms: how much may leave the baseline, at which price; nothing saved that cannot be afforded."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from banditd.bandit.policies.base import ArmPrior, PolicySettings
from banditd.bandit.posterior.posterior import Posterior
from banditd.bandit.state import PolicyState
from banditd.core.types import FeatureGroup, FeatureSchema, FloatArray
from banditd.deciding.promise import (
    COLD,
    LEAST_SHARE,
    Misses,
    Promise,
    Terms,
    blended_share,
    reference_share,
)
from banditd.deciding.promise_window import WINDOW
from banditd.deciding.reserve import ALLOWANCES, ANSWERS, LEAST, OVERDRAWN, OWED_SHARE, SPENT_OVER, Reserve
from banditd.ope.reference import TOLERANCE, RatedDecision

D = 6
COSTS = np.array([0.001, 0.004, 0.02])
BASELINE = 2


def posterior(mean: list[float], *, deviation: float) -> Posterior:
    """Arms whose reward is ``mean`` on every context, known to ``deviation`` on a typical one."""
    k = len(mean)
    own = np.zeros((k, D))
    return Posterior(
        centre=np.array(mean),
        inverse=tuple(np.eye(D) * deviation**2 / D for _ in range(k)),
        own=own,
        shared_spread=None,
        shared_pull=np.zeros(D),
        counts=np.full(k, 100.0),
        noise=np.full(k, 0.2),
    )


def context(generator: np.random.Generator) -> FloatArray:
    x = generator.normal(size=D)
    x[0] = 1.0
    return x


def watched(keep: float, mean: list[float], *, n: int = 80) -> Promise:
    """A promise that has seen ``n`` decisions."""
    generator = np.random.default_rng(0)
    promise = Promise(n_arms=len(mean), n_features=D, baseline=BASELINE, keep=keep)
    everything = np.ones((1, len(mean)), dtype=bool)
    for _ in range(n):
        own = np.eye(len(mean))[[int(np.argmax(mean))]]
        promise.observe(context(generator)[None], cost_usd=COSTS[None], eligible=everything, own=own)
    return promise


def rated(n: int) -> Misses:
    misses = Misses()
    for number in range(n):
        misses.add(RatedDecision(0.8, 0.8, 0.8, 0.5, is_baseline=number % 2 == 0))
    return misses


def solved(keep: float, mean: list[float], *, deviation: float = 1e-4, reserve: Reserve | None = None) -> Terms:
    return watched(keep, mean).solve(posterior(mean, deviation=deviation), rated(1000), silence=0, reserve=reserve)


def test_an_arm_known_to_be_as_good_and_cheaper_takes_all() -> None:
    terms = solved(0.98, [0.8, 0.1, 0.8])
    assert terms.share == 1.0
    assert terms.state == "keeping"
    assert terms.saves_usd == pytest.approx(COSTS[2] - COSTS[0])


def test_a_worse_arm_takes_the_share_that_the_allowed_loss_pays_for() -> None:
    """Baseline .8, the other .7: .04 may be lost where all that was lent has been used, and made good."""
    terms = solved(0.95, [0.7, 0.1, 0.8], reserve=Reserve(0.0, most=100.0))
    assert terms.share == pytest.approx(0.04 / 0.1, rel=0.02)
    assert terms.loss == pytest.approx(0.1)


def test_where_nothing_is_cheaper_nothing_is_to_be_saved() -> None:
    promise = Promise(n_arms=3, n_features=D, baseline=0, keep=0.95)
    generator = np.random.default_rng(0)
    for _ in range(50):
        promise.observe(
            context(generator)[None],
            cost_usd=COSTS[None],
            eligible=np.array([[True, False, False]]),  # dearer arms are out
            own=np.array([[1.0, 0.0, 0.0]]),
        )
    terms = promise.solve(posterior([0.8, 0.9, 0.9], deviation=0.01), rated(100), silence=0)
    assert terms.state == "nothing_to_save"
    assert terms.share == LEAST_SHARE


@pytest.mark.parametrize("rewards", [0, 29, 30])
def test_before_there_are_rewards_nothing_is_said_of_what_is_good_enough(rewards: int) -> None:
    """Only the word waits: what may leave the baseline does not hang on it."""
    believed = posterior([0.2, 0.3, 0.9], deviation=0.05)
    terms = watched(0.95, [0.2, 0.3, 0.9]).solve(believed, rated(rewards), silence=0)
    assert terms.state == ("learning" if rewards < 30 else "nothing_to_save")
    cheapest = Promise(n_arms=3, n_features=D, baseline=0, keep=0.95)
    x = context(np.random.default_rng(0))
    cheapest.observe(
        x[None], cost_usd=COSTS[None], eligible=np.ones((1, 3), dtype=bool), own=np.array([[1.0, 0.0, 0.0]])
    )
    assert cheapest.solve(believed, rated(rewards), silence=0).state == "nothing_to_save", (
        "that is known by the prices"
    )


@pytest.mark.parametrize("keep", [0.98, 0.95])
def test_a_few_bad_first_answers_of_the_others_do_not_end_the_trying(keep: float) -> None:
    """Believed to be far worse than they can pay for at any price that is believed in, yet cheaper ones are tried."""
    terms = solved(keep, [0.2, 0.3, 0.9], deviation=0.05)
    assert terms.state == "nothing_to_save"
    assert terms.share == pytest.approx(1.0 - keep + min(ALLOWANCES * (1.0 - keep), ANSWERS) / SPENT_OVER, rel=0.02)
    assert terms.saves_usd > 0.0
    assert 0.3 - terms.price_per_usd * COSTS[1] > 0.9 - terms.price_per_usd * COSTS[BASELINE]


def test_with_all_to_be_kept_only_the_least_share_is_tried() -> None:
    assert solved(1.0, [0.2, 0.3, 0.9], deviation=0.05).share == LEAST_SHARE


@given(st.floats(0.8, 0.99), st.lists(st.floats(0.05, 0.95), min_size=3, max_size=3), st.floats(1e-4, 0.3))
def test_the_share_is_a_share_and_never_below_half_the_allowed_loss(
    keep: float, mean: list[float], deviation: float
) -> None:
    terms = solved(keep, mean, deviation=deviation)
    assert 0.0 < terms.share <= 1.0
    assert terms.saves_usd >= 0.0
    if terms.state == "keeping":
        certain_loss = mean[BASELINE] + 1.0 + 3.0 * deviation  # more cannot be predicted to be lost
        assert terms.share >= min(1.0, 0.5 * (1.0 - keep) * mean[BASELINE] / certain_loss)


@given(st.floats(0.01, 0.2), st.floats(1.1, 4.0))
def test_the_less_is_known_the_less_may_leave(deviation: float, times: float) -> None:
    mean = [0.75, 0.1, 0.8]
    known, unknown = solved(0.95, mean, deviation=deviation), solved(0.95, mean, deviation=deviation * times)
    assert known.saves_usd >= unknown.saves_usd - 1e-12


@given(st.floats(0.85, 0.99), st.floats(0.001, 0.1))
def test_a_laxer_promise_never_saves_less(keep: float, more: float) -> None:
    mean = [0.6, 0.7, 0.8]
    assert solved(max(keep - more, 0.5), mean).saves_usd >= solved(keep, mean).saves_usd - 1e-12


def test_without_rewards_no_more_leaves_than_may_be_lost() -> None:
    promise = watched(0.95, [0.8, 0.1, 0.8], n=COLD + 1)
    terms = promise.solve(posterior([0.8, 0.1, 0.8], deviation=1e-4), Misses(), silence=COLD + 1)
    assert terms.state == "no_rewards"
    assert terms.share == pytest.approx(0.05)
    silent = watched(0.95, [0.8, 0.1, 0.8]).solve(posterior([0.8, 0.1, 0.8], deviation=1e-4), rated(50), silence=301)
    assert silent.state == "no_rewards"


def test_after_an_alarm_no_more_leaves_than_may_be_lost_and_later_it_is_forgotten() -> None:
    promise, belief = watched(0.95, [0.8, 0.1, 0.8]), posterior([0.8, 0.1, 0.8], deviation=1e-4)
    broken = promise.solve(belief, rated(1000), silence=0, since_alarm=5)
    assert broken.state == "broken"
    assert broken.share <= 0.05 + 1e-12
    assert promise.solve(belief, rated(1000), silence=0, since_alarm=10_000).state == "keeping"


def test_a_baseline_that_is_away_leaves_the_policy_alone() -> None:
    promise = watched(0.95, [0.7, 0.1, 0.8])
    promise.observe(
        context(np.random.default_rng(1))[None],
        cost_usd=COSTS[None],
        eligible=np.array([[True, True, False]]),
        own=np.array([[1.0, 0.0, 0.0]]),
    )
    terms = promise.solve(posterior([0.7, 0.1, 0.8], deviation=1e-4), rated(1000), silence=0)
    assert (terms.state, terms.share) == ("baseline_away", 1.0)


def test_what_the_baseline_would_earn_where_it_is_left_is_measured_apart() -> None:
    misses = Misses()
    for number in range(400):  # where others mostly answer the baseline is predicted .1 too low, the others rightly
        mine = number % 4 == 0
        misses.add(RatedDecision(0.8 if mine else 0.7, 0.7, 0.7, 0.25, is_baseline=mine))
    assert misses.baseline_bias == pytest.approx(0.1, abs=0.02)
    assert misses.bias == pytest.approx(-0.1, abs=0.02)  # what leaves it earns so much less beside it


def answers(keep: float, *rewards: float, of_baseline: bool = False) -> Reserve:
    reserve = Reserve()
    for reward in rewards:
        reserve.add(RatedDecision(reward, 0.7, 0.8, 0.5, is_baseline=of_baseline), keep=keep)
    return reserve


def test_a_reserve_is_emptied_by_what_was_seen_to_be_lost_and_filled_by_the_allowance() -> None:
    assert answers(0.95, 0.1, 0.1).owed == pytest.approx(2 * (0.7 - 0.04))
    assert answers(0.95, 0.1, 0.79).owed == pytest.approx(0.7 - 0.04 + 0.01 - 0.04)
    assert answers(0.95, 0.0, 0.0, of_baseline=True).owed == 0.0  # its own answers lose nothing against it
    assert answers(0.95, 1.0, 1.0, 1.0).owed == 0.0  # gains fill it, and no further


def test_what_was_lent_is_spent_paid_back_and_not_lent_again() -> None:
    def slack(owed: float, most: float, *, keep: float = 0.95, rated_share: float = 1.0) -> float:
        return Reserve(owed, most).slack(0.8, keep=keep, rated_share=rated_share)

    assert slack(0.0, 0.0) == pytest.approx(0.04 + ANSWERS * 0.8 / SPENT_OVER)
    assert slack(0.0, 0.0, keep=0.99) == pytest.approx(0.008 + ALLOWANCES * 0.008 / SPENT_OVER)
    assert slack(0.0, 0.0, keep=1.0) == 0.0
    assert slack(0.0, 0.0) > slack(0.0, 3.0) > slack(3.0, 3.0) > slack(6.0, 6.0)
    assert slack(0.0, 100.0) == pytest.approx(0.04)
    assert slack(3.0, 3.0, rated_share=0.3) < slack(3.0, 3.0)  # one that was seen stands for others


def luck(n: int, *, keep: float, seed: int) -> tuple[Reserve, list[float]]:
    """Answers of arms exactly as good as the baseline, one decision in thirty rated: share of the allowance left."""
    reserve, generator, left = Reserve(), np.random.default_rng(seed), []
    for _ in range(n):
        reserve.add(RatedDecision(float(generator.random() < 0.8), 0.8, 0.8, 0.1, is_baseline=False), keep=keep)
        left.append(reserve.slack(0.8, keep=keep, rated_share=1 / 30) / ((1.0 - keep) * 0.8))
    return reserve, left


@pytest.mark.parametrize("keep", [0.98, 0.95])
def test_bad_luck_takes_ever_less_of_the_allowance_however_few_are_rated(keep: float) -> None:
    played = [luck(4000, keep=keep, seed=seed)[1] for seed in range(10)]
    early, late = (float(np.mean([one[part] for one in played])) for part in (slice(50, 500), slice(3000, 4000)))
    assert early > 0.2
    assert late > max(early, 0.6)


@given(st.floats(0.8, 0.99), st.integers(1, 3000), st.floats(1.2, 10.0))
def test_little_more_than_the_allowance_can_be_lost(keep: float, n: int, times: float) -> None:
    """Arms worse than is allowed answer whenever anything may be lost, since they are predicted to be good."""
    reserve, allowed, lost = Reserve(), (1.0 - keep) * 0.8, 0.0
    for _ in range(n):
        away = reserve.slack(0.8, keep=keep, rated_share=1.0) > 0.0
        lost += times * allowed * away
        reserve.add(RatedDecision(0.8 - times * allowed * away, 0.8, 0.8, 0.1, is_baseline=not away), keep=keep)
    # What is lent to a promise at first, and what luck alone may owe, may be owed however little was judged.
    at_first = max(min(ALLOWANCES * allowed, ANSWERS * 0.8), 1.0 / (2.0 * allowed))
    assert OVERDRAWN * OWED_SHARE < TOLERANCE
    assert lost <= n * (allowed + 0.8 * TOLERANCE) + OVERDRAWN * at_first + times * allowed


def test_what_was_kept_before_is_no_reason_to_owe_more_once_predictions_were_wrong() -> None:
    reserve, _ = luck(3000, keep=0.95, seed=0)
    reserve.owed = 6.0
    before = reserve.slack(0.8, keep=0.95, rated_share=1 / 30)
    reserve.distrust()
    assert reserve.slack(0.8, keep=0.95, rated_share=1 / 30) < 0.0 < before


def test_predictions_that_were_wrong_are_readily_believed_to_be_too_high_and_never_too_low() -> None:
    def bias(reward: float, *, doubted: bool) -> float:
        misses = Misses()
        if doubted:
            misses.forget()
        for _ in range(10):
            misses.add(RatedDecision(reward, 0.5, 0.5, 0.1, is_baseline=False))
        return misses.bias

    assert bias(0.2, doubted=True) < 2.0 * bias(0.2, doubted=False) < 0.0
    assert bias(0.8, doubted=True) == bias(0.8, doubted=False) == 0.0


def test_where_few_are_rated_a_pause_is_no_silence() -> None:
    believed = posterior([0.8, 0.1, 0.8], deviation=1e-4)
    for rated_share, silence, state in ((0.5, 301, "no_rewards"), (0.01, 301, "keeping"), (0.01, 801, "no_rewards")):
        promise = watched(0.95, [0.8, 0.1, 0.8])
        terms = promise.solve(believed, rated(50), silence=silence, rated_share=rated_share)
        assert terms.state == state


def test_terms_are_solved_for_less_often_while_nothing_is_new() -> None:
    promise = watched(0.95, [0.8, 0.1, 0.8], n=0)
    due: dict[bool, list[int]] = {True: [], False: []}
    everything, x = np.ones((1, 3), dtype=bool), context(np.random.default_rng(0))[None]
    for decision in range(1, 2 * WINDOW + 1):
        promise.observe(x, cost_usd=COSTS[None], eligible=everything, own=np.array([[1.0, 0.0, 0.0]]))
        for news, found in due.items():
            if promise.due(news=news):
                found.append(decision)
    assert due[True] == [*range(1, 21), *range(40, 2 * WINDOW + 1, 20)]
    assert due[False] == [one for one in due[True] if one < WINDOW or one % 100 == 0]


def test_where_too_much_is_owed_no_prediction_lets_more_leave_than_can_be_made_good() -> None:
    """The arms are predicted to be as good as the baseline, and were seen not to be."""
    assert solved(0.95, [0.8, 0.1, 0.8], reserve=Reserve(20.0, 20.0)).share == pytest.approx(LEAST * 0.05)


def test_the_standard_error_is_that_of_the_posterior() -> None:
    """Against the spread of the loss over draws of all arms' coefficients, shared ones included."""
    generator = np.random.default_rng(3)
    groups = (FeatureGroup("bias", 0, 1), FeatureGroup("lexical", 1, D))
    schema = FeatureSchema(version=1, hash="t", groups=groups, names=tuple("abcdef"), encoder_id="t",
                           embedding_dimension=2, n_clusters=1)  # fmt: skip
    state = PolicyState(schema=schema, settings=PolicySettings(), arms=[ArmPrior(name) for name in "abc"])
    for _ in range(60):
        x = context(generator)
        x[1:] /= np.sqrt(D)
        arm = "abc"[int(generator.integers(3))]
        state.fold(arm=arm, epoch=0, x=x, weight=1.0, reward=float(generator.random() < 0.5 + 0.2 * np.tanh(x[1])))
    belief = state.snapshot().posterior
    promise = Promise(n_arms=3, n_features=D, baseline=BASELINE, keep=0.9)
    rows = []
    for _ in range(100):
        x = context(generator)
        x[1:] /= np.sqrt(D)
        rows.append(x)
        promise.observe(
            x[None], cost_usd=COSTS[None], eligible=np.ones((1, 3), dtype=bool), own=np.array([[1.0, 0, 0]])
        )
    terms = promise.solve(belief, rated(100), silence=0)
    xs = np.stack(rows)
    mean = np.clip(xs @ belief.coefficients().T + belief.centre * xs[:, :1], 0.0, 1.0)
    arms = (mean - terms.price_per_usd * COSTS).argmax(axis=1)
    assert belief.shared_spread is not None
    shift = generator.multivariate_normal(np.zeros(D), belief.shared_spread, size=20_000)
    theta = np.stack(
        [
            generator.multivariate_normal(np.zeros(D), inverse, size=20_000) + shift @ inverse
            for inverse in belief.inverse
        ]
    )  # (K, draws, d): the shared part moves every arm at once
    values = np.einsum("kmd,nd->kmn", theta, xs)
    drawn = values[BASELINE].mean(axis=1) - np.take_along_axis(
        values, np.broadcast_to(arms, (1, 20_000, 100)), axis=0
    )[0].mean(axis=1)
    assert terms.error == pytest.approx(float(drawn.std()), rel=0.03)


def test_prices_that_move_move_the_remembered_decisions() -> None:
    promise = watched(0.95, [0.8, 0.1, 0.8])
    promise.window.reprice(np.array([100.0, 1.0, 1.0]))
    terms = promise.solve(posterior([0.8, 0.1, 0.8], deviation=1e-4), rated(1000), silence=0)
    assert terms.saves_usd < COSTS[2] - COSTS[0]


def test_the_window_keeps_the_newest() -> None:
    promise = watched(0.95, [0.8, 0.1, 0.8], n=WINDOW + 7)
    assert promise.window.size == WINDOW


@given(st.floats(0.0, 0.5), st.booleans(), st.floats(0.0, 1.0))
def test_the_reference_share_is_always_left_to_the_baseline(configured: float, precise: bool, share: float) -> None:
    reference = reference_share(configured, precise=precise)
    assert 0.0 <= reference <= configured
    assert blended_share(Terms(share=share), reference) <= 1.0 - reference
    assert not math.isnan(reference)
