"""One run of a recipe: which arms to ask now, which answers are the same, and whose answer counts. Pure.

Whoever makes the calls (the gateway, a client) asks ``Play.ask``, records the answers with ``put``, and repeats.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from banditd.core.recipes import Recipe
from banditd.deciding.comparing import LONGEST, reduced

# A text this short is an answer, not prose about one: a letter or number after "answer" is all that it says.
CLOSED_CHARS: Final = 80
# Possessive quantifiers: otherwise a text of ten thousand digits would be split in every way before the match fails.
_NUMBER_ALONE: Final = re.compile(
    r"[^\w.+-]*+[-+−]?(?:\d++|,++(?=\.?\d))*(?:\.\d++|(?<=\d))(?:[eE][-+]?\d{1,3})?(?:\s*/\s*\d+)?[^\w.]*\.?"
)
_NUMBER_MARKED: Final = re.compile(r"####|\\boxed\{")
_ANSWER: Final = re.compile(r"\banswer\b", re.IGNORECASE)
_WHOLE_JSON: Final = re.compile(r"\s*(?:```[\w+-]*[ \t]*\r?\n\s*)?[\[{].*[\]}]\s*(?:```\s*)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """A model's answer.

    text : may be empty. tool_calls : (name, arguments as JSON) of each. refused : whether the model declined.
    """

    text: str = ""
    tool_calls: tuple[tuple[str, str], ...] = ()
    refused: bool = False

    @property
    def is_answer(self) -> bool:
        """Whether it contains anything."""
        return bool(self.tool_calls or self.text.strip()) and not self.refused


Key = tuple[str, str]


def key_of(answer: ModelAnswer | None, answers: str = "auto") -> Key | None:
    """The part of an answer that matters; equal keys mean equal answers. None if there is none; it equals nothing.

    answers : how answers are compared, see ``core.recipes.COMPARISONS``.
    """
    if answer is None or not answer.is_answer:
        return None
    calls = json.dumps([{"name": name, "arguments": given or "{}"} for name, given in answer.tool_calls])
    if answers == "tool_calls" or (answers == "auto" and answer.tool_calls):
        found = reduced("tool_calls", calls if answer.tool_calls else answer.text)
        return None if found is None else ("tool_calls", found)
    kinds = (answers,) if answers != "auto" else (*_kinds(answer.text.strip()), "text")
    for kind in kinds:
        found = reduced(kind, answer.text)
        if found is not None:
            return kind, found
    return None


def _kinds(text: str) -> Sequence[str]:
    """The ways, other than as prose, in which an answer may be read.

    Better one too few than one too many: prose mistaken for a number would agree with any text with the same number.
    """
    if len(text) > LONGEST:
        return ()
    if _WHOLE_JSON.fullmatch(text):
        return ("json",)
    short = len(text) <= CLOSED_CHARS
    if _NUMBER_ALONE.fullmatch(text) or _NUMBER_MARKED.search(text):
        return ("number",)
    if short and _ANSWER.search(text):
        return ("choice", "number")
    return ("choice",) if short else ()


class Play:
    """One run of a recipe. ``chosen`` is the arm whose answer counts, once no more arms have to be asked."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._answers: dict[str, ModelAnswer | None] = {}
        self.chosen: str | None = None

    def put(self, arm: str, answer: ModelAnswer | None) -> None:
        """Record an arm's answer; None if its call failed."""
        self._answers[arm] = answer

    def ask(self) -> tuple[str, ...]:
        """The arms to ask now, all at once; empty once it is known whose answer counts, or that none does."""
        recipe = self._recipe
        if recipe.kind == "fallback":
            return self._fallback()
        waiting = tuple(member for member in recipe.members if member not in self._answers)
        if waiting:
            return waiting
        keys = [key_of(self._answers[member], recipe.answers) for member in recipe.members]
        if recipe.kind == "best_of":
            votes = [0 if key is None else keys.count(key) for key in keys]
            self.chosen = recipe.members[votes.index(max(votes))] if any(votes) else self._any()
            return ()
        if keys[0] is not None and len(set(keys)) == 1:
            self.chosen = recipe.members[0]
            return ()
        other = str(recipe.otherwise)
        if other not in self._answers:
            return (other,)
        self.chosen = other if self._answers[other] is not None else self._any()
        return ()

    def _fallback(self) -> tuple[str, ...]:
        for member in self._recipe.members:
            if member not in self._answers:
                return (member,)
            answer = self._answers[member]
            if answer is not None and answer.is_answer:
                self.chosen = member
                return ()
        self.chosen = self._any()
        return ()

    def _any(self) -> str | None:
        """If no answer settles it: the first real answer, else the first that came at all."""
        came = {arm: answer for arm in self._recipe.parts if (answer := self._answers.get(arm)) is not None}
        return next((arm for arm, answer in came.items() if answer.is_answer), next(iter(came), None))
