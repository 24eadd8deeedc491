"""``banditd candidate``: named differences to a policy, to be evaluated and released."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from banditd.cli.options import Daemon, daemon_options, json_option, json_or_text, pair_of, path_of, policy_option
from banditd.cli.show import print_table, tell


@click.group()
def candidate() -> None:
    """Candidates: named differences to a policy that never change.

    \b
    Examples:
      banditd candidate create thriftier --set cost_weight=0.2
      banditd candidate list
    """


@candidate.command("create")
@click.argument("name")
@daemon_options
@policy_option
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=JSON",
    help="kind, options, exploration_floor, cost_weight or promise; promise.keep=0.9 sets one field. Repeatable.",
)  # fmt: skip
@click.option(
    "--arm", "arms", multiple=True, metavar="ARM.FIELD=JSON",
    help="enabled, min_share, max_share, params, rename_params, upstream_model of an arm. Repeatable.",
)  # fmt: skip
@json_option
def create_candidate(
    name: str, daemon: Daemon, policy: str, settings: tuple[str, ...], arms: tuple[str, ...],
    as_json: bool,
) -> None:  # fmt: skip
    """Name a difference to the policy as NAME. Needs the scope admin.

    \b
    Examples:
      banditd candidate create thriftier --set cost_weight=0.2
      banditd candidate create kept-less --set promise.keep=0.9
      banditd candidate create small-only --arm large.enabled=false --arm small.max_share=1
    """
    body = {"name": name, "settings": _settings(settings), "arms": _arms(arms)}
    tell(daemon.call("POST", _place(policy), body=body), as_json, _print)


@candidate.command("list")
@daemon_options
@policy_option
@json_option
def list_candidates(daemon: Daemon, policy: str, as_json: bool) -> None:
    """The policy's candidates.

    \b
    Example:
      banditd candidate list --policy default
    """
    tell(daemon.call("GET", _place(policy)), as_json, _print_list)


def _print_list(answer: Mapping[str, Any]) -> None:
    rows = [(one["name"], one["class"], one["created_at"], one["words"]) for one in answer["candidates"]]
    if rows:
        print_table(None, ("candidate", "class", "created", "difference"), rows)
    else:
        click.echo(f"policy {answer['policy']} has no candidates")


@candidate.command("show")
@click.argument("name")
@daemon_options
@policy_option
@json_option
def show_candidate(name: str, daemon: Daemon, policy: str, as_json: bool) -> None:
    """Show how NAME differs from the present policy.

    \b
    Example:
      banditd candidate show thriftier
    """
    tell(daemon.call("GET", _place(policy, name)), as_json, _print)


@candidate.command("shadow")
@click.argument("name")
@daemon_options
@policy_option
@click.option("--stop", is_flag=True, help="Stop counting; the counts stay.")
@json_option
def shadow_candidate(name: str, daemon: Daemon, policy: str, stop: bool, as_json: bool) -> None:
    """Count what NAME would have drawn for the live traffic, without serving it. Needs the scope admin.

    \b
    Examples:
      banditd candidate shadow thriftier
      banditd evaluate thriftier --method shadow
      banditd candidate shadow thriftier --stop
    """
    tell(daemon.call("PATCH", _place(policy, name), body={"shadow": not stop}), as_json, _print)


@candidate.command("delete")
@click.argument("name")
@daemon_options
@policy_option
def delete_candidate(name: str, daemon: Daemon, policy: str) -> None:
    """Delete NAME; its evaluations stay. Needs the scope admin.

    \b
    Example:
      banditd candidate delete thriftier
    """
    daemon.call("DELETE", _place(policy, name))
    click.echo(f"candidate {name} deleted")


def _place(policy: str, *name: str) -> str:
    return path_of("policies", policy, "candidates", *name)


def _print(answer: Mapping[str, Any]) -> None:
    click.echo(f"{answer['name']} (class {answer['class'] or '-'}): {answer['words']}")
    if answer["shadow"] is not None:
        click.echo(answer["shadow"]["words"])


def _settings(given: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in given:
        place, value = pair_of(text, "--set")
        name, _, inner = place.partition(".")
        if not inner:
            found[name] = json_or_text(value)
        elif isinstance(found.setdefault(name, {}), dict):
            found[name][inner] = json_or_text(value)
        else:
            raise click.UsageError(f"--set {text}: {name} was already set as a whole; set it only once")
    return found


def _arms(given: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for text in given:
        place, value = pair_of(text, "--arm")
        arm, _, field = place.rpartition(".")
        if not arm:
            raise click.UsageError(f"--arm {text!r} is not ARM.FIELD=JSON, such as large.enabled=false")
        found.setdefault(arm, {})[field] = json_or_text(value)
    return found
