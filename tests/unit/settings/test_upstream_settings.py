"""Upstreams and the gateway in the configuration: what cannot work, or is not safe, stops the start and says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from banditd.core.errors import ConfigurationError
from banditd.daemon.upstreams import upstream_configs
from banditd.settings import Settings

URL = "https://api.example.com/v1"


def _settings(arm: dict[str, Any] | None = None, gateway: dict[str, Any] | None = None, **upstream: Any) -> Settings:
    return Settings(
        upstreams={"up": {"base_url": URL} | upstream},  # type: ignore[arg-type]
        gateway=gateway or {},  # type: ignore[arg-type]
        policies={"default": {"arms": [{"arm": "a", "upstream": "up"} | (arm or {})]}},  # type: ignore[dict-item]
    )


def test_the_form_of_the_contract() -> None:
    settings = Settings(
        upstreams={"openai": {"kind": "openai", "base_url": "https://api.openai.com/v1", "api_key_env": "K"}},  # type: ignore[dict-item]
        policies={
            "default": {  # type: ignore[dict-item]
                "arms": [
                    {
                        "arm": "mini-low", "upstream": "openai", "upstream_model": "gpt-5-mini",
                        "params": {"reasoning_effort": "low"},
                        "price": {"usd_per_mtok_in": 0.25, "usd_per_mtok_out": 2},
                    }
                ]
            }
        },
    )  # fmt: skip
    [config] = upstream_configs(settings, {"K": " sk-1\n"})
    assert config.key_headers() == {"authorization": "Bearer sk-1"}
    assert "sk-1" not in repr(config)


def test_values_of_headers_are_sent_and_shown_nowhere() -> None:
    """Some providers take a key in a header of another name."""
    settings = _settings(headers={"x-portkey-api-key": "pk-1"})
    [config] = upstream_configs(settings, {})
    assert config.headers == {"x-portkey-api-key": "pk-1"}
    assert "pk-1" not in settings.model_dump_json() + repr(settings)


@pytest.mark.parametrize(
    ("upstream", "says"),
    [
        ({"base_url": "api.example.com/v1"}, "http or https URL"),
        ({"base_url": ""}, "http or https URL"),
        ({"base_url": "file:///etc/passwd"}, "http or https URL"),
        ({"base_url": "https://"}, "http or https URL"),
        ({"base_url": "https://x:99999/v1"}, "http or https URL"),
        ({"base_url": "https://user:word@x/v1"}, "credentials"),
        ({"base_url": "https://x/v1?key=1"}, "query"),
        ({"base_url": "http://x/v1", "api_key_env": "K"}, "unencrypted"),
        ({"api_key_env": "K", "api_key_file": "/k"}, "not both"),
        ({"headers": {"Authorization": "x"}}, "api_key_env"),
        ({"headers": {"x-banditd-session": "x"}}, "daemon's own"),
        ({"headers": {"x-a": "two\nlines"}}, "printable"),
        ({"headers": {"a b": "x"}}, "name of a header"),
        ({"forward_headers": ["cookie"]}, "daemon's own"),
        ({"kind": "echo"}, "no base_url"),
        ({"kind": "carrier-pigeon"}, "echo"),
        ({"timeouts": {"idle_s": 0}}, "greater than 0"),
    ],
)
def test_an_upstream_that_cannot_work_is_refused(upstream: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        _settings(**upstream)


@pytest.mark.parametrize("base_url", ["http://localhost:8000/v1", "http://127.0.0.1:1/v1", "http://[::1]:1/v1"])
def test_a_key_may_go_to_this_machine_in_plain(base_url: str) -> None:
    _settings(base_url=base_url, api_key_env="K")
    _settings(base_url="http://elsewhere/v1", api_key_env="K", insecure=True)
    _settings(base_url="http://elsewhere/v1")


@pytest.mark.parametrize(
    ("arm", "says"),
    [
        ({"upstream": "other"}, "upstreams has up"),
        ({"params": {"model": "x"}}, "may not set"),
        ({"params": {"messages": []}}, "may not set"),
        ({"params": {"x": float("nan")}}, "JSON"),
        ({"params": {"x": "y" * 20_000}}, "characters"),
        ({"params": {"": 1}}, "name of a request parameter"),
        ({"rename_params": {"max_tokens": "stream"}}, "may not set"),
    ],
)
def test_an_arm_that_cannot_be_called_is_refused(arm: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        _settings(arm)


@pytest.mark.parametrize(
    ("gateway", "says"),
    [
        ({"aliases": {"gpt-4o": "gpt-5"}}, "must stand for"),
        ({"aliases": {"gpt-4o": "banditd/nobody"}}, "no such policy"),
        ({"aliases": {"gpt-4o": "banditd/nobody/arm/a"}}, "no such policy"),
        ({"aliases": {"banditd/auto": "banditd/default"}}, "meaning of its own"),
        ({"aliases": {"a b": "banditd/auto"}}, "name of a model"),
    ],
)
def test_aliases_that_lead_nowhere_are_refused(gateway: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        _settings(gateway=gateway)


@pytest.mark.parametrize(
    "target", ["banditd/auto", "banditd/default:economy", "banditd/arm/a", "banditd/default/arm/a"]
)
def test_aliases_for_what_is_there(target: str) -> None:
    assert _settings(gateway={"aliases": {"gpt-4o": target}}).gateway.aliases == {"gpt-4o": target}


def test_reserved_names_are_no_policies_of_a_gateway() -> None:
    for name in ("auto", "arm"):
        with pytest.raises(ValueError, match="means something else"):
            Settings(upstreams={"up": {"kind": "echo"}}, policies={"default": {}, name: {}})  # type: ignore[dict-item]
        Settings(policies={"default": {}, name: {}})  # type: ignore[dict-item]


def test_a_gateway_needs_something_to_call() -> None:
    with pytest.raises(ValueError, match="no upstream"):
        Settings(gateway={"enabled": True})  # type: ignore[arg-type]


def test_a_key_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"upstreams\.up: the environment variable NOT_SET holds no key"):
        upstream_configs(_settings(api_key_env="NOT_SET"), {})
    with pytest.raises(ConfigurationError, match="cannot be read"):
        upstream_configs(_settings(api_key_file=str(tmp_path / "none")), {})
    (tmp_path / "key").write_text("sk-2\n")
    [config] = upstream_configs(_settings(api_key_file=str(tmp_path / "key"), api_key_header="api-key"), {})
    assert config.key_headers() == {"api-key": "sk-2"}
    (tmp_path / "key").write_text("two\nlines\n")
    with pytest.raises(ConfigurationError, match="printable ASCII") as raised:
        upstream_configs(_settings(api_key_file=str(tmp_path / "key")), {})
    assert "two" not in str(raised.value)
