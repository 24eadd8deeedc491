import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from banditd.features.lexical import COUNT_NAMES, LEXICAL_NAMES, SHARE_NAMES, lexical_facts, lexical_scalars
from banditd.features.window import HEAD_CHARS, TAIL_CHARS, prompt_window


def facts(text: str, *, turns: int = 1, tools: int = 0) -> dict[str, float]:
    return dict(zip(LEXICAL_NAMES, lexical_facts(text, turns=turns, tools=tools), strict=True))


def test_counts_are_what_a_reader_would_count() -> None:
    found = facts("What is 12 + 3.5?\nAnd 7?")
    assert (found["chars"], found["words"], found["lines"]) == (24, 7, 2)
    assert found["numbers"] == 3
    assert found["questions"] == 2
    assert found["maths"] == 1
    assert found["digit_share"] == pytest.approx(5 / 24)
    assert found["upper_share"] == pytest.approx(2 / 24)
    assert found["punctuation_share"] == pytest.approx(4 / 24)
    assert found["word_length"] == pytest.approx(24 / 7)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("Which?\nA) red\nB) green\nC) blue", 3),
        ("Which?\nA. red\nB. green", 2),
        ("Which? (A) red (B) green (C) blue (D) none", 4),
        ("Which?\n1. red\n2. green", 2),
        ("Plan A is good. See B.", 0),
        ("", 0),
    ],
)
def test_options_of_multiple_choice_are_counted_in_every_common_layout(text: str, options: int) -> None:
    assert facts(text)["options"] == options


def test_code_json_and_calls_are_seen_and_prose_has_none() -> None:
    code = facts("```python\ndef add(a, b):\n    return a + b\n```\nadd(1, 2); total(x)")
    assert code["code"] >= 4
    assert code["calls"] == 3
    schema = facts('{"name": "f", "parameters": {"type": "object"}}')
    assert schema["json"] >= 3
    assert schema["tools"] == 1
    prose = facts("My neighbour asked whether the garden gate, which is old, should be painted.")
    assert prose["code"] == prose["calls"] == prose["json"] == prose["options"] == prose["tools"] == 0


def test_other_scripts_show_in_their_share_and_their_question_marks() -> None:
    found = facts("東京はどこですか？")
    assert found["non_ascii_share"] == 1.0
    assert found["questions"] == 1
    assert facts("∑ x² ≤ π")["maths"] == 4
    assert facts("café")["non_ascii_share"] == 0.25


def test_turns_and_tools_come_from_the_request() -> None:
    assert facts("hi", turns=7, tools=3)["turns"] == 7
    assert facts("hi", turns=7, tools=3)["tools"] == 3
    assert facts("hi", turns=-1, tools=-1)["turns"] == 0


def test_an_empty_text_has_zero_everything_but_its_one_turn() -> None:
    found = facts("")
    assert found.pop("turns") == 1
    assert set(found.values()) == {0.0}


def test_a_long_prompt_is_known_whole_by_its_length_only() -> None:
    long = "a? " * 1_000_000
    found = facts(long)
    assert found["chars"] == 3_000_000
    assert found["questions"] <= HEAD_CHARS + TAIL_CHARS
    assert facts("1 " * 2000 + "x" * 9000 + " end?")["questions"] == 1


def test_scalars_are_logarithms_of_counts_and_roots_of_shares() -> None:
    raw = lexical_facts("Add 1 and 2 to 3, twice. Is it 12?", turns=3)
    scalars = lexical_scalars(raw)
    for name, fact, scalar in zip(LEXICAL_NAMES, raw, scalars, strict=True):
        expected = math.log1p(fact) if name in COUNT_NAMES else math.sqrt(fact)
        assert scalar == pytest.approx(expected), name
    assert len(COUNT_NAMES) + len(SHARE_NAMES) == len(raw)


def test_the_window_keeps_short_prompts_and_cuts_the_middle_of_long_ones() -> None:
    limit = HEAD_CHARS + TAIL_CHARS
    assert prompt_window("x" * limit) == "x" * limit
    cut = prompt_window("a" * limit + "b" * limit)
    assert cut == "a" * HEAD_CHARS + " " + "b" * TAIL_CHARS


@settings(max_examples=300)
@given(st.text(st.sampled_from("f_0() \n\u00e9"), max_size=60), st.integers(0, 210))
def test_calls_are_those_of_the_pattern_that_the_maps_were_fitted_with(text: str, size: int) -> None:
    """The schema did not change when counting became linear: f( ... ) on one line, at most 200 characters inside."""
    pattern = re.compile(r"\((?<=[A-Za-z0-9_]\()[^)\n]{0,200}\)")
    for one in (text, f"f({'x' * size}){text}", f"f({'(' * size}{text})", f"{text * 4}({'a' * size}) f(x)"):
        assert facts(one)["calls"] == len(pattern.findall(one))
