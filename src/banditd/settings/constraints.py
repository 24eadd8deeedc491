"""What an operator knows before anything is learned: arms that some queries must, must not or should have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from banditd.settings.arms import ArmSettings
from banditd.settings.base import NAME_PATTERN, Section

_Text = Annotated[str, StringConstraints(min_length=1, max_length=2000)]
_Name = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class ConstraintExample(Section):
    """A query on which ``banditd check-config`` tries the constraint."""

    input: _Text = Field(description="its text")
    tags: dict[str, str] = Field(default_factory=dict, max_length=16, description="its tags")
    holds: bool = Field(description="whether the constraint must hold")


class ConstraintSettings(Section):
    """One constraint: it holds for a query where all of its conditions do."""

    name: str = Field(min_length=1, max_length=64, pattern=NAME_PATTERN, description="the reason of an exclusion")
    action: Literal["force", "forbid", "prefer"] = Field(
        description="force: only its arms; forbid: none of them; prefer: only these where one may answer"
    )
    arms: tuple[_Name, ...] = Field(min_length=1, max_length=256, description="arms of the policy")
    patterns: tuple[_Text, ...] = Field(
        (),
        max_length=64,
        description="RE2 expressions, one of which the text has; needs banditd[re2]",
    )
    utterances: tuple[_Text, ...] = Field(
        (),
        max_length=64,
        description="texts, one of which the query resembles",
    )
    similarity: float = Field(0.6, ge=-1, le=1, description="least cosine of their embeddings")
    tags: dict[str, str] = Field(default_factory=dict, max_length=16, description="values that its tags have")
    examples: tuple[ConstraintExample, ...] = Field((), max_length=64, description="tried by banditd check-config")

    @model_validator(mode="after")
    def _conditions(self) -> ConstraintSettings:
        if not (self.patterns or self.utterances or self.tags):
            raise ValueError(f"constraint {self.name} has no condition: give it patterns, utterances or tags")
        if self.patterns:
            finder(self.patterns)
        return self


def finder(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Whether one of the patterns is found in a text, in a time that grows with the text alone.

    Raises
    ------
    ValueError : one is no regular expression of RE2, or RE2 is not installed.
    """
    try:
        import re2  # noqa: PLC0415 - an extra
    except ImportError:
        raise ValueError("patterns need RE2: pip install 'banditd[re2]'") from None
    options = re2.Options()
    options.log_errors = False
    options.never_capture = True

    def compiled(pattern: str) -> Any:
        try:
            return re2.compile(pattern.encode(), options)
        except re2.error as error:
            raise ValueError(f"{pattern!r} is no regular expression of RE2: {error.args[0].decode()}") from None

    single = [compiled(pattern) for pattern in patterns]
    if not any(r"\Q" in pattern for pattern in patterns):  # which may leave a quotation open, over all that follow
        with suppress(ValueError):  # together they may be too large
            single = [compiled("|".join(f"(?:{pattern})" for pattern in patterns))]

    def found(text: str) -> bool:
        encoded = text.encode("utf-8", "replace")  # a text may have half a character, which no UTF-8 has
        return any(one.search(encoded) is not None for one in single)

    return found


def check_constraints(constraints: Sequence[ConstraintSettings], arms: Sequence[ArmSettings]) -> None:
    """Raise ValueError where two have one name, or one names an arm that ``arms`` lacks."""
    names = [one.name for one in constraints]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"constraints named twice: {', '.join(twice)}")
    known = {arm.arm for arm in arms}
    for one in constraints:
        unknown = [arm for arm in one.arms if arm not in known]
        if unknown:
            raise ValueError(
                f"constraint {one.name} names {', '.join(unknown)}, which arms does not have: "
                "a name that is wrong would constrain nothing"
            )
