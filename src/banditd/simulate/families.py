"""Eight families of queries as template grammars. Every prompt is made here; none is taken from a data set.

The families differ in words, shape and length, as real traffic does; a prompt's difficulty (0 easy, 1 hard)
adds conditions and material, so it can be seen in the text, though not read off it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from banditd.simulate.grammar import expand
from banditd.simulate.words import SLOTS


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


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family(
            name="chat",
            openings=(
                "Hi! {small_talk}",
                "I feel {feeling} since {life_event}. What would you do in my place?",
                "What should I {cook_verb} with {ingredient}, {ingredient} and {ingredient}?",
                "Can you recommend {medium} for somebody who likes {interest}?",
                "My {relative} turns {number:5:90} next week. Any ideas for a present? They love {interest}.",
                "Tell me something surprising about {interest}.",
            ),
            conditions=(
                "Please keep it friendly and short.",
                "I have tried {interest} already and it bored me.",
                "Last time you suggested {medium}, and I did not like it.",
                "Explain it as you would to a {age_group}.",
            ),
            output_tokens=160,
            weight=0.2,
        ),
        Family(
            name="code",
            openings=(
                "Write a {language} function that {code_task}.",
                "Why does this raise {exception}? Fix it and explain the bug.",
                "Refactor this code so that it is {code_quality}.",
                "Write unit tests with {test_tool} for the function below.",
                "Convert the function below from Python to {language}.",
                "Give me a SQL query that returns {sql_thing} per {sql_group}, last {number:2:90} days.",
            ),
            conditions=(
                "It must run in O(n log n) and must not allocate more than one list.",
                "Handle empty input, None and unicode.",
                "It has to be thread-safe under {number:2:64} concurrent callers.",
                "Use type hints and a docstring; no third-party packages.",
                "The input may hold {number:2:50} million rows.",
            ),
            output_tokens=380,
            weight=0.18,
            material=_program,
        ),
        Family(
            name="maths",
            openings=(
                "Solve for x: {number:2:19}x^2 + {number:2:40}x - {number:1:90} = 0.",
                (
                    "A train leaves at {number:1:12} pm at {number:40:180} km/h, another {number:5:90} min "
                    "later at {number:60:280} km/h. When does the second overtake the first?"
                ),
                "What is the derivative of {function} with respect to x?",
                "Evaluate the integral of {function} from {number:0:3} to {number:4:12}.",
                (
                    "An urn holds {number:3:20} red and {number:3:20} blue balls. We draw {number:2:6}. "
                    "What is the probability that {event}?"
                ),
                "Prove that {theorem}.",
                "Find the remainder of {number:3:99}^{number:11:300} divided by {number:7:97}.",
            ),
            conditions=(
                "Show every step.",
                "Give the exact value, not a decimal.",
                "Also treat the case in which the parameter is negative.",
                "Then generalise the result to n dimensions and justify it.",
            ),
            output_tokens=320,
            weight=0.13,
        ),
        Family(
            name="extraction",
            openings=(
                "Extract every {field}, {field} and {field} from the text as JSON.",
                "Return a JSON array with one object per line; keys: {field}, {field}. Nothing else.",
                "List all {field} values mentioned below, one per line.",
                'Fill these columns from the records: ["{field}", "{field}", "{field}"].',
            ),
            conditions=(
                "Use null where a value is missing.",
                "Dates as ISO 8601.",
                "Amounts as numbers without currency.",
                "Drop duplicates and sort by {field}.",
            ),
            output_tokens=140,
            weight=0.14,
            material=_records,
            tools=1,
        ),
        Family(
            name="translation",
            openings=(
                "Translate into English:",
                "Translate the following into {target_language}, keep the tone:",
                "How would a native speaker say this in {target_language}?",
                "Translate for a {register} audience:",
            ),
            conditions=(
                "Keep names and numbers as they are.",
                "Use the formal address.",
                "Keep the idioms idiomatic rather than literal.",
                "Give two variants and say which one is more natural.",
            ),
            output_tokens=110,
            weight=0.11,
            material=_foreign,
        ),
        Family(
            name="summarising",
            openings=(
                "Summarise the following report in {number:2:5} sentences.",
                "Write a {number:3:7}-bullet summary for a busy {profession}.",
                "What are the key findings of the text below?",
                "TL;DR of this, please:",
            ),
            conditions=(
                "Keep every figure that matters.",
                "Do not add anything that the text does not say.",
                "End with the open risks.",
                "At most {number:30:90} words.",
            ),
            output_tokens=130,
            weight=0.1,
            material=_article,
        ),
        Family(
            name="classification",
            openings=(
                "Classify the sentiment of this review as positive, negative or mixed:",
                "Which department should handle this message: {department}, {department} or {department}?",
                "Is the following spam? Answer yes or no.",
                "Which of these labels fits best? (A) {label} (B) {label} (C) {label} (D) none",
            ),
            conditions=(
                "Answer with the label only.",
                "Add a confidence between 0 and 1.",
                "Mind irony.",
            ),
            output_tokens=12,
            weight=0.09,
            material=_opinion,
        ),
        Family(
            name="planning",
            openings=(
                "Plan {project} for {number:3:60} people with a budget of {number:2:90},000 dollars.",
                "Five people sit in a row. {puzzle_clue} {puzzle_clue} {puzzle_clue} Who is in the middle?",
                "Compare {option} with {option} for {project} and decide.",
                "Our {department} team misses deadlines. Find the cause, lay out a {number:2:12}-week plan.",
                "Schedule {number:4:9} jobs on {number:2:4} machines, least total delay: {job_list}.",
            ),
            conditions=(
                "{puzzle_clue}",
                "No two critical steps may overlap.",
                "State your assumptions and test the plan against the worst case.",
                "If {life_event} happens in week {number:2:6}, how does the plan change?",
                "Argue both sides before you decide.",
            ),
            output_tokens=520,
            weight=0.05,
        ),
    )
}
