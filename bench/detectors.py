"""What constraints detect by name: the time of a query, and of a text that was written to take long."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from banditd.detectors.detector import detector
from bench.queries import texts
from bench.table import Row

SECTION = "Detectors of constraints, in process, one thread"
NAMES = ("code", "secrets", "language:de", "pii:CREDIT_CARD", "pii")
CHARS = 100_000
HOSTILE = ("word ", "4111 ", "a@", "DE89 ", "1 ", "password=", "a.", "\n", "key='", "+1 ", "A1B2 ", "x://a:", "eyJ.")


def measure(*, quick: bool) -> list[Row]:
    queries = texts(200 if quick else 2000, seed=1)
    rows = []
    for name in NAMES:
        found = detector([name])
        slowest_ms, text = max((_ms(found, (piece * CHARS)[:CHARS]), piece) for piece in HOSTILE)
        rows += [
            Row(
                section=SECTION,
                name=f"{name}: a query of {statistics.median(map(len, queries)):.0f} characters, median",
                value=statistics.median(_ms(found, query) for query in queries) * 1e3,
                unit="us",
            ),
            Row(
                section=SECTION,
                name=f"{name}: the slowest text of {CHARS:,} characters",
                value=slowest_ms,
                unit="ms",
                note=f"{text!r} again and again; long texts are searched in a thread",
            ),
        ]
    return rows


def _ms(found: Callable[[str], bool], text: str) -> float:
    began_s = time.perf_counter()
    found(text)
    return (time.perf_counter() - began_s) * 1e3
