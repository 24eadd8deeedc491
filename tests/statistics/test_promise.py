"""A promise where things go wrong, decision by decision, in a world whose truth is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from banditd.bandit.policies.base import ArmPrior, PolicySettings
from banditd.bandit.state import PolicyState
from banditd.core.types import Arm, Context, FeatureGroup, FeatureSchema, FloatArray, Price, Query
from banditd.deciding.decide import Case, Situation, decide
from banditd.deciding.keeper import Keeper, PromiseRule
from banditd.deciding.view import RouteView, build_view
from banditd.ope.reference import RatedDecision
from banditd.settings.promise import PromiseSettings, promise_advice

D = 4
NAMES = ("cheap", "middle", "baseline")
BASELINE = 2
SCHEMA = FeatureSchema(
    version=1,
    hash="s",
    groups=(FeatureGroup("bias", 0, 1), FeatureGroup("lexical", 1, D)),
    names=tuple(f"x{i}" for i in range(D)),
    encoder_id="none",
    embedding_dimension=0,
    n_clusters=0,
)
# What an arm is worth beyond its mean where a query leans its way.
LEANINGS = np.array([[0.0, 0.05, 0.0, 0.0], [0.0, 0.0, 0.05, 0.0], [0.0, 0.02, 0.02, 0.02]])
Change = Callable[["World"], None]


@dataclass
class World:
    """Arms of known worth and price under a promise. worth, usd : of each arm, they may change while it runs."""

    keep: float
    worth: list[float]
    usd: list[float] = field(default_factory=lambda: [0.001, 0.004, 0.02])
    reward_rate: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        self.generator = np.random.default_rng(self.seed)
        settings = PolicySettings(kind="thompson", options={}, floor=0.005, forgetting=None, change_detection=True)
        self.state = PolicyState(
            schema=SCHEMA,
            settings=settings,
            arms=[ArmPrior(n, cost_usd=c) for n, c in zip(NAMES, self.usd, strict=True)],
        )
        self.keeper = Keeper(PromiseRule(keep=self.keep), n_arms=3, n_features=D, baseline=BASELINE)
        self.enabled = [True, True, True]
        self.earned: list[float] = []
        self.base: list[float] = []
        self.spent: list[float] = []
        self.base_usd: list[float] = []
        self.off: list[float] = []
        self.states: list[str] = []

    def view(self) -> RouteView:
        arms = [
            Arm(
                policy="p", arm=n, upstream_model=n, price=Price(usd_per_request=c), enabled=e, onboarding_decisions=0
            )
            for n, c, e in zip(NAMES, self.usd, self.enabled, strict=True)
        ]
        return build_view(self.state.snapshot(), arms, {})

    def reprice(self, usd: list[float]) -> None:
        self.keeper.reprice(np.array(usd) / np.array(self.usd))
        self.usd = usd
        self.keeper.solve(self.state.snapshot().posterior)

    def play(self, n: int) -> World:
        view = self.view()
        for _ in range(n):
            x = np.concatenate([[1.0], self.generator.normal(size=D - 1)]).astype(np.float32).astype(np.float64)
            view = view.with_snapshot(self.state.snapshot())
            self._decide(view, x)
        return self

    def _decide(self, view: RouteView, x: FloatArray) -> None:
        case = Case(query=Query(text="q"), context=Context(x, 0), input_tokens=10.0, pledge=self.keeper.pledge())
        made = decide(Situation(view=view, now_us=0, exploration_floor=0.005), [case], self.generator.random(1))
        mean, played, index = made.scores.mean[0], made.draw.probability[0], int(made.draw.index[0])
        self.keeper.observe(
            made.x, cost_usd=made.priced.cost_usd, eligible=made.allowed, own=made.scores.probability,
        )  # fmt: skip
        if self.keeper.due:
            self.keeper.solve(view.snapshot.posterior)
        truth = np.clip(np.array(self.worth) + LEANINGS @ x, 0.0, 1.0)
        self.earned.append(float(played @ truth))
        self.base.append(float(truth[BASELINE]))
        self.spent.append(float(played @ np.array(self.usd)))
        self.base_usd.append(self.usd[BASELINE])
        self.off.append(1.0 - float(played[BASELINE]))
        self.states.append(self.keeper.terms.state)
        if self.generator.random() >= self.reward_rate:
            return
        reward = float(self.generator.random() < truth[index])
        self.state.fold(arm=NAMES[index], epoch=view.snapshot.epoch, x=x, weight=1.0, reward=reward)
        p = float(played[BASELINE])
        self.keeper.learn(RatedDecision(reward, float(mean[index]), float(mean[BASELINE]), p, index == BASELINE))

    def ratio(self, since: int = 0, until: int | None = None) -> float:
        """Expected reward of what was played over the baseline's, by the truth."""
        return sum(self.earned[since:until]) / sum(self.base[since:until])

    def cost(self, since: int = 0, until: int | None = None) -> float:
        return sum(self.spent[since:until]) / sum(self.base_usd[since:until])


def test_a_baseline_far_better_than_all_others_is_left_alone() -> None:
    world = World(0.98, [0.5, 0.55, 0.94]).play(700)
    assert world.ratio() >= 0.97
    assert world.ratio(400) >= 0.98
    assert world.states[-1] == "nothing_to_save"


def test_a_dear_baseline_that_is_not_the_best_is_bettered_for_less() -> None:
    world = World(0.98, [0.85, 0.9, 0.7]).play(900)
    assert world.ratio() > 1.0
    assert world.ratio(600) > 1.1
    assert world.cost(600) < 0.6


def test_a_baseline_that_is_the_cheapest_costs_nothing_more() -> None:
    world = World(0.98, [0.9, 0.9, 0.8], usd=[0.02, 0.03, 0.001]).play(400)
    assert world.ratio() == pytest.approx(1.0, abs=0.01)
    assert world.cost() <= 1.05
    assert world.states[-1] == "nothing_to_save"


def test_to_keep_everything_tries_next_to_nothing_and_is_advised_against() -> None:
    world = World(1.0, [0.8, 0.8, 0.81]).play(300)
    assert world.ratio() >= 0.995
    assert np.mean(world.off) <= 0.03
    assert promise_advice(PromiseSettings(keep=1.0)) is not None
    assert promise_advice(PromiseSettings(keep=0.98)) is None


def test_without_any_reward_no_more_than_the_promise_leaves_the_baseline() -> None:
    world = World(0.95, [0.2, 0.3, 0.9], reward_rate=0.0).play(300)
    assert world.states[-1] == "no_rewards"
    assert max(world.off[130:]) <= 0.05 + 1e-9
    assert world.keeper.verdict().held(0.95) == "unknown"


@pytest.mark.parametrize(("rate", "least"), [(0.02, 0.93), (0.1, 0.94)])
def test_few_rewards_say_little_and_lose_little(rate: float, least: float) -> None:
    world = World(0.95, [0.75, 0.8, 0.85], reward_rate=rate).play(900)
    assert world.ratio() >= least
    assert world.keeper.verdict().held(0.95) != "no"
    if rate < 0.05:
        assert world.keeper.verdict().held(0.95) == "unknown"


def test_a_baseline_that_becomes_cheap_answers_at_once() -> None:
    world = World(0.95, [0.8, 0.8, 0.81]).play(600)
    world.reprice([0.02, 0.08, 0.0004])
    world.play(200)
    assert world.cost(600) <= 1.1
    assert world.states[-1] == "nothing_to_save"


def test_a_baseline_that_is_away_leaves_the_promise_on_predictions_and_comes_back() -> None:
    world = World(0.95, [0.78, 0.8, 0.82]).play(600)
    world.enabled[BASELINE] = False
    world.play(150)
    assert set(world.states[621:750]) == {"baseline_away"}
    assert max(world.off[600:750]) == min(world.off[600:750]) == 1.0
    assert world.ratio(600, 750) >= 0.9
    world.enabled[BASELINE] = True
    world.play(200)
    assert world.states[-1] != "baseline_away"
    assert world.ratio(750) >= 0.92


def test_a_baseline_that_falls_is_no_reason_to_fall_with_it() -> None:
    world = World(0.95, [0.78, 0.8, 0.82]).play(600)
    before = float(np.mean(world.earned[400:]))
    world.worth[BASELINE] = 0.41
    world.play(500)
    assert float(np.mean(world.earned[800:])) >= 0.85 * before
    assert world.ratio(800) > 1.3
    assert "broken" not in world.states[600:]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_when_all_others_fall_the_alarm_is_back_at_the_promise_within_300_decisions(seed: int) -> None:
    world = World(0.95, [0.8, 0.81, 0.82], seed=seed).play(700)
    assert float(np.mean(world.off[600:])) > 0.5  # most of the traffic has left the baseline
    for arm in (0, 1):
        world.worth[arm] *= 0.6
    world.play(600)
    assert world.ratio(700, 740) < 0.92
    for since in range(800, 1300, 100):  # back at once, and it stays so
        assert world.ratio(since, since + 100) >= 0.95 - 0.03


def test_an_even_world_raises_no_alarm() -> None:
    alarms = [World(0.95, [0.8, 0.8, 0.82], seed=seed).play(500).keeper.evidence.since_alarm for seed in range(3)]
    assert alarms == [None, None, None]


def test_terms_of_a_frozen_keeper_are_those_of_the_keeper_itself() -> None:
    world = World(0.95, [0.8, 0.8, 0.82]).play(60)
    posterior = world.state.snapshot().posterior
    still = world.keeper.frozen()
    terms = still.solve(posterior)
    assert replace(world.keeper.solve(posterior)) == terms
    world.play(30)
    assert still.promise.window.size == 60
