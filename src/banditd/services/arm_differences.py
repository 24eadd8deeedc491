"""How the configured arms differ from the running ones. Pure: no clock, no I/O.

Every field of ``core.types.Arm`` that an operator may set is compared.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from banditd.core.types import Arm

Plain = Mapping[str, Any]
"""Fields of an arm by name, as in JSON; those of its price are ``price.NAME``."""

_NOT_SET = frozenset({"policy", "arm", "created_at_us", "updated_at_us", "generation"})
ARM_FIELDS = tuple(f.name for f in dataclasses.fields(Arm) if f.name not in _NOT_SET)
PRICE = "price"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmDifference:
    """The change that would make a running arm match the configuration.

    fields : for an arm to add, its values; for one to change, (running value, configured value).
    """

    policy: str
    arm: str
    action: Literal["add", "change", "delete"]
    fields: Mapping[str, Any] = field(default_factory=dict)


def plain_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an arm in one form, given its JSON or the result of ``dataclasses.asdict``."""
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
    """The arms of a policy to add, change and delete so that the running ones match the configuration.

    prices : False if a price file determines them. If the configuration lists no arms, they are managed over HTTP and
    nothing differs.
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
    """Plain fields in the form that HTTP takes, with the price as an object."""
    made: dict[str, Any] = {}
    for name, value in fields.items():
        outer, _, inner = name.partition(".")
        if inner:
            made.setdefault(outer, {})[inner] = value
        else:
            made[outer] = value
    return made
