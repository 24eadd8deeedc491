"""Followers are told of what changed, never of what is gone; they must add up what the leader does all the same."""

from __future__ import annotations

import numpy as np
import pytest

from banditd.bandit.policies.base import ArmPrior, PolicySettings
from banditd.bandit.posterior.epochs import MOST_SPANS, EpochSums
from banditd.bandit.posterior.ridge import run_through
from banditd.bandit.state import PolicyState
from banditd.core.errors import InvariantError

ARMS = [ArmPrior("a"), ArmPrior("b")]
PER_COMMIT = 13  # rewards


class Replicas:
    """A leader, what its commits leave in the database, and followers that poll at every and every third commit."""

    def __init__(self, schema, draw_context, forgetting: float | None) -> None:  # type: ignore[no-untyped-def]
        self.schema, self._draw, self._generator = schema, draw_context, np.random.default_rng(0)
        self.settings = PolicySettings(forgetting=forgetting, live_epochs=2, change_detection=False)
        self.leader, self.close, self.far = (
            PolicyState(schema=schema, settings=self.settings, arms=ARMS) for _ in range(3)
        )
        self.stored: dict[tuple[str, int], tuple[int, bytes]] = {}  # version and sums
        self.dropped: list[tuple[str, int]] = []
        self.version = 0

    @property
    def ledger(self) -> EpochSums:
        return self.leader._epochs

    def new_stretch(self, factor: float) -> None:
        """As an alarm does it: from the next epoch on arm a's evidence counts by itself, what was counts less."""
        self.leader.advance()
        self.ledger.begin_span("a", self.leader.epoch)
        self.ledger.set_factors("a", {first: factor * f for first, f in self.ledger.spans("a")[:-1]})

    def fold(self) -> None:
        for i in range(PER_COMMIT):
            x = self._draw(self._generator).x
            epoch = max(0, self.leader.epoch - i)  # late rewards go to epochs that were merged, too
            self.leader.fold(arm="aab"[i % 3], epoch=epoch, x=x, weight=1.0, reward=float(self._generator.random()))

    def commit(self) -> None:
        self.version += 1
        touched, dropped = self.leader.take_touched()
        for arm, label, sums in touched:
            self.stored[arm, label] = (self.version, sums)
        for key in dropped:
            self.stored.pop(key, None)
        self.dropped += dropped
        self.poll(self.close)
        if self.version % 3 == 0:
            self.poll(self.far)

    def poll(self, follower: PolicyState) -> None:
        pieces = follower.applying(
            [(*key, sums) for key, (version, sums) in self.stored.items() if version > follower.version],
            version=self.version,
            hyperparameters=self.leader.hyperparameters_json(),
            learner=self.leader.learner_json(),
        )
        run_through(pieces)

    def restored(self) -> PolicyState:
        return PolicyState.restore(
            schema=self.schema,
            settings=self.settings,
            arms=ARMS,
            version=self.version,
            hyperparameters=self.leader.hyperparameters_json(),
            learner=self.leader.learner_json(),
            segments=[(*key, sums) for key, (_, sums) in self.stored.items()],
        )


@pytest.fixture(params=[None, 2000.0])
def replicas(request, schema, draw_context) -> Replicas:  # type: ignore[no-untyped-def]
    return Replicas(schema, draw_context, request.param)


def assert_same(one: PolicyState, two: PolicyState) -> None:
    assert one.segments() == two.segments()
    for arm in "ab":
        for name in ("gram", "xr", "weight", "wr", "wrr", "n"):
            got, expected = getattr(one.sums(arm), name), getattr(two.sums(arm), name)
            np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


def test_followers_count_an_arm_of_many_stretches_once(replicas: Replicas) -> None:
    replicas.fold()
    replicas.commit()
    for k in range(14):
        replicas.new_stretch(0.5 + 0.03 * k)
        replicas.fold()
        replicas.commit()
        assert_same(replicas.close, replicas.leader)
        assert_same(replicas.restored(), replicas.leader)
        if replicas.far.version == replicas.version:
            assert_same(replicas.far, replicas.leader)
    assert len(replicas.ledger.spans("a")) == MOST_SPANS
    # Bases were joined, which is what this test is about; the first one never goes.
    assert sum(arm == "a" and label < -1 for arm, label in replicas.dropped) >= 5
    assert ("a", -1) not in replicas.dropped


def test_no_reward_is_lost_or_counted_twice_by_joining(schema, draw_context) -> None:
    replicas = Replicas(schema, draw_context, forgetting=None)
    for k in range(14):
        if k:
            replicas.new_stretch(1.0)
        replicas.fold()
        replicas.commit()
        rewards = sum("aab"[i % 3] == "a" for i in range(PER_COMMIT)) * (k + 1)
        assert replicas.leader.sums("a").n == replicas.close.sums("a").n == rewards


def test_a_leader_that_restarts_after_joins_goes_on_as_if_it_had_not(replicas: Replicas) -> None:
    for _ in range(12):
        replicas.new_stretch(0.8)
        replicas.fold()
        replicas.commit()
    replicas.leader = replicas.restored()
    replicas.new_stretch(0.8)
    replicas.fold()
    replicas.commit()
    assert_same(replicas.close, replicas.leader)
    assert_same(replicas.restored(), replicas.leader)


def test_damaged_sums_say_whose_they_are_and_how_to_mend_them() -> None:
    with pytest.raises(InvariantError, match=r"Segment 3 of arm dear.*rebuild --write"):
        EpochSums(4, 0.9, 2).load("dear", 3, b"\x00\x11")
