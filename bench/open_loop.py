"""Open-loop load: requests come at a fixed rate, whether or not the earlier ones are answered.

A closed loop (``bench.load``) stops asking while the server is slow, and so never sees the queue that real traffic
would make. Here arrivals are Poisson, and latency counts from the time a request was meant to be sent.

``python -m bench.open_loop URL RATE SECONDS BODIES_FILE`` prints the result as JSON; ``python -m bench.open_loop``
alone measures the daemon beside the bare handler, closed and open, with processor time by thread.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from bench.http import Server, bare_handler, daemon, teach
from bench.load import drive
from bench.queries import text_bodies
from bench.threads import processor_s, split_s

CONNECTIONS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenLoad:
    """Latencies in milliseconds, from the intended time. late : sent over a millisecond after it, by the client."""

    requests: int
    per_s: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    bad: int
    late: int


class _Seen:
    def __init__(self) -> None:
        self.latencies_s: list[float] = []
        self.bad = self.late = 0


async def _connection(host: str, port: int, queue: asyncio.Queue[tuple[float, bytes] | None], seen: _Seen) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    while (item := await queue.get()) is not None:
        intended_s, request = item
        seen.late += time.perf_counter() - intended_s > 1e-3
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
        seen.latencies_s.append(time.perf_counter() - intended_s)
        seen.bad += int(head[9:12]) >= 400
    writer.close()


async def _play(url: str, rate_per_s: float, seconds: float, bodies: list[bytes]) -> OpenLoad:
    parts = urlsplit(url)
    head = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\nContent-Length: "
    requests = [f"{head}{len(body)}\r\n\r\n".encode() + body for body in bodies]
    queue: asyncio.Queue[tuple[float, bytes] | None] = asyncio.Queue()
    seen, generator = _Seen(), random.Random(1)
    clients = [
        asyncio.create_task(_connection(parts.hostname or "", parts.port or 80, queue, seen))
        for _ in range(CONNECTIONS)
    ]
    began_s = next_s = time.perf_counter()
    index = 0
    while next_s < began_s + seconds:
        wait_s = next_s - time.perf_counter()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        queue.put_nowait((next_s, requests[index % len(requests)]))
        index += 1
        next_s += generator.expovariate(rate_per_s)
    for _ in clients:
        queue.put_nowait(None)
    await asyncio.gather(*clients)
    ranked = sorted(seen.latencies_s)

    def quantile_ms(q: float) -> float:
        return 1e3 * ranked[min(int(q * len(ranked)), len(ranked) - 1)]

    return OpenLoad(
        requests=len(ranked),
        per_s=len(ranked) / (time.perf_counter() - began_s),
        p50_ms=quantile_ms(0.5),
        p99_ms=quantile_ms(0.99),
        p999_ms=quantile_ms(0.999),
        bad=seen.bad,
        late=seen.late,
    )


def drive_open(url: str, bodies: list[bytes], *, rate_per_s: float, seconds: float) -> OpenLoad:
    """POST the bodies in turn at that rate, from a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bodies"
        file.write_bytes(b"\n".join(bodies) + b"\n")
        command = [sys.executable, "-m", "bench.open_loop", url, f"{rate_per_s:g}", f"{seconds:g}", str(file)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    return OpenLoad(**json.loads(done.stdout))


def _closed(server: Server, bodies: list[bytes], connections: int, seconds: float) -> tuple[float, str]:
    """(requests a second, what is to be printed)."""
    before = processor_s(server.pid)
    load = drive(f"{server.url}/v1/route", bodies, connections=connections, seconds=seconds)
    used = {name: 1e6 * spent / max(load.requests, 1) for name, spent in split_s(server.pid, before).items()}
    split = ", ".join(f"{name} {us:.0f}" for name, us in used.items())
    text = f"{load.per_s:,.0f}/s, p50 {load.p50_ms:.2f}, p99 {load.p99_ms:.2f} ms; processor us a request: {split}"
    return load.per_s, f"{text}, all {sum(used.values()):.0f}"


def measure(folder: Path, *, rounds: int, seconds: float) -> None:
    """Print, round by round: both servers closed at 16 and 1 connections, then open at half of what each can."""
    bodies = text_bodies()
    with bare_handler() as bare, daemon(folder) as ours:
        asyncio.run(teach(ours.url, 400))
        _closed(ours, bodies, 16, 1.0)
        fastest = {"bare": 0.0, "daemon": 0.0}
        for _ in range(rounds):
            for connections in (16, 1):
                for name, server in (("bare", bare), ("daemon", ours)):
                    per_s, text = _closed(server, bodies, connections, seconds)
                    if connections == 16:
                        fastest[name] = max(fastest[name], per_s)
                    print(f"closed, {connections:2d} connections, {name:6}: {text}", flush=True)
        for _ in range(rounds):
            for name, server in (("bare", bare), ("daemon", ours)):
                rate = fastest[name] / 2
                open_load = drive_open(f"{server.url}/v1/route", bodies, rate_per_s=rate, seconds=seconds)
                print(f"open at half of its own saturation, {name:6}: {asdict(open_load)}", flush=True)


if __name__ == "__main__":
    import uvloop

    if len(sys.argv) == 5:
        url, rate, seconds, file = sys.argv[1:]
        lines = Path(file).read_bytes().splitlines()
        print(json.dumps(asdict(uvloop.run(_play(url, float(rate), float(seconds), lines)))))
    else:
        with tempfile.TemporaryDirectory(prefix="banditd-open-loop-") as place:
            measure(Path(place), rounds=3, seconds=float(sys.argv[1]) if len(sys.argv) > 1 else 4.0)
