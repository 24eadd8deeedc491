"""Tier tables on disk: the shipped one, or an operator's own in its form. Their meaning is ``core.tier_table``'s."""

from __future__ import annotations

from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Final

import yaml

from banditd.core.errors import ConfigurationError
from banditd.core.tier_table import TierTable
from banditd.core.types import QUALITY_TIERS
from banditd.settings.yaml_text import read_yaml

SHIPPED: Final = "shipped"  # in place of a path: the table of ``banditd models``


def read_tier_table(where: str) -> TierTable:
    """Read and check a table: YAML with ``as_of`` and a list ``models`` of ``{model: NAME, tier: TIER}``.

    Raises
    ------
    ConfigurationError : it cannot be read, or is no such table; names the file and what is wrong.
    """
    try:
        if where == SHIPPED:
            text = (files("banditd") / "assets" / "models.yaml").read_text(encoding="utf-8")
        else:
            text = Path(where).read_text(encoding="utf-8")
        content = read_yaml(text)
    except (OSError, UnicodeDecodeError, ValueError, yaml.YAMLError) as error:
        raise ConfigurationError(f"the tier table {where} cannot be read: {error}") from error
    try:
        return _table(content)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"the tier table {where} {error.message}; it is YAML such as "
            "{as_of: 2026-11-29, models: [{model: gpt-5-mini, tier: standard}]}"
        ) from error


def _table(content: object) -> TierTable:
    """Raises ConfigurationError with what is wrong, to be read behind the table's name."""
    as_of = content.get("as_of") if isinstance(content, dict) else None
    if not isinstance(content, dict) or type(as_of) is not date:
        raise ConfigurationError("does not say as_of which day (YYYY-MM-DD) it is")
    rows = content.get("models")
    if not isinstance(rows, list):
        raise ConfigurationError("has no list of models")
    tiers: dict[str, str] = {}
    for row in rows:
        model, tier = (row.get("model"), row.get("tier")) if isinstance(row, dict) else (None, None)
        if not isinstance(model, str) or not model:
            raise ConfigurationError(f"has an entry without a model's name: {row!r:.80}")
        if tier not in QUALITY_TIERS:
            raise ConfigurationError(f"gives {model} the tier {tier!r}; known: {', '.join(QUALITY_TIERS)}")
        if tiers.setdefault(model, tier) != tier:
            raise ConfigurationError(f"gives {model} two tiers")
    return TierTable(as_of, tiers)
