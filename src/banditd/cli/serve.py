"""``banditd serve``."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path

import click

from banditd.cli.options import DEFAULT_URL, config_option, is_shipped, read_settings


@click.command()
@config_option
@click.option("--host", help="Address to bind; any other than localhost needs API keys.")
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
    from banditd.daemon.heap import loading, one_arena

    one_arena()
    with loading():
        from banditd.daemon.names import database_shown
        from banditd.daemon.serve import run

    shipped = " and the shipped configuration (there is no config.yaml here)" if is_shipped(config) else ""
    run(
        settings,
        started=partial(_announce, database_shown(settings) + shipped),
        read_again=partial(read_settings, config, overrides),
    )


def _announce(using: str, url: str) -> None:
    try:
        click.echo(
            f"banditd serves on {url} with {using}; next, in another terminal: "
            f"banditd route 'Why is the sky blue?'{'' if url == DEFAULT_URL else f' --url {url}'} (stop with Ctrl-C)"
        )
    except OSError:  # nobody reads it, or the disk is full: no reason to stop the daemon, now or at its end
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - for the life of the process
