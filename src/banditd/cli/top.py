"""``banditd top``: what the daemon does, live in the terminal."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import click

from banditd.cli.options import Daemon, daemon_options, json_option, policy_option
from banditd.cli.show import console, echo_json
from banditd.core.errors import UnavailableError

if TYPE_CHECKING:
    from banditd.cli.frame import Sample
    from banditd.client import DaemonClient


@click.command()
@daemon_options
@policy_option
@click.option(
    "--window-s", type=click.IntRange(min=60), default=3600, show_default=True, help="Seconds that count as recent."
)
@click.option(
    "--interval-s", type=click.FloatRange(min=0.2), default=2.0, show_default=True, help="Between two frames."
)
@click.option("--once", is_flag=True, help="Print one frame and exit (the default for a pipe).")
@json_option
def top(daemon: Daemon, policy: str, window_s: int, interval_s: float, once: bool, as_json: bool) -> None:
    """Watch arms, exploration, spend and alarms, live. Ctrl-C ends it.

    It reads /v1/stats, /v1/savings, /v1/arms, /v1/budgets and /health/readiness; an API key needs the scope read.

    \b
    Examples:
      banditd top
      banditd top --policy drafts --window-s 600 --interval-s 1
      banditd top --once
      banditd top --json | jq .alarms
    """
    if as_json:
        echo_json(daemon.run(lambda client: take(client, policy, window_s)).as_json())
        return
    screen = console()
    if once or not screen.is_terminal:
        from banditd.cli.frame import frame

        screen.print(frame(daemon.url, daemon.run(lambda client: take(client, policy, window_s)), None))
        return
    with contextlib.suppress(KeyboardInterrupt):
        daemon.run(lambda client: _watch(client, policy, window_s, interval_s))


async def take(client: DaemonClient, policy: str, window_s: int) -> Sample:
    """Ask for everything that a frame shows.

    Raises
    ------
    UnavailableError : no answer. RefusedError : no such policy, or the key may not read.
    """
    from banditd.cli.frame import Sample

    readiness, life, recent, arms, budgets, savings = await asyncio.gather(
        _readiness(client),
        client.call("GET", "/v1/stats", query={"policy": policy}),
        client.call("GET", "/v1/stats", query={"policy": policy, "window_s": window_s}),
        client.call("GET", "/v1/arms", query={"policy": policy}),
        client.call("GET", "/v1/budgets", query={"policy": policy}),
        client.call("GET", "/v1/savings", query={"policy": policy}),
    )
    return Sample(
        at_s=time.monotonic(),
        readiness=readiness,
        life=life,
        recent=recent,
        arms=arms["arms"],
        budgets=budgets["budgets"],
        savings=savings,
    )


async def _readiness(client: DaemonClient) -> dict[str, object]:
    """The report of readiness, also when it is 503."""
    from banditd.client import RefusedError

    try:
        answer: dict[str, object] = await client.call("GET", "/health/readiness")
    except RefusedError as error:
        if "status" not in error.problem:
            raise
        return error.problem
    return answer


async def _watch(client: DaemonClient, policy: str, window_s: int, interval_s: float) -> None:
    """Draw frames until stopped. A daemon that is restarted is waited for, and that is shown."""
    from rich.live import Live

    from banditd.cli.frame import frame
    from banditd.client import TroubleError

    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - it runs in one
    shown = before = await take(client, policy, window_s)
    with Live(frame(client.url, shown, None), console=console(), screen=True, auto_refresh=False) as live:
        while not task.cancelling():  # one of several requests may fail in the moment of a Ctrl-C, and hide it
            await asyncio.sleep(interval_s)
            trouble = None
            try:
                before, shown = shown, await take(client, policy, window_s)
            except UnavailableError:
                trouble = "does not answer; these are the last figures"
            except TroubleError as error:
                trouble = f"answers {error.status}; these are the last figures"
            live.update(frame(client.url, shown, before, trouble), refresh=True)
