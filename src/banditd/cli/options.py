"""Options that several commands share, and the way commands reach the configuration and the daemon."""

from __future__ import annotations

import asyncio
import functools
import json
import math
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import click

if TYPE_CHECKING:
    from banditd.client import DaemonClient
    from banditd.settings import Settings

T = TypeVar("T")
Command = Callable[..., Any]
DEFAULT_CONFIG = Path("config.yaml")
DEFAULT_URL = "http://127.0.0.1:8484"

config_option = click.option(
    "-c",
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="BANDITD_CONFIG",
    help="YAML file; default: ./config.yaml if it exists, else the shipped one.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
policy_option = click.option("--policy", default="default", show_default=True, help="Which policy.")


@dataclass(frozen=True, slots=True)
class Daemon:
    """Where a running daemon is, and the key that it may ask for."""

    url: str
    api_key: str | None = None

    def run(self, work: Callable[[DaemonClient], Awaitable[T]], *, connections: int = 16) -> T:
        """Run ``work`` with a client of it."""
        from banditd.client import DaemonClient

        async def run() -> T:
            async with DaemonClient(self.url, api_key=self.api_key, connections=connections) as client:
                return await work(client)

        return asyncio.run(run())

    def call(self, method: str, path: str, **more: Any) -> Any:
        """The answer to one request. more : as ``DaemonClient.call`` has it."""
        return self.run(lambda client: client.call(method, path, **more))


def daemon_options(command: Command) -> Command:
    """``--url`` and ``--api-key``, as ``daemon``."""

    @functools.wraps(command)
    def with_daemon(*given: Any, url: str, api_key: str | None, **named: Any) -> Any:
        return command(*given, daemon=Daemon(url, api_key), **named)

    with_key = click.option(
        "--api-key", envvar="BANDITD_API_KEY", show_envvar=True, help="API key, if the daemon needs one."
    )(with_daemon)
    return click.option(
        "--url", default=DEFAULT_URL, show_default=True, envvar="BANDITD_URL", show_envvar=True,
        help="Address of the daemon.",
    )(with_key)  # fmt: skip


def path_of(*parts: str) -> str:
    """The path below ``/v1``; a part may be any name, with slashes in it."""
    return "/".join(("/v1", *(quote(part, safe="") for part in parts)))


def read_settings(config: Path | None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """The configuration as ``serve`` would see it. Raises ConfigurationError."""
    from banditd.settings import load_settings

    if not is_shipped(config):
        return load_settings(config or DEFAULT_CONFIG, overrides=overrides)
    from banditd.settings.home import kept_database_url, shipped_configuration

    return load_settings(shipped_configuration(), database_url=kept_database_url(), overrides=overrides)


def is_shipped(config: Path | None) -> bool:
    """Whether no file is given or found, so that the shipped configuration holds."""
    return config is None and not DEFAULT_CONFIG.exists()


def wrong_usage_exits(code: int) -> type[click.Command]:
    """A command class with this exit code for wrong usage, where click's own code already means something else."""

    class WrongUsage(click.UsageError):
        exit_code = code

    class Exits(click.Command):
        def make_context(self, *args: Any, **more: Any) -> click.Context:
            with with_code():
                return super().make_context(*args, **more)

        def invoke(self, ctx: click.Context) -> Any:
            with with_code():
                return super().invoke(ctx)

    @contextmanager
    def with_code() -> Iterator[None]:
        try:
            yield
        except click.UsageError as error:
            raise WrongUsage(error.format_message(), error.ctx) from error

    return Exits


def pair_of(text: str, option: str) -> tuple[str, str]:
    """The two sides of NAME=VALUE."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE, such as team=search", param_hint=option)
    return name, value


def json_or_text(text: str) -> Any:
    """A value of JSON, or a text that needs no quotes."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def two_prices(text: str) -> tuple[float, float] | None:
    """The two prices of IN,OUT; None where it is not two that are not negative."""
    try:
        inward, outward = (float(number) for number in text.split(","))
    except ValueError:
        return None
    return (inward, outward) if 0.0 <= inward < math.inf and 0.0 <= outward < math.inf else None
