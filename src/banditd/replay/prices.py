"""List prices out of a data set's ``meta.json``, and costs estimated from them. Guesses nothing by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from banditd.core.types import FloatArray, Price

CHARS_PER_TOKEN: Final = 4.0
OUTPUT_TOKENS: Final = 400.0  # assumed where a data set does not say

_IN_KEYS: Final = ("in_per_mtok", "usd_per_mtok_in", "price_in_per_mtok")
_OUT_KEYS: Final = ("out_per_mtok", "usd_per_mtok_out", "price_out_per_mtok")
_PAIR_KEYS: Final = ("price_in_out_per_mtok", "price_in_out_per_mtok_usd")
_BOTH_KEYS: Final = ("price_per_mtok", "price_per_mtok_usd", "usd_per_mtok")


def list_price(meta: Mapping[str, object], arm: str) -> Price | None:
    """The list price of an arm, or None when ``meta`` has none that can be read."""
    arms = meta.get("arms")
    entry = arms.get(arm) if isinstance(arms, dict) else None
    if not isinstance(entry, dict):
        return None
    nested = entry.get("price")
    fields: Mapping[str, object] = {**entry, **nested} if isinstance(nested, dict) else entry
    for key in _PAIR_KEYS:
        pair = fields.get(key)
        if isinstance(pair, list | tuple) and len(pair) == 2 and all(_is_price(v) for v in pair):
            return Price(usd_per_mtok_in=float(pair[0]), usd_per_mtok_out=float(pair[1]))
    inward, outward = _first(fields, _IN_KEYS), _first(fields, _OUT_KEYS)
    if inward is not None or outward is not None:
        return Price(usd_per_mtok_in=inward or 0.0, usd_per_mtok_out=outward or 0.0)
    both = _first(fields, _BOTH_KEYS)
    return None if both is None else Price(usd_per_mtok_in=both, usd_per_mtok_out=both)


def priced_rows(price: Price, prompts: Sequence[str], output_tokens: FloatArray | None) -> FloatArray:
    """Estimated cost of every prompt, float64 (n,): characters / 4 in, the data set's or 400 tokens out."""
    inward = np.array([len(prompt) for prompt in prompts], dtype=np.float64) / CHARS_PER_TOKEN
    outward = np.full(len(prompts), OUTPUT_TOKENS)
    if output_tokens is not None and np.isfinite(output_tokens).any():
        known = np.isfinite(output_tokens)
        outward = np.where(known, output_tokens, output_tokens[known].mean())
    cost: FloatArray = (
        price.usd_per_request + (price.usd_per_mtok_in * inward + price.usd_per_mtok_out * outward) / 1e6
    )
    return cost


def _first(fields: Mapping[str, object], keys: Sequence[str]) -> float | None:
    for key in keys:
        value = fields.get(key)
        if isinstance(value, int | float) and _is_price(value):
            return float(value)
    return None


def _is_price(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
