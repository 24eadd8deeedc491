"""``banditd arms``: list them, and add, set and delete them; every field of the API can be set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click

from banditd.cli.options import Daemon, daemon_options, json_option, json_or_text, pair_of, path_of, policy_option
from banditd.cli.show import cell, tell
from banditd.cli.tables import print_arms

_ARM_OPTIONS = (
    click.option("--upstream-model", help="The name to call the model by; default: the arm's name."),
    click.option("--provider", help="Who serves it; for reading only."),
    click.option("--usd-per-mtok-in", type=float, help="Price per million input tokens."),
    click.option("--usd-per-mtok-out", type=float, help="Price per million output tokens."),
    click.option("--usd-per-mtok-cached-in", type=float, help="Price per million cached input tokens."),
    click.option("--usd-per-request", type=float, help="Price per request."),
    click.option("--enable/--disable", "enabled", default=None, help="Whether it may be chosen."),
    click.option("--capability", "capabilities", multiple=True, help="A capability such as vision; repeatable."),
    click.option("--context-window-tokens", type=int, help="Longer queries exclude the arm."),
    click.option("--quality-prior", type=float, help="Expected reward before any data, in [0, 1]."),
    click.option("--prior-worth", type=float, help="How many rewards that expectation is worth."),
    click.option(
        "--quality-tier",
        type=click.Choice(("economy", "standard", "premium", "frontier")),
        help="Roughly how good it is: the guess before any data, instead of one from the price.",
    ),
    click.option("--expected-output-tokens", type=float, help="Assumed until there are usage reports."),
    click.option("--expected-latency-ms", type=float, help="Assumed until there are usage reports."),
    click.option("--min-share", type=float, help="Least probability where the arm is eligible."),
    click.option("--max-share", type=float, help="Cap on the arm's share of the traffic."),
    click.option("--kwh-per-mtok-in", type=float, help="Energy per million input tokens."),
    click.option("--kwh-per-mtok-out", type=float, help="Energy per million output tokens."),
    click.option("--onboarding-decisions", type=int, help="Quota of a new arm, in decisions; 0: none."),
    click.option("--onboarding-usd", type=float, help="Quota of a new arm, in US dollars."),
    click.option("--upstream", help="A configured upstream: the gateway calls it."),
    click.option("--first-token-s", type=float, help="Longest wait for its first token."),
    click.option("--param", "params", multiple=True, metavar="NAME=JSON", help="What the gateway sends; repeatable."),
    click.option(
        "--recipe",
        metavar="a+b>c",
        help="Make it a recipe: a+b>c asks c if a and b differ, a+b+c gives the majority's answer, a|b falls back.",
    ),
    click.option(
        "--rename-param", "rename_params", multiple=True, metavar="NAME=NAME", help="Client's=model's; repeatable."
    ),
)
_PRICES: Final = ("usd_per_mtok_in", "usd_per_mtok_out", "usd_per_request", "usd_per_mtok_cached_in", "valid_from")
_NULLABLE: Final = (
    "context_window_tokens", "quality_prior", "quality_tier", "expected_latency_ms", "usd_per_mtok_cached_in",
    "capabilities", "upstream", "first_token_s", "params", "rename_params",
)  # fmt: skip

_EMPTY: Final[Mapping[str, object]] = {"capabilities": [], "params": {}, "rename_params": {}}


@click.group(invoke_without_command=True)
@click.pass_context
@daemon_options
@policy_option
@json_option
def arms(context: click.Context, daemon: Daemon, policy: str, as_json: bool) -> None:
    """List the arms; subcommands add, set and delete them.

    \b
    Examples:
      banditd arms
      banditd arms add new-model --usd-per-mtok-in 0.2 --usd-per-mtok-out 0.8
      banditd arms set new-model --disable
      banditd arms delete new-model --policy drafts
    """
    context.obj = {"url": daemon.url, "api_key": daemon.api_key, "policy": policy, "as_json": as_json}
    if context.invoked_subcommand is not None:
        return
    answer = daemon.call("GET", "/v1/arms", query={"policy": policy})
    tell(answer, as_json, print_arms)


def _repeat(context: click.Context, parameter: click.Parameter, value: object) -> None:
    """Options after a subcommand override those before it."""
    if value is not None and parameter.name is not None:
        context.obj[parameter.name] = value


def _shared_options(command: Any) -> Any:
    """Accept the options of ``banditd arms`` after its subcommands too, as with every other command."""
    for option in (
        click.option("--json", "as_json", is_flag=True, default=None, expose_value=False, callback=_repeat,
                     help="Print JSON for programs."),
        click.option("--policy", expose_value=False, callback=_repeat, help="Which policy."),
        click.option("--api-key", expose_value=False, callback=_repeat, help="API key, if the daemon needs one."),
        click.option("--url", expose_value=False, callback=_repeat, help="Address of the daemon."),
    ):  # fmt: skip
        command = option(command)
    return command


def _arm_options(command: Any) -> Any:
    for option in reversed(_ARM_OPTIONS):
        command = option(command)
    return command


def _recipe(text: str) -> dict[str, object]:
    from banditd.core.errors import ConfigurationError
    from banditd.deciding.recipes import parse_recipe

    try:
        return parse_recipe(text, ("a", "b", "c")).plain()
    except ConfigurationError as error:
        raise click.UsageError(f"--recipe: {error.message}") from error


def arm_body(given: Mapping[str, Any], unset: tuple[str, ...] = ()) -> dict[str, Any]:
    """The JSON of the options that were given; ``unset`` names fields that go back to "not known"."""
    stated: dict[str, Any] = {name: value for name, value in given.items() if value is not None and value != ()}
    if "capabilities" in stated:
        stated["capabilities"] = list(stated["capabilities"])
    if "params" in stated:
        stated["params"] = {
            name: json_or_text(text) for name, text in (pair_of(one, "--param") for one in stated["params"])
        }
    if "recipe" in stated:
        stated["recipe"] = _recipe(stated["recipe"])
    if "rename_params" in stated:
        stated["rename_params"] = dict(pair_of(one, "--rename-param") for one in stated["rename_params"])
    for name in unset:
        if name in stated:
            raise click.UsageError(f"give --{name.replace('_', '-')} or --unset {name}, not both")
        stated[name] = _EMPTY.get(name)
    price = {name: stated.pop(name) for name in _PRICES if name in stated}
    return {**stated, **({"price": price} if price else {})}


def changed_lines(before: Mapping[str, Any], after: Mapping[str, Any], body: Mapping[str, Any]) -> list[str]:
    """For each field in ``body``, its old and its new value."""
    lines = []
    for name, requested in body.items():
        if name == "price":
            since = requested.get("valid_from")
            for part in (part for part in requested if part != "valid_from"):
                now = requested[part] if since else after["price"][part]
                lines.append(_line(part, before["price"][part], now) + (f" from {since}" if since else ""))
        else:
            lines.append(_line(name, before[name], after[name]))
    return lines


def _line(name: str, old: object, new: object) -> str:
    return f"  {name}: {cell(old)} -> {cell(new)}" if old != new else f"  {name}: {cell(new)}, unchanged"


def _call(context: click.Context, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    shared = context.obj
    daemon = Daemon(shared["url"], shared["api_key"])
    return daemon.call(method, path, body=body, query={"policy": shared["policy"]})


def _tell(context: click.Context, answer: Any, *lines: str) -> None:
    tell(answer, context.obj["as_json"], lambda _answer: click.echo("\n".join(lines)))


@arms.command("add")
@click.argument("arm")
@_shared_options
@_arm_options
@click.option(
    "--keep-statistics", is_flag=True, default=None, help="Keep what a deleted arm of that name had learned."
)
@click.pass_context
def add_arm(context: click.Context, /, arm: str, **given: Any) -> None:
    """Add ARM to the policy; it is explored from its first query on.

    \b
    Examples:
      banditd arms add new-model --usd-per-mtok-in 0.2 --usd-per-mtok-out 0.8
      banditd arms add vendor/vision-1 --policy drafts --capability vision --quality-tier premium
      banditd arms add duo --recipe "small+other>large"
    """
    answer = _call(context, "POST", "/v1/arms", {"arm": arm, **arm_body(given)})
    _tell(context, answer, f"arm {arm} added")


@arms.command("set")
@click.argument("arm")
@_shared_options
@_arm_options
@click.option("--valid-from", help="Future time from which the price applies, such as 2026-12-31T00:00:00Z.")
@click.option("--unset", multiple=True, type=click.Choice(_NULLABLE), help="A field to reset to unknown; repeatable.")
@click.pass_context
def set_arm(context: click.Context, /, arm: str, unset: tuple[str, ...], **given: Any) -> None:
    """Change the given fields of ARM and keep the rest; prints old and new values.

    \b
    Examples:
      banditd arms set new-model --usd-per-mtok-out 0.6
      banditd arms set new-model --disable
      banditd arms set new-model --min-share 0.05 --unset quality_tier
    """
    body = arm_body(given, unset)
    if not body:
        raise click.UsageError("nothing to change: give at least one option, such as --disable")
    path = path_of("arms", arm)
    before = _call(context, "GET", path)
    after = _call(context, "PATCH", path, body)
    _tell(context, after, f"arm {arm} changed", *changed_lines(before, after, body))


@arms.command("delete")
@click.argument("arm")
@_shared_options
@click.pass_context
def delete_arm(context: click.Context, arm: str) -> None:
    """Delete ARM; its log and statistics stay. Added again, it starts afresh unless --keep-statistics is given.

    \b
    Example:
      banditd arms delete new-model
    """
    _tell(context, _call(context, "DELETE", path_of("arms", arm)), f"arm {arm} deleted")
