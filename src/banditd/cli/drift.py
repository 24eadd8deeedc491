"""``banditd drift``: whether quality is slowly lost, and by which cause."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from banditd.cli.options import Daemon, daemon_options, json_option, path_of, policy_option
from banditd.cli.show import tell


@click.command()
@policy_option
@daemon_options
@json_option
def drift(policy: str, daemon: Daemon, as_json: bool) -> None:
    """Show whether quality is slowly being lost: by a provider, by banditd's own learning or settings, or overall.

    \b
    Examples:
      banditd drift
      banditd drift --policy support --json
    """
    tell(daemon.call("GET", path_of("policies", policy, "drift")), as_json, _print)


def _print(found: Mapping[str, Any]) -> None:
    click.echo(found["words"])
    for name in ("provider", "own", "level", "traffic"):
        part = found[name]
        if part is not None and part["words"] != found["words"]:
            click.echo(f"  {part['words']}")
    for arm in found["provider"]["arms"]:
        click.echo(f"  {arm['words']} Evidence {arm['evidence']:.2g} of an alarm.")
    golden = found["provider"]["golden"]
    if golden is not None:
        states = ", ".join(f"{count} {state}" for state, count in sorted(golden["today"].items())) or "nothing yet"
        click.echo(
            f"  golden set: {golden['prompts']} prompts, judge {golden['judge']}; today {states}; "
            f"${golden['spend_day_usd']:,.2f} of ${golden['usd_per_day']:,.2f} a day"
        )


@click.group()
def anchor() -> None:
    """The anchor: the policy as it was when last known to be good.

    \b
    Example:
      banditd anchor renew --reason "the new prices are as we want them"
    """


@anchor.command()
@click.option("--reason", help="For the history.")
@policy_option
@daemon_options
@json_option
def renew(reason: str | None, policy: str, daemon: Daemon, as_json: bool) -> None:
    """Renew the anchor: from now on routing is compared with what it is now.

    \b
    Example:
      banditd anchor renew --reason "looked at, and fine"
    """

    def show(found: Mapping[str, Any]) -> None:
        click.echo(f"Policy {policy} is now compared with version {found['version']}, of {found['taken_at']}.")

    body = {} if reason is None else {"reason": reason}
    tell(daemon.call("POST", path_of("policies", policy, "anchor", "renew"), body=body), as_json, show)
