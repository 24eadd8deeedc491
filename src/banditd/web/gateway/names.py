"""Names of models: ``banditd/auto``, ``banditd/<policy>[:<profile>]``, ``banditd/[<policy>/]arm/<arm>``, aliases."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from banditd.core.errors import NotFoundError
from banditd.core.types import DEFAULT_POLICY

PREFIX: Final = "banditd/"
AUTO: Final = "auto"
_ARM: Final = "arm/"

Policies = Mapping[str, Mapping[str, bool]]
"""Every policy with the names of its arms, and whether the gateway can call them."""


@dataclass(frozen=True, slots=True)
class Named:
    """What the name of a model asks for. ``arm``: pinned."""

    policy: str = DEFAULT_POLICY
    profile: str | None = None
    arm: str | None = None


def resolve(model: str, aliases: Mapping[str, str], policies: Policies) -> Named:
    """What a name means. Raises NotFoundError with the names that come close."""
    name = aliases.get(model, model)
    found = _resolve(name.removeprefix(PREFIX), policies) if name.startswith(PREFIX) else None
    if found is None:
        near = difflib.get_close_matches(model, listed(aliases, policies), n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"{PREFIX}{AUTO} is always there."
        raise NotFoundError(
            f"there is no model {model[:128]!r}: {hint} GET /v1/models lists them.",
            code="model_not_found",
            field="/model",
        )
    return found


def _resolve(rest: str, policies: Policies) -> Named | None:
    if rest == AUTO:
        return Named()
    if rest in policies:
        return Named(rest)
    arm = rest.removeprefix(_ARM) if rest.startswith(_ARM) else None
    if arm is not None and arm in policies[DEFAULT_POLICY]:
        return Named(DEFAULT_POLICY, arm=arm)
    # Names of policies may hold slashes and colons themselves: the longest that fits is meant.
    for policy in sorted((AUTO, *policies), key=len, reverse=True):
        real = DEFAULT_POLICY if policy == AUTO else policy
        arm = rest.removeprefix(f"{policy}/{_ARM}") if rest.startswith(f"{policy}/{_ARM}") else None
        if arm is not None and arm in policies[real]:
            return Named(real, arm=arm)
        if rest.startswith(f"{policy}:") and len(rest) > len(policy) + 1:
            return Named(real, profile=rest[len(policy) + 1 :])
    return None


def listed(aliases: Mapping[str, str], policies: Policies) -> list[str]:
    """The names that clients are shown: aliases, policies, then the arms that can be called."""
    names = [*aliases, PREFIX + AUTO, *(PREFIX + policy for policy in policies)]
    for policy, arms in policies.items():
        before = "" if policy == DEFAULT_POLICY else f"{policy}/"
        names += [f"{PREFIX}{before}{_ARM}{arm}" for arm, callable_ in arms.items() if callable_]
    return names
