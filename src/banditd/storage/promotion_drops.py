"""What taking a promotion back drops: arms and switches that somebody has changed after it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from banditd.ports.releases import Promotion

_CONFIGURED: Final = object()


def dropped_fields(promotion: Promotion, arms: Mapping[str, Mapping[str, object]]) -> list[str]:
    """Fields of arms that stood neither as the promotion nor as the time before it had them.

    arms : arm to the fields that the promotion had changed, as they stood until now.
    """
    found = []
    for name, fields in sorted(arms.items()):
        promoted, before = promotion.candidate.arms.get(name, {}), promotion.arms_before.get(name, {})
        found += [
            _named(f"{name}.{field}", value)
            for field, value in sorted(fields.items())
            if value not in (promoted.get(field), before.get(field))
        ]
    return found


def dropped_switches(promotion: Promotion, stored: Mapping[str, object]) -> list[str]:
    """The same of what is stored of the policy's switches."""
    before = promotion.switches_before or {}
    found = []
    for name, promoted in sorted((promotion.switches_after or {}).items()):
        now = stored.get(name, _CONFIGURED)
        if now in (promoted, before.get(name, _CONFIGURED)):
            continue
        if isinstance(now, Mapping):
            then = promoted if isinstance(promoted, Mapping) else {}
            found += [_named(f"{name}.{field}", now[field]) for field in sorted(now) if now[field] != then.get(field)]
        else:
            found.append(f"{name}: as configured" if now is _CONFIGURED else _named(name, now))
    return found


def _named(name: str, value: object) -> str:
    return f"{name}: {json.dumps(value, sort_keys=True)}"
