"""Names that clients of the gateway call models by.

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
"""Names that mean something else here: no policy that the gateway serves is called so."""


@dataclass(frozen=True, slots=True)
class Named:
    """What the name of a model asks for. ``arm``: pinned."""

    policy: str = DEFAULT_POLICY
    profile: str | None = None
    arm: str | None = None


def readings(name: str, policies: Collection[str]) -> Iterator[Named]:
    """What a name may mean, the likeliest first; nothing for one that means nothing.

    An exact policy comes first. Names of policies, profiles and arms may hold slashes and colons themselves, so the
    longest policy that fits comes before shorter ones.
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
