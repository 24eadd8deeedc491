"""What an operator says of the arms for some queries."""

from __future__ import annotations

from typing import Literal, NamedTuple


class ArmConstraint(NamedTuple):
    """Of some arms, for the queries for which its conditions hold (``deciding/constraints.py``).

    action : ``force``: only these arms may answer; ``forbid``: none of these; ``prefer``: only these, where one of
    them may.
    """

    name: str
    action: Literal["force", "forbid", "prefer"]
    arms: frozenset[str]

    def excludes(self, arm: str) -> bool:
        """Whether the arm is one that the constraint keeps from answering."""
        return (arm in self.arms) == (self.action == "forbid")

    @property
    def reason(self) -> str:
        return f"constraint:{self.name}"
