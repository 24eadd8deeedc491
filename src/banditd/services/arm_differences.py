"""Where the arms of a configuration and the arms that run differ. Pure: no clock, no I/O.

Every field of ``core.types.Arm`` that an operator may set is compared, whatever fields there are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from banditd.core.types import Arm

Plain = Mapping[str, Any]
"""A field of an arm, by name, as JSON has it; those of its price as ``price.NAME``."""

_NOT_SET = frozenset({"policy", "arm", "created_at_us", "updated_at_us", "generation"})
ARM_FIELDS = tuple(f.name for f in dataclasses.fields(Arm) if f.name not in _NOT_SET)
PRICE = "price"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmDifference:
    """What has to be done to an arm that runs, so that it is as the configuration says.

    fields : of an arm to add its values; of one to change (what runs, what the configuration says).
    """

    policy: str
    arm: str
    action: Literal["add", "change", "delete"]
    fields: Mapping[str, Any] = field(default_factory=dict)


def plain_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an arm in one form, from its JSON or from ``dataclasses.asdict``."""
    made: dict[str, Any] = {}
    for name in ARM_FIELDS:
        value = values[name]
        if name == "recipe" and isinstance(value, Mapping):
            otherwise = value.get("else", value.get("otherwise"))
            made[name] = {**value, "members": list(value["members"]), "else": otherwise}
            for ours in ("arm", "otherwise"):  # of ``asdict``
                made[name].pop(ours, None)
        elif name == PRICE:
            made |= {f"{PRICE}.{part}": amount for part, amount in value.items()}
        elif isinstance(value, list | tuple | set | frozenset):
            made[name] = sorted(value)
        else:
            made[name] = value
    return made


def plain_arms(arms: tuple[Arm, ...] | list[Arm]) -> dict[str, dict[str, Any]]:
    """``plain_fields`` of every arm, by name."""
    return {arm.arm: plain_fields(dataclasses.asdict(arm)) for arm in arms}


def arm_differences(
    policy: str, wanted: Mapping[str, Plain], running: Mapping[str, Plain], *, prices: bool = True
) -> list[ArmDifference]:
    """What the configuration says of a policy's arms against what runs: arms to add, to change, to delete.

    ``prices`` is false where a file of prices has the word. A configuration that names no arm leaves them all to
    HTTP: nothing differs.
    """
    if not wanted:
        return []
    found = [
        ArmDifference(policy=policy, arm=arm, action="add", fields=dict(values))
        for arm, values in wanted.items()
        if arm not in running
    ]
    for arm, values in wanted.items():
        if arm in running:
            changed = {
                name: (running[arm].get(name), value)
                for name, value in values.items()
                if running[arm].get(name) != value and (prices or not name.startswith(f"{PRICE}."))
            }
            if changed:
                found.append(ArmDifference(policy=policy, arm=arm, action="change", fields=changed))
    found += [ArmDifference(policy=policy, arm=arm, action="delete") for arm in running if arm not in wanted]
    return found


def nested(fields: Plain) -> dict[str, Any]:
    """Plain fields as HTTP takes them: the price is an object."""
    made: dict[str, Any] = {}
    for name, value in fields.items():
        outer, _, inner = name.partition(".")
        if inner:
            made.setdefault(outer, {})[inner] = value
        else:
            made[outer] = value
    return made
