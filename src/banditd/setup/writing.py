"""The configuration that `banditd init` writes: upstreams, arms with their prices, a baseline and a promise."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from banditd.core.errors import InvalidInputError
from banditd.core.nearest import nearest_names
from banditd.setup.finding import Found
from banditd.setup.known_models import KnownModel, KnownModels

# How much a typical query is, for saying which of some models is the dearest.
_TOKENS_IN: Final = 1000
_TOKENS_OUT: Final = 400


@dataclass(frozen=True, slots=True)
class ChosenArm:
    """A model of an upstream that becomes an arm, under a name that no other has."""

    arm: str
    model: str
    upstream: Found

    @property
    def known(self) -> KnownModel | None:
        """What the table says of it."""
        return self.upstream.known.get(self.model)

    @property
    def usd_per_query(self) -> float:
        """List price of a query of 1,000 tokens in and 400 out; 0 where none is known."""
        known = self.known
        if known is None:
            return 0.0
        return (known.usd_per_mtok_in * _TOKENS_IN + known.usd_per_mtok_out * _TOKENS_OUT) / 1e6


def choose(found: Sequence[Found], names: Sequence[str] = ()) -> list[ChosenArm]:
    """The arms of ``names`` (``model`` or ``upstream/model``), or what every upstream proposes; the dearest first.

    Raises InvalidInputError for a name that no upstream has.
    """
    offers = [(upstream, model) for upstream in found for model in upstream.models]
    chosen: list[tuple[Found, str]] = []
    for name in names:
        matching = [(u, m) for u, m in offers if name in (m, f"{u.name}/{m}")]
        if not matching:
            near = nearest_names(name, [model for _, model in offers])
            mend = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(m for _, m in offers[:12])}"
            raise InvalidInputError(f"no upstream that was found has a model {name!r}: {mend}", field="arm")
        chosen += [one for one in matching[:1] if one not in chosen]
    if not names:
        chosen = [(upstream, model) for upstream in found for model in upstream.proposed]
    count = [model for _, model in chosen]
    arms = [ChosenArm(m if count.count(m) == 1 else f"{u.name}/{m}", m, u) for u, m in chosen]
    return sorted(arms, key=lambda arm: -arm.usd_per_query)


def compose(arms: Sequence[ChosenArm], *, baseline: str, keep: float, table: KnownModels, today: dt.date) -> str:
    """The YAML file. ``keep`` is the share of the baseline's quality, in (0, 1]."""
    upstreams = {arm.upstream.name: arm.upstream for arm in arms}
    lines = [
        f"# Made by `banditd init` on {today}. `banditd check-config` says all that holds.",
        f"# Prices are list prices of {table.as_of}, in US dollars per million tokens: look them over.",
        "upstreams:",
        *(f"  {name}: {_flow(_upstream(upstream))}" for name, upstream in upstreams.items()),
        f"gateway: {_flow({'aliases': {_model_of(arms, baseline): 'banditd/auto'}})} # what your code says already",
        "policies:",
        "  default:",
        f"    promise: {_flow({'baseline': baseline, 'keep': keep})} # that share of its quality, at the least cost",
        "    arms:",
        *(f"      - {_flow(_arm(arm))}" for arm in arms),
    ]
    return "\n".join(lines) + "\n"


def _model_of(arms: Sequence[ChosenArm], baseline: str) -> str:
    return next(arm.model for arm in arms if arm.arm == baseline)


def _upstream(found: Found) -> dict[str, Any]:
    key = {"api_key_env": found.api_key_env} if found.api_key_env is not None else {}
    return {"kind": found.kind, "base_url": found.base_url, **key}


def _arm(arm: ChosenArm) -> dict[str, Any]:
    section: dict[str, Any] = {"arm": arm.arm, "upstream": arm.upstream.name}
    if arm.arm != arm.model:
        section["upstream_model"] = arm.model
    known = arm.known
    price: dict[str, float] = {"usd_per_mtok_in": 0, "usd_per_mtok_out": 0}
    if known is not None:
        price = {"usd_per_mtok_in": known.usd_per_mtok_in, "usd_per_mtok_out": known.usd_per_mtok_out}
        if known.usd_per_mtok_cached_in is not None:
            price["usd_per_mtok_cached_in"] = known.usd_per_mtok_cached_in
    section["price"] = price
    if known is not None:
        section |= {
            "context_window_tokens": known.context_window_tokens,
            "capabilities": list(known.capabilities),
            "quality_tier": known.quality_tier,
        }
    if arm.upstream.rename_params:
        section["rename_params"] = dict(arm.upstream.rename_params)
    return section


def _flow(section: dict[str, Any]) -> str:
    return yaml.safe_dump(section, default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True).strip()
