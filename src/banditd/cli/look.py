"""``banditd stats`` and ``banditd arms``: look at what was learned, and change the arms."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import click

from banditd.cli.options import daemon_options, json_option, policy_option, with_daemon
from banditd.cli.show import echo_json, print_document
from banditd.cli.tables import print_arms, print_contexts, print_stats

_ARM_OPTIONS = (
    click.option("--upstream-model", help="The name to call the model by; default: the arm's name."),
    click.option("--provider", help="Who serves it; for reading only."),
    click.option("--usd-per-mtok-in", type=float, help="Price per million input tokens."),
    click.option("--usd-per-mtok-out", type=float, help="Price per million output tokens."),
    click.option("--usd-per-request", type=float, help="Price per request."),
    click.option("--capability", "capabilities", multiple=True, help="A tag such as vision; may be repeated."),
    click.option("--context-window-tokens", type=int, help="Longer queries exclude the arm."),
    click.option("--quality-prior", type=float, help="Expected reward before any data, in [0, 1]."),
    click.option(
        "--quality-tier",
        type=click.Choice(("economy", "standard", "premium", "frontier")),
        help="How good it is, roughly: a guess before any data, in place of the price's.",
    ),
    click.option("--expected-output-tokens", type=float, help="Assumed until usage reports tell."),
    click.option("--max-share", type=float, help="Cap on the arm's share of the traffic."),
)
_PRICES = ("usd_per_mtok_in", "usd_per_mtok_out", "usd_per_request")


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
    if contexts:
        path, query = "/v1/stats/contexts", {"policy": policy}
    if report:
        path, query = f"/v1/policies/{quote(policy, safe='')}/report", {}
    answer = with_daemon(url, api_key, lambda client: client.call("GET", path, query=query))
    if as_json:
        echo_json(answer)
    elif contexts:
        print_contexts(answer)
    elif report:
        print_document(f"policy {policy}", {name: part for name, part in answer.items() if name != "stats"})
    else:
        print_stats(answer)


@click.group(invoke_without_command=True)
@click.pass_context
@daemon_options
@policy_option
@json_option
def arms(context: click.Context, url: str, api_key: str | None, policy: str, as_json: bool) -> None:
    """List the arms; subcommands add, set and delete them.

    \b
    Examples:
      banditd arms
      banditd arms add new-model --usd-per-mtok-in 0.2 --usd-per-mtok-out 0.8
      banditd arms set new-model --disable
      banditd arms --policy drafts delete new-model
    """
    context.obj = {"url": url, "api_key": api_key, "policy": policy, "as_json": as_json}
    if context.invoked_subcommand is not None:
        return
    answer = with_daemon(url, api_key, lambda client: client.call("GET", "/v1/arms", query={"policy": policy}))
    if as_json:
        echo_json(answer)
        return
    print_arms(answer)


def _arm_options(command: Any) -> Any:
    for option in reversed(_ARM_OPTIONS):
        command = option(command)
    return command


def _arm_body(given: dict[str, Any]) -> dict[str, Any]:
    said = {name: value for name, value in given.items() if value is not None and value != ()}
    price = {name: said.pop(name) for name in _PRICES if name in said}
    if "capabilities" in said:
        said["capabilities"] = list(said["capabilities"])
    return {**said, **({"price": price} if price else {})}


def _change(context: click.Context, method: str, path: str, body: dict[str, Any] | None, done: str) -> None:
    shared = context.obj
    answer = with_daemon(
        shared["url"],
        shared["api_key"],
        lambda client: client.call(method, path, body=body, query={"policy": shared["policy"]}),
    )
    if shared["as_json"]:
        echo_json(answer)
    else:
        click.echo(done)


@arms.command("add")
@click.argument("arm")
@_arm_options
@click.pass_context
def add_arm(context: click.Context, /, arm: str, **given: Any) -> None:
    """Add ARM to the policy; it is explored from its first query on.

    \b
    Examples:
      banditd arms add new-model --usd-per-mtok-in 0.2 --usd-per-mtok-out 0.8
      banditd arms --policy drafts add vendor/vision-1 --capability vision --quality-tier premium
    """
    _change(context, "POST", "/v1/arms", {"arm": arm, **_arm_body(given)}, f"arm {arm} added")


@arms.command("set")
@click.argument("arm")
@_arm_options
@click.option("--enable/--disable", "enabled", default=None, help="Whether it may be chosen.")
@click.pass_context
def set_arm(context: click.Context, /, arm: str, **given: Any) -> None:
    """Change what is given of ARM, keep the rest.

    \b
    Examples:
      banditd arms set new-model --usd-per-mtok-out 0.6
      banditd arms set new-model --disable
    """
    body = _arm_body(given)
    if not body:
        raise click.UsageError("nothing to change: give at least one option, such as --disable")
    _change(context, "PATCH", f"/v1/arms/{quote(arm, safe='')}", body, f"arm {arm} changed")


@arms.command("delete")
@click.argument("arm")
@click.pass_context
def delete_arm(context: click.Context, arm: str) -> None:
    """Delete ARM; what it has learned stays and comes back when it is added again.

    \b
    Example:
      banditd arms delete new-model
    """
    _change(context, "DELETE", f"/v1/arms/{quote(arm, safe='')}", None, f"arm {arm} deleted")
