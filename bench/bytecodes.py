"""How much Python one request runs: calls and bytecodes, counted in a daemon of its own process.

``python -m bench.bytecodes CONNECTIONS`` prints where they are, largest first; ``--json`` prints the sums.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import uvloop
import yaml
from aiohttp import web

from banditd.daemon.open import Daemon, open_services
from banditd.daemon.serve import web_settings
from banditd.settings import Settings
from banditd.web.app import create_app
from banditd.web.connection import Runner
from bench.http import CONFIG, PROMISED, teach
from bench.queries import text_bodies

_CLIENT = {__file__, asyncio.streams.__file__}  # of the client, which runs here too
BODIES = 64
COUNTED = 6  # rounds: one request of every connection each; before them every body was sent once


class Counting:
    """Counts calls and bytecodes of every thread while ``on``."""

    def __init__(self) -> None:
        self.on = False
        self.calls: dict[str, Counter[CodeType]] = {"loop": Counter(), "writer": Counter()}
        self.bytecodes: dict[str, Counter[CodeType]] = {"loop": Counter(), "writer": Counter()}
        self._loop = threading.get_ident()

    def trace(self, frame: FrameType, event: str, _: object) -> Any:
        """For ``sys.settrace``; frames that are entered while nothing is counted are left alone."""
        if not self.on or frame.f_code.co_filename in _CLIENT:
            return None
        where = "loop" if threading.get_ident() == self._loop else "writer"
        if where == "writer" and threading.current_thread().name != "banditd-write":
            return None  # background work, as much as the clock says
        if event == "call":
            self.calls[where][frame.f_code] += 1
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        elif event == "opcode":
            self.bytecodes[where][frame.f_code] += 1
        return self.trace


@asynccontextmanager
async def serving(folder: Path, extra: str = "") -> AsyncIterator[str]:
    """The daemon's application in this process; the URL that it answers."""
    config = yaml.safe_load(CONFIG.format(access="true") + extra)
    settings = Settings(**config, database={"url": f"sqlite:///{folder}/counted.db"}, server={"port": 0})

    @asynccontextmanager
    async def opened() -> AsyncIterator[Daemon]:
        async with open_services(settings, start_jobs=False) as daemon:
            yield daemon

    runner = Runner(
        create_app(opened, web_settings(settings)), header_timeout_s=60, write_timeout_s=60, access_log=None
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


async def count(connections: int, counting: Counting, extra: str = "") -> int:
    """Send the same requests over so many connections, round by round; how many were counted."""
    bodies, warm = text_bodies(BODIES), max(4, BODIES // connections)
    with tempfile.TemporaryDirectory(prefix="banditd-bytecodes-") as folder:
        async with serving(Path(folder), extra) as url:
            await teach(url, 50)
            host, port = url.removeprefix("http://").split(":")
            opened = [await asyncio.open_connection(host, int(port)) for _ in range(connections)]
            for at in range(warm + COUNTED):
                for k, (_, writer) in enumerate(opened):
                    body = bodies[(at * connections + k) % len(bodies)]
                    head = "POST /v1/route HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
                counting.on = at >= warm
                answered = [asyncio.create_task(reader.readuntil(b"\r\n\r\n")) for reader, _ in opened]
                await asyncio.wait(answered)
                counting.on = False
                for (reader, _), head in zip(opened, answered, strict=True):
                    await reader.readexactly(int(head.result().lower().split(b"content-length:")[1].split()[0]))
            for _, writer in opened:
                writer.close()
    return connections * COUNTED


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.bytecodes", description=__doc__)
    parser.add_argument("connections", type=int)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--promise", action="store_true", help="under a promise")
    given = parser.parse_args()
    counting = Counting()
    threading.settrace(counting.trace)
    sys.settrace(counting.trace)
    requests = uvloop.run(count(given.connections, counting, PROMISED if given.promise else ""))
    sys.settrace(None)
    sums = {
        name: {where: sum(found.values()) / requests for where, found in kinds.items()}
        for name, kinds in (("calls", counting.calls), ("bytecodes", counting.bytecodes))
    }
    if given.json:
        print(json.dumps(sums))
        return
    print(sums)
    for where, found in counting.bytecodes.items():
        print(where)
        for code, times in found.most_common(80):
            name = "/".join(code.co_filename.split("/")[-2:])
            calls = counting.calls[where][code] / requests
            print(f"  {times / requests:7.1f} in {calls:6.2f} calls  {name}:{code.co_firstlineno} {code.co_qualname}")


if __name__ == "__main__":
    main()
