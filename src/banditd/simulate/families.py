"""Eight families of queries as template grammars (``assets/traffic.json``). Every prompt is made here, none taken.

The families differ in words, shape and length, as real traffic does; a prompt's difficulty (0 easy, 1 hard)
adds conditions and material, so it can be seen in the text, though not read off it.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_TRAFFIC: Final = json.loads(
    (Path(__file__).resolve().parent.parent / "assets" / "traffic.json").read_text(encoding="utf-8")
)
SLOTS: Final[Slots] = _TRAFFIC["slots"]
"""The vocabulary: the name of a slot, and what may fill it."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One query. ``difficulty`` in [0, 1]; ``output_tokens`` is what a terse good answer needs."""

    family: str
    text: str
    difficulty: float
    output_tokens: int
    turns: int = 1
    tools: int = 0


@dataclass(frozen=True, slots=True)
class Family:
    """A task family.

    openings : templates, one per prompt.
    conditions : templates that harder prompts add, one or more.
    material : makes the text the task is about from the difficulty, or None.
    weight : share of the traffic.
    """

    name: str
    openings: tuple[str, ...]
    conditions: tuple[str, ...]
    output_tokens: int
    weight: float
    material: Callable[[random.Random, float], str] | None = None
    tools: int = 0

    def prompt(self, rng: random.Random) -> Prompt:
        """A random prompt of this family."""
        difficulty = rng.random()
        text = expand(rng.choice(self.openings), SLOTS, rng)
        count = min(len(self.conditions), int(difficulty * 3.999))
        for condition in rng.sample(self.conditions, count):
            text += " " + expand(condition, SLOTS, rng)
        if self.material is not None:
            text += "\n\n" + self.material(rng, difficulty)
        return Prompt(
            family=self.name,
            text=text,
            difficulty=difficulty,
            output_tokens=round(self.output_tokens * (0.6 + difficulty)),
            turns=rng.choice((1, 1, 1, 2, 3, 5)) if self.name == "chat" else 1,
            tools=self.tools,
        )


def draw(rng: random.Random) -> Prompt:
    """A prompt of a random family, by the families' weights."""
    families = list(FAMILIES.values())
    return rng.choices(families, [family.weight for family in families])[0].prompt(rng)


def _sentences(rng: random.Random, least: int, most: int, difficulty: float) -> str:
    count = least + round((most - least) * difficulty)
    return " ".join(expand(rng.choice(SLOTS["report_sentence"]), SLOTS, rng) for _ in range(count))


def _article(rng: random.Random, difficulty: float) -> str:
    paragraphs = [_sentences(rng, 3, 6, difficulty) for _ in range(2 + round(2 * difficulty))]
    return "\n\n".join(paragraphs)


def _records(rng: random.Random, difficulty: float) -> str:
    lines = [expand(rng.choice(SLOTS["record"]), SLOTS, rng) for _ in range(2 + round(6 * difficulty))]
    return "\n".join(lines)


def _foreign(rng: random.Random, difficulty: float) -> str:
    language = rng.choice(("german", "french", "spanish"))
    return " ".join(rng.choice(SLOTS[f"{language}_sentence"]) for _ in range(1 + round(4 * difficulty)))


def _program(rng: random.Random, difficulty: float) -> str:
    body = [expand(rng.choice(SLOTS["code_line"]), SLOTS, rng) for _ in range(2 + round(6 * difficulty))]
    return (
        "```python\n"
        + expand("def {verb_name}({argument}, {argument_two}):", SLOTS, rng)
        + "\n    "
        + ("\n    ".join(body) + "\n```")
    )


def _opinion(rng: random.Random, difficulty: float) -> str:
    return '"' + " ".join(
        expand(rng.choice(SLOTS["review_sentence"]), SLOTS, rng) for _ in range(1 + round(3 * difficulty))
    ) + '"'  # fmt: skip


_MATERIALS: dict[str, Callable[[random.Random, float], str]] = {
    "article": _article,
    "foreign": _foreign,
    "opinion": _opinion,
    "program": _program,
    "records": _records,
}


def _family(name: str, described: dict[str, Any]) -> Family:
    return Family(
        name=name,
        openings=tuple(described["openings"]),
        conditions=tuple(described["conditions"]),
        output_tokens=described["output_tokens"],
        weight=described["weight"],
        material=_MATERIALS[described["material"]] if "material" in described else None,
        tools=described.get("tools", 0),
    )


FAMILIES: Final[Mapping[str, Family]] = {name: _family(name, one) for name, one in _TRAFFIC["families"].items()}


Slots = Mapping[str, Sequence[str]]
_SLOT = re.compile(r"\{([a-z_]+)(?::(-?\d+):(-?\d+))?\}")
_MAX_DEPTH = 12


def expand(template: str, slots: Slots, rng: random.Random) -> str:
    """A random sentence of the grammar that starts at ``template``.

    Raises
    ------
    KeyError : a slot that the grammar does not have.
    """
    for _ in range(_MAX_DEPTH):
        expanded = _SLOT.sub(lambda found: _fill(found, slots, rng), template)
        if expanded == template:
            return expanded
        template = expanded
    raise RecursionError(f"the grammar does not end: {template[:80]}")


def _fill(found: re.Match[str], slots: Slots, rng: random.Random) -> str:
    name, low, high = found.groups()
    if low is not None:
        return str(rng.randint(int(low), int(high)))
    return rng.choice(slots[name])
