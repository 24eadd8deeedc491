"""How long a health check waits while long texts and large batches are routed: a table of cases.

    python -m bench.text_stalls [--seconds 5]

One process serves; a client sends the case again and again, another asks for /health/liveness every few
milliseconds and notes how long each answer took.
"""

from __future__ import annotations

import argparse
import http.client
import json
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from banditd.cli.process import own_daemon

BATCH = 256
CHARS = 7_900
PAUSE_S = 0.002
JSON = {"Content-Type": "application/json"}
CONFIG = """
policies: {default: {arms: [{arm: small, price: {usd_per_mtok_in: 0.1, usd_per_mtok_out: 0.4}},
                            {arm: large, price: {usd_per_mtok_in: 3, usd_per_mtok_out: 15}}]}}
"""


def _text(characters: str, count: int, seed: int) -> str:
    return "".join(np.random.default_rng(seed).choice(list(characters), count))


def _batch(make: Callable[[int], str]) -> bytes:
    return json.dumps({"queries": [{"input": make(index)} for index in range(BATCH)]}, ensure_ascii=False).encode()


IDEOGRAPHS = "".join(map(chr, range(0x4E00, 0x9FA6)))
SYLLABLES = "".join(map(chr, range(0xAC00, 0xD7A4)))
LETTERS = "abcdefghijklmnopqrstuvwxyz"
CASES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "batch of 256, prose": (
        "/v1/route/batch",
        lambda: _batch(lambda i: f"The quick brown fox {i}. " * (CHARS // 26)),
    ),
    "batch of 256, xxxx": ("/v1/route/batch", lambda: _batch(lambda _: "x" * CHARS)),
    "batch of 256, unknown words": (
        "/v1/route/batch",
        lambda: _batch(lambda i: _text(LETTERS + " ", CHARS, i)),
    ),
    "batch of 256, ideographs": ("/v1/route/batch", lambda: _batch(lambda i: _text(IDEOGRAPHS, CHARS // 3, i))),
    "batch of 256, syllables": ("/v1/route/batch", lambda: _batch(lambda i: _text(SYLLABLES, CHARS // 3, i))),
    "one text of 6,000 ideographs": (
        "/v1/route",
        lambda: json.dumps({"input": _text(IDEOGRAPHS, 6_000, 1)}, ensure_ascii=False).encode(),
    ),
    "one text of 1,000,000 letters": ("/v1/route", lambda: json.dumps({"input": _text(LETTERS, 10**6, 1)}).encode()),
    "one text of 300,000 half characters": ("/v1/route", lambda: b'{"input": "' + rb"\ud83d" * 300_000 + b'"}'),
    "one text that is not UTF-8, 1 MB": ("/v1/route", lambda: b'{"input": "' + b"\xe9 " * 490_000 + b'"}'),
}


def waits_of(port: int, path: str, body: bytes, seconds: float) -> tuple[list[float], int]:
    """Waiting times of the health check in seconds, and how many requests of the case were answered meanwhile."""
    until = time.monotonic() + seconds
    answered = 0

    def send() -> None:
        nonlocal answered
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while time.monotonic() < until:
            connection.request("POST", path, body, JSON)
            answer = connection.getresponse()
            said = answer.read()
            assert answer.status == 200, (answer.status, said[:300])
            answered += 1
        connection.close()

    sender = threading.Thread(target=send)
    sender.start()
    health = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    waits = []
    while sender.is_alive():
        started = time.perf_counter()
        health.request("GET", "/health/liveness")
        health.getresponse().read()
        waits.append(time.perf_counter() - started)
        time.sleep(PAUSE_S)
    health.close()
    return waits, answered


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="of every case")
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")
        with own_daemon(database=f"sqlite:///{folder / 'stalls.db'}", config=folder / "config.yaml") as url:
            port = int(url.rsplit(":", 1)[1])
            print(f"{'case':36} {'requests':>8} {'checks':>7} {'median ms':>9} {'p99.9 ms':>9} {'longest ms':>10}")
            for case, (path, make) in CASES.items():
                waits, answered = waits_of(port, path, make(), seconds)
                middle, tail, longest = np.quantile(waits, [0.5, 0.999, 1.0]) * 1e3
                print(f"{case:36} {answered:8} {len(waits):7} {middle:9.1f} {tail:9.1f} {longest:10.1f}", flush=True)


if __name__ == "__main__":
    main()
