"""``banditd apply``: make a running daemon's arms and switches match the configuration, over HTTP."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from banditd.cli.options import (
    DEFAULT_CONFIG,
    Daemon,
    daemon_options,
    json_option,
    path_of,
    read_settings,
    wrong_usage_exits,
)
from banditd.cli.show import cell, echo_json, print_table
from banditd.core.errors import BanditdError

if TYPE_CHECKING:
    from banditd.client import DaemonClient
    from banditd.services.arm_differences import ArmDifference
    from banditd.services.policy import PolicySwitches
    from banditd.settings import Settings

EXIT_DIFFERENT: Final = 2
EXIT_FAILED: Final = 1
_REFUSED_FOR_NOW: Final = frozenset({409, 422})


@click.command("apply", cls=wrong_usage_exits(EXIT_FAILED))  # 2 says that differences remain
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@daemon_options
@click.option("--yes", is_flag=True, help="Apply the differences; without it they are only shown.")
@click.option("--delete", is_flag=True, help="With --yes: delete the arms that FILE lacks.")
@json_option
def apply(file: Path | None, daemon: Daemon, yes: bool, delete: bool, as_json: bool) -> None:
    """Show where arms and switches of the running daemon differ from FILE (default: config.yaml), and apply FILE.

    The configuration is read at the first start only; afterwards the database is the truth. Exit code 0: nothing
    differs (any more), 2: differences remain, 1: an error. A policy without arms in FILE is left to HTTP. A key needs
    the scopes read and admin.

    \b
    Examples:
      banditd apply config.yaml
      banditd apply config.yaml --yes
      banditd apply config.yaml --yes --delete
    """
    try:
        settings = read_settings(file or DEFAULT_CONFIG)
        answer = daemon.run(lambda client: _run(client, settings, yes=yes, delete=delete))
    except BanditdError as error:
        click.echo(f"banditd: {error.message}", err=True)
        sys.exit(EXIT_FAILED)
    if as_json:
        echo_json(answer)
    else:
        _print(answer, yes=yes, delete=delete)
    if answer["error"] is not None:
        click.echo(f"banditd: {answer['error']}", err=True)
        sys.exit(EXIT_FAILED)
    if answer["remaining"]:
        sys.exit(EXIT_DIFFERENT)


async def _run(client: DaemonClient, settings: Settings, *, yes: bool, delete: bool) -> dict[str, Any]:
    from banditd.daemon.configs import policy_configs

    found, policies = await _differences(client, settings)
    alone = {one["policy"] for one in policies}
    switches = {name: one.switches for name, one in policy_configs(settings).items() if name not in alone}
    switched = await switch_differences(client, switches)
    applied: list[ArmDifference] = []
    error = None
    switches_left = switched
    if yes:
        wanted = [difference for difference in found if difference.action != "delete" or delete]
        applied, error = await _apply(client, wanted)
        waiting = [difference for difference in wanted if difference not in applied]
        if all(difference.action == "delete" for difference in waiting):
            await apply_switches(client, switches, sorted({one["policy"] for one in switched}))
            switches_left = await switch_differences(client, switches)
            if waiting:  # a rollout's baseline can be deleted once the switches name another
                deleted, error = await _apply(client, waiting)
                applied += deleted
        left, policies = await _differences(client, settings)
    else:
        left = found
    return {
        "differences": [_as_json(difference) for difference in found],
        "switches": switched,
        "policies": policies,
        "applied": [_as_json(difference) for difference in applied],
        "remaining": len(left) + len(policies) + len(switches_left),
        "error": error,
    }


async def _differences(client: DaemonClient, settings: Settings) -> tuple[list[ArmDifference], list[dict[str, str]]]:
    """(differing arms of the policies on both sides, policies on one side only)."""
    from banditd.daemon.configs import policy_configs
    from banditd.services.arm_differences import arm_differences, plain_arms, plain_fields

    found: list[ArmDifference] = []
    alone: list[dict[str, str]] = []
    configs = policy_configs(settings)
    for name, config in configs.items():
        listed = await _arms(client, name)
        if listed is None:
            alone.append({"policy": name, "only_in": "file"})
            continue
        running = {arm["arm"]: plain_fields(arm) for arm in listed}
        prices = settings.policies[name].prices_file is None
        found += arm_differences(name, plain_arms(config.seed_arms), running, prices=prices)
    rows = (await client.call("GET", "/v1/policies"))["policies"]
    served = [row["policy"] for row in rows if row["served"]]
    return found, alone + [{"policy": name, "only_in": "daemon"} for name in served if name not in configs]


async def _arms(client: DaemonClient, policy: str) -> list[dict[str, Any]] | None:
    """The arms of a policy; None when the daemon does not serve it."""
    from banditd.client.errors import RefusedError

    try:
        answer = await client.call("GET", "/v1/arms", query={"policy": policy})
    except RefusedError as error:
        if error.code == "POLICY_UNKNOWN":
            return None
        raise
    arms: list[dict[str, Any]] = answer["arms"]
    return arms


async def _apply(client: DaemonClient, waiting: Sequence[ArmDifference]) -> tuple[list[ArmDifference], str | None]:
    """Apply in rounds: arms' shares limit each other, so what is refused now may be accepted after another change.

    Returns what was applied, and why the rest was not.
    """
    from banditd.client.errors import RefusedError

    applied: list[ArmDifference] = []
    while waiting:
        refused: list[ArmDifference] = []
        reason = ""
        for difference in waiting:
            try:
                await _apply_one(client, difference)
            except RefusedError as error:
                if error.status not in _REFUSED_FOR_NOW:
                    return applied, error.message
                refused.append(difference)
                reason = f"{difference.policy}/{difference.arm}: {error.message}"
            else:
                applied.append(difference)
        if len(refused) == len(waiting):
            return applied, reason
        waiting = refused
    return applied, None


async def _apply_one(client: DaemonClient, difference: ArmDifference) -> None:
    from banditd.services.arm_differences import nested

    query = {"policy": difference.policy}
    place = path_of("arms", difference.arm)
    if difference.action == "delete":
        await client.call("DELETE", place, query=query)
    elif difference.action == "add":
        body = {"arm": difference.arm, **nested(difference.fields)}
        await client.call("POST", "/v1/arms", query=query, body=body)
    else:
        changes = nested({name: new for name, (_, new) in difference.fields.items()})
        await client.call("PATCH", place, query=query, body=changes)


def _as_json(difference: ArmDifference) -> dict[str, Any]:
    fields: dict[str, Any] = dict(difference.fields)
    if difference.action == "change":
        fields = {name: {"daemon": old, "file": new} for name, (old, new) in difference.fields.items()}
    return {"policy": difference.policy, "arm": difference.arm, "action": difference.action, "fields": fields}


def _print(answer: dict[str, Any], *, yes: bool, delete: bool) -> None:
    rows: list[tuple[str, str, str, str, str, str]] = []
    for one in answer["differences"]:
        place = (one["policy"], one["arm"])
        if one["action"] == "change":
            for name, values in one["fields"].items():
                rows.append((*place, "change", name, cell(values["daemon"]), cell(values["file"])))
        else:
            there = ("", "only in the file") if one["action"] == "add" else ("only in the daemon", "")
            rows.append((*place, one["action"], "", *there))
    if rows:
        print_table(None, ("policy", "arm", "to do", "field", "daemon", "file"), rows)
    switches = [(one["policy"], one["switch"], cell(one["daemon"]), cell(one["file"])) for one in answer["switches"]]
    if switches:
        print_table(None, ("policy", "switch", "daemon", "file"), switches)
    for one in answer["policies"]:
        mend = "restart the daemon with this file" if one["only_in"] == "file" else "the file lacks it"
        click.echo(f"policy {one['policy']} is only in the {one['only_in']}: {mend}")
    if yes:
        click.echo(f"{len(answer['applied'])} arms changed, {answer['remaining']} differences remain")
    elif not answer["remaining"]:
        click.echo("no differences")
    deletions = sum(one["action"] == "delete" for one in answer["differences"])
    if (rows or switches) and not yes:
        click.echo("apply the file with --yes" + (", with --delete also what it lacks" if deletions else ""))
    elif deletions and not delete:
        click.echo(f"{deletions} arms are not in the file: --delete deletes them")


_OF_PROMISE = {
    "keep": "keep",
    "baseline": "baseline_rule",
    "reference_share": "reference_share_configured",
    "precision": "precision",
    "keep_by_tag": "keep_by_tag",
}


async def switch_differences(client: DaemonClient, wanted: Mapping[str, PolicySwitches]) -> list[dict[str, Any]]:
    """(policy, name, daemon, file) of every switch that differs. wanted : by policy, of those that are served."""
    found = []
    for policy, switches in wanted.items():
        running = await client.call("GET", "/v1/promise", query={"policy": policy})
        there, here = _of_daemon(running), _of_file(switches)
        found += [
            {"policy": policy, "switch": name, "daemon": there[name], "file": here[name]}
            for name in here
            if there[name] != here[name]
        ]
    return found


async def apply_switches(client: DaemonClient, wanted: Mapping[str, PolicySwitches], policies: Sequence[str]) -> None:
    """Switch these policies as the file has them."""
    for policy in policies:
        switches = _of_file(wanted[policy])
        await client.call("PATCH", path_of("policies", policy), body=switches)


def _of_file(switches: PolicySwitches) -> dict[str, Any]:
    rule = switches.promise
    promise = None
    if rule is not None:
        promise = {name: getattr(rule, name) for name in _OF_PROMISE}
        promise["keep_by_tag"] = {tag: dict(keeps) for tag, keeps in rule.keep_by_tag.items()}
    return {"rollout": switches.rollout, "mode": switches.mode, "promise": promise}


def _of_daemon(running: Mapping[str, Any]) -> dict[str, Any]:
    promise = {name: running[shown] for name, shown in _OF_PROMISE.items()} if running["on"] else None
    return {"rollout": running["rollout"], "mode": running["mode"], "promise": promise}
