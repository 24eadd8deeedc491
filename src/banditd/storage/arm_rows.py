"""Arms as rows and back, as what a request is answered with again, and what each was used for."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, func, select

from banditd.core.recipes import Recipe
from banditd.core.types import PLAIN_FIELDS, PRICE_FIELDS, Arm, ArmUsage, Price
from banditd.storage.schema import arm_total

_JSON: Final = ("params", "rename_params")
_PLAIN: Final = (
    "policy",
    "arm",
    *(name for name in PLAIN_FIELDS if name not in _JSON),
    "created_at_us",
    "updated_at_us",
    "generation",
)


def arm_of(row: Row[Any]) -> Arm:
    return Arm(
        price=price_of(row),
        capabilities=frozenset(json.loads(row.capabilities)),
        recipe=None if row.recipe is None else Recipe.of_plain(row.arm, json.loads(row.recipe)),
        **{name: json.loads(getattr(row, name)) for name in _JSON},
        **{name: getattr(row, name) for name in _PLAIN},
    )


def values_of(arm: Arm) -> dict[str, Any]:
    values = {name: getattr(arm, name) for name in _PLAIN}
    values |= price_values(arm.price)
    values |= {name: json.dumps(getattr(arm, name)) for name in _JSON}
    recipe = None if arm.recipe is None else json.dumps(arm.recipe.plain())
    return values | {"capabilities": json.dumps(sorted(arm.capabilities)), "recipe": recipe}


def price_of(row: Row[Any]) -> Price:
    return Price(*(getattr(row, name) for name in PRICE_FIELDS))


def price_values(price: Price) -> dict[str, float | None]:
    values = {name: getattr(price, name) for name in PRICE_FIELDS}
    return {name: None if value is None else float(value) for name, value in values.items()}


def pack_arm(stored: tuple[Arm, bool]) -> dict[str, object]:
    arm = stored[0]
    packed = asdict(arm) | {"capabilities": sorted(arm.capabilities)}
    del packed["recipe"]  # an older release knows no such field
    return packed if arm.recipe is None else packed | {"recipe": arm.recipe.plain()}


def arm_again(packed: dict[str, Any]) -> tuple[Arm, bool]:
    values = packed | {"price": Price(**packed["price"]), "capabilities": frozenset(packed["capabilities"])}
    if (recipe := packed.get("recipe")) is not None:
        values["recipe"] = Recipe.of_plain(packed["arm"], recipe)
    return Arm(**values), True


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
