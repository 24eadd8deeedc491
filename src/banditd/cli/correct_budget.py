"""``banditd correct-budget``: add dollars to a budget's account by hand, or take some off."""

from __future__ import annotations

import uuid

import click

from banditd.cli.options import Daemon, daemon_options, json_option, path_of, policy_option
from banditd.cli.show import print_pairs, tell


@click.command(name="correct-budget")
@click.argument("budget")
@click.argument("usd", type=float)
@daemon_options
@policy_option
@click.option("--reason", required=True, help="Why; kept with the correction.")
@click.option("--account", help="An API key's name or a tag's value, for a budget per key or tag.")
@click.option("--id", "correction_id", help="With an id, a repeated command counts only once.")
@json_option
def correct_budget(
    budget: str,
    usd: float,
    daemon: Daemon,
    policy: str,
    reason: str,
    account: str | None,
    correction_id: str | None,
    as_json: bool,
) -> None:
    """Add USD (if negative, take it off) to the charged sum of BUDGET's present window. Needs the scope admin.

    \b
    Examples:
      banditd correct-budget day --reason "a wrong report" -- -12.5
      banditd correct-budget team 3 --account red --reason "calls beside the router" --id 2026-11-29/red
    """
    body = {"usd": usd, "reason": reason, "policy": policy, "correction_id": correction_id or str(uuid.uuid4())}
    if account is not None:
        body["account"] = account
    tell(daemon.call("POST", path_of("budgets", budget, "corrections"), body=body), as_json, print_pairs)
