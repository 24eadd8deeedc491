"""Latency to the first byte, processor time per chunk, and throughput: everybody in turn in one run."""

from __future__ import annotations

import asyncio
import json
import statistics
import time

import aiohttp

from bench.gateway.servers import Subject
from bench.load import Load, drive, tool
from bench.table import Row

SECTION = "The gateway beside a bare proxy and LiteLLM's proxy: speed (one process each, durable commit, 5 arms)"
SLOW_EVENTS = 40  # of the model ok-slow: one every 50 ms, so every one is a read and a write of its own
ASKED = [{"role": "user", "content": "Why is the sky blue, and the sunset red? Answer in three sentences, please."}]


def measure(subjects: list[Subject], *, quick: bool) -> list[Row]:
    """Rows of all parts. The first subject is the upstream itself."""
    calls = asyncio.run(_first_bytes(subjects, rounds=40 if quick else 200))
    rows = _latency_rows(subjects, calls)
    chunks = {one.name: asyncio.run(_chunk_us(one, streams=30 if quick else 100)) for one in subjects[1:]}
    bare_us = chunks["bare aiohttp proxy"]
    for one in subjects[1:]:
        ours = one.name == "banditd"
        rows.append(
            Row(
                section=SECTION, name=f"{one.name}: processor time per streamed chunk", value=chunks[one.name],
                unit="us", target=25.0 if ours else None,
                note="one word every 50 ms a stream, so every chunk is a read and a write of its own",
            )
        )  # fmt: skip
        if ours:
            rows.append(
                Row(
                    section=SECTION, name="banditd: processor time that it adds to a streamed chunk",
                    value=chunks[one.name] - bare_us, unit="us",
                    note="above the bare proxy, which reads the chunk from a socket and writes it to another",
                )
            )  # fmt: skip
    return rows + _throughput_rows(subjects, seconds=2.0 if quick else 5.0)


def body(subject: Subject, model: str, *, stream: bool) -> bytes:
    return json.dumps({"model": subject.models[model], "messages": ASKED, "stream": stream}).encode()


async def _first_bytes(subjects: list[Subject], rounds: int) -> dict[str, list[float]]:
    """Milliseconds to the first byte of a stream's content, everybody in every round."""
    taken: dict[str, list[float]] = {one.name: [] for one in subjects}
    async with aiohttp.ClientSession(headers={"Content-Type": "application/json"}) as session:
        for number in range(rounds + 10):
            for one in subjects:
                began_s = time.perf_counter()
                async with session.post(f"{one.base}/chat/completions", data=body(one, "ok", stream=True)) as answer:
                    answer.raise_for_status()
                    await answer.content.readany()
                    first_s = time.perf_counter()
                    await answer.read()
                if number >= 10:  # the first ones warm everything up
                    taken[one.name].append(1e3 * (first_s - began_s))
    return taken


def _latency_rows(subjects: list[Subject], taken: dict[str, list[float]]) -> list[Row]:
    direct = statistics.median(taken[subjects[0].name])
    added = {one.name: statistics.median(taken[one.name]) - direct for one in subjects[1:]}
    rows = []
    for one in subjects[1:]:
        ours = one.name == "banditd"
        spread = statistics.quantiles(taken[one.name], n=20)
        rows.append(
            Row(
                section=SECTION, name=f"{one.name}: added median before the first byte", value=added[one.name],
                unit="ms", target=3.0 if ours else None, aim=1.5 if ours else None,
                note=f"median {statistics.median(taken[one.name]):.2f} ms, p95 {spread[-1]:.2f} ms; upstream itself "
                f"{direct:.2f} ms",
            )
        )  # fmt: skip
    if "LiteLLM proxy" in added and "banditd" in added:
        times = added["LiteLLM proxy"] / max(added["banditd"], 1e-3)
        rows.append(_times("added latency: LiteLLM's proxy over banditd", times))
    return rows


async def _chunk_us(subject: Subject, streams: int) -> float:
    """Processor time for one more chunk: that of slow streams less that of as many short answers, in microseconds."""
    await _streams(subject, "ok", 5)
    before_s = subject.server.cpu_s()
    await _streams(subject, "ok", streams)
    between_s = subject.server.cpu_s()
    words = 5
    await _streams(subject, "ok-slow", streams)
    taken_s = (subject.server.cpu_s() - between_s) - (between_s - before_s)
    return 1e6 * taken_s / (streams * (SLOW_EVENTS - words))


async def _streams(subject: Subject, model: str, count: int) -> None:
    timeout = aiohttp.ClientTimeout(total=120)
    connector = aiohttp.TCPConnector(limit=0)
    headers = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession(headers=headers, timeout=timeout, connector=connector) as session:

        async def one(delay_s: float) -> None:
            await asyncio.sleep(delay_s)
            post = session.post(f"{subject.base}/chat/completions", data=body(subject, model, stream=True))
            async with post as answer:
                answer.raise_for_status()
                await answer.read()

        await asyncio.gather(*(one(number * 0.005) for number in range(count)))


def _throughput_rows(subjects: list[Subject], seconds: float) -> list[Row]:
    """Answers in one piece, 16 connections, everybody twice in turn; the better round counts."""
    best: dict[str, Load] = {}
    cost: dict[str, float] = {}
    for _ in range(2):
        for one in subjects[1:]:
            posts = [body(one, "ok", stream=False)]
            before_s = one.server.cpu_s()
            load = drive(f"{one.base}/chat/completions", posts, connections=16, seconds=seconds)
            used_us = 1e6 * (one.server.cpu_s() - before_s) / max(1, load.requests)
            if one.name not in best or load.per_s > best[one.name].per_s:
                best[one.name], cost[one.name] = load, used_us
    rows = [
        Row(
            section=SECTION, name=f"{one.name}: throughput, 16 connections", value=best[one.name].per_s, unit="/s",
            note=f"p50 {best[one.name].p50_ms:.1f} ms, p99 {best[one.name].p99_ms:.1f} ms ({tool()}); processor time "
            f"per call {cost[one.name]:.0f} us; failed {best[one.name].bad + best[one.name].lost}",
        )
        for one in subjects[1:]
    ]  # fmt: skip
    if "LiteLLM proxy" in best and "banditd" in best:
        times = best["banditd"].per_s / max(best["LiteLLM proxy"].per_s, 1e-3)
        rows.append(_times("throughput: banditd over LiteLLM's proxy", times))
        rows.append(
            _times("processor time per call: LiteLLM's proxy over banditd", cost["LiteLLM proxy"] / cost["banditd"])
        )
    return rows


def _times(name: str, value: float) -> Row:
    return Row(section=SECTION, name=name, value=value, unit="times", target=10.0, most=False)
