"""Constraints in the configuration: what is refused, and that a pattern reads any text."""

from __future__ import annotations

import pytest
import re2
from pydantic import ValidationError

from banditd.detectors.patterns import finder
from banditd.settings import PolicySettingsSection

ARMS = [{"arm": "small"}, {"arm": "large"}]


@pytest.mark.parametrize(
    ("constraint", "why"),
    [
        ({"arms": ["large"]}, "no condition"),
        ({"arms": ["large"], "patterns": ["(?=x)"]}, "no regular expression"),
        ({"arms": ["large"], "patterns": ["x)|(?:y"]}, "no regular expression"),
        ({"arms": ["lagre"], "tags": {"team": "legal"}}, "lagre, which arms does not have"),
        ({"arms": [], "tags": {"team": "legal"}}, "at least 1"),
    ],
)
def test_what_would_constrain_nothing_is_refused(constraint: dict[str, object], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        PolicySettingsSection.model_validate(
            {"arms": ARMS, "constraints": [{"name": "one", "action": "force", **constraint}]}
        )


def test_two_constraints_have_two_names() -> None:
    one = {"name": "one", "action": "force", "arms": ["large"], "tags": {"team": "legal"}}
    with pytest.raises(ValidationError, match="named twice: one"):
        PolicySettingsSection.model_validate({"arms": ARMS, "constraints": [one, one]})


def test_a_pattern_is_found_wherever_it_stands_whatever_else_does() -> None:
    found = finder([r"(?i)password\s*[:=]", r"(?P<digits>\d{3})-\d{2}", r"(?P<digits>Ü+)"])
    texts = ["my PASSWORD : x", "a\ud83d 123-45", "\0ÜÜ", "x" * 100_000 + "password="]
    assert [found(text) for text in texts] == [True] * len(texts)
    assert not any(found(text) for text in ("", "passwords", "12-345", "ü"))


def test_a_quotation_that_is_left_open_ends_with_its_pattern() -> None:
    found = finder([r"\Qa(b", r"x\Q(\Ey", "end"])
    assert all(found(text) for text in ("a(b", "x(y", "end", "a(b)|(?:x", "(?:end)"))
    assert not any(found(text) for text in ("ab", "xy", ")|(?:x"))


def test_patterns_that_are_too_large_together_are_searched_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Cramped(re2.Options):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.max_mem = 1 << 17

    monkeypatch.setattr(re2, "Options", Cramped)
    with pytest.raises(ValueError, match="too large"):
        finder([r"\pL{9}a"])
    found = finder([rf"{letter}\pL{{3}}" for letter in "abcd"])
    assert [found(text) for text in ("aééé", "-ééé", "dééé")] == [True, False, True]
