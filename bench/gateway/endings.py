"""What each fault ends as for the official client: straight from the upstream, and through each gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import openai

from bench.faulty.faults import FAULTS
from bench.faulty.shapes import TEXT
from bench.gateway.servers import Subject
from bench.table import Row

SECTION = "The gateway: how faults end for OpenAI's client (nobody else to ask)"
ASKED: Any = [{"role": "user", "content": "Say hello."}]
OTHER_TEXTS = frozenset({"ok-long", "ok-slow", "ok-large", "ok-empty", "ok-tools"})
WAIT_S = 12.0
SILENT = "ends well, cut short"
# How the document says it.
_SHORT = {SILENT: "cut short", "error in the stream": "error"}
Endings = Mapping[str, Mapping[tuple[str, bool], str]]
"""By subject: what became of each (fault, streamed)."""


def measure(subjects: list[Subject], *, quick: bool, progress: Callable[[str], None]) -> tuple[list[Row], Endings]:
    names = [name for name, fault in FAULTS.items() if fault.ending != "hang" and name != "ok-large"]
    if quick:
        names = [name for name in names if FAULTS[name].ending == "error"]
    found: dict[str, dict[tuple[str, bool], str]] = {}
    for one in subjects:
        if one.name == "bare aiohttp proxy":
            continue
        progress(f"faults: {one.name}")
        found[one.name] = asyncio.run(_endings(one, names))
    return [row for name, endings in found.items() for row in _rows(name, endings)], found


async def _endings(subject: Subject, names: list[str]) -> dict[tuple[str, bool], str]:
    models = {**subject.models, **{name: f"banditd/faults/arm/{name}" for name in names if subject.name == "banditd"}}
    limit = asyncio.Semaphore(32)
    async with openai.AsyncOpenAI(base_url=subject.base, api_key="none", max_retries=0, timeout=WAIT_S) as ai:

        async def one(name: str, stream: bool) -> tuple[tuple[str, bool], str]:
            async with limit:
                return (name, stream), await _ending(ai, models[name], name, stream=stream)

        return dict(await asyncio.gather(*(one(name, stream) for name in names for stream in (True, False))))


async def _ending(ai: openai.AsyncOpenAI, model: str, name: str, *, stream: bool) -> str:
    try:
        text = await asyncio.wait_for(read(ai, model, stream=stream), WAIT_S)
    except (TimeoutError, openai.APITimeoutError):
        return "hangs"
    except openai.APIStatusError as error:
        return f"error {error.status_code}"
    except openai.APIError:
        return "error in the stream" if stream else "error"
    except Exception as error:  # what no application expects of its client
        return f"{type(error).__name__} of the client's own"
    if FAULTS[name].ending == "answer":
        return "answer" if text == TEXT or name in OTHER_TEXTS else SILENT
    return SILENT


async def read(ai: openai.AsyncOpenAI, model: str = "banditd/auto", *, stream: bool = True) -> str:
    """The text of an answer."""
    if not stream:
        whole = await ai.chat.completions.create(model=model, messages=ASKED)
        return whole.choices[0].message.content or ""
    text = ""
    async for chunk in await ai.chat.completions.create(model=model, messages=ASKED, stream=True):
        text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
    return text


def _rows(name: str, endings: Mapping[tuple[str, bool], str]) -> list[Row]:
    ours = name == "banditd"
    silent = sum(ending == SILENT for ending in endings.values())
    right = sum(_as_said(fault, ending) for (fault, _), ending in endings.items())
    hangs = sum(ending == "hangs" for ending in endings.values())
    return [
        Row(section=SECTION, name=f"{name}: silent truncations", value=silent, unit="", target=0 if ours else None),
        Row(section=SECTION, name=f"{name}: hangs", value=hangs, unit=""),
        Row(section=SECTION, name=f"{name}: ends as it should", value=right, unit="",
            target=len(endings) if ours else None, most=False),
    ]  # fmt: skip


def _as_said(fault: str, ending: str) -> bool:
    """A whole answer where there was one, else an error of the client's own kinds."""
    wanted = FAULTS[fault].ending
    return ending == "answer" if wanted == "answer" else ending.startswith("error")


def worst(found: Endings) -> Endings:
    """The faults that somewhere end as half an answer that looks whole."""
    bad = {fault for seen in found.values() for (fault, _), ending in seen.items() if ending == SILENT}
    return {name: {key: ending for key, ending in seen.items() if key[0] in bad} for name, seen in found.items()}


def table(found: Endings) -> str:
    """Markdown: a line per fault, a column per subject: how streams end, and whole answers where that is worse."""
    subjects = list(found)
    lines = ["| model | what it does | " + " | ".join(subjects) + " |", "|---|---|" + "---|" * len(subjects)]
    names = dict.fromkeys(fault for endings in found.values() for fault, _ in endings)
    for fault in names:
        cells = [_both(found[name][fault, True], found[name][fault, False]) for name in subjects]
        lines.append(f"| `{fault}` | {FAULTS[fault].says} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _both(streamed: str, whole: str) -> str:
    """Of a whole answer only where it does worse: an application waits, or takes half of it for all."""
    worse = whole in {SILENT, "hangs"} and whole != streamed
    shown = _SHORT.get(streamed, streamed)
    return f"{shown}; whole: {_SHORT.get(whole, whole)}" if worse else shown
