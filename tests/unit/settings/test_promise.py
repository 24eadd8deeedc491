"""Promises in the configuration: what is refused, and what is said to whoever wrote it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from banditd.cli.configuration import check_config
from banditd.daemon.configs import policy_configs
from banditd.deciding.keeper import PromiseRule
from banditd.settings import Settings

ARMS = [{"arm": "small"}, {"arm": "large"}, {"arm": "capped", "max_share": 0.5}]


def made(**policy: Any) -> Settings:
    return Settings(policies={"default": {"arms": ARMS, **policy}})


def test_a_promise_becomes_a_rule() -> None:
    settings = made(
        promise={"baseline": "large", "keep": 0.98, "keep_by_tag": {"team": {"legal": 0.99}}}, rollout=0.1
    )
    switches = policy_configs(settings)["default"].switches
    assert switches.promise == PromiseRule(baseline="large", keep=0.98, keep_by_tag={"team": {"legal": 0.99}})
    assert (switches.rollout, switches.mode, switches.idle) == (0.1, "route", False)
    assert policy_configs(made())["default"].switches.idle
    assert switches.promise.keep_of({"team": "legal", "x": "y"}) == 0.99
    assert switches.promise.keep_of({"team": "sales"}) == 0.98


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ({"promise": {}, "cost_weight": 0.1}, "write cost_weight: 0"),
        ({"promise": {"baseline": "larg"}}, "one of small, large, capped"),
        ({"promise": {"baseline": "capped"}}, "max_share: 1"),
        ({"promise": {"keep": 0.4}}, "greater than or equal to 0.5"),
        ({"promise": {"keep": 1.01}}, "less than or equal to 1"),
        ({"promise": {"kep": 0.9}}, "Extra inputs"),
        ({"promise": {"keep_by_tag": {"team": {"legal": 2}}}}, "less than or equal to 1"),
        ({"promise": {}, "kind": "rules", "options": {"default": "small"}}, "promise: null"),
        ({"profiles": {"p": {"keep": 0.9}}}, "baseline: dearest"),
        ({"promise": {}, "profiles": {"p": {"keep": 0.9, "cost_weight": 0.1}}}, "cannot be combined"),
        ({"rollout": 1.5}, "less than or equal to 1"),
        ({"mode": "dark"}, "'route' or 'shadow'"),
    ],
)
def test_what_cannot_be_kept_is_refused_with_the_mend(policy: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        made(**policy)


def test_to_keep_nearly_everything_is_advised_against_by_check_config(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    for keep, said in ((0.995, True), (0.98, False)):
        path.write_text(f"policies: {{default: {{promise: {{keep: {keep}}}}}}}")
        found = CliRunner().invoke(check_config, ["-c", str(path)])
        assert found.exit_code == 0
        assert ("policies.default.promise.keep: 0.995 leaves almost nothing" in found.stderr) == said
