"""``banditd apply`` and the warning at the start: a changed configuration is never ignored in silence."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.e2e.commands import as_json, run
from tests.e2e.conftest import Start

from banditd.cli.apply import EXIT_DIFFERENT
from banditd.daemon.configs import policy_configs
from banditd.services.arm_differences import ARM_FIELDS, arm_differences, nested, plain_arms
from banditd.settings import Settings
from banditd.settings.arms import ArmSettings

# Another value than the default for every field that an arm of the configuration has.
OTHER: dict[str, Any] = {
    "upstream_model": "vendor/other",
    "provider": "vendor",
    "price": {
        "usd_per_mtok_in": 1.5, "usd_per_mtok_out": 2.5, "usd_per_request": 0.125, "usd_per_mtok_cached_in": 0.75,
    },
    "enabled": False,
    "capabilities": ["vision", "audio"],
    "context_window_tokens": 32_000,
    "quality_prior": 0.7,
    "prior_worth": 5.0,
    "quality_tier": "premium",
    "expected_output_tokens": 123.0,
    "expected_latency_ms": 456.0,
    "min_share": 0.01,
    "max_share": 0.9,
    "kwh_per_mtok_in": 0.1,
    "kwh_per_mtok_out": 0.2,
    "onboarding_decisions": 7,
    "onboarding_usd": 0.5,
    "upstream": "elsewhere",
    "params": {"temperature": 0.5},
    "rename_params": {"max_tokens": "max_completion_tokens"},
    "first_token_s": 9.0,
}  # fmt: skip
CONFIG: dict[str, Any] = {
    "upstreams": {"elsewhere": {"base_url": "http://127.0.0.1:9/v1"}},
    "policies": {
        "default": {"arms": [{"arm": "small"}, {"arm": "vendor/large", "min_share": 0.6}]},
        "drafts": {"arms": [{"arm": "small", "min_share": 0.4}]},
    },
}


def arms_of(config: dict[str, Any]) -> list[dict[str, Any]]:
    arms: list[dict[str, Any]] = config["policies"]["default"]["arms"]
    return arms


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "arms.yaml"
    path.write_text(yaml.safe_dump(CONFIG))
    return path


def test_every_field_of_the_configuration_is_tried_here_and_compared() -> None:
    """What an arm is made of cannot be changed: a recipe is added and deleted below."""
    assert {*OTHER, "recipe"} == set(ArmSettings.model_fields) - {"arm"} == set(ARM_FIELDS)


def test_a_price_that_changed_in_the_file_is_warned_of_once_with_the_command(start: Start, file: Path) -> None:
    first = start(config=file)
    first.stop()
    assert "arms.differ_from_configuration" not in first.log.read_text()
    config = copy.deepcopy(CONFIG)
    arms_of(config)[0] = {"arm": "renamed", "price": {"usd_per_mtok_in": 1.5}}
    arms_of(config)[1]["price"] = {"usd_per_mtok_in": 2.5}
    file.write_text(yaml.safe_dump(config))
    log = start(config=file).log.read_text()
    (line,) = [line for line in log.splitlines() if "arms.differ_from_configuration" in line]
    said = json.loads(line)
    assert said["level"].upper() == "WARNING"
    assert "banditd apply" in said["note"]
    # The renamed arm was added; the one of the old name is still there.
    assert said["differences"] == [
        "default/vendor/large: price.usd_per_mtok_in 0.0, in the file 2.5",
        "default/small: not in the file",
    ]


def test_differences_are_shown_applied_and_gone(start: Start, file: Path) -> None:
    daemon = start(config=file)
    assert "no differences" in run("apply", str(file), url=daemon.url)
    config = copy.deepcopy(CONFIG)
    config["policies"]["default"]["arms"] = [
        {"arm": "small", **OTHER}, {"arm": "new+one/x", "quality_prior": 0.4, "capabilities": ["vision"]},
        {"arm": "duo", "recipe": {"kind": "fallback", "members": ["small", "new+one/x"]}},
    ]  # fmt: skip
    file.write_text(yaml.safe_dump(config))
    shown = run("apply", str(file), url=daemon.url, code=EXIT_DIFFERENT)
    assert "price.usd_per_mtok_cached_in" in shown
    assert "only in the daemon" in shown
    looked = json.loads(run("apply", str(file), "--json", url=daemon.url, code=EXIT_DIFFERENT))
    assert {(one["arm"], one["action"]) for one in looked["differences"]} == {
        ("small", "change"), ("new+one/x", "add"), ("duo", "add"), ("vendor/large", "delete"),
    }  # fmt: skip
    (changed,) = [one for one in looked["differences"] if one["action"] == "change"]
    assert {name.split(".")[0] for name in changed["fields"]} == set(OTHER)
    assert changed["fields"]["quality_prior"] == {"daemon": None, "file": 0.7}
    assert looked["applied"] == []

    # Without --delete the arm that the file lacks stays, and the code says that something remains.
    done = json.loads(run("apply", str(file), "--yes", "--json", url=daemon.url, code=EXIT_DIFFERENT))
    assert done["remaining"] == 1
    running = {arm["arm"]: arm for arm in as_json("arms", url=daemon.url)["arms"]}
    assert set(running) == {"small", "new+one/x", "vendor/large", "duo"}
    assert running["duo"]["recipe"]["members"] == ["small", "new+one/x"]
    assert running["small"]["price"] == OTHER["price"]
    assert running["new+one/x"]["quality_prior"] == 0.4
    run("apply", str(file), "--yes", "--delete", url=daemon.url)
    assert "no differences" in run("apply", str(file), url=daemon.url)
    assert {arm["arm"] for arm in as_json("arms", url=daemon.url)["arms"]} == {"small", "new+one/x", "duo"}
    # And back: what the file leaves out is the default again.
    file.write_text(yaml.safe_dump(CONFIG))
    assert as_json("apply", str(file), "--yes", "--delete", url=daemon.url)["remaining"] == 0
    (small, _) = as_json("arms", url=daemon.url)["arms"]
    assert (small["quality_prior"], small["enabled"], small["capabilities"]) == (None, True, [])


def test_shares_that_bound_each_other_are_exchanged_in_any_order(start: Start, file: Path) -> None:
    arms_of(config := copy.deepcopy(CONFIG))[0]["min_share"] = 0.4
    file.write_text(yaml.safe_dump(config))
    daemon = start(config=file)
    for small, large in ((0.7, 0.3), (0.1, 0.9)):
        arms_of(config)[0]["min_share"], arms_of(config)[1]["min_share"] = small, large
        file.write_text(yaml.safe_dump(config))
        assert as_json("apply", str(file), "--yes", url=daemon.url)["remaining"] == 0


def test_what_cannot_be_applied_is_an_error_or_remains(start: Start, file: Path, tmp_path: Path) -> None:
    daemon = start(config=file)
    assert "no answer" in run("apply", str(file), url="http://127.0.0.1:9", code=1)
    assert "missing.yaml" in run("apply", str(tmp_path / "missing.yaml"), url=daemon.url, code=1)
    assert "No such option" in run("apply", str(file), "--sure", url=daemon.url, code=1)
    config = copy.deepcopy(CONFIG)
    config["policies"]["later"] = {"arms": [{"arm": "a"}]}
    del config["policies"]["drafts"]
    file.write_text(yaml.safe_dump(config))
    said = json.loads(run("apply", str(file), "--yes", "--json", url=daemon.url, code=EXIT_DIFFERENT))
    assert said["policies"] == [
        {"policy": "later", "only_in": "file"}, {"policy": "drafts", "only_in": "daemon"},
    ]  # fmt: skip
    file.write_text("policies: {default: {arms: []}, drafts: {}}")
    assert as_json("apply", str(file), url=daemon.url)["remaining"] == 0
    (tmp_path / "broken.yaml").write_text("policies: {default: {arms: [{arm: a, cost: 1}]}}")
    assert "cost" in run("apply", str(tmp_path / "broken.yaml"), url=daemon.url, code=1)


def test_a_file_of_prices_has_the_word_on_prices(tmp_path: Path) -> None:
    def arms(**price: float) -> Any:
        settings = Settings(policies={"default": {"arms": [{"arm": "a", "price": price}]}})
        return plain_arms(policy_configs(settings)["default"].seed_arms)

    wanted, running = arms(usd_per_mtok_in=1.0), arms(usd_per_mtok_in=2.0)
    (found,) = arm_differences("default", wanted, running)
    assert nested({name: new for name, (_, new) in found.fields.items()}) == {"price": {"usd_per_mtok_in": 1.0}}
    assert arm_differences("default", wanted, running, prices=False) == []


def test_switches_that_were_patched_are_warned_of_shown_and_applied(start: Start, file: Path) -> None:
    daemon = start(config=file)
    assert run("apply", str(file), url=daemon.url).strip() == "no differences"
    config = copy.deepcopy(CONFIG)
    config["policies"]["default"] |= {"promise": {"keep": 0.97}, "rollout": 0.25}
    file.write_text(yaml.safe_dump(config))
    looked = json.loads(run("apply", str(file), "--json", url=daemon.url, code=EXIT_DIFFERENT))
    assert {(one["policy"], one["switch"]) for one in looked["switches"]} == {
        ("default", "promise"), ("default", "rollout"),
    }  # fmt: skip
    assert "0.25" in run("apply", str(file), url=daemon.url, code=EXIT_DIFFERENT)
    assert as_json("apply", str(file), "--yes", url=daemon.url)["remaining"] == 0
    daemon.stop()
    file.write_text(yaml.safe_dump(CONFIG))
    again = start(config=file)
    (line,) = [one for one in again.log.read_text().splitlines() if "policy.switches_differ" in one]
    assert json.loads(line)["switches"]["rollout"] == {"configured": 1.0, "stored": 0.25}
    assert as_json("apply", str(file), "--yes", url=again.url)["remaining"] == 0


def test_a_baseline_is_deleted_after_the_switches_name_another(start: Start, file: Path) -> None:
    config = copy.deepcopy(CONFIG)
    config["policies"]["default"] |= {"promise": {"baseline": "vendor/large"}, "rollout": 0.5}
    file.write_text(yaml.safe_dump(config))
    daemon = start(config=file)
    refused = run("arms", "delete", "vendor/large", url=daemon.url, code=1)
    assert "vendor/large is the baseline" in refused
    assert "First name another" in refused
    config["policies"]["default"]["promise"]["baseline"] = "small"
    del arms_of(config)[1]
    file.write_text(yaml.safe_dump(config))
    said = as_json("apply", str(file), "--yes", "--delete", url=daemon.url)
    assert (said["error"], said["remaining"]) == (None, 0)
    assert [one["arm"] for one in as_json("arms", url=daemon.url)["arms"]] == ["small"]
