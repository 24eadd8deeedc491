"""A daemon that starts from what an earlier log taught."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.walks.conftest import OpenDaemon
from tests.walks.test_reward_walk import refolded, reward, route

from banditd.bandit.policies.base import ArmPrior, PolicySettings
from banditd.bandit.posterior.prior import Prior
from banditd.bandit.posterior.statistics import ArmSums
from banditd.bandit.state import PolicyState
from banditd.core.errors import ConfigurationError, NotFoundError
from banditd.core.types import FloatArray
from banditd.daemon.open import Daemon
from banditd.daemon.prior_file import read_prior, write_prior
from banditd.services.upkeep.export import export_prior

TEXTS = ("what is the capital of France?", "write a python function that sorts a list", "12 * 7 + 5 = ?")


def make_prior(daemon: Daemon) -> Prior:
    """Two hundred rewards: ``small`` earns .9, ``large`` .2, and an arm that the daemon does not have .5."""
    builder = daemon.runtimes["default"].builder
    state = PolicyState(schema=builder.schema, settings=PolicySettings(), arms=[ArmPrior("small"), ArmPrior("large")])
    generator = np.random.default_rng(0)
    for i in range(210):
        arm, level = (("small", 0.9), ("large", 0.2), ("gone", 0.5))[i % 3]
        x = np.zeros(builder.schema.n_features)
        x[0] = 1.0
        x[1:4] = generator.normal(size=3)
        state.fold(arm=arm, epoch=0, x=x, weight=1.0, reward=float(np.clip(generator.normal(level, 0.1), 0, 1)))
    state.adopt(state.tuning().run())
    return state.to_prior("an earlier log")


async def predictions(daemon: Daemon) -> tuple[FloatArray, FloatArray]:
    """(mean, deviation) of every arm on a context of nothing but the bias."""
    runtime = daemon.runtimes["default"]
    x = np.zeros(runtime.builder.schema.n_features)
    x[0] = 1.0
    await daemon.learner.drained()
    return runtime.view.snapshot.predict(x[None, :])


async def test_the_first_decision_knows_what_the_file_knows_and_a_restart_changes_nothing(
    open_daemon: OpenDaemon, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "prior.json"
    async with open_daemon() as daemon:
        cold, _ = await predictions(daemon)
        write_prior(make_prior(daemon), file)
    caplog.set_level(logging.INFO)
    async with open_daemon(prior_file=file, prior_worth_rewards=150.0) as daemon:
        names = daemon.runtimes["default"].view.snapshot.arms
        warm, _ = await predictions(daemon)
        small, large, vision = (names.index(name) for name in ("small", "large", "vision"))
        assert warm[0, small] > 0.7
        assert warm[0, large] < 0.5
        assert warm[0, large] < warm[0, vision] < warm[0, small]  # unknown to the file: as the others are
        assert np.ptp(cold) < 0.15
        for i in range(30):
            decision = await route(daemon, text=TEXTS[i % 3])
            await reward(daemon, decision, (0.1, 0.8, 0.6)[i % 3])
        before = await predictions(daemon)
        assert (await refolded(daemon)).agrees
        stored = await daemon.storage.learning.load("default", daemon.runtimes["default"].builder.schema.hash)
        assert sum(ArmSums.unpack(segment.sums).n for segment in stored.segments) == pytest.approx(30.0)
    async with open_daemon(prior_file=file, prior_worth_rewards=150.0) as daemon:
        after = await predictions(daemon)
        np.testing.assert_allclose(after[0], before[0], atol=1e-9)
        np.testing.assert_allclose(after[1], before[1], atol=1e-9)
        assert (await refolded(daemon)).agrees
    read = [record for record in caplog.records if record.getMessage() == "policy.prior_read"]
    assert read[0].__dict__["source"] == "an earlier log"
    assert read[0].__dict__["worth_rewards"] == 150.0
    unknown = [record for record in caplog.records if record.getMessage() == "policy.prior_arms_unknown"]
    assert unknown[0].__dict__["arms"] == ["gone"]


async def test_a_file_of_another_feature_schema_stops_the_start(open_daemon: OpenDaemon, tmp_path: Path) -> None:
    file = tmp_path / "prior.json"
    async with open_daemon() as daemon:
        write_prior(replace(make_prior(daemon), schema_hash="of-another-encoder"), file)
    with pytest.raises(ConfigurationError, match="of-another-encoder"):
        async with open_daemon(prior_file=file):
            pass
    with pytest.raises(ConfigurationError, match=r"missing\.json"):
        async with open_daemon(prior_file=tmp_path / "missing.json"):
            pass


async def test_an_older_deployment_gives_a_prior_without_a_pass_over_its_log(
    open_daemon: OpenDaemon, tmp_path: Path
) -> None:
    async with open_daemon() as daemon:
        runtime = daemon.runtimes["default"]
        schema, settings = runtime.builder.schema, runtime.config.settings
        with pytest.raises(NotFoundError, match="learned nothing"):
            await export_prior("default", schema, settings, daemon.storage.learning)
        for i in range(25):
            await reward(daemon, await route(daemon, text=TEXTS[i % 3]), 0.5 + 0.4 * (i % 2))
        await daemon.learner.drained()
        prior = await export_prior("default", schema, settings, daemon.storage.learning)
        state = daemon.runtimes["default"].learned
        assert prior.rewards == pytest.approx(25.0)
        for name, sums in prior.arms.items():
            np.testing.assert_allclose(sums.gram, state.sums(name).gram, atol=1e-9)
        assert prior.hyperparameters == state.hyperparameters_json()
        write_prior(prior, tmp_path / "prior.json")
        assert read_prior(tmp_path / "prior.json").to_json() == prior.to_json()
