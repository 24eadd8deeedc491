"""``banditd check-config`` and ``banditd keys create``."""

from __future__ import annotations

import hashlib
import json
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import click

from banditd.cli.options import config_option, json_option, read_settings

if TYPE_CHECKING:
    from banditd.settings import Settings

KEY_PREFIX = "bk_"
SCOPES = ("route", "reward", "reward:own", "read", "chat", "judge", "admin")


@click.command("check-config")
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@config_option
@click.option("--reference", is_flag=True, help="Print docs/configuration.md, made from the settings, instead.")
@json_option
def check_config(file: Path | None, config: Path | None, reference: bool, as_json: bool) -> None:
    """Check the configuration (FILE, or the one that ``serve`` would use) and print it in full, without secrets.

    \b
    Examples:
      banditd check-config mine.yaml
      BANDITD_SERVER__PORT=9000 banditd check-config --json
      banditd check-config --reference > docs/configuration.md
    """
    if reference:
        from banditd.cli.reference import reference as made

        click.echo(made(), nl=False)
        return
    from banditd.settings.promise import promise_advice

    settings = read_settings(file or config)
    from banditd.bandit.policies.registry import policy_factory
    from banditd.daemon.configs import policy_configs
    from banditd.daemon.golden import golden_rules
    from banditd.daemon.names import database_url
    from banditd.daemon.price_file import parse_prices
    from banditd.daemon.serve import web_settings
    from banditd.storage.dialect import normalise_url
    from banditd.web.security import KeyRing

    KeyRing(web_settings(settings).api_keys)
    normalise_url(database_url(settings))
    configs = policy_configs(settings)
    for policy in configs.values():
        policy_factory(policy.settings)
    golden_rules(settings, {name: policy.drift for name, policy in configs.items()})
    for section in settings.policies.values():
        if section.prior_file is not None:
            from banditd.daemon.prior_file import read_prior

            read_prior(section.prior_file)
        if section.tier_table is not None:
            from banditd.daemon.tier_table import read_tier_table

            read_tier_table(section.tier_table)
    for name, section in settings.policies.items():
        if section.prices_file is not None:
            try:
                parse_prices(section.prices_file.read_bytes(), section.prices_file)
            except OSError as error:  # it may come later: a running daemon looks again and again
                click.echo(f"banditd: policies.{name}.prices_file cannot be read yet: {error}", err=True)
        if any(one.examples for one in section.constraints):
            from banditd.cli.constraints import check_examples

            check_examples(name, section.constraints, settings.encoder.model)
        advice = promise_advice(section.promise)
        if advice is not None:
            click.echo(f"banditd: policies.{name}.promise.{advice}", err=True)
    if as_json:
        click.echo(settings.model_dump_json(indent=2, by_alias=True))
        return

    click.echo("# The configuration is valid. These settings apply:")
    click.echo(_as_yaml(settings), nl=False)


@click.group()
def keys() -> None:
    """Make API keys.

    \b
    Example:
      banditd keys create --name my-gateway
    """


@keys.command("create")
@click.option("--name", required=True, help="Shown in logs and metrics instead of the key.")
@click.option(
    "--scope", "scopes", multiple=True, type=click.Choice(SCOPES), default=("route", "reward"),
    show_default=True, help="What the key may do; repeatable.",
)  # fmt: skip
@json_option
def create_key(name: str, scopes: tuple[str, ...], as_json: bool) -> None:
    """Create a key. It is shown once; the configuration only holds its hash.

    \b
    Examples:
      banditd keys create --name my-gateway
      banditd keys create --name operator --scope read --scope admin
    """
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    entry = {"name": name, "sha256": hashlib.sha256(key.encode()).hexdigest(), "scopes": list(scopes)}
    if as_json:
        click.echo(json.dumps({"key": key, "entry": entry}, indent=2))
        return
    click.echo(f"The key, shown this once (clients send 'Authorization: Bearer <key>'):\n\n  {key}\n")
    click.echo("Add this under server.api_keys in the configuration and restart the daemon:\n")
    click.echo(f"  - name: {json.dumps(name)}\n    sha256: {entry['sha256']}\n    scopes: [{', '.join(scopes)}]")


def _as_yaml(settings: Settings) -> str:
    """As it is written in a file, secrets left out."""
    import yaml

    shown = json.loads(settings.model_dump_json(by_alias=True))
    return str(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True))
