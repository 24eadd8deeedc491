"""``banditd serve``."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from banditd.cli.options import config_option, read_settings


@click.command()
@config_option
@click.option("--host", help="Address to bind; any but localhost needs API keys.")
@click.option("--port", type=click.IntRange(0, 65535), help="TCP port; 0 lets the kernel choose.")
@click.option("--database", help="sqlite:///file.db or postgresql://user:password@host/name.")
def serve(config: Path | None, host: str | None, port: int | None, database: str | None) -> None:
    """Serve until SIGTERM or SIGINT. Brings the database to the newest schema first.

    SIGHUP reads the log level and the price files again.

    \b
    Examples:
      banditd serve
      banditd serve -c config.yaml --port 9000
      BANDITD_DATABASE__URL=postgresql://me@db/banditd banditd serve
    """
    overrides = {"server.host": host, "server.port": port, "database.url": database}
    settings = read_settings(config, overrides)
    from banditd.daemon.serve import run

    run(
        settings,
        started=lambda url: click.echo(f"banditd serves on {url} (stop with Ctrl-C)"),
        read_again=partial(read_settings, config, overrides),
    )
