"""Tiers of models by name: what a table must say, and whom it is believed about."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from banditd.bandit.policies.base import PolicySettings
from banditd.bandit.posterior.hyperparameters import TIER_STEP
from banditd.core.errors import ConfigurationError
from banditd.core.tier_table import TierTable
from banditd.core.types import QUALITY_TIERS, Arm
from banditd.daemon.runtimes import with_tiers
from banditd.daemon.tier_table import SHIPPED, read_tier_table
from banditd.encoders.static import SHIPPED_FOLDER
from banditd.features.context import ContextBuilder
from banditd.features.maps import load_feature_maps
from banditd.replay.contexts import build_contexts
from banditd.replay.decider import InProcessDecider
from banditd.replay.prices import Tariff
from banditd.services.policy import PolicyConfig, PolicyRuntime
from banditd.settings import PolicySettingsSection

GOOD = "as_of: 2026-11-29\nmodels:\n  - {model: new, tier: frontier}\n  - {model: old, tier: economy, in: 3}\n"


def test_a_table_is_read_with_its_day_and_other_fields_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(GOOD)
    table = read_tier_table(str(tmp_path / "t.yaml"))
    assert table == TierTable(date(2026, 11, 29), {"new": "frontier", "old": "economy"})
    names = ("new", "openai/new", "a/b/old", "NEW", "older", "new/")
    assert [table.tier_of(name) for name in names] == ["frontier", "frontier", "economy", None, None, None]
    shipped = read_tier_table(SHIPPED)
    assert set(shipped.tiers.values()) <= set(QUALITY_TIERS)
    assert len(shipped.tiers) > 10


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "as_of"),
        ("[1, 2]", "as_of"),
        ("models: []", "as_of"),
        ("as_of: soon\nmodels: []", "as_of"),
        ("as_of: 2026-11-29 10:00:00\nmodels: []", "as_of"),
        ("as_of: 2026-11-29", "no list of models"),
        ("as_of: 2026-11-29\nmodels: {new: frontier}", "no list of models"),
        ("as_of: 2026-11-29\nmodels: [new]", "an entry without a model's name: 'new'"),
        ("as_of: 2026-11-29\nmodels: [{model: 4, tier: frontier}]", "without a model's name"),
        ("as_of: 2026-11-29\nmodels: [{model: new, tier: best}]", "gives new the tier 'best'; known: economy"),
        ("as_of: 2026-11-29\nmodels: [{model: new, tier: [frontier]}]", "gives new the tier"),
        ("as_of: 2026-11-29\nmodels: [{model: new}]", "gives new the tier None"),
        (GOOD + "  - {model: new, tier: standard}", "gives new two tiers"),
        ("a: [", "cannot be read"),
        ("\x00", "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_a_table_that_cannot_be_used_says_what_is_wrong(tmp_path: Path, content: str | None, what: str) -> None:
    file = tmp_path / "t.yaml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigurationError, match=r"t\.yaml") as raised:
        read_tier_table(str(file))
    assert what in raised.value.message


def test_what_is_said_of_an_arm_comes_before_the_table_and_the_table_before_the_price(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(GOOD)
    config = PolicyConfig(name="p", settings=PolicySettings())
    assert with_tiers(config, PolicySettingsSection()).tier_table is None
    maps = load_feature_maps(SHIPPED_FOLDER)
    runtime = PolicyRuntime(
        with_tiers(config, PolicySettingsSection(tier_table=str(tmp_path / "t.yaml"))),
        ContextBuilder(encoder_id=maps.encoder_id, maps=maps),
    )
    runtime.arms = tuple(
        Arm(policy="p", arm=arm, upstream_model=model, quality_tier=tier)
        for arm, model, tier in (("a", "x/new", None), ("b", "new", "standard"), ("c", "unknown", None))
    )
    assert [prior.quality_tier for prior in runtime.priors()] == ["frontier", "standard", None]


def test_a_replay_begins_with_the_tiers_of_its_models() -> None:
    schema, contexts = build_contexts(["hello"], with_facts=False)
    tariff = Tariff.of_means(np.array([10.0, 0.1, 1.0]), 1)
    means = {}
    for tiers in (None, TierTable(date(2024, 10, 31), {"old": "economy", "new": "frontier"})):
        decider = InProcessDecider(
            schema=schema,
            settings=PolicySettings(),
            arms=("old", "new", "other"),
            contexts=contexts,
            seed=0,
            tariff=Tariff(tariff.prices, tariff.guessed, tariff.input_tokens, tiers=tiers),
        )
        means[tiers is None] = decider.state.snapshot().predict(contexts[0].x[None, :])[0][0]
    assert means[True][0] > means[True][1]
    assert means[False][1] - means[False][0] == pytest.approx(3 * TIER_STEP)
    assert means[False][2] == pytest.approx(means[True][2])
