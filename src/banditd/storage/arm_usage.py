"""What the arms of a policy were used for, added up over writers: the learner reads it again and again."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, bindparam, func, select

from banditd.core.types import ArmUsage
from banditd.storage.schema import arm_total

_SUMS: Final = (
    "decisions",
    "usage_reports",
    "input_tokens",
    "output_tokens",
    "cached_input_tokens",
    "spend_usd",
    "latency_ms_sum",
    "latency_reports",
    "errors",
)
_AMOUNTS: Final = {"spend_usd", "latency_ms_sum"}
_BY_ARM: Final = (
    select(arm_total.c.arm, *(func.sum(arm_total.c[name]).label(name) for name in _SUMS))
    .where(arm_total.c.policy == bindparam("policy"))
    .group_by(arm_total.c.arm)
)


def read_usage(connection: Connection, policy: str) -> list[ArmUsage]:
    """One for each name of an arm that is stored, deleted ones among them."""
    found = []
    for row in connection.execute(_BY_ARM, {"policy": policy}):
        # PostgreSQL sums bigints as decimals.
        sums: dict[str, Any] = {
            name: float(getattr(row, name)) if name in _AMOUNTS else int(getattr(row, name)) for name in _SUMS
        }
        found.append(ArmUsage(arm=row.arm, cost_usd=sums.pop("spend_usd"), **sums))
    return found
