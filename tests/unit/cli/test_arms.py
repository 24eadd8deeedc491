"""What ``banditd arms`` makes of its options, and that it has one for every field of the API."""

from __future__ import annotations

from typing import Any

import click
import pytest
from click.testing import CliRunner

from banditd.cli import commands
from banditd.cli.arms import add_arm, arm_body, changed_lines, set_arm
from banditd.cli.traffic import route
from banditd.web.schemas.arms import ArmPatch, ArmRequest, PriceRequest
from banditd.web.schemas.routing import RouteRequest

RENAMED = {"excluded": "excluded_arms"}
# A text is the argument; conversations and vectors are for programs.
NOT_OPTIONS = {"input", "messages", "embedding"}


def options(command: click.Command) -> set[str]:
    return {RENAMED.get(str(one.name), str(one.name)) for one in command.params}


@pytest.mark.parametrize(("command", "model"), [(add_arm, ArmRequest), (set_arm, ArmPatch)])
def test_every_field_of_an_arm_has_an_option(command: click.Command, model: Any) -> None:
    fields = set(model.model_fields) - {"price"} | set(PriceRequest.model_fields)
    if command is add_arm:
        fields -= {"valid_from"}  # a first price holds at once
    assert fields - options(command) == set()


def test_every_field_of_a_query_has_an_option() -> None:
    assert set(RouteRequest.model_fields) - NOT_OPTIONS - options(route) == set()


def test_a_zero_and_a_no_are_said_and_what_is_unset_becomes_null() -> None:
    given = {"min_share": 0.0, "enabled": False, "max_share": None, "capabilities": ()}
    assert arm_body(given, ("quality_tier", "usd_per_mtok_cached_in", "capabilities")) == {
        "min_share": 0.0,
        "enabled": False,
        "quality_tier": None,
        "capabilities": [],
        "price": {"usd_per_mtok_cached_in": None},
    }
    recipe = {"kind": "agree", "members": ["a", "b"], "else": "c", "answers": "auto"}
    assert arm_body({"recipe": "a+b>c"}) == {"recipe": recipe}
    with pytest.raises(click.UsageError, match="is not a recipe"):
        arm_body({"recipe": "a"})
    with pytest.raises(click.UsageError, match="not both"):
        arm_body({"quality_tier": "premium"}, ("quality_tier",))


def test_a_change_names_old_and_new_values() -> None:
    before = {"min_share": 0.0, "enabled": True, "price": {"usd_per_mtok_in": 1.0, "usd_per_mtok_out": 2.0}}
    after = {"min_share": 0.05, "enabled": True, "price": {"usd_per_mtok_in": 1.0, "usd_per_mtok_out": 3.0}}
    body = {"min_share": 0.05, "enabled": True, "price": {"usd_per_mtok_out": 3.0}}
    assert changed_lines(before, after, body) == [
        "  min_share: 0 -> 0.05",
        "  enabled: yes, as before",
        "  usd_per_mtok_out: 2 -> 3",
    ]
    later = {"price": {"usd_per_mtok_out": 4.0, "valid_from": "2099-01-01T00:00:00Z"}}
    assert changed_lines(before, before, later) == ["  usd_per_mtok_out: 2 -> 4 from 2099-01-01T00:00:00Z"]


@pytest.mark.parametrize("words", [["set", "a", "--disable"], ["add", "a"], ["delete", "a"]])
def test_where_the_daemon_is_may_stand_before_and_behind(words: list[str]) -> None:
    for arguments in (["--url", "nowhere:1", *words], [*words, "--url", "nowhere:1"]):
        result = CliRunner().invoke(commands, ["arms", *arguments])
        assert "nowhere:1" in str(result.exception), arguments
