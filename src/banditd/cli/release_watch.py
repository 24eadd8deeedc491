"""``banditd release status --watch``: a release, drawn again at every look until it has ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import click

from banditd.cli.release_frame import event_lines, lines_of, way_lines
from banditd.cli.show import console
from banditd.core.errors import UnavailableError
from banditd.core.release import OPEN

if TYPE_CHECKING:
    from banditd.client import DaemonClient

EVENTS_SHOWN: Final = 5
Look = Mapping[str, Any]
"""The release, with its ``points`` and ``events``."""


async def watch_release(client: DaemonClient, release_id: str, interval_s: float, *, as_json: bool) -> None:
    """Show it at every look. A daemon that does not answer is waited for, and that is shown.

    Raises
    ------
    UnavailableError : no answer to the first question. RefusedError : no such release, or the key may not read.
    """
    from banditd.client import TroubleError

    seen = await look_at(client, release_id)
    with _screen(as_json) as show:
        show(seen, None)
        while seen["phase"] in OPEN:
            await asyncio.sleep(interval_s)
            try:
                seen = await look_at(client, release_id)
            except UnavailableError:
                show(seen, "the daemon does not answer; it stood so")
            except TroubleError as error:
                show(seen, f"the daemon answers {error.status}; it stood so")
            else:
                show(seen, None)


async def look_at(client: DaemonClient, release_id: str) -> Look:
    """The release, how it got there, and its history."""
    place = f"/v1/releases/{release_id}"
    release, points, events = await asyncio.gather(
        client.call("GET", place), client.call("GET", f"{place}/points"), client.call("GET", f"{place}/events")
    )
    return {**release, **points, **events}


def frame_of(seen: Look, trouble: str | None) -> str:
    """All that one look shows."""
    lines = [*lines_of(seen), "", *way_lines(seen, seen["points"]), "", *event_lines(seen["events"][-EVENTS_SHOWN:])]
    return "\n".join([*([] if trouble is None else [trouble, ""]), *lines])


def _json_line(seen: Look, trouble: str | None) -> str:
    """The release alone: how it got there is in the lines before."""
    release = {name: value for name, value in seen.items() if name not in {"points", "events"}}
    return json.dumps({**release, "trouble": trouble}, ensure_ascii=False)


@contextlib.contextmanager
def _screen(as_json: bool) -> Iterator[Callable[[Look, str | None], None]]:
    """How looks are shown: a line of JSON each, in place on a terminal, one below the other in a pipe."""
    if as_json:
        yield lambda seen, trouble: click.echo(_json_line(seen, trouble))
        return
    screen = console()
    if not screen.is_terminal:
        yield lambda seen, trouble: click.echo(frame_of(seen, trouble) + "\n")
        return
    from rich.live import Live
    from rich.text import Text

    last = Text("")
    with Live(last, console=screen, screen=True, auto_refresh=False) as live:

        def show(seen: Look, trouble: str | None) -> None:
            nonlocal last
            last = Text(frame_of(seen, trouble))
            live.update(last, refresh=True)

        yield show
    screen.print(last)  # the last look stays when the screen is given back
