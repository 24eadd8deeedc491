"""Recipes as values: arms that are a few models and a rule that says which of their answers counts.

What they cost and how they are played is ``deciding.recipes``'s.
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
MOST_PARTS: Final = 8  # so many calls of one request at once

Stage = tuple[str, tuple[str, ...]]  # a kind and the members that may or may not settle a query


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """An arm that is made of others.

    kind : one of ``KINDS``. members : arms; the order is that of ``fallback``, and elsewhere whose answer is given
    first among equals. otherwise : the arm that ``agree`` asks where the members differ. answers : how their answers
    are compared, one of ``COMPARISONS``.

    Raises
    ------
    ConfigurationError : no such kind, too few members or too many, one twice, or an ``otherwise`` that is missing or
    too many.
    """

    arm: str
    kind: str
    members: tuple[str, ...]
    otherwise: str | None = None
    answers: str = "auto"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigurationError(f"Recipe {self.arm}: its kind is one of {', '.join(KINDS)}, not {self.kind!r}.")
        if self.answers not in COMPARISONS:
            raise ConfigurationError(
                f"Recipe {self.arm}: answers are compared as {', '.join(COMPARISONS)}, not {self.answers!r}."
            )
        if len(self.members) < LEAST_MEMBERS[self.kind]:
            raise ConfigurationError(
                f"Recipe {self.arm}: {self.kind} needs {LEAST_MEMBERS[self.kind]} members at least, "
                f"got {len(self.members)}."
            )
        if (self.kind == "agree") != (self.otherwise is not None):
            raise ConfigurationError(
                f"Recipe {self.arm}: agree needs the arm to ask where its members differ, and no other kind has one."
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
        """Its own first stage; None for a kind that always asks all."""
        if self.kind == "fallback":
            return "fallback", self.members[:1]
        return None if self.kind == "best_of" else ("agree", tuple(sorted(self.members)))

    def plain(self) -> dict[str, object]:
        """As JSON, without the arm's own name."""
        return {"kind": self.kind, "members": list(self.members), "else": self.otherwise, "answers": self.answers}

    @classmethod
    def of_plain(cls, arm: str, plain: dict[str, object]) -> Recipe:
        """Back from ``plain``."""
        members, otherwise = plain["members"], plain.get("else")
        return cls(
            arm=arm,
            kind=str(plain["kind"]),
            members=tuple(map(str, members if isinstance(members, list) else ())),
            otherwise=None if otherwise is None else str(otherwise),
            answers=str(plain.get("answers", "auto")),
        )


def in_its_run(report: UsageReport, recipe: Recipe) -> UsageReport:
    """The report of a decision for a recipe, with the calls of its parts marked as the recipe's.

    Whoever of them answered, the recipe served: it is what was chosen and what the reward is about.
    """
    attempts = tuple(one._replace(recipe=recipe.arm) if one.arm in recipe.parts else one for one in report.attempts)
    served_arm = recipe.arm if report.served_arm in recipe.parts else report.served_arm
    return report._replace(attempts=attempts, served_arm=served_arm)


def stages_of(recipe: Recipe, calls: Iterable[tuple[str, str | None]]) -> list[tuple[Stage, bool]]:
    """Which stages a run of it has reached, and whether the members left it open.

    A member that failed counts as one that differs. What was broken off by the client tells nothing.

    calls : (arm, how it failed or None) of the run, in any order.
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
