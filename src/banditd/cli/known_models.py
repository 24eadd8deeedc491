"""``banditd models``."""

from __future__ import annotations

import datetime as dt
import sys
from dataclasses import asdict

import click

from banditd.cli.options import json_option
from banditd.cli.show import echo_json, print_table


@click.command("models")
@click.option("--max-age-days", type=click.IntRange(1), help="Exit with 1 if the table is older than this.")
@json_option
def models(max_age_days: int | None, as_json: bool) -> None:
    """Show the dated table of models that `banditd init` knows, with their list prices.

    \b
    Examples:
      banditd models
      banditd models --max-age-days 90   # for a release: is it old?
    """
    from banditd.setup.known_models import read_known_models

    table = read_known_models()
    today = dt.datetime.now(dt.UTC).date()
    age_days = table.age_days(today)
    if as_json:
        rows = [{**asdict(model), "retires": model.retires and str(model.retires)} for model in table.models]
        echo_json({"as_of": str(table.as_of), "age_days": age_days, "source": table.source, "models": rows})
    else:
        columns = ("model", "provider", "$/Mtok in", "$/Mtok out", "cached", "context", "tier", "retires")
        print_table(
            f"known models, as of {table.as_of} ({age_days} days ago)",
            columns,
            [
                (m.model, m.provider, m.usd_per_mtok_in, m.usd_per_mtok_out, m.usd_per_mtok_cached_in,
                 m.context_window_tokens, m.quality_tier, m.retires and str(m.retires))
                for m in table.models
            ],
        )  # fmt: skip
        click.echo(f"source: {table.source}")
        for provider in table.providers.values():
            click.echo(f"  {provider.name}: {provider.page}")
    if max_age_days is not None and age_days > max_age_days:
        click.echo(f"banditd: the table is {age_days} days old, more than {max_age_days}", err=True)
        sys.exit(1)
