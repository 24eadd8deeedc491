"""config.yaml is complete, loads, and says the truth about the defaults."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from banditd.settings import ApiKeySettings, PolicySettingsSection, Settings, load_settings
from banditd.settings.arms import ArmSettings
from banditd.settings.gateway import UpstreamSettings
from banditd.settings.money import default_profiles
from banditd.settings.promise import PromiseSettings

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "config.yaml"


def _leaves(model: type[BaseModel], content: dict[str, Any], where: str = "") -> Iterator[tuple[str, bool]]:
    for name, field in model.model_fields.items():
        path = f"{where}{name}"
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _leaves(kind, content.get(name) or {}, f"{path}.")
        else:
            yield path, name in content


def test_the_example_loads() -> None:
    settings = load_settings(CONFIG)
    assert [arm.arm for arm in settings.policies["default"].arms] == [
        "small-general",
        "medium-general",
        "code-specialist",
        "large-reasoner",
    ]


def test_the_example_names_every_setting() -> None:
    content = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    policy = content["policies"]["default"]
    found = [
        *_leaves(Settings, content),
        *_leaves(PolicySettingsSection, policy, "policies.default."),
        *_leaves(ArmSettings, policy["arms"][-1] | policy["arms"][0], "policies.default.arms."),
    ]
    assert [path for path, present in found if not present] == []


def test_the_example_shows_what_a_key_looks_like() -> None:
    text = CONFIG.read_text(encoding="utf-8")
    assert [name for name in ApiKeySettings.model_fields if f"{name}:" not in text] == []


def test_the_example_shows_what_an_upstream_looks_like() -> None:
    shown = re.search(r"^upstreams: .*?\n((?:  #.*\n)+)", CONFIG.read_text(encoding="utf-8"), re.MULTILINE)
    assert shown is not None
    commented = re.sub(r"^  #", "", shown[1], flags=re.MULTILINE)
    [section] = yaml.safe_load(commented).values()
    assert set(section) == set(UpstreamSettings.model_fields) - {"api_key_file"}
    default = UpstreamSettings(base_url=section["base_url"], api_key_env=section["api_key_env"])
    assert UpstreamSettings(**section) == default


def test_the_values_shown_are_the_defaults() -> None:
    shown, default = load_settings(CONFIG), Settings()
    for section in set(Settings.model_fields) - {"policies"}:
        assert getattr(shown, section) == getattr(default, section), section
    policy = shown.policies["default"]
    # But for the promise: without one, a configuration of before goes on routing as it did.
    promised = {"promise": None, "profiles": default_profiles()}
    assert policy.model_copy(update={"arms": (), **promised}) == PolicySettingsSection()
    assert policy.promise == PromiseSettings()
    assert {name: profile.keep for name, profile in policy.profiles.items()} == {
        "quality": 0.99,
        "balanced": 0.95,
        "economy": 0.9,
    }
    arm, plain = policy.arms[-1], ArmSettings(arm="large-reasoner")
    for name in (
        "enabled",
        "quality_prior",
        "prior_worth",
        "quality_tier",
        "max_share",
        "onboarding_decisions",
        "onboarding_usd",
    ):
        assert getattr(arm, name) == getattr(plain, name), name


@pytest.mark.parametrize("model", [Settings, PolicySettingsSection, ArmSettings, ApiKeySettings])
def test_every_setting_is_described(model: type[BaseModel]) -> None:
    assert [name for name, field in model.model_fields.items() if not field.description] == []
