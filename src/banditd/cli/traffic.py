"""``banditd route`` and ``banditd reward``: one decision and one reward by hand."""

from __future__ import annotations

import sys
from typing import Any

import click

from banditd.cli.options import daemon_options, json_option, policy_option, with_daemon
from banditd.cli.show import echo_json, print_table


@click.command()
@click.argument("text")
@daemon_options
@policy_option
@click.option("--candidate", "candidates", multiple=True, help="Only this arm may be chosen; may be repeated.")
@click.option("--exclude", "excluded", multiple=True, help="This arm may not be chosen; may be repeated.")
@click.option("--max-cost-usd", type=float, help="Exclude arms whose predicted cost is higher.")
@click.option("--session", "session_id", help="Requests of one session keep their arm.")
@click.option("--dry-run", is_flag=True, help="Choose, but record nothing.")
@click.option("--explain", is_flag=True, help="Show every arm's prediction and probability.")
@json_option
def route(
    text: str,
    url: str,
    api_key: str | None,
    policy: str,
    candidates: tuple[str, ...],
    excluded: tuple[str, ...],
    max_cost_usd: float | None,
    session_id: str | None,
    dry_run: bool,
    explain: bool,
    as_json: bool,
) -> None:
    """Ask the daemon which arm should answer TEXT ('-' reads standard input).

    \b
    Examples:
      banditd route "Prove that the square root of two is irrational." --explain
      cat question.txt | banditd route - --max-cost-usd 0.01 --json
    """
    optional = {
        "candidates": list(candidates) or None,
        "max_cost_usd": max_cost_usd,
        "session_id": session_id,
    }
    body: dict[str, Any] = {
        "input": sys.stdin.read() if text == "-" else text,
        "policy": policy,
        "excluded_arms": list(excluded),
        "dry_run": dry_run,
        "explain": explain,
        **{name: value for name, value in optional.items() if value is not None},
    }
    answer = with_daemon(url, api_key, lambda client: client.route(body))
    if as_json:
        echo_json(answer)
        return
    shown = ("decision_id", "arm", "upstream_model", "propensity", "predicted_reward", "predicted_cost_usd",
             "explored", "reason", "degraded", "fallbacks", "policy_version", "expires_at")  # fmt: skip
    print_table(None, ("", ""), [(name, answer.get(name)) for name in shown])
    if explain:
        columns = ("arm", "mean", "deviation", "cost_usd", "penalty", "utility", "probability")
        print_table("arms", columns, [[arm.get(name) for name in columns] for arm in answer.get("arms") or ()])
        if answer.get("exclusions"):
            print_table("excluded", ("arm", "why"), sorted(answer["exclusions"].items()))


@click.command()
@click.argument("decision_id")
@click.argument("value", required=False)
@daemon_options
@click.option("--source", default="human", show_default=True, help="Who says so: human, judge, metric, implicit.")
@click.option("--metric", default="quality", show_default=True, help="What was measured.")
@click.option("--key", "idempotency_key", help="Idempotency key: makes a repeated post count once.")
@click.option("--retract", is_flag=True, help="Take back what this source said of this metric.")
@json_option
def reward(
    decision_id: str,
    value: str | None,
    url: str,
    api_key: str | None,
    source: str,
    metric: str,
    idempotency_key: str | None,
    retract: bool,
    as_json: bool,
) -> None:
    """Reward a decision with VALUE: a number on the source's scale, 'up' or 'down'.

    \b
    Examples:
      banditd reward 0198c2f0-... 0.8 --source judge
      banditd reward 0198c2f0-... up
      banditd reward 0198c2f0-... --retract
    """
    body: dict[str, Any] = {"decision_id": decision_id, "source": source, "metric": metric}
    if retract == (value is not None):
        raise click.UsageError("give either a VALUE (a number, up or down) or --retract")
    body |= {"retract": True} if value is None else _value(value)
    receipt = with_daemon(url, api_key, lambda client: client.reward(body, idempotency_key=idempotency_key))
    if as_json:
        echo_json(receipt)
        return
    print_table(None, ("", ""), list(receipt.items()))


def _value(text: str) -> dict[str, Any]:
    if text in {"up", "down"}:
        return {"thumb": text}
    try:
        return {"value": float(text)}
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no reward: give a number such as 0.8, or up, or down", param_hint="VALUE"
        ) from None
