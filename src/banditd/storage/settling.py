"""How often the members of recipes' stages settled a query: counted with the usage report that tells of the calls.

Every replica raises rows of its own, as with the other sums: none waits for what another is about to commit.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection, Engine, bindparam, func, select

from banditd.core.recipes import Recipe, Stage, stages_of
from banditd.storage import dialect
from banditd.storage.schema import settling

SETTLING_SUMS: Final = ("reached", "unsettled")
_BY_STAGE: Final = (
    select(settling.c.kind, settling.c.members, *(func.sum(settling.c[name]).label(name) for name in SETTLING_SUMS))
    .where(settling.c.policy == bindparam("policy"))
    .group_by(settling.c.kind, settling.c.members)
)

Outcomes = Counter[tuple[str, Stage, bool]]
"""(policy, stage, whether it was left open) to how often more, or less, than was counted."""


def note_settled(
    outcomes: Outcomes,
    policy: str,
    recipe: Recipe | None,
    before: Mapping[str, Any] | None,
    row: Mapping[str, Any],
) -> None:
    """Note what a usage row tells of a recipe's stages, in place of what the row before it did."""
    if recipe is None:
        return
    for sign, stated in ((-1, before), (1, row)):
        calls = [] if stated is None else stated["attempts"]
        recipe_calls = [(one["arm"], one["error"]) for one in calls if one["recipe"] == recipe.arm]
        for stage, unsettled in stages_of(recipe, recipe_calls):
            outcomes[policy, stage, unsettled] += sign


def count_settled(connection: Connection, engine: Engine, writer: str, outcomes: Outcomes) -> None:
    """Add what was noted to the counts of this writer, in the transaction of the reports."""
    changes: dict[tuple[str, str, str], list[int]] = {}
    for (policy, (kind, members), unsettled), times in outcomes.items():
        change = changes.setdefault((policy, kind, json.dumps(list(members))), [0, 0])
        change[0] += times
        change[1] += times * unsettled
    rows = [
        {"policy": policy, "kind": kind, "members": members, "writer": writer, "reached": reached, "unsettled": left}
        for (policy, kind, members), (reached, left) in sorted(changes.items())
        if reached or left
    ]
    if rows:
        connection.execute(dialect.add_up(engine, settling, SETTLING_SUMS), rows)


def read_settled(connection: Connection, policy: str) -> dict[Stage, tuple[float, float]]:
    """By stage: (how often it was reached, how often of these it was left open)."""
    return {
        (row.kind, tuple(json.loads(row.members))): (float(row.reached), float(row.unsettled))
        for row in connection.execute(_BY_STAGE, {"policy": policy})
    }
