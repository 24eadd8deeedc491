"""Contradictions between budgets, shares and arms stop the start and say what to mend."""

from __future__ import annotations

from typing import Any

import pytest

from banditd.core.errors import ConfigurationError
from banditd.daemon.configs import policy_configs
from banditd.settings import Settings, load_settings

ARMS = [{"arm": "a"}, {"arm": "b"}]


def load(tmp_path: Any, **policy: Any) -> Settings:
    import yaml

    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"policies": {"default": {"arms": ARMS, **policy}}}))
    return load_settings(path, environ={})


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({"budgets": [{"name": "x", "usd": 0}]}, "greater than 0"),
        ({"budgets": [{"name": "x", "usd": -1}]}, "greater than 0"),
        ({"budget_usd_per_decision": 0}, "greater than 0"),
        ({"budgets": [{"name": "x", "usd": 1}, {"name": "x", "usd": 2}]}, "named twice: x"),
        ({"budgets": [{"name": "decision", "usd": 1}], "budget_usd_per_decision": 1}, "named twice: decision"),
        ({"budgets": [{"name": "x", "usd": 1, "at_stop": "reject"}]}, "never ends"),
        ({"budgets": [{"name": "x", "usd": 1, "per": "day", "at_stop": "c"}]}, "reject or one of the arms a, b"),
        ({"budgets": [{"name": "x", "usd": 1, "per": "week"}]}, "'decision', 'hour', 'day' or 'month'"),
        ({"budgets": [{"name": "x", "usd": 1, "of": "team"}]}, "of"),
        ({"arms": [{"arm": "a", "price": {"usd_per_mtok_in": -0.1}}]}, "greater than or equal to 0"),
        ({"arms": [{"arm": "a", "min_share": 0.6, "max_share": 0.5}]}, "min_share 0.6 is above max_share 0.5"),
        ({"arms": [{"arm": "a", "min_share": 0.6}, {"arm": "b", "min_share": 0.6}]}, "add up to 1.2"),
        ({"arms": [{"arm": "a", "max_share": 0.3}, {"arm": "b", "max_share": 0.3}]}, "add up to 0.6"),
        ({"profiles": {"x": {"quality_floor": 2}}}, "less than or equal to 1"),
    ],
)  # fmt: skip
def test_what_cannot_hold_is_refused(tmp_path: Any, policy: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, **policy)
    assert said in caught.value.message


def test_budgets_and_profiles_reach_the_policy(tmp_path: Any) -> None:
    settings = load(
        tmp_path,
        budget_usd_per_decision=0.01,
        budgets=[{"name": "day", "usd": 5, "per": "day", "of": "tag:team", "at_stop": "a"}],
        profiles={"cheap": {"cost_weight": 2.0}},
    )
    config = policy_configs(settings)["default"]
    assert [(b.name, b.usd, b.per, b.of, b.at_stop) for b in config.budgets] == [
        ("decision", 0.01, "decision", "all", "cheapest"),
        ("day", 5.0, "day", "tag:team", "a"),
    ]
    assert config.profiles["cheap"].cost_weight == 2.0
    assert set(policy_configs(Settings())["default"].profiles) == {"quality", "balanced", "economy"}
