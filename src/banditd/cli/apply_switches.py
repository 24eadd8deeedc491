"""``banditd apply``: where promise, rollout and mode of a running daemon differ from the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from banditd.client import DaemonClient
    from banditd.services.policy import PolicySwitches

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
        await client.call("PATCH", f"/v1/policies/{quote(policy, safe='')}", body=switches)


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
