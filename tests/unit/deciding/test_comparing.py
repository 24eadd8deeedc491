"""Answers that say the same are equal, answers that hold nothing equal nothing."""

from __future__ import annotations

import numpy as np
import pytest

from banditd.core.errors import InvalidInputError
from banditd.deciding.comparing import reduced, similar


@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [
        ("text", "  forty two\n", "forty  two"),
        ("choice", "B", "(b)."),
        ("choice", "The answer is (d) because A is wrong.", "D) none of these"),
        ("choice", '{"reasoning": "A?", "answer": "C"}', "**Answer: C**"),
        ("number", "so it costs $1,234.50.", "1234.5"),
        ("number", "#### 18", "16 - 3 - 4 = 9, 9 * 2 = 18"),
        ("number", "x = 1/2", "0.5"),
        ("number", "The answer is 7 apples, not 8.", r"\boxed{7}"),
        ("json", '{"b": 1.0, "a": [1]}', 'Here:\n```json\n{"a": [1], "b": 1}\n```'),
        (
            "tool_calls",
            '[{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{\\"x\\": 1}"}}]',
            '{"tool_calls": [{"id": "2", "function": {"name": "f", "arguments": {"x": 1.0}}}]}',
        ),
        ("tool_calls", '[{"name": "f"}, {"name": "g"}]', '[{"name": "g"}, {"name": "f"}]'),
        ("code", "```python\ndef f(x):  # twice\n  return 2*x\n```", "def f(x):\n    return (2 * x)"),
        ("code", "int f() { return 1; }\n\n", "int f() { return 1; }  "),
    ],
)
def test_answers_that_say_the_same_are_equal(kind: str, first: str, second: str) -> None:
    assert reduced(kind, first) is not None
    assert reduced(kind, first) == reduced(kind, second)


@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [
        ("choice", "A", "B"),
        ("number", "18", "18.01"),
        ("json", '{"a": 1}', '{"a": "1"}'),
        ("json", "[true]", "[1]"),
        ("tool_calls", '[{"name": "f", "arguments": {"x": 1}}]', '[{"name": "f", "arguments": {"x": 2}}]'),
        ("code", "f(1)", "f(2)"),
    ],
)
def test_answers_that_differ_are_not_equal(kind: str, first: str, second: str) -> None:
    assert None is not reduced(kind, first) != reduced(kind, second) is not None


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("text", "  "), ("prose", None), ("choice", "I don't know"), ("choice", "A common mistake"),
        ("number", "none"),
        ("number", "1/0"), ("json", "no JSON"), ("json", "[NaN]"), ("json", "[" * 50_000), ("tool_calls", "[1]"),
        ("tool_calls", "[]"), ("tool_calls", '{"name": 3}'), ("number", "1" * 200_000),
    ],
)  # fmt: skip
def test_what_holds_no_answer_of_its_kind_equals_nothing(kind: str, answer: str | None) -> None:
    assert reduced(kind, answer) is None


def test_prose_is_the_same_from_a_likeness_on() -> None:
    first = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    second = np.array([[2.0, 0.2], [1.0, 1.0], [0.0, 0.0]])
    assert similar(first, second).tolist() == [True, False, False]
    assert similar(first, second, 0.7).tolist() == [True, True, False]
    with pytest.raises(InvalidInputError, match="answers must be one of"):
        reduced("poem", "a")
