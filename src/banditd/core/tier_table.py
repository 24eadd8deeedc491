"""A dated table of what models are roughly worth, by name. No file is read here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class TierTable:
    """as_of : the day on which this was believed. tiers : model -> one of ``QUALITY_TIERS``."""

    as_of: date
    tiers: Mapping[str, str]

    def tier_of(self, model: str) -> str | None:
        """Of a model by its name; a provider before its last slash counts for nothing (``openai/gpt-5.2``)."""
        return self.tiers.get(model) or self.tiers.get(model.rpartition("/")[2])
