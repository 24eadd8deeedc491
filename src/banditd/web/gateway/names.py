"""From the name of a model to what it asks for, and the names that clients are shown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from banditd.core.errors import InvalidInputError, NotFoundError
from banditd.core.model_names import ARM, AUTO, PREFIX, Named, readings
from banditd.core.nearest import nearest_names
from banditd.core.types import DEFAULT_POLICY

_PAGE: Final = 20
_LIMIT: Final = re.compile(r"[0-9]{1,9}")
_MOST: Final = 1000
Policies = Mapping[str, Mapping[str, bool]]
"""Every policy with the names of its arms, and whether the gateway can call them."""


def resolve(model: str, aliases: Mapping[str, str], policies: Policies) -> Named:
    """What a name means. Raises NotFoundError with the names that come close."""
    for named in readings(aliases.get(model, model), policies):
        if named.arm is None or named.arm in policies[named.policy]:
            return named
    near = nearest_names(model, listed(aliases, policies), most=3, cutoff=0.5)
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


def openai_entry(name: str) -> dict[str, object]:
    """A name as OpenAI's clients read a model."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "banditd"}


def anthropic_entry(name: str) -> dict[str, object]:
    """The same for Anthropic's."""
    return {"type": "model", "id": name, "display_name": name, "created_at": "1970-01-01T00:00:00Z"}


def anthropic_page(names: Sequence[str], requested: Mapping[str, str]) -> dict[str, object]:
    """The names as Anthropic's clients list models: a page of ``limit``, behind ``after_id`` or before ``before_id``.

    Raises InvalidInputError.
    """
    limit = requested.get("limit", str(_PAGE))
    if not _LIMIT.fullmatch(limit) or not 1 <= int(limit) <= _MOST:
        raise InvalidInputError(f"limit must be a whole number from 1 to {_MOST}", field="/limit")
    left = list(names)
    for name, behind in (("after_id", True), ("before_id", False)):
        if name in requested:
            if requested[name] not in left:
                raise InvalidInputError(f"there is no model {requested[name][:128]!r} to begin at", field=f"/{name}")
            place = left.index(requested[name])
            left = left[place + 1 :] if behind else left[:place]
    count = int(limit)
    page = left[-count:] if "before_id" in requested and "after_id" not in requested else left[:count]
    return {
        "data": [anthropic_entry(name) for name in page],
        "has_more": len(page) < len(left),
        "first_id": page[0] if page else None,
        "last_id": page[-1] if page else None,
    }
