"""The dated table of known models: list prices, context windows, capabilities, a rough tier."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Final

import yaml

_TABLE: Final = files("banditd") / "assets" / "models.yaml"


@dataclass(frozen=True, slots=True)
class Provider:
    """Where a provider's models are called. ``page`` has its prices; ``rename_params`` are those of its arms."""

    name: str
    kind: str
    base_url: str
    api_key_env: str
    page: str
    rename_params: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KnownModel:
    """One model. Prices in US dollars per million tokens; ``retires``: from when its provider takes it away."""

    model: str
    provider: str
    usd_per_mtok_in: float
    usd_per_mtok_out: float
    usd_per_mtok_cached_in: float | None
    context_window_tokens: int
    capabilities: tuple[str, ...]
    quality_tier: str
    proposed: bool
    retires: dt.date | None


@dataclass(frozen=True, slots=True)
class KnownModels:
    """All that are known, as of a day, from a source."""

    as_of: dt.date
    source: str
    providers: Mapping[str, Provider]
    models: Sequence[KnownModel]

    def age_days(self, today: dt.date) -> int:
        """How old the facts are."""
        return (today - self.as_of).days

    def of(self, provider: str) -> list[KnownModel]:
        """The models of a provider, in the table's order."""
        return [model for model in self.models if model.provider == provider]

    def named(self, model: str) -> KnownModel | None:
        """A model by its name; what stands before its last slash counts for nothing (``openai/gpt-5.2``)."""
        name = model.rpartition("/")[2]
        return next((known for known in self.models if known.model == name), None)


def read_known_models() -> KnownModels:
    """The shipped table."""
    content: dict[str, Any] = yaml.safe_load(_TABLE.read_text(encoding="utf-8"))
    providers = {name: Provider(name=name, **section) for name, section in content["providers"].items()}
    return KnownModels(
        as_of=content["as_of"],
        source=content["source"],
        providers=providers,
        models=[_model(row) for row in content["models"]],
    )


def _model(row: Mapping[str, Any]) -> KnownModel:
    return KnownModel(
        model=row["model"],
        provider=row["provider"],
        usd_per_mtok_in=row["in"],
        usd_per_mtok_out=row["out"],
        usd_per_mtok_cached_in=row.get("cached_in"),
        context_window_tokens=row["context"],
        capabilities=tuple(row["can"]),
        quality_tier=row["tier"],
        proposed=row.get("proposed", False),
        retires=row.get("retires"),
    )
