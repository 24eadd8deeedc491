"""What every section of the configuration has in common."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$"

# An address for people, without a query: links begin with it.
PublicUrl = Annotated[str, Field(pattern=r"^https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/-]*)?$", max_length=260)]

_UNITS_S: Final = {"_ms": 1e-3, "_s": 1.0, "_days": 86_400.0}
_LONGEST_S: Final = 100 * 365 * 86_400.0
"""A time this far ahead can still be formatted as a date, and stored."""
_AMOUNTS: Final = ("usd", "kwh", "kg_co2")
_MOST: Final = 1e12
"""Products of amounts of this size are finite."""


class Section(BaseModel):
    """A frozen part of the configuration that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _is_reckonable(cls, value: Any, info: ValidationInfo) -> Any:
        name = info.field_name or ""
        unit_s = next((unit for end, unit in _UNITS_S.items() if name.endswith(end)), None)
        if unit_s is not None and not name.endswith("_per_s") and isinstance(value, int | float):
            most = _LONGEST_S / unit_s
            if value > most:
                raise ValueError(f"a time may be at most a hundred years, which is {most:.12g} here")
        if isinstance(value, int | float) and value > _MOST and any(amount in name for amount in _AMOUNTS):
            raise ValueError(f"an amount may be at most {_MOST:g}")
        return value
