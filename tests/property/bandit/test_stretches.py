"""Whatever is folded, merged and declared to be over, in whatever order: the ledger adds up what it should."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from banditd.bandit.posterior.epochs import MOST_SPANS, EpochSums

D = 2
rows = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.integers(0, 12),  # epoch of the decision
        st.floats(-2, 2, width=32),
        st.floats(0, 1, width=32),
        st.sampled_from([1.0, 0.5, -1.0]),  # a correction takes out what may not even be there yet
    ),
    min_size=1,
    max_size=40,
)
# When (after how many rows) a stretch of arm a begins, and the factors of the earlier ones.
breaks = st.lists(st.tuples(st.integers(0, 40), st.floats(0, 1, width=32)), max_size=MOST_SPANS + 2)
# One after every row or two: so many, while rows still come, that bases of stretches are joined.
many_breaks = st.lists(st.sampled_from([0.3, 1.0]), min_size=MOST_SPANS + 2, max_size=20).map(
    lambda factors: [(i + 1 + i // 4, factor) for i, factor in enumerate(factors)]
)


def play(data, cuts, discount: float) -> EpochSums:  # type: ignore[no-untyped-def]
    ledger = EpochSums(D, discount=discount, live_epochs=3)
    for i, (arm, epoch, feature, reward, weight) in enumerate(data):
        for at, factor in cuts:
            if at == i:
                cut(ledger, factor)
        ledger.fold(arm, min(epoch, ledger.epoch), np.array([1.0, feature]), weight, reward)
    for at, factor in cuts:
        if at >= len(data):
            cut(ledger, factor)
    return ledger


def cut(ledger: EpochSums, factor: float) -> None:
    ledger.advance(ledger.epoch + 1)
    ledger.begin_span("a", ledger.epoch)
    ledger.set_factors("a", {first: factor * f for first, f in ledger.spans("a")[:-1]})


def factor_of(ledger: EpochSums, arm: str, epoch: int) -> float:
    return [factor for first, factor in ledger.spans(arm) if first <= epoch][-1]


def folded_epochs(data, cuts) -> list[int]:  # type: ignore[no-untyped-def]
    """The epoch that each row was folded with: never newer than the ledger's at that time."""
    epochs = []
    for i, (_, epoch, *_) in enumerate(data):
        epochs.append(min(epoch, sum(1 for at, _ in cuts if at <= i)))
    return epochs


@settings(max_examples=150)
@given(rows, breaks, st.sampled_from([1.0, 0.8]))
def test_the_total_is_every_row_times_its_factor_and_age(data, cuts, discount) -> None:
    ledger = play(data, cuts, discount)
    for arm in "ab":
        expected = np.zeros((D, D))
        for (name, _, feature, _, weight), epoch in zip(data, folded_epochs(data, cuts), strict=True):
            if name == arm:
                x = np.array([1.0, feature])
                scale = weight * discount ** (ledger.epoch - epoch) * factor_of(ledger, arm, epoch)
                expected += scale * np.outer(x, x)
        np.testing.assert_allclose(ledger.total(arm).gram, expected, atol=1e-9)


@settings(max_examples=100)
@given(rows, breaks, st.randoms(use_true_random=False))
def test_folding_the_log_anew_into_the_final_stretches_gives_the_same_segments(data, cuts, shuffler) -> None:
    live = play(data, cuts, 0.9)
    again = EpochSums(D, discount=0.9, live_epochs=3)
    again.epoch, again.base_epoch = live.epoch, live.base_epoch
    again.load_spans(live.spans_json())
    order = list(zip(data, folded_epochs(data, cuts), strict=True))
    shuffler.shuffle(order)
    for (arm, _, feature, reward, weight), epoch in order:
        again.fold(arm, epoch, np.array([1.0, feature]), weight, reward)
    assert {key[:2] for key in again.pack(everything=True)} == {key[:2] for key in live.pack(everything=True)}
    for arm in "ab":
        np.testing.assert_allclose(again.total(arm).gram, live.total(arm).gram, atol=1e-9)
        np.testing.assert_allclose(again.total(arm).xr, live.total(arm).xr, atol=1e-9)


@settings(max_examples=100)
@given(rows, breaks)
def test_a_factor_that_returns_to_one_returns_all_evidence(data, cuts) -> None:
    ledger = play(data, cuts, 1.0)
    ledger.set_factors("a", {first: 1.0 for first, _ in ledger.spans("a")})
    plain = play(data, [], 1.0)
    np.testing.assert_allclose(ledger.total("a").gram, plain.total("a").gram, atol=1e-9)
    assert len(ledger.spans("a")) <= MOST_SPANS


@settings(max_examples=120)
@given(rows, breaks | many_breaks)
def test_a_follower_that_takes_only_what_changed_has_the_same_totals(data, cuts) -> None:
    leader, follower = EpochSums(D, discount=0.9, live_epochs=3), EpochSums(D, discount=0.9, live_epochs=3)
    store: dict[tuple[str, int], bytes] = {}
    for i, (arm, epoch, feature, reward, weight) in enumerate(data):
        for at, factor in cuts:
            if at == i:
                cut(leader, factor)
        leader.fold(arm, min(epoch, leader.epoch), np.array([1.0, feature]), weight, reward)
        changed, dropped = leader.take_changes()
        for key in dropped:
            store.pop(key, None)
        store.update({(name, label): sums for name, label, sums in changed})
        follower.epoch, follower.base_epoch = leader.epoch, leader.base_epoch
        follower.load_spans(leader.spans_json())
        for name, label, sums in changed:
            follower.load(name, label, sums)
        follower.discard_merged()
    assert store == {(name, label): sums for name, label, sums in leader.pack(everything=True)}
    assert follower.pack(everything=True) == leader.pack(everything=True)
    for arm in "ab":
        np.testing.assert_allclose(follower.total(arm).gram, leader.total(arm).gram, atol=1e-9)
