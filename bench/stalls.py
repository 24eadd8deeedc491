"""How long one client's request keeps others waiting: ``python -m bench.stalls``.

A daemon as a process, keyless, on SQLite. One client asks ``/health/liveness`` every few milliseconds while another
sends one case again and again. Shown are the median, the 99.9th percentile and the longest wait for liveness. The
first row is the same without the other client: what the machine itself adds.

A case is a line of ``CASES``: a name, a path, the headers beside its type, and a function that makes the body.
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import json
import tempfile
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from banditd.cli.process import start_daemon, stop_daemon, wait_until_serving

ROOT = Path(__file__).resolve().parents[1]
TARGET_MS = 50.0
PAUSE_S = 0.002


def bomb() -> bytes:
    """1.6 GB of one letter, as 1.5 MB of gzip."""
    engine = zlib.compressobj(9, zlib.DEFLATED, 31)
    letters = b"a" * 1_000_000
    pieces = [engine.compress(b'{"input":"'), *(engine.compress(letters) for _ in range(1_600))]
    return b"".join([*pieces, engine.compress(b'"}'), engine.flush()])


def fields(count: int) -> bytes:
    return json.dumps({"input": "x", **{f"f{n}": 1 for n in range(count)}}).encode()


@dataclass(frozen=True)
class Case:
    name: str
    path: str
    body: Callable[[], bytes]
    headers: dict[str, str] = field(default_factory=dict)


GZIP = {"Content-Encoding": "gzip"}
CASES = (
    Case("gzip bomb, a route", "/v1/route", bomb, GZIP),
    Case("gzip bomb, no such path", "/nowhere", bomb, GZIP),
    Case("gzip bomb, another origin", "/v1/route", bomb, GZIP | {"Origin": "http://evil.example"}),
    Case("gzip of 1 MB of text", "/v1/route", lambda: gzip.compress(b'{"input":"%s"}' % (b"ab" * 499_000)), GZIP),
    Case("150,000 unknown fields", "/v1/route", lambda: fields(150_000)),
    Case("25,000 unknown fields", "/v1/route", lambda: fields(25_000)),
    Case("600,000 empty queries", "/v1/route/batch", lambda: b'{"queries":[%s]}' % b",".join([b"{}"] * 600_000)),
)  # fmt: skip


def waits_ms(url: str, case: Case | None, seconds: float) -> np.ndarray:
    """Milliseconds that each question for liveness took while the case was sent."""
    address = urlsplit(url)
    ended = threading.Event()

    def send(body: bytes, sent: Case) -> None:
        while not ended.is_set():
            connection = http.client.HTTPConnection(address.hostname or "", address.port)
            try:
                connection.request("POST", sent.path, body, {"Content-Type": "application/json", **sent.headers})
                connection.getresponse().read()
            except OSError:
                pass  # refused before all of it was sent
            finally:
                connection.close()

    sender = None if case is None else threading.Thread(target=send, args=(case.body(), case))
    if sender is not None:
        sender.start()
    found = []
    asking = http.client.HTTPConnection(address.hostname or "", address.port)
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        started = time.perf_counter()
        asking.request("GET", "/health/liveness")
        asking.getresponse().read()
        found.append((time.perf_counter() - started) * 1e3)
        time.sleep(PAUSE_S)
    ended.set()
    if sender is not None:
        sender.join()
    return np.array(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each case")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    asked = parser.parse_args()
    print(f"| while others send | asked | median ms | p99.9 ms (at most {TARGET_MS:g}) | longest ms |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        process = start_daemon(database=f"sqlite:///{folder}/b.db", config=ROOT / "config.yaml")
        try:
            url = wait_until_serving(process)
            for case in (None, *(case for case in CASES if asked.only in case.name)):
                waits = waits_ms(url, case, asked.seconds)
                median, high = np.quantile(waits, (0.5, 0.999))
                name = "nothing" if case is None else case.name
                print(f"| {name} | {waits.size} | {median:.1f} | {high:.1f} | {waits.max():.1f} |", flush=True)
        finally:
            stop_daemon(process)


if __name__ == "__main__":
    main()
