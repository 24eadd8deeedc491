"""A thousand open streams in one daemon: what each holds, and whether memory grows while they are open, or again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import aiohttp

from bench.gateway.servers import Subject
from bench.gateway.speed import body
from bench.table import Row

SECTION = "The gateway: open streams in one process"


def measure(subject: Subject, *, streams: int, seconds: float, progress: Callable[[str], None]) -> list[Row]:
    """Waves of streams that have begun and say nothing more; the daemon sends comments every two seconds."""
    waves = [asyncio.run(_wave(subject, streams, seconds)) for _ in range(3)]
    before, opened, _, _ = waves[0]
    grown = max(later - first for _, first, later, _ in waves[1:])
    again = waves[2][1] - waves[1][1]
    for number, wave in enumerate(waves):
        progress(
            f"wave {number}: MiB before, opened, later {[round(one / 2**20, 1) for one in wave[:3]]}, {wave[3]} open"
        )
    return [
        Row(section=SECTION, name="streams open at once", value=min(wave[3] for wave in waves), unit="",
            target=streams, most=False),
        Row(section=SECTION, name="memory of one open stream", value=(opened - before) / streams / 1024, unit="KiB"),
        Row(section=SECTION, name=f"growth in {seconds:g} s of being open", value=grown / 2**20, unit="MiB",
            target=4.0, note="the largest of the second and third wave", detail=True),
        Row(section=SECTION, name="growth from the second wave to the third", value=again / 2**20, unit="MiB",
            target=4.0, detail=True),
    ]  # fmt: skip


async def _wave(subject: Subject, streams: int, seconds: float) -> tuple[int, int, int, int]:
    """Resident bytes before, when all are open, and later; and how many are open then."""
    before = resident(subject.server.pid)
    timeout = aiohttp.ClientTimeout(total=None)
    connector = aiohttp.TCPConnector(limit=0)
    headers = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession(headers=headers, timeout=timeout, connector=connector) as session:

        async def one() -> aiohttp.ClientResponse:
            url = f"{subject.base}/chat/completions"
            answer = await session.post(url, data=body(subject, "stall", stream=True))
            answer.raise_for_status()
            await answer.content.readany()
            return answer

        answers: list[aiohttp.ClientResponse] = []
        for _ in range(streams // 50):
            answers += await asyncio.gather(*(one() for _ in range(50)))
        await _drained(answers, 2.0)
        opened = resident(subject.server.pid)
        await _drained(answers, seconds)
        later = resident(subject.server.pid)
        still = sum(not answer.content.at_eof() and answer.content.exception() is None for answer in answers)
        for answer in answers:
            answer.close()
    await asyncio.sleep(2.0)
    return before, opened, later, still


async def _drained(answers: list[aiohttp.ClientResponse], seconds: float) -> None:
    """Read what comes for so long."""
    readers = [asyncio.ensure_future(_read(answer)) for answer in answers]
    await asyncio.sleep(seconds)
    for reader in readers:
        reader.cancel()
    await asyncio.gather(*readers, return_exceptions=True)


async def _read(answer: aiohttp.ClientResponse) -> None:
    async for _ in answer.content.iter_any():
        pass


def resident(pid: int) -> int:
    """Resident memory of a process, bytes."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return 1024 * int(line.split()[1])
    raise RuntimeError(f"process {pid} is gone")
