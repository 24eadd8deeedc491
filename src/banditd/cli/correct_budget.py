"""``banditd correct-budget``: put dollars on an account of a budget by hand, or take them off."""

from __future__ import annotations

import uuid
from urllib.parse import quote

import click

from banditd.cli.options import daemon_options, json_option, policy_option, with_daemon
from banditd.cli.show import echo_json, print_table


@click.command(name="correct-budget")
@click.argument("budget")
@click.argument("usd", type=float)
@daemon_options
@policy_option
@click.option("--reason", required=True, help="Why; kept with the correction.")
@click.option("--account", help="An API key's name or a tag's value, for a budget that every one has of its own.")
@click.option("--id", "correction_id", help="One id, one correction: a repeated command counts once.")
@json_option
def correct_budget(
    budget: str,
    usd: float,
    url: str,
    api_key: str | None,
    policy: str,
    reason: str,
    account: str | None,
    correction_id: str | None,
    as_json: bool,
) -> None:
    """Add USD (negative: take off) to what is charged to BUDGET in its present window. Needs the scope admin.

    \b
    Examples:
      banditd correct-budget day --reason "a wrong report" -- -12.5
      banditd correct-budget team 3 --account red --reason "calls beside the router" --id 2026-11-29/red
    """
    body = {"usd": usd, "reason": reason, "policy": policy, "correction_id": correction_id or str(uuid.uuid4())}
    if account is not None:
        body["account"] = account
    path = f"/v1/budgets/{quote(budget, safe='')}/corrections"
    answer = with_daemon(url, api_key, lambda client: client.call("POST", path, body=body))
    if as_json:
        echo_json(answer)
        return
    print_table(None, ("", ""), list(answer.items()))
