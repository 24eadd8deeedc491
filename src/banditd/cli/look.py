"""``banditd stats``, ``banditd decisions`` and ``banditd decision``: look at what was routed and learned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from banditd.cli.options import Daemon, daemon_options, json_option, path_of, policy_option
from banditd.cli.show import echo_json, print_document, print_table, tell
from banditd.cli.tables import print_contexts, print_stats

if TYPE_CHECKING:
    from banditd.client import DaemonClient


@click.command()
@daemon_options
@policy_option
@click.option("--window-s", type=int, help="Only the last N seconds; default: everything.")
@click.option("--contexts", is_flag=True, help="Per cluster of queries, with its typical words.")
@click.option("--report", is_flag=True, help="The policy's report: has it converged, and on what.")
@json_option
def stats(
    daemon: Daemon,
    policy: str,
    window_s: int | None,
    contexts: bool,
    report: bool,
    as_json: bool,
) -> None:
    """Show what was routed, earned and spent.

    \b
    Examples:
      banditd stats
      banditd stats --contexts
      banditd stats --policy default --window-s 86400 --json
    """
    if contexts and report:
        raise click.UsageError("give --contexts or --report, not both")
    path, query = "/v1/stats", {"policy": policy, "window_s": window_s}
    plain = not (contexts or report)
    if contexts:
        path, query = "/v1/stats/contexts", {"policy": policy}
    if report:
        path, query = path_of("policies", policy, "report"), {}

    async def ask(client: DaemonClient) -> dict[str, Any]:
        answer: dict[str, Any] = await client.call("GET", path, query=query)
        if plain:
            answer["headline"] = await client.call("GET", "/v1/savings", query=_since(policy, answer["since"]))
            answer |= await client.call("GET", "/v1/judges")
        return answer

    answer = daemon.run(ask)
    if as_json:
        echo_json(answer)
    elif contexts:
        print_contexts(answer)
    elif report:
        print_document(f"policy {policy}", {name: part for name, part in answer.items() if name != "stats"})
    else:
        print_stats(answer)


def _since(policy: str, since: str | None) -> dict[str, str]:
    """The parameters of ``/v1/savings`` for the stretch of ``/v1/stats``."""
    return {"policy": policy} if since is None else {"policy": policy, "since": since}


@click.command()
@daemon_options
@policy_option
@click.option("--task-id", help="Only of this task (one run of an agent).")
@click.option("--session", "session_id", help="Only of this session.")
@click.option("--arm", help="Only of this arm.")
@click.option("--tag", metavar="NAME:VALUE", help="Only with this tag, such as step:plan.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="How many.")
@json_option
def decisions(daemon: Daemon, as_json: bool, **filters: Any) -> None:
    """List decisions, newest first.

    \b
    Examples:
      banditd decisions --task-id run-42
      banditd decisions --tag step:plan --limit 50 --json
    """
    query = {name: value for name, value in filters.items() if value is not None}
    tell(daemon.call("GET", "/v1/decisions", query=query), as_json, _print_decisions)


def _print_decisions(answer: Mapping[str, Any]) -> None:
    shown = ("created_at", "decision_id", "arm", "step", "task_id", "reward", "spend_usd", "parent_decision_id")
    made = [one | {"step": one["tags"].get("step")} for one in answer["decisions"]]
    print_table("decisions", shown, [[one.get(name) for name in shown] for one in made])
    if answer["next_before_id"] is not None:
        click.echo("There are more: raise --limit.")


@click.command()
@click.argument("decision_id")
@daemon_options
@json_option
def decision(decision_id: str, daemon: Daemon, as_json: bool) -> None:
    """Show everything about one decision: what was drawn and why, its usage and every revision of its rewards.

    \b
    Examples:
      banditd decision 0198c2f0-...
      banditd decision 0198c2f0-... --json
    """
    tell(daemon.call("GET", path_of("decisions", decision_id)), as_json, _print_decision)


def _print_decision(answer: Mapping[str, Any]) -> None:
    # The vectors that nobody reads are in --json.
    print_document(f"decision {answer['decision_id']}", {name: part for name, part in answer.items() if name != "x"})
