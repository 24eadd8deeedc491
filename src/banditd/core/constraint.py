"""Operator constraints: which arms may answer some of the queries."""

from __future__ import annotations

from typing import Literal, NamedTuple


class ArmConstraint(NamedTuple):
    """A rule about some arms, for the queries that meet its conditions (``deciding/constraints.py``).

    action : ``force``: only these arms may answer; ``forbid``: none of these may; ``prefer``: only these, as long as
    one of them is eligible.
    """

    name: str
    action: Literal["force", "forbid", "prefer"]
    arms: frozenset[str]

    def excludes(self, arm: str) -> bool:
        """Whether the constraint keeps this arm from answering."""
        return (arm in self.arms) == (self.action == "forbid")

    @property
    def reason(self) -> str:
        return f"constraint:{self.name}"
