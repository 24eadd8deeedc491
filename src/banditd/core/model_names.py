"""The model names that the gateway understands.

``banditd/auto``, ``banditd/<policy>``, ``banditd/<policy>:<profile>``, ``banditd/arm/<arm>`` and
``banditd/<policy>/arm/<arm>``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from banditd.core.types import DEFAULT_POLICY

PREFIX: Final = "banditd/"
AUTO: Final = "auto"
ARM: Final = "arm/"
RESERVED: Final = frozenset({AUTO, "arm"})
"""Names with a meaning of their own: the gateway serves no policy of that name."""


@dataclass(frozen=True, slots=True)
class Named:
    """What a model name asks for. arm : the pinned arm, or None."""

    policy: str = DEFAULT_POLICY
    profile: str | None = None
    arm: str | None = None


def readings(name: str, policies: Collection[str]) -> Iterator[Named]:
    """The possible meanings of a name, likeliest first; none if it has no meaning here.

    An exact policy name comes first. Names of policies, profiles and arms may contain slashes and colons, so longer
    policy names are tried before shorter ones.
    """
    if not name.startswith(PREFIX):
        return
    rest = name.removeprefix(PREFIX)
    if rest == AUTO:
        yield Named()
        return
    if rest in policies:
        yield Named(rest)
    if rest.startswith(ARM) and len(rest) > len(ARM):
        yield Named(arm=rest.removeprefix(ARM))
    for policy in sorted((AUTO, *policies), key=len, reverse=True):
        real = DEFAULT_POLICY if policy == AUTO else policy
        for mark in (f"/{ARM}", ":"):
            more = rest.removeprefix(policy + mark) if rest.startswith(policy + mark) else ""
            if more:
                yield Named(real, arm=more) if mark != ":" else Named(real, profile=more)
