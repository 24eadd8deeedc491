"""What an operator knows before anything is learned: arms that some queries must, must not or should have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from banditd.detectors.detector import detector
from banditd.detectors.patterns import finder
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
    """A constraint, which applies if all of its conditions hold."""

    name: str = Field(min_length=1, max_length=64, pattern=NAME_PATTERN, description="the reason of an exclusion")
    action: Literal["force", "forbid", "prefer"] = Field(
        description="force: only its arms; forbid: none of them; prefer: only these if one is eligible"
    )
    arms: tuple[_Name, ...] = Field(min_length=1, max_length=256, description="arms of the policy")
    patterns: tuple[_Text, ...] = Field(
        (),
        max_length=64,
        description="one of these RE2 expressions matches; needs banditd[re2]",
    )
    detect: tuple[_Name, ...] = Field(
        (),
        max_length=64,
        description="one of these is found; see docs/constraints.md",
    )
    utterances: tuple[_Text, ...] = Field(
        (),
        max_length=64,
        description="the query resembles one of these",
    )
    similarity: float = Field(0.6, ge=-1, le=1, description="least cosine of their embeddings")
    tags: dict[str, str] = Field(default_factory=dict, max_length=16, description="values that its tags have")
    examples: tuple[ConstraintExample, ...] = Field((), max_length=64, description="tried by banditd check-config")

    @model_validator(mode="after")
    def _conditions(self) -> ConstraintSettings:
        if not (self.patterns or self.detect or self.utterances or self.tags):
            raise ValueError(f"constraint {self.name} has no condition: give it patterns, detect, utterances or tags")
        if self.patterns:
            finder(self.patterns)
        if self.detect:
            detector(self.detect)
        return self


def check_constraints(constraints: Sequence[ConstraintSettings], arms: Sequence[ArmSettings]) -> None:
    """Raise ValueError if two have the same name, or one names an arm that ``arms`` lacks."""
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
                "a wrong name would constrain nothing"
            )
