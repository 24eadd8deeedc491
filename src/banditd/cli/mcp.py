"""``banditd mcp``."""

from __future__ import annotations

import socket

import click

from banditd.cli.options import Daemon, daemon_options, policy_option
from banditd.core.errors import ConfigurationError, UnavailableError


@click.command("mcp")
@daemon_options
@policy_option
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Serve over HTTP at http://127.0.0.1:PORT/mcp instead of stdio."
)
def mcp(daemon: Daemon, policy: str, port: int | None) -> None:
    """Let agents ask: the daemon's route, reward, explain_decision, savings and arms as MCP tools.

    Over stdio, as an agent starts it, or over HTTP on this machine. It needs pip install 'banditd[mcp]'.

    \b
    Examples:
      claude mcp add banditd -- banditd mcp --url http://127.0.0.1:8484
      banditd mcp --port 8485
    """
    from banditd.agents import agent_server

    try:
        server = agent_server(daemon.url, daemon.api_key, policy)
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"{error.name} is not installed: pip install 'banditd[mcp]'") from error
    if port is None:
        server.run("stdio")
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise UnavailableError(
                f"port {port} cannot be used: {error.strerror}; choose another by --port"
            ) from error
    click.echo(f"MCP serves on http://127.0.0.1:{port}/mcp, in front of {daemon.url} (stop with Ctrl-C)", err=True)
    server.run("streamable-http", host="127.0.0.1", port=port)
