"""When do two answers say the same? It depends on the kind of answer that is expected. Pure; no model is asked.

An answer is reduced to the part that matters, and answers with equal reductions are the same. Prose is compared by
the cosine similarity of embeddings instead (``similar``).
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from fractions import Fraction
from typing import Final

import numpy as np

from banditd.core.errors import InvalidInputError
from banditd.core.types import BoolArray, FloatArray

KINDS: Final = ("text", "choice", "number", "json", "tool_calls", "code", "prose")
SIMILARITY: Final = 0.9  # cosine from which prose counts as the same where nobody says otherwise
LONGEST: Final = 100_000  # characters; longer answers always differ

_FENCED: Final = re.compile(r"```[\w+-]*[ \t]*\r?\n(.*?)```", re.DOTALL)
_MARKED: Final = re.compile(r"(?:####|\\boxed\{|answer\W{0,4}(?:is|=)?|[\"']answer[\"']\s*:)\s*", re.IGNORECASE)
_LETTER_ALONE: Final = re.compile(r"\W*([A-Za-z])\W*")
_LETTER_FIRST: Final = re.compile(r"[\s*_(\[]*([A-Za-z])(?:[).:\]*]|\s*$)", re.MULTILINE)
# Possessive quantifiers where parts overlap: otherwise a text of punctuation would be split in every way.
_LETTER_MARKED: Final = re.compile(r"[\W_]*+(?:(?:option|choice)[\W_]*+)?(?:([A-Z])(?![\w'])|(?<=[(\[])([a-z])[)\]])")
_NUMBER: Final = re.compile(
    r"[-+−]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d{1,3})?(?:\s*/\s*\d+(?![\d.]))?|[-+−]?\.\d+"
)


def reduced(kind: str, answer: str | None) -> str | None:
    """The part of an answer that matters, or None if it contains nothing of that kind (then it equals no other
    answer).

    Parameters
    ----------
    kind : one of ``KINDS``; for ``prose`` the result is the text to embed.

    Raises
    ------
    InvalidInputError : unknown kind.
    """
    if kind not in KINDS:
        raise InvalidInputError(f"answers must be one of {', '.join(KINDS)}, not {kind!r}.", field="/answers")
    if answer is None or not answer.strip() or len(answer) > LONGEST:
        return None
    text = answer.strip()
    if kind == "choice":
        return _letter(text)
    if kind == "number":
        return _number(text)
    if kind == "json":
        return _json(text)
    if kind == "tool_calls":
        return _tool_calls(text)
    return _code(text) if kind == "code" else " ".join(text.split())


def similar(first: FloatArray, second: FloatArray, threshold: float = SIMILARITY) -> BoolArray:
    """Whether pairs of prose answers say the same: bool (n,).

    first, second : embeddings, float64 (n, d); a zero vector is similar to nothing. threshold : on the cosine, in (0,
    1].
    """
    length = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    found: BoolArray = (np.vecdot(first, second) >= threshold * length - 1e-9) & (length > 0.0)
    return found


def _after_mark(text: str) -> str | None:
    """The text after the last word that announces an answer."""
    marks = list(_MARKED.finditer(text))
    return text[marks[-1].end() :] if marks else None


def _letter(text: str) -> str | None:
    if alone := _LETTER_ALONE.fullmatch(text):
        return alone[1].upper()
    behind = _after_mark(text)
    found = None if behind is None else _LETTER_MARKED.match(behind)
    found = found or _LETTER_FIRST.match(text)
    return None if found is None else next(letter for letter in found.groups() if letter).upper()


def _number(text: str) -> str | None:
    behind = _after_mark(text)
    first = None if behind is None else _NUMBER.search(behind)
    numbers = [first[0]] if first else _NUMBER.findall(text)
    if not numbers:
        return None
    try:
        return str(Fraction(re.sub(r"[,\s]", "", numbers[-1]).replace("−", "-")))
    except (ValueError, ZeroDivisionError):
        return None


def _parsed(text: str) -> object:
    """The JSON in an answer: the whole text, or its last code fence. Raises ValueError if there is none."""
    fences = _FENCED.findall(text)
    return json.loads(fences[-1] if fences else text)


def _json(text: str) -> str | None:
    try:
        return _canonical(_parsed(text))
    except (ValueError, RecursionError):
        return None


def _canonical(value: object) -> str:
    """The same text for equal values: sorted keys, 1.0 as 1."""
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _tool_calls(text: str) -> str | None:
    """Names and arguments of all calls; ids are ignored, and parallel calls have no order."""
    try:
        found = _parsed(text)
        if isinstance(found, dict):
            found = found.get("tool_calls", [found])
        return _canonical(sorted(_call(one) for one in found)) if isinstance(found, list) and found else None
    except (ValueError, RecursionError):
        return None


def _call(call: object) -> str:
    inner = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(inner, dict) or not isinstance(name := inner.get("name"), str):
        raise ValueError("not a tool call")  # noqa: TRY004  (handled like text that is not JSON)
    arguments = inner.get("arguments", inner.get("input", {}))
    return _canonical([name, json.loads(arguments) if isinstance(arguments, str) else arguments])


def _code(text: str) -> str | None:
    """Python without comments and layout; other languages without trailing blanks and empty lines."""
    fences = _FENCED.findall(text)
    code = fences[-1] if fences else text
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a model's escapes are not ours
            return ast.dump(ast.parse(code))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        lines = [line.rstrip() for line in code.splitlines()]
        return "\n".join(line for line in lines if line) or None
