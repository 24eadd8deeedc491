"""A setting that is misspelt is named with the one that was meant, however deep it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from banditd.core.errors import ConfigurationError
from banditd.daemon.price_file import parse_prices
from banditd.settings import load_settings


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("polices: {}", "policies"),
        ("server: {prot: 1}", "port"),
        ("server: {api_keys: [{name: a, sha256: b, scope: [read]}]}", "scopes"),
        ("policies: {default: {cost_wieght: 1}}", "cost_weight"),
        ("policies: {default: {reward: {windows_s: 1}}}", "window_s"),
        ("policies: {default: {arms: [{arm: a, max_shar: 1}]}}", "max_share"),
        ("policies: {default: {arms: [{arm: a, price: {usd_per_mtok_input: 1}}]}}", "usd_per_mtok_in"),
        ("policies: {default: {budgets: [{name: a, usd: 1, at_stopp: reject}]}}", "at_stop"),
    ],
)
def test_an_unknown_name_brings_the_nearest_known_one(tmp_path: Path, text: str, meant: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=f"did you mean '{meant}'"):
        load_settings(path)


def test_a_name_like_no_other_brings_all_that_there_are(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("jobs: {zzz: 1}")
    with pytest.raises(ConfigurationError, match=r"there are .*retention_days"):
        load_settings(path)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("server: {port: 1}\n# ...\nserver: {host: '::1'}\n", "'server' occurs twice, in lines 1 and 3"),
        ("policies:\n  default:\n    arms: []\n    arms: []\n", "'arms' occurs twice, in lines 3 and 4"),
        ("jobs: " + "[" * 5000, "nested too deep"),
    ],
)
def test_what_yaml_would_lose_or_cannot_hold_is_refused_with_its_place(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=why):
        load_settings(path)
    with pytest.raises(ConfigurationError, match="occurs twice"):
        parse_prices(b"a: {usd_per_mtok_in: 1}\na: {usd_per_mtok_in: 2}\n", path)


def test_anchors_and_what_overrides_them_go_on_working(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        "policies:\n"
        "  default: {reward: &week {window_s: 604800, default_reward: 0.1}}\n"
        "  fast: {reward: &day {<<: *week, window_s: 86400}}\n"
        "  other: {reward: {<<: *day, default_reward: 0.2}}\n"
    )
    reward = load_settings(path).policies["other"].reward
    assert (reward.window_s, reward.default_reward) == (86_400, 0.2)
