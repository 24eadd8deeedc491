"""Processor time of a process, by what its threads do. Linux only: elsewhere there is nothing to read."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

CLOCK_S = 1.0 / os.sysconf("SC_CLK_TCK")


def processor_s(pid: int) -> dict[int, float]:
    """Seconds used so far, user and system, by thread id; the first thread's is that of the process."""
    used: dict[int, float] = {}
    for thread in Path(f"/proc/{pid}/task").glob("*"):
        with contextlib.suppress(OSError):  # a thread that has just ended
            used[int(thread.name)] = _used_s(thread)
    return used


def _used_s(thread: Path) -> float:
    """To the nanosecond where the scheduler keeps that, else in ticks of the clock."""
    precise = thread / "schedstat"
    if precise.exists():
        return int(precise.read_text(encoding="ascii").split()[0]) / 1e9
    fields = (thread / "stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * CLOCK_S


def split_s(pid: int, before: dict[int, float]) -> dict[str, float]:
    """Seconds used since ``before``: of the event loop, of the busiest other thread (the writer), of the rest."""
    used = {thread: now_s - before.get(thread, 0.0) for thread, now_s in processor_s(pid).items()}
    others = sorted((spent for thread, spent in used.items() if thread != pid), reverse=True)
    return {"loop": used.get(pid, 0.0), "writer": sum(others[:1]), "rest": sum(others[1:])}
