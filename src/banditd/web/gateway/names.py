"""From the name of a model to what it asks for, and the names that clients are shown."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from banditd.core.errors import NotFoundError
from banditd.core.model_names import ARM, AUTO, PREFIX, Named, readings
from banditd.core.types import DEFAULT_POLICY

Policies = Mapping[str, Mapping[str, bool]]
"""Every policy with the names of its arms, and whether the gateway can call them."""


def resolve(model: str, aliases: Mapping[str, str], policies: Policies) -> Named:
    """What a name means. Raises NotFoundError with the names that come close."""
    for named in readings(aliases.get(model, model), policies):
        if named.arm is None or named.arm in policies[named.policy]:
            return named
    near = difflib.get_close_matches(model, listed(aliases, policies), n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"{PREFIX}{AUTO} is always there."
    raise NotFoundError(
        f"there is no model {model[:128]!r}: {hint} GET /v1/models lists them.",
        code="MODEL_NOT_FOUND",
        field="/model",
    )


def listed(aliases: Mapping[str, str], policies: Policies) -> list[str]:
    """The names that clients are shown: aliases, policies, then the arms that can be called."""
    names = [*aliases, PREFIX + AUTO, *(PREFIX + policy for policy in policies)]
    for policy, arms in policies.items():
        before = "" if policy == DEFAULT_POLICY else f"{policy}/"
        names += [f"{PREFIX}{before}{ARM}{arm}" for arm, callable_ in arms.items() if callable_]
    return names
