"""Settings that contradict each other, or would do nothing, stop the start and say what to mend."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from banditd.core.errors import ConfigurationError
from banditd.settings import ServerSettings, Settings, load_settings
from banditd.web.schemas.base import MAX_TEXT_CHARS


def load(tmp_path: Any, content: dict[str, Any], **overrides: Any) -> Settings:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(content))
    return load_settings(path, overrides=overrides, environ={})


def test_retention_below_a_reward_window_is_refused(tmp_path: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, {"jobs": {"retention_days": 3}})
    assert "jobs.retention_days is 3, and policies.default.reward.window_s takes rewards for 7 days" in str(
        caught.value
    )
    short, long = {"reward": {"window_s": 86_400}}, {"reward": {"window_s": 4 * 86_400}}
    with pytest.raises(ConfigurationError, match=r"policies\.slow\.reward"):
        load(tmp_path, {"jobs": {"retention_days": 3}, "policies": {"default": short, "slow": long}})
    for days, policy in ((1, short), (4, long), (0, long)):
        settings = load(tmp_path, {"jobs": {"retention_days": days}, "policies": {"default": policy}})
        assert settings.jobs.retention_days == days
    with pytest.raises(ConfigurationError, match="would be gone"):
        load(tmp_path, {}, **{"jobs.retention_days": 3})


def test_the_longest_text_is_not_above_what_requests_may_hold(tmp_path: Any) -> None:
    assert load(tmp_path, {"server": {"max_input_chars": MAX_TEXT_CHARS}}).server.max_input_chars == MAX_TEXT_CHARS
    with pytest.raises(ConfigurationError, match="less than or equal to 1000000"):
        load(tmp_path, {"server": {"max_input_chars": MAX_TEXT_CHARS + 1}})
    assert ServerSettings().max_input_chars == MAX_TEXT_CHARS


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        ("reward: {window_s: %s}", 1e12, "policies.default.reward.window_s: a time may be at most a hundred years"),
        ("breaker_s: %s", 1e300, "policies.default.breaker_s: a time may be at most a hundred years"),
        ("profiles: {p: {max_latency_ms: %s}}", 1e20, "max_latency_ms: a time may be at most a hundred years"),
        ("resources: {usd_per_kwh: %s}", 1e300, "usd_per_kwh: an amount may be at most 1e+12"),
    ],
)
def test_what_cannot_be_reckoned_with_stops_the_start(tmp_path: Path, place: str, value: float, told: str) -> None:
    file = tmp_path / "config.yaml"
    for number, refused in ((f"{value:.1e}", True), ("1.0e+9", False)):
        file.write_text(f"policies: {{default: {{{place % number}, arms: [{{arm: a}}]}}}}")
        if refused:
            with pytest.raises(ConfigurationError, match=re.escape(told)):
                load_settings(file)
        else:
            load_settings(file)
