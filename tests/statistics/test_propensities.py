"""The logged vector is what arms are drawn with, and estimates that rest on it find the truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench.calibration import DATA, synthetic_world
from scipy import stats
from tests.one_query import choose

from banditd.bandit.policies.base import ArmPrior, PolicySettings
from banditd.bandit.policies.exploration import draw, least_shares
from banditd.bandit.snapshot import Snapshot
from banditd.bandit.state import PolicyState
from banditd.core.contexts import Contexts
from banditd.core.types import Context
from banditd.replay.contexts import build_contexts
from banditd.replay.engine import run
from banditd.replay.options import ReplayOptions

DRAWS = 100_000
SCORED_TOGETHER = 250
COST_USD = np.array([1e-4, 2e-4, 3e-4, 1e-3, 3e-3])


def learned(kind: str) -> tuple[Snapshot, list[Context]]:
    """A policy after 300 rewards, and queries for it."""
    world = synthetic_world(3)
    generator = np.random.default_rng(11)
    state = PolicyState(
        schema=world.schema, settings=PolicySettings(kind=kind), arms=[ArmPrior(arm) for arm in world.arms]
    )
    for row, arm in zip(generator.integers(4000, size=300), generator.integers(5, size=300), strict=True):
        state.fold(
            arm=world.arms[arm], epoch=state.epoch, x=world.x[row], weight=1.0, reward=float(world.score[row, arm])
        )
    rows = generator.integers(4000, size=4).tolist()
    return state.snapshot(), [Context(x=world.x[row], cluster=int(world.cluster[row])) for row in rows]


@pytest.mark.parametrize("kind", ["thompson", "linucb", "squarecb", "epsilon_greedy"])
@pytest.mark.parametrize("floor", [0.05, 0.2])
def test_arms_are_drawn_as_often_as_the_logged_vector_says(kind: str, floor: float) -> None:
    snapshot, contexts = learned(kind)
    generator = np.random.default_rng(5)
    each = DRAWS // len(contexts)
    floors = least_shares(COST_USD[None, :], np.ones((1, 5), dtype=bool), floor, None)
    for context in contexts:
        scores = snapshot.scores(
            Contexts.of([context] * SCORED_TOGETHER),
            penalty=np.tile(20.0 * COST_USD, (SCORED_TOGETHER, 1)),
            allowed=np.ones((SCORED_TOGETHER, 5), dtype=bool),
            floors=np.tile(floors, (SCORED_TOGETHER, 1)),
        )
        vectors = np.tile(scores.probability, (each // SCORED_TOGETHER, 1))
        index = draw(vectors, generator.random(each))
        drawn = np.bincount(index, minlength=5)
        logged = scores.probability[0]
        assert np.ptp(scores.probability, axis=0).max() <= 1e-12
        assert logged.sum() == pytest.approx(1.0)
        assert (logged >= floors[0] - 1e-12).all()
        error = np.sqrt(logged * (1.0 - logged) / each)
        assert (np.abs(drawn / each - logged) <= 4.0 * error + 1e-12).all(), (drawn / each, logged)
        positive = logged > 0.0
        assert stats.chisquare(drawn[positive], each * logged[positive] / logged[positive].sum()).pvalue > 1e-6


@pytest.fixture(scope="module")
def contexts_once() -> Iterator[None]:
    """The prompts of a data set are encoded once for all policies that play them."""
    built: dict[tuple[str, ...], Any] = {}

    def build(prompts: Sequence[str], *, with_facts: bool, context_tags: tuple[str, ...], **_rest: object) -> Any:
        assert not (with_facts or context_tags)
        key = tuple(prompts)
        if key not in built:
            built[key] = build_contexts(prompts, with_facts=False)
        return built[key]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("banditd.replay.engine.build_contexts", build)
        yield


def _folder(name: str) -> Path:
    if not (DATA / name).is_dir():
        pytest.skip(f"no {name} under {DATA}; set BANDITD_DATA to the folder of replay data")
    return DATA / name


@pytest.mark.parametrize(
    ("policy", "exploration", "floor", "within"),
    [
        ("uniform", None, None, 2.0),
        ("thompson", "sampled", 0.05, 3.0),
        ("thompson", "directed", 0.05, 3.0),
        ("thompson", "directed", 0.2, 3.0),
    ],
)
@pytest.mark.parametrize("name", ["ulab_nim9", "paretobandit4"])
@pytest.mark.usefixtures("contexts_once")
def test_estimates_from_a_replays_log_agree_with_the_truth(
    policy: str, exploration: str | None, floor: float | None, within: float, name: str
) -> None:
    options = ReplayOptions(
        directory=_folder(name), policy=policy, floor=floor, limit=5000, seeds=2, workers=1,
        policy_options={} if exploration is None else {"exploration": exploration},
    )  # fmt: skip
    content = run(options).content["off_policy"]
    assert isinstance(content, dict)
    for estimator in ("snips", "ips"):
        gaps = [
            (one[estimator]["value"] - one["ground_truth"], one[estimator]["standard_error"])
            for one in content["policies"]
        ]
        pooled = sum(gap for gap, _ in gaps) / np.sqrt(sum(error**2 for _, error in gaps))
        assert abs(pooled) <= within, (estimator, gaps)
    judged = [one for one in content["policies"] if one["agrees"] is not None]
    assert judged
    assert all(one["agrees"] for one in judged)


def test_estimates_from_a_synthetic_log_agree_with_the_truth() -> None:
    """As above, without any data: an adaptive log in which the arms' shares move all the time."""
    world, generator = synthetic_world(1), np.random.default_rng(8)
    state = PolicyState(
        schema=world.schema, settings=PolicySettings(kind="thompson"), arms=[ArmPrior(a) for a in world.arms]
    )
    arms, floors = np.arange(5, dtype=np.intp), np.full(5, 0.02)
    weights = []
    rewards = []
    for row in generator.integers(4000, size=2500).tolist():
        context = Context(x=world.x[row], cluster=int(world.cluster[row]))
        choice = choose(
            state.snapshot(),
            context,
            arms=arms,
            penalty=np.zeros(5),
            floors=floors,
            uniform=float(generator.random()),
        )
        reward = float(world.score[row, choice.index])
        state.fold(arm=world.arms[choice.index], epoch=state.epoch, x=context.x, weight=1.0, reward=reward)
        weights.append(np.eye(5)[choice.index] / choice.propensity)
        rewards.append(reward)
    contributions = np.array(weights) * np.array(rewards)[:, None]
    error = contributions.std(axis=0, ddof=1) / np.sqrt(len(rewards))
    assert (np.abs(contributions.mean(axis=0) - world.score.mean(axis=0)) <= 3.5 * error).all()
