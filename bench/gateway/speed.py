"""Latency to the first byte, processor time per chunk, and throughput: everybody in turn in one run."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from dataclasses import dataclass, replace

import aiohttp

from bench.gateway.servers import OTHER, UNDER_BUDGET, Subject
from bench.load import Load, drive
from bench.table import Row

SECTION = "The gateway, a bare proxy and LiteLLM's proxy: one process each, 5 arms, throughput over 16 connections"
DECIDED = "decided"
ASKED = "Why is the sky blue, and the sunset red? Answer in three sentences, please."
CONVERSATIONS = 500


def measure(subjects: list[Subject], *, quick: bool) -> list[Row]:
    """Rows of all parts. The first subject is the upstream itself."""
    everybody = [one for subject in subjects for one in (subject, *_under_budget(subject))]
    calls = asyncio.run(_first_bytes(everybody, rounds=40 if quick else 200))
    rows = _latency_rows(everybody, calls)
    return (
        rows
        + _chunk_rows(subjects[1:], rounds=1 if quick else 4)
        + _throughput_rows(everybody, seconds=2.0 if quick else 5.0)
    )


def _under_budget(subject: Subject) -> list[Subject]:
    """The same with a budget over all calls, where it knows such a thing."""
    if UNDER_BUDGET not in subject.models or subject.name == OTHER:
        return []
    models = {**subject.models, "ok": subject.models[UNDER_BUDGET]}
    return [replace(subject, name=f"{subject.name} under a budget", models=models)]


def body(subject: Subject, model: str, *, stream: bool, number: int = 0) -> bytes:
    """A conversation of its own by its number: the calls of different users have nothing to do with each other."""
    messages = [{"role": "user", "content": f"Question {number}. {ASKED}"}]
    return json.dumps({"model": subject.models[model], "messages": messages, "stream": stream}).encode()


async def _first_bytes(subjects: list[Subject], rounds: int) -> dict[str, list[float]]:
    """Milliseconds to the first byte of a stream's content, everybody in every round; and ours to the decision."""
    taken: dict[str, list[float]] = {DECIDED: [], **{one.name: [] for one in subjects}}
    async with aiohttp.ClientSession(headers={"Content-Type": "application/json"}) as session:
        for number in range(rounds + 10):
            for one in subjects:
                began_s = time.perf_counter()
                data = body(one, "ok", stream=True, number=number)
                async with session.post(f"{one.base}/chat/completions", data=data) as answer:
                    answer.raise_for_status()
                    await answer.content.readany()
                    first_s = time.perf_counter()
                    await answer.read()
                    decided_ms = float(answer.headers.get("x-banditd-overhead-ms", "nan"))
                if number >= 10:  # the first ones warm everything up
                    taken[one.name].append(1e3 * (first_s - began_s))
                    if one.name == "banditd":
                        taken[DECIDED].append(decided_ms)
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
                section=SECTION, name=f"{one.name}: median added to the first byte", value=added[one.name],
                unit="ms", target=3.0 if ours else None, aim=1.5 if ours else None,
                note=f"p95 {spread[-1]:.1f}", detail=one.name == "bare aiohttp proxy",
            )
        )  # fmt: skip
    if taken[DECIDED]:
        rows.append(
            Row(
                section=SECTION, name="banditd: of that, the decision and its durable commit",
                value=statistics.median(taken[DECIDED]), unit="ms", detail=True,
            )
        )  # fmt: skip
    if "LiteLLM proxy" in added and "banditd" in added:
        times = added["LiteLLM proxy"] / max(added["banditd"], 1e-3)
        rows.append(_times("added latency, LiteLLM's proxy over banditd", times))
    if OTHER in added:
        slower = [mine - theirs for mine, theirs in zip(taken["banditd"], taken[OTHER], strict=True)]
        low, _, high = statistics.quantiles(slower, n=4)
        rows.append(
            Row(
                section=SECTION, name="added before the first byte: this tree less the other, call by call",
                value=statistics.median(slower), unit="ms", note=f"middle half {low:+.2f} to {high:+.2f}",
            )
        )  # fmt: skip
    return rows


def _chunk_rows(subjects: list[Subject], rounds: int) -> list[Row]:
    """The first subject is the bare proxy: what a chunk costs that is read from a socket and written to another."""
    rows, bare_us = [], 0.0
    for one in subjects:
        idle = asyncio.run(_idle_share(one))
        us = asyncio.run(_chunk_us(one, rounds, idle))
        bare_us = bare_us or us
        name, idle_ms = f"{one.name}: processor time per streamed chunk", f"{1e3 * idle:.0f}"
        rows.append(
            Row(
                section=SECTION,
                name=name,
                value=us,
                unit="us",
                note=f"one word every 50 ms; {idle_ms} ms a second of idling left out",
                detail=True,
            )
        )
        if one.name == "banditd":
            name = "banditd: processor time that it adds to a streamed chunk"
            rows.append(
                Row(
                    section=SECTION,
                    name=name,
                    value=us - bare_us,
                    unit="us",
                    target=25.0,
                    note="above the bare proxy",
                    detail=True,
                )
            )
    return rows


async def _idle_share(subject: Subject) -> float:
    """Processor seconds that a second of idling takes: jobs that nobody asks for are no chunk's."""
    await _streams(subject, "ok", 5)
    await asyncio.sleep(1.0)
    before_s, seconds = subject.server.cpu_s(), 3.0
    await asyncio.sleep(seconds)
    return (subject.server.cpu_s() - before_s) / seconds


async def _chunk_us(subject: Subject, rounds: int, idle_share: float, streams: int = 100) -> float:
    """Processor time for one chunk while so many streams are open and none begins or ends, in microseconds."""
    used_s = chunks = 0.0
    for _ in range(rounds):
        window = await _window(subject, streams)
        if window is None:  # too slow to have them all open at once
            return await _chunk_us(subject, rounds, idle_share, streams // 2)
        used_s += window.cpu_s - idle_share * window.seconds
        chunks += window.chunks
    return 1e6 * used_s / max(1.0, chunks)


@dataclass(frozen=True, slots=True)
class _Window:
    """From the first chunk of the last stream to the end of the first."""

    cpu_s: float
    seconds: float
    chunks: int


async def _window(subject: Subject, streams: int) -> _Window | None:
    begun, chunks = 0, 0
    all_open, first_over = asyncio.Event(), asyncio.Event()

    async def one(session: aiohttp.ClientSession, delay_s: float) -> None:
        nonlocal begun, chunks
        await asyncio.sleep(delay_s)
        post = session.post(f"{subject.base}/chat/completions", data=body(subject, "ok-slow", stream=True))
        async with post as answer:
            answer.raise_for_status()
            seen = 0
            async for data in answer.content.iter_any():
                begun += not seen
                seen += data.count(b"data: ")
                chunks += data.count(b"data: ")
                if begun == streams:
                    all_open.set()
        first_over.set()

    headers = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=0)) as session:
        running = [asyncio.create_task(one(session, number * 0.005)) for number in range(streams)]
        await all_open.wait()
        before_s, began_s, before = subject.server.cpu_s(), time.perf_counter(), chunks
        whole = not first_over.is_set()
        await first_over.wait()
        window = _Window(subject.server.cpu_s() - before_s, time.perf_counter() - began_s, chunks - before)
        await asyncio.gather(*running)
    return window if (whole and window.seconds > 0.3) or streams <= 10 else None


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
            posts = [body(one, "ok", stream=False, number=number) for number in range(CONVERSATIONS)]
            before_s = one.server.cpu_s()
            load = drive(f"{one.base}/chat/completions", posts, connections=16, seconds=seconds)
            used_us = 1e6 * (one.server.cpu_s() - before_s) / max(1, load.requests)
            if one.name not in best or load.per_s > best[one.name].per_s:
                best[one.name], cost[one.name] = load, used_us
    rows = []
    for one in subjects[1:]:
        name, load = one.name, best[one.name]
        failed = load.bad + load.lost
        rows += [
            Row(
                section=SECTION, name=f"{name}: throughput", value=load.per_s, unit="/s",
                note=f"failed {failed}" if failed else "",
            ),
            Row(section=SECTION, name=f"{name}: p99", value=load.p99_ms, unit="ms"),
            Row(section=SECTION, name=f"{name}: processor time", value=cost[name], unit="us"),
        ]  # fmt: skip
    if "LiteLLM proxy" in best and "banditd" in best:
        times = best["banditd"].per_s / max(best["LiteLLM proxy"].per_s, 1e-3)
        rows.append(_times("throughput, banditd over LiteLLM's proxy", times))
        rows.append(_times("processor time, LiteLLM's proxy over banditd", cost["LiteLLM proxy"] / cost["banditd"]))
    return rows


def _times(name: str, value: float) -> Row:
    return Row(section=SECTION, name=name, value=value, unit="times", target=10.0, most=False)
