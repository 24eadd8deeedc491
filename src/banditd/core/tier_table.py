"""A dated table of what models are roughly worth, by name. No file is read here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class TierTable:
    """Rough quality tiers by model name. as_of : date of the table. tiers : model -> one of ``QUALITY_TIERS``."""

    as_of: date
    tiers: Mapping[str, str]

    def tier_of(self, model: str) -> str | None:
        """The tier of a model, or None; a provider prefix is ignored (``openai/gpt-5.2``)."""
        return self.tiers.get(model) or self.tiers.get(model.rpartition("/")[2])
