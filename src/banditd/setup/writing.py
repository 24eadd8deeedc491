"""The configuration that `banditd init` writes: upstreams, arms with their prices, a baseline and a promise."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
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
class ListPrice:
    """In US dollars per million tokens."""

    usd_per_mtok_in: float
    usd_per_mtok_out: float
    usd_per_mtok_cached_in: float | None = None


@dataclass(frozen=True, slots=True)
class ChosenArm:
    """A model of an upstream that becomes an arm, under a name that no other has. price : None: it is not known."""

    arm: str
    model: str
    upstream: Found
    price: ListPrice | None

    @property
    def known(self) -> KnownModel | None:
        """What the table says of it."""
        return self.upstream.known.get(self.model)

    @property
    def usd_per_query(self) -> float:
        """List price of a query of 1,000 tokens in and 400 out; 0 where none is known."""
        if self.price is None:
            return 0.0
        return (self.price.usd_per_mtok_in * _TOKENS_IN + self.price.usd_per_mtok_out * _TOKENS_OUT) / 1e6

    def is_called(self, name: str) -> bool:
        """Whether a person means this one: the arm, the model, or both with the upstream before it."""
        return name in (self.arm, self.model, f"{self.upstream.name}/{self.model}")


def choose(
    found: Sequence[Found], names: Sequence[str] = (), prices: Mapping[str, ListPrice] | None = None
) -> list[ChosenArm]:
    """The arms of ``names`` (``model`` or ``upstream/model``), or what every upstream proposes; the dearest first.

    ``upstream/model`` may name a model that nobody has listed. prices : by such a name, before the table's.
    Raises InvalidInputError for a name that is no upstream's, and for a price of no arm.
    """
    chosen: list[tuple[Found, str]] = []
    for name in names:
        one = _offer(found, name)
        chosen += [one] if one not in chosen else []
    if not names:
        chosen = [(upstream, model) for upstream in found for model in upstream.proposed]
    arms: list[ChosenArm] = []
    for upstream, model in chosen:
        name = _arm_name(model if [m for _, m in chosen].count(model) == 1 else f"{upstream.name}/{model}")
        while any(arm.arm == name for arm in arms):
            name += "-2"
        arms.append(ChosenArm(name, model, upstream, _price(upstream, model)))
    for name, price in (prices or {}).items():
        if not any(arm.is_called(name) for arm in arms):
            raise InvalidInputError(f"the price is of no arm: {name!r} is none of {', '.join(a.arm for a in arms)}")
        arms = [replace(arm, price=price) if arm.is_called(name) else arm for arm in arms]
    return sorted(arms, key=lambda arm: -arm.usd_per_query)


def _offer(found: Sequence[Found], name: str) -> tuple[Found, str]:
    for upstream in found:
        for model in upstream.models:
            if name in (model, f"{upstream.name}/{model}"):
                return upstream, model
    for upstream in found:
        if name.startswith(f"{upstream.name}/") and name != f"{upstream.name}/":
            return upstream, name.removeprefix(f"{upstream.name}/")
    listed = [model for upstream in found for model in upstream.models]
    near = nearest_names(name, listed)
    more = f", and {len(listed) - 12} more" if len(listed) > 12 else ""
    mend = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(listed[:12])}{more}."
    raise InvalidInputError(
        f"no upstream that was found lists a model {name!r}: {mend} "
        f"One that is not listed is named with its upstream: {found[0].name}/{name}",
        field="arm",
    )


def _arm_name(model: str) -> str:
    """The model's name where it can be an arm's, or the nearest that can."""
    name = re.sub(r"[^A-Za-z0-9._:/@+-]", "-", model).lstrip("._:/@+-")
    return name[:128] or "model"


def _price(upstream: Found, model: str) -> ListPrice | None:
    known = upstream.known.get(model)
    if known is None:
        return None
    return ListPrice(known.usd_per_mtok_in, known.usd_per_mtok_out, known.usd_per_mtok_cached_in)


def compose(
    arms: Sequence[ChosenArm], *, baseline: str, keep: float | None, table: KnownModels, today: dt.date
) -> str:
    """The YAML file. ``keep`` is the share of the baseline's quality, in [0.5, 1]; None: no promise."""
    upstreams = {arm.upstream.name: arm.upstream for arm in arms}
    # Ollama counts its answers' ids from 0 to 998: a reward by one of them would go to the newest of many.
    gateway: dict[str, Any] = {"aliases": {_model_of(arms, baseline): "banditd/auto"}}
    gateway |= {"response_id": "decision"} if "ollama" in upstreams else {}
    promise = f"    promise: {_flow({'baseline': baseline, 'keep': keep})} # of its quality, at the least cost"
    lines = [
        f"# Made by `banditd init` on {today}. `banditd check-config` says all that holds.",
        f"# Prices are list prices of {table.as_of}, in US dollars per million tokens: look them over.",
        "upstreams:",
        *(f"  {_flow({name: _upstream(upstream)})[1:-1]}" for name, upstream in upstreams.items()),
        f"gateway: {_flow(gateway)} # what your code says already",
        "policies:",
        "  default:",
        *([promise] if keep is not None else []),
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
    known, price = arm.known, arm.price or ListPrice(0.0, 0.0)
    section["price"] = {name: value for name, value in asdict(price).items() if value is not None}
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
