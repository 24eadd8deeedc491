"""Unlabelled prompts for fitting feature maps: files of the user, and made-up ones for what files lack.

Only the prompt text is ever read from a file; labels beside it are ignored.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from banditd.core.errors import ConfigurationError

_PHRASES: Final = Path(__file__).resolve().parents[2] / "assets" / "phrases.json"
PROMPTS_NAME: Final = "prompts.jsonl.gz"
_SUFFIXES: Final = (".jsonl", ".jsonl.gz", ".txt", ".txt.gz")


def find_prompt_files(place: Path) -> list[Path]:
    """The prompt files that `place` stands for: itself, or every ``prompts.jsonl.gz`` below it."""
    if place.is_dir():
        return sorted(place.rglob(PROMPTS_NAME))
    return [place]


def read_prompts(path: Path) -> list[str]:
    """Prompts of one file: JSON lines with a ``prompt``, or text with one prompt a line; ``.gz`` as well.

    Raises
    ------
    ConfigurationError
        The file is missing or is not in one of these formats.
    """
    if not path.name.endswith(_SUFFIXES):
        raise ConfigurationError(f"{path}: prompts come from files ending in {', '.join(_SUFFIXES)}.")
    try:
        return list(_prompts(path))
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"No prompts can be read from {path}: {error!r}") from error


def _prompts(path: Path) -> Iterator[str]:
    is_json = ".jsonl" in path.name
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8")
    for line in text.split("\n"):
        if not line.strip():
            continue
        prompt = json.loads(line)["prompt"] if is_json else line.rstrip("\r")
        if isinstance(prompt, str) and prompt.strip():
            yield prompt


def balanced_prompts(files: Sequence[Path], *, per_file: int, seed: int) -> list[str]:
    """At most `per_file` different prompts of each file, drawn with `seed`."""
    chosen: list[str] = []
    for path in files:
        prompts = sorted(set(read_prompts(path)))
        random.Random(seed).shuffle(prompts)
        chosen += prompts[:per_file]
    return chosen


def made_up_prompts(count: int, *, seed: int) -> list[str]:
    """`count` prompts from templates: chat, code, tools, translation and other languages.

    Benchmarks hold few of these, live traffic many; without them such queries would share one cluster.
    """
    draw = random.Random(seed)
    phrases = json.loads(_PHRASES.read_text(encoding="utf-8"))
    patterns, slots = phrases["patterns"], phrases["slots"]
    prompts = []
    for index in range(count):
        pattern = patterns[index % len(patterns)]
        prompts.append(pattern.format_map({name: draw.choice(values) for name, values in slots.items()}))
    return prompts
