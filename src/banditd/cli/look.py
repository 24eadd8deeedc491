"""``banditd stats`` and ``banditd decision``: look at what was routed and learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from banditd.cli.options import daemon_options, json_option, policy_option, with_daemon
from banditd.cli.show import echo_json, print_document
from banditd.cli.tables import print_contexts, print_stats

if TYPE_CHECKING:
    from banditd.client import DaemonClient


@click.command()
@daemon_options
@policy_option
@click.option("--window-s", type=int, help="Only the last so many seconds; default: everything.")
@click.option("--contexts", is_flag=True, help="Per cluster of queries, with its typical words.")
@click.option("--report", is_flag=True, help="The policy's report: has it converged, and on what.")
@json_option
def stats(
    url: str,
    api_key: str | None,
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
        path, query = f"/v1/policies/{quote(policy, safe='')}/report", {}

    async def ask(client: DaemonClient) -> dict[str, Any]:
        answer: dict[str, Any] = await client.call("GET", path, query=query)
        if plain:
            answer["headline"] = await client.call("GET", "/v1/savings", query=_since(policy, answer["since"]))
            answer |= await client.call("GET", "/v1/judges")
        return answer

    answer = with_daemon(url, api_key, ask)
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
@click.argument("decision_id")
@daemon_options
@json_option
def decision(decision_id: str, url: str, api_key: str | None, as_json: bool) -> None:
    """Show one decision whole: what was drawn and why, its usage and every revision of its rewards.

    \b
    Examples:
      banditd decision 0198c2f0-...
      banditd decision 0198c2f0-... --json
    """
    path = f"/v1/decisions/{quote(decision_id, safe='')}"
    answer = with_daemon(url, api_key, lambda client: client.call("GET", path))
    if as_json:
        echo_json(answer)
        return
    # The vectors that nobody reads are in --json.
    print_document(f"decision {decision_id}", {name: part for name, part in answer.items() if name != "x"})
