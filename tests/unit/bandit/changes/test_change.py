"""Changed arms are found, stationary ones are left alone, and what follows is exact and survives a restart."""

from __future__ import annotations

import json

import numpy as np
import pytest

from banditd.bandit.changes.arm_changes import PROBE_SHARE
from banditd.bandit.changes.change import CUT, ResidualTest, ReturnTest, common_part, residual
from banditd.bandit.changes.drift import LEAST, MOVED, QueryDrift
from banditd.bandit.policies.base import ArmPrior, PolicySettings
from banditd.bandit.state import PolicyState
from banditd.core.types import Context

ARMS = [ArmPrior("a"), ArmPrior("b"), ArmPrior("c")]


def first_alarm(rewards, mean: float, deviation: float):  # type: ignore[no-untyped-def]
    test = ResidualTest()
    for n, reward in enumerate(rewards, start=1):
        finding = test.add(residual(reward, mean, deviation**2), reward, mean)
        if finding is not None:
            return n, finding
    return None


@pytest.mark.parametrize("shape", ["gaussian", "nearly always right", "nearly always wrong", "fair coin"])
def test_what_does_not_change_raises_no_alarm_whatever_its_shape(shape: str) -> None:
    generator = np.random.default_rng(0)
    chance = {"nearly always right": 0.95, "nearly always wrong": 0.05, "fair coin": 0.5}.get(shape)
    for _ in range(4):
        if chance is None:
            rewards, mean, deviation = generator.normal(0.8, 0.1, 3000), 0.8, 0.1
        else:
            rewards, mean = (generator.random(3000) < chance).astype(float), chance
            deviation = float(np.sqrt(chance * (1 - chance)))
        assert first_alarm(rewards, mean, deviation) is None


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_change_of_one_and_a_half_deviations_is_found_in_twenty_rewards(sign: int) -> None:
    delays = []
    for seed in range(20):
        generator = np.random.default_rng(seed)
        rewards = np.concatenate([generator.normal(0.6, 0.1, 300), generator.normal(0.6 + sign * 0.14, 0.1, 100)])
        found = first_alarm(rewards, 0.6, 0.1)
        assert found is not None
        n, finding = found
        assert n > 300
        assert finding.direction == ("down" if sign < 0 else "up")
        assert finding.old == pytest.approx(0.6)
        assert finding.new == pytest.approx(0.6 + sign * 0.14, abs=0.08)
        delays.append(n - 300)
    assert np.median(delays) <= 20


def test_a_half_deviation_is_found_too_but_later() -> None:
    for seed in range(5):
        generator = np.random.default_rng(seed)
        rewards = np.concatenate([generator.normal(0.6, 0.1, 300), generator.normal(0.55, 0.1, 1000)])
        found = first_alarm(rewards, 0.6, 0.1)
        assert found is not None
        assert 320 < found[0] < 600


def test_the_first_thirty_rewards_are_not_judged() -> None:
    assert first_alarm(np.full(30, 0.1), 0.9, 0.1) is None


def test_one_reward_says_at_most_what_the_cut_allows() -> None:
    assert residual(0.0, 1.0, 1e-6) == -CUT
    assert residual(1.0, 0.0, 1e-6) == CUT


def test_only_what_every_arm_shows_is_in_common() -> None:
    worse, as_ever, better = ResidualTest(), ResidualTest(), ResidualTest()
    worse.pool[:] = (-40.0, 30.0)
    as_ever.pool[:] = (-0.1, 30.0)
    better.pool[:] = (10.0, 30.0)
    assert common_part([worse, worse]) == pytest.approx(-40 / 33)
    assert abs(common_part([worse, as_ever])) < 0.01
    assert common_part([worse, better]) == 0.0
    assert common_part([worse]) == 0.0


def test_an_arm_is_back_when_its_rewards_are() -> None:
    test = ReturnTest(np.array([0.4]), 0.5, 0.01)
    x, generator = np.array([1.0]), np.random.default_rng(2)
    assert not any(test.add(x, float(r), 0.7, 0.012) for r in generator.normal(0.7, 0.1, 300))
    needed = next(n for n in range(1, 60) if test.add(x, float(generator.normal(0.9, 0.1)), 0.7, 0.012))
    assert needed <= 15


def test_an_alarm_about_nothing_is_taken_back() -> None:
    test = ReturnTest(np.array([0.4]), 0.5, 0.01)
    generator = np.random.default_rng(3)
    back = [test.add(np.array([1.0]), float(r), 0.9, 0.012) for r in generator.normal(0.9, 0.1, 60)]
    assert any(back)


def test_drift_is_about_one_while_contexts_come_from_one_distribution(draw_context) -> None:
    for seed in range(3):
        generator = np.random.default_rng(seed)
        drift, heights = QueryDrift(12), []
        for _ in range(4000):
            drift.add(draw_context(generator).x)
            heights.append(drift.height)
        assert max(heights[: LEAST - 1]) == 0.0  # too little was seen
        assert np.mean(heights[600:]) == pytest.approx(1.0, abs=0.25)
        assert max(heights) < MOVED


def test_queries_that_hardly_differ_are_no_other_task_however_rare_the_difference(draw_context) -> None:
    x = draw_context(np.random.default_rng(0)).x
    drift = QueryDrift(12)
    for n in range(2000):
        now = x.copy()
        now[2] += 0.1 if n >= 600 else 0.0  # certain, and next to nothing
        drift.add(now)
        assert not drift.moved


def test_other_queries_are_noticed_at_once_and_become_the_usual_ones(draw_context) -> None:
    generator = np.random.default_rng(0)
    drift, moved = QueryDrift(12), []
    for n in range(3200):
        x = draw_context(generator).x
        if n >= 600:
            x[1:4] += 1.0  # another form
        drift.add(x)
        moved.append(drift.moved)
    assert not any(moved[:600])
    assert all(moved[612:1000])
    assert not any(moved[-200:])


# ---------------------------------------------------------------- in a policy's state


class Play:
    """Rewards of three arms in turn, whose levels can be changed."""

    def __init__(self, schema, draw_context, seed: int = 0) -> None:  # type: ignore[no-untyped-def]
        self.schema = schema
        self.state = PolicyState(schema=schema, settings=PolicySettings(), arms=ARMS)
        self.level = {"a": 0.8, "b": 0.6, "c": 0.5}
        self.log: list[tuple[str, int, np.ndarray, float]] = []
        self._draw, self._generator = draw_context, np.random.default_rng(seed)

    def rewards(self, n: int) -> None:
        for i in range(n):
            arm = "abc"[i % 3]
            reward = float(np.clip(self.level[arm] + 0.1 * self._generator.normal(), 0, 1))
            row = (arm, self.state.epoch, self._draw(self._generator).x, reward)
            self.log.append(row)
            self.state.fold(arm=row[0], epoch=row[1], x=row[2], weight=1.0, reward=row[3])
            if self.state.tune_due():
                self.state.adopt(self.state.tuning().run())

    def ask_something_else(self) -> None:
        """From now on queries of another form."""
        usual = self._draw

        def other(generator: np.random.Generator) -> Context:
            context: Context = usual(generator)
            context.x[1:4] += 1.0
            return context

        self._draw = other

    def restart(self) -> None:
        """Through JSON and bytes, as the database keeps them."""
        self.state = PolicyState.restore(
            schema=self.schema,
            settings=self.state.settings,
            arms=ARMS,
            version=1,
            hyperparameters=self.state.hyperparameters_json(),
            learner=self.state.learner_json(),
            segments=self.state.segments(),
        )


@pytest.fixture
def play(schema, draw_context) -> Play:  # type: ignore[no-untyped-def]
    return Play(schema, draw_context)


def test_a_degraded_arm_is_found_discounted_probed_and_taken_back(play: Play) -> None:
    play.rewards(900)
    assert play.state.arm_changes.history == ()
    before = play.state.sums("a").n
    play.level["a"] = 0.45
    play.rewards(90)
    [event] = play.state.arm_changes.history
    assert (event.arm, event.kind, event.direction) == ("a", "changed", "down")
    assert event.old_level == pytest.approx(0.8, abs=0.05)
    assert event.new_level == pytest.approx(0.45, abs=0.1)
    assert not event.queries_moved
    assert play.state.sums("a").n < 0.15 * before
    assert play.state.sums("b").n > 300  # the others' evidence is untouched
    probes = play.state.snapshot().probe_share
    assert probes is not None
    assert probes[0] == pytest.approx(PROBE_SHARE, rel=0.2)
    assert probes[1:].tolist() == [0.0, 0.0]
    play.level["a"] = 0.8
    play.rewards(90)
    assert [e.kind for e in play.state.arm_changes.history] == ["changed", "recovered"]
    assert play.state.sums("a").n > 0.95 * before
    assert play.state.snapshot().probe_share is None


def test_an_arm_that_fails_at_other_queries_is_discounted_but_not_awaited(play: Play) -> None:
    play.rewards(900)
    before = play.state.sums("a").n
    play.ask_something_else()
    play.level["a"] = 0.3
    play.rewards(90)
    [event] = [e for e in play.state.arm_changes.history if e.arm == "a"]
    assert (event.kind, event.direction, event.queries_moved) == ("changed", "down", True)
    assert play.state.sums("a").n < 0.15 * before
    assert not play.state.snapshot().probe_share.any()
    assert play.state.arm_changes.curiosity("abc", play.state.folded).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("restarted", [False, True])
def test_an_alarm_that_comes_before_the_drift_is_seen_is_excused_by_it(play: Play, restarted: bool) -> None:
    play.rewards(900)
    play.level["a"] = 0.2
    while not play.state.arm_changes.changed:
        play.rewards(3)
    play.state.arm_changes.stamp(7)
    assert not play.state.arm_changes.changed["a"].queries_moved
    assert play.state.snapshot().probe_share[0] > 0.0
    if restarted:
        play.restart()
    play.ask_something_else()
    play.rewards(30)
    [event] = [e for e in play.state.arm_changes.history if e.arm == "a"]
    assert (event.kind, event.at_us, event.queries_moved) == ("changed", 7, True)
    assert not play.state.snapshot().probe_share.any()


def test_joined_stretches_count_as_the_one_that_counted_less(play: Play) -> None:
    ledger = play.state._epochs
    play.rewards(60)
    for first in range(1, 10):
        ledger.advance(first)
        ledger.begin_span("a", first)
        play.rewards(30)
    (one, _), (other, _), *_ = ledger.spans("a")  # they are joined next
    ledger.set_factors("a", {one: 0.5, other: 0.01})
    play.rewards(600)
    play.level["a"] = 0.2
    play.rewards(60)
    assert play.state.arm_changes.changed["a"].direction == "down"
    assert ledger.spans("a")[0][1] <= 0.01 * 0.05
    play.level["a"] = 0.8
    play.rewards(90)
    assert [e.kind for e in play.state.arm_changes.history] == ["changed", "recovered"]
    assert ledger.spans("a")[0][1] == pytest.approx(0.01)


def test_a_database_of_before_queries_were_watched_can_be_read(play: Play) -> None:
    play.rewards(900)
    play.level["a"] = 0.45
    play.rewards(90)
    learner = json.loads(play.state.learner_json())
    del learner["regimes"]["drift"]
    changed = learner["regimes"]["changed"]["a"]
    del changed["first"], changed["seen"]
    for event in [*learner["regimes"]["history"], changed["event"]]:
        del event["queries_moved"]
    old = PolicyState.restore(
        schema=play.schema,
        settings=play.state.settings,
        arms=ARMS,
        version=1,
        hyperparameters=play.state.hyperparameters_json(),
        learner=json.dumps(learner),
        segments=play.state.segments(),
    )
    assert old.arm_changes.history == play.state.arm_changes.history
    assert old.snapshot().probe_share.tolist() == play.state.snapshot().probe_share.tolist()
    assert old.arm_changes.drift.height == 0.0


def test_queries_that_become_harder_for_every_arm_accuse_none(play: Play) -> None:
    play.rewards(900)
    play.level = {arm: level - 0.2 for arm, level in play.level.items()}
    play.rewards(150)
    assert play.state.arm_changes.history == ()


def test_corrections_say_nothing_about_a_change(play: Play) -> None:
    play.rewards(600)
    before = json.loads(play.state.learner_json())["regimes"]["tests"]
    for arm, epoch, x, reward in play.log[:200]:
        play.state.fold(arm=arm, epoch=epoch, x=x, weight=-1.0, reward=reward)
        play.state.fold(arm=arm, epoch=epoch, x=x, weight=1.0, reward=0.0, first=False)
    assert json.loads(play.state.learner_json())["regimes"]["tests"] == before
    assert play.state.arm_changes.history == ()


def test_switched_off_nothing_is_watched(schema, draw_context) -> None:
    play = Play(schema, draw_context)
    play.state = PolicyState(schema=schema, settings=PolicySettings(change_detection=False), arms=ARMS)
    play.rewards(900)
    play.level["a"] = 0.3
    play.rewards(300)
    assert play.state.arm_changes.history == ()
    assert play.state.sums("a").n == 400


@pytest.mark.parametrize("restart_at", [940, 975, 1010])  # while suspected, while changed, while coming back
def test_a_restart_changes_nothing(schema, draw_context, restart_at: int) -> None:
    runs = []
    for restarted in (False, True):
        play = Play(schema, draw_context)
        play.rewards(900)
        play.level["a"] = 0.45
        play.rewards(min(restart_at, 990) - 900)
        if restarted and restart_at <= 990:
            play.restart()
        play.rewards(990 - min(restart_at, 990))
        play.level["a"] = 0.8
        play.rewards(max(restart_at, 990) - 990)
        if restarted and restart_at > 990:
            play.restart()
        play.rewards(90)
        runs.append(play)
    one, two = (run.state.arm_changes.history for run in runs)
    assert [(e.arm, e.kind, e.folded, e.epoch) for e in one] == [(e.arm, e.kind, e.folded, e.epoch) for e in two]
    assert [e.kind for e in one] == ["changed", "recovered"]
    for arm in "abc":
        np.testing.assert_allclose(runs[0].state.sums(arm).gram, runs[1].state.sums(arm).gram, rtol=1e-9, atol=1e-9)
    assert runs[0].state.arm_changes.drift.to_list() == runs[1].state.arm_changes.drift.to_list()


def test_refolding_the_log_finds_the_same_sums_after_an_alarm(play: Play, schema) -> None:  # type: ignore[no-untyped-def]
    play.rewards(900)
    play.level["a"] = 0.45
    play.rewards(90)
    late = [(arm, 0, x, reward) for arm, _, x, reward in play.log[:30]]  # rewards of old decisions, after the alarm
    for arm, epoch, x, reward in late:
        play.state.fold(arm=arm, epoch=epoch, x=x, weight=1.0, reward=reward)
    refolded = PolicyState.restore(
        schema=schema,
        settings=play.state.settings,
        arms=[],
        version=1,
        hyperparameters=play.state.hyperparameters_json(),
        learner=json.dumps(json.loads(play.state.learner_json()) | {"folded": 0}),
        segments=[],
    )
    for arm, epoch, x, reward in reversed(play.log + late):
        refolded.fold(arm=arm, epoch=epoch, x=x, weight=1.0, reward=reward)
    for arm in "abc":
        np.testing.assert_allclose(refolded.sums(arm).gram, play.state.sums(arm).gram, rtol=1e-9, atol=1e-9)
    assert {(arm, label) for arm, label, _ in refolded.segments()} == {
        (arm, label) for arm, label, _ in play.state.segments()
    }


def test_events_get_the_time_of_their_commit_once(play: Play) -> None:
    play.rewards(900)
    play.level["a"] = 0.45
    play.rewards(90)
    [event] = play.state.arm_changes.stamp(17)
    assert event.at_us == 17
    assert play.state.arm_changes.history[-1].at_us == 17
    assert play.state.arm_changes.changed["a"].at_us == 17
    assert play.state.arm_changes.stamp(18) == []


def test_a_forgetting_policy_finds_changes_too(schema, draw_context) -> None:
    play = Play(schema, draw_context)
    play.state = PolicyState(
        schema=schema, settings=PolicySettings(forgetting=2000.0, epoch_decisions=100), arms=ARMS
    )
    play.rewards(900)
    play.level["a"] = 0.45
    play.rewards(120)
    assert [e.kind for e in play.state.arm_changes.history] == ["changed"]
    assert play.state.inverse_error() < 1e-8


def test_an_arm_that_changes_twice_is_measured_by_what_it_was_first(play: Play) -> None:
    play.rewards(900)
    for level in (0.5, 0.2):
        play.level["a"] = level
        play.rewards(150)
    assert [e.direction for e in play.state.arm_changes.history if e.kind == "changed"] == ["down", "down"]
    shown = play.state.arm_changes.changed["a"]
    assert shown.old_level == pytest.approx(0.8, abs=0.05)
    assert 0.15 < shown.new_level < 0.45  # over all rewards that showed it, some of them of before
    play.level["a"] = 0.8
    play.rewards(120)
    *_, back = play.state.arm_changes.history
    assert (back.kind, back.direction) == ("recovered", "down")
    assert back.old_level == shown.new_level
    assert back.new_level == pytest.approx(0.8, abs=0.05)


@pytest.mark.parametrize("restarted", [False, True])
def test_an_arm_that_is_half_way_back_is_still_awaited(play: Play, restarted: bool) -> None:
    play.rewards(900)
    play.level["a"] = 0.2
    play.rewards(240)
    play.level["a"] = 0.5
    play.rewards(240)
    assert [e.direction for e in play.state.arm_changes.history] == ["down", "up"]
    if restarted:
        play.restart()
    shown = play.state.arm_changes.changed["a"]
    assert (shown.direction, shown.new_level) == ("down", pytest.approx(0.5, abs=0.1))
    assert play.state.snapshot().probe_share[0] > 0.0


def test_what_a_prior_taught_is_discounted_with_the_rest_and_comes_back_with_it(schema, draw_context) -> None:
    earlier = Play(schema, draw_context, seed=100)
    earlier.rewards(900)
    play = Play(schema, draw_context)
    settings = PolicySettings(prior=earlier.state.to_prior("an earlier log"))
    play.state = PolicyState(schema=schema, settings=settings, arms=ARMS)
    play.rewards(300)

    def believed() -> float:
        mean, _ = play.state.snapshot().predict(np.eye(12)[:1])
        return float(mean[0, 0])

    assert believed() == pytest.approx(0.8, abs=0.03)
    play.level["a"] = 0.45
    play.rewards(150)
    assert [e.kind for e in play.state.arm_changes.history] == ["changed"]
    assert believed() == pytest.approx(0.45, abs=0.08)
    assert play.state.to_prior("").arms["a"].n < 80  # of more than 300 before
    play.level["a"] = 0.8
    play.rewards(120)
    assert [e.kind for e in play.state.arm_changes.history] == ["changed", "recovered"]
    assert believed() == pytest.approx(0.8, abs=0.03)
    assert play.state.to_prior("").arms["a"].n > 380


def test_an_operators_expectation_does_not_outlive_the_change(schema, draw_context) -> None:
    play = Play(schema, draw_context)
    arms = [ArmPrior("a", quality_prior=0.8, prior_worth=200.0), *ARMS[1:]]
    play.state = PolicyState(schema=schema, settings=PolicySettings(), arms=arms)
    play.rewards(450)
    play.level["a"] = 0.3
    play.rewards(120)
    assert [e.kind for e in play.state.arm_changes.history] == ["changed"]
    mean, _ = play.state.snapshot().predict(np.eye(12)[:1])
    assert float(mean[0, 0]) < 0.5  # 200 rewards' worth of 0.8 would hold it above 0.6


@pytest.mark.parametrize(("turns", "alike"), [(3, 1.0), (8, 1.0), (10, 0.7)])
def test_turns_of_a_conversation_are_no_other_queries(draw_context, turns: int, alike: float) -> None:
    generator = np.random.default_rng(0)
    drift, moved = QueryDrift(12), []
    for _ in range(4000 // turns):
        shared = draw_context(generator).x
        for _ in range(turns):
            drift.add(alike * shared + (1.0 - alike) * draw_context(generator).x)
            moved.append(drift.moved)
    assert drift.dependence > 1.5
    assert np.mean(moved[400:]) < 0.05  # of 11 columns; of the 64 of real queries: python -m bench.drift
