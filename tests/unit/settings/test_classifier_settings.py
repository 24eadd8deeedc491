"""A classifier that could do nothing is refused, with what to change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from banditd.core.errors import ConfigurationError
from banditd.settings import load_settings

UPSTREAMS = {"up": {"base_url": "http://127.0.0.1:9/v1"}}
GIVEN = {"upstream": "up", "model": "m", "prompt": "Kind? {query}", "labels": ["code", "other"], "tag": "kind"}


def load(tmp_path: Path, classifier: dict[str, Any], **more: Any) -> Any:
    policy = {"context_tags": ["kind"], "classifier": classifier} | more.pop("policy", {})
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps({"upstreams": UPSTREAMS, "policies": {"default": policy}} | more))
    return load_settings(path, environ={})


def test_one_that_can_work_is_taken_and_there_is_none_by_default(tmp_path: Path) -> None:
    found = load(tmp_path, GIVEN).policies["default"].classifier
    assert (found.timeout_s, found.usd_per_day, found.cache) == (2.0, None, 10_000)
    assert load_settings(environ={}).policies["default"].classifier is None


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"upstream": "other"}, r"policies\.default\.classifier names the upstream other; there is up"),
        ({"labels": []}, "labels is empty: name the replies"),
        ({"labels": ["code", " CODE "]}, "labels cannot be told apart without case and white space: ' CODE '"),
        ({"labels": ["code", "  "]}, "labels must be printable words: '  '"),
        ({"labels": [True, False]}, "labels has yes, no, .* quote them"),
        ({"labels": ["code\0"]}, "labels must be printable words"),
        ({"labels": [f"l{i}" for i in range(16)]}, "at most 15 items"),
        ({"prompt": "Kind? {text}"}, "prompt has no {query}"),
        ({"tag": "topic"}, "classifier.tag is topic, and context_tags has kind: .* add topic there"),
        ({"params": {"messages": []}}, "params may not set messages"),
        ({"timeout": 1.0}, "did you mean 'timeout_s'"),
    ],
)
def test_one_that_cannot_is_refused_with_the_mend(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        load(tmp_path, {**GIVEN, **changed})


def test_what_stands_around_it_must_fit(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="needs the gateway, and it is off"):
        load(tmp_path, GIVEN, gateway={"enabled": False})
    with pytest.raises(ConfigurationError, match="needs the gateway, and it is off"):
        load(tmp_path, GIVEN, upstreams={})
    with pytest.raises(ConfigurationError, match="which the daemon gives by itself"):
        load(tmp_path, {**GIVEN, "tag": "prompt_template"}, policy={"context_tags": ["prompt_template"]})
    with pytest.raises(ConfigurationError, match="says where the tag kind comes from"):
        load(tmp_path, GIVEN, policy={"caller_features": ["classified:kind"]})
