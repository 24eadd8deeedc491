"""Recipes as values: arms that combine a few models by a rule that picks one of their answers.

How they are played and what they cost is in ``deciding.recipes``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, get_args

from banditd.core.errors import ConfigurationError
from banditd.core.rewards import UsageReport

RecipeKind = Literal["agree", "best_of", "fallback"]
Comparison = Literal["auto", "text", "choice", "number", "json", "tool_calls"]
KINDS: Final[tuple[str, ...]] = get_args(RecipeKind)
COMPARISONS: Final[tuple[str, ...]] = get_args(Comparison)
LEAST_MEMBERS: Final = {"agree": 2, "best_of": 3, "fallback": 2}
MOST_PARTS: Final = 8  # most calls that one request may make at once

Stage = tuple[str, tuple[str, ...]]  # a kind and the members that may or may not settle a query


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """An arm made of other arms.

    kind : one of ``KINDS``.
    members : arms. For ``fallback`` the order in which they are asked; else the order of preference among equal
    answers.
    otherwise : the arm that ``agree`` asks when the members differ.
    answers : how answers are compared, one of ``COMPARISONS``.

    Raises
    ------
    ConfigurationError : unknown kind, too few or too many members, a duplicate, or ``otherwise`` missing or not
    allowed.
    """

    arm: str
    kind: str
    members: tuple[str, ...]
    otherwise: str | None = None
    answers: str = "auto"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigurationError(f"Recipe {self.arm}: kind must be one of {', '.join(KINDS)}, not {self.kind!r}.")
        if self.answers not in COMPARISONS:
            raise ConfigurationError(
                f"Recipe {self.arm}: answers must be one of {', '.join(COMPARISONS)}, not {self.answers!r}."
            )
        if len(self.members) < LEAST_MEMBERS[self.kind]:
            raise ConfigurationError(
                f"Recipe {self.arm}: {self.kind} needs at least {LEAST_MEMBERS[self.kind]} members, "
                f"got {len(self.members)}."
            )
        if (self.kind == "agree") != (self.otherwise is not None):
            raise ConfigurationError(
                f"Recipe {self.arm}: agree, and only agree, needs the arm to ask when its members differ."
            )
        if len(set(self.parts)) != len(self.parts):
            raise ConfigurationError(f"Recipe {self.arm} names an arm twice.")
        if len(self.parts) > MOST_PARTS:
            raise ConfigurationError(f"Recipe {self.arm} is made of {len(self.parts)} arms; at most {MOST_PARTS}.")

    @property
    def parts(self) -> tuple[str, ...]:
        """All arms that it names."""
        return self.members if self.otherwise is None else (*self.members, self.otherwise)

    @property
    def stage(self) -> Stage | None:
        """Its own first stage; None for a kind that always asks all members."""
        if self.kind == "fallback":
            return "fallback", self.members[:1]
        return None if self.kind == "best_of" else ("agree", tuple(sorted(self.members)))

    def plain(self) -> dict[str, object]:
        """JSON-compatible values, without the recipe's own name."""
        return {"kind": self.kind, "members": list(self.members), "else": self.otherwise, "answers": self.answers}

    @classmethod
    def of_plain(cls, arm: str, plain: dict[str, object]) -> Recipe:
        """Inverse of ``plain``."""
        members, otherwise = plain["members"], plain.get("else")
        return cls(
            arm=arm,
            kind=str(plain["kind"]),
            members=tuple(map(str, members if isinstance(members, list) else ())),
            otherwise=None if otherwise is None else str(otherwise),
            answers=str(plain.get("answers", "auto")),
        )


def in_its_run(report: UsageReport, recipe: Recipe) -> UsageReport:
    """The usage report of a recipe's decision, with the calls of its parts marked as the recipe's.

    Whichever part answered, the recipe counts as having served: it was chosen, and the reward is about it.
    """
    attempts = tuple(one._replace(recipe=recipe.arm) if one.arm in recipe.parts else one for one in report.attempts)
    served_arm = recipe.arm if report.served_arm in recipe.parts else report.served_arm
    return report._replace(attempts=attempts, served_arm=served_arm)


def stages_of(recipe: Recipe, calls: Iterable[tuple[str, str | None]]) -> list[tuple[Stage, bool]]:
    """The stages that a run of the recipe reached, and whether the members left each one unsettled.

    A member that failed counts as one that differs. Calls that the client broke off say nothing.

    calls : (arm, error or None) of the run, in any order.
    """
    ended = dict(calls)
    if recipe.kind == "agree" and recipe.stage is not None:
        if recipe.otherwise in ended:
            return [(recipe.stage, True)]
        known = [ended[member] for member in recipe.members if member in ended]
        if len(known) < len(recipe.members) or "client_gone" in known:
            return []
        return [(recipe.stage, any(error is not None for error in known))]
    found: list[tuple[Stage, bool]] = []
    if recipe.kind == "fallback":
        for i, member in enumerate(recipe.members):
            if ended.get(member, "client_gone") == "client_gone":
                break
            went_on = any(later in ended for later in recipe.members[i + 1 :])
            found.append((("fallback", recipe.members[: i + 1]), went_on or ended[member] is not None))
    return found
