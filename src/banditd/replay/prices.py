"""List prices out of a data set's ``meta.json`` or the table of known models, and costs estimated from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from banditd.core.tier_table import TierTable
from banditd.core.types import FloatArray, Price
from banditd.replay.recipe_arms import RecipeArms, RecipePrices
from banditd.setup.known_models import read_known_models

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


def known_price(arm: str) -> Price | None:
    """The list price of a model that the shipped table knows by this name, as of the table's day."""
    known = read_known_models().named(arm)
    return None if known is None else Price(known.usd_per_mtok_in, known.usd_per_mtok_out)


def free_note(arm: str, *, is_sheet: bool) -> str:
    """What a report says of a model that nobody knows a price of; a sheet's reader can mend it at once."""
    if not is_sheet:
        return f"{arm}: neither a cost column nor a list price; its cost counts as zero"
    return (
        f"{arm} counts as free: no price of it is known, so it is never the dearest, and what is saved by it is no "
        f"saving yet. Give --price {arm}=IN,OUT, or a column {arm}|cost_usd; if it is no model, leave it out"
    )


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


@dataclass(frozen=True, slots=True, eq=False)
class Tariff:
    """What a replay is told in advance of what its arms cost.

    prices : of every arm of the data. guessed : indices of arms whose price is a mere guess. input_tokens : of every
    row, float64 (n,); answers are taken to have ``OUTPUT_TOKENS`` until they are known better. recipes : where the
    last arms are recipes, whose prices then are what is assumed before any play. tiers : guesses of models' quality
    by name, in place of those from prices.
    """

    prices: tuple[Price, ...]
    guessed: frozenset[int]
    input_tokens: FloatArray
    recipes: RecipeArms | None = None
    tiers: TierTable | None = None

    @classmethod
    def of_means(cls, cost_usd: FloatArray, n_rows: int) -> Tariff:
        """Mean costs that are known in advance, (K,), whatever the row."""
        prices = tuple(Price(usd_per_request=cost) for cost in cost_usd.tolist())
        return cls(prices, frozenset(), np.zeros(n_rows))

    @classmethod
    def of_mean_answers(cls, cost_usd: FloatArray, n_rows: int) -> Tariff:
        """The same for answers of ``OUTPUT_TOKENS``: how costs differ by query is still to be learned."""
        prices = tuple(Price(usd_per_mtok_out=cost / OUTPUT_TOKENS * 1e6) for cost in cost_usd.tolist())
        return cls(prices, frozenset(), np.zeros(n_rows))

    @classmethod
    def of_list(
        cls, prices: Mapping[str, Price], arms: Sequence[str], prompts: Sequence[str], guess_usd: float = 0.0
    ) -> Tariff:
        """List prices; an arm without one is taken to cost ``guess_usd`` a call, until calls of it tell."""
        unknown = Price(usd_per_mtok_out=guess_usd / OUTPUT_TOKENS * 1e6)
        return cls(
            tuple(prices.get(arm, unknown) for arm in arms),
            frozenset(i for i, arm in enumerate(arms) if arm not in prices),
            np.array([len(prompt) for prompt in prompts], dtype=np.float64) / CHARS_PER_TOKEN,
        )

    def with_recipes(self, recipes: RecipeArms | None) -> Tariff:
        """The same of models, and recipes of them."""
        if recipes is None:
            return self
        return replace(self, prices=(*self.prices, *RecipePrices(recipes, self.prices).prices), recipes=recipes)

    def recipe_prices(self) -> RecipePrices | None:
        """What recipes cost, to be learned by one run."""
        return None if self.recipes is None else RecipePrices(self.recipes, self.prices[: len(self.recipes.models)])

    def like(self, arm: str) -> str | None:
        """The model that a recipe's rewards are expected to be like; None for a model."""
        return None if self.recipes is None else self.recipes.like().get(arm)

    def tier(self, arm: str) -> str | None:
        """What the tier table says of a model; None without one."""
        return None if self.tiers is None else self.tiers.tier_of(arm)

    def mean_cost_usd(self, arm: int) -> float | None:
        """Expected cost of an arm over all rows; None where it is a guess."""
        if arm in self.guessed:
            return None
        return self.prices[arm].cost_usd(float(self.input_tokens.mean()), OUTPUT_TOKENS)


def scaled_price(price: Price, factor: float) -> Price:
    """So many times a price."""
    cached = price.usd_per_mtok_cached_in
    return Price(
        usd_per_mtok_in=price.usd_per_mtok_in * factor,
        usd_per_mtok_out=price.usd_per_mtok_out * factor,
        usd_per_request=price.usd_per_request * factor,
        usd_per_mtok_cached_in=None if cached is None else cached * factor,
    )


def _first(fields: Mapping[str, object], keys: Sequence[str]) -> float | None:
    for key in keys:
        value = fields.get(key)
        if isinstance(value, int | float) and _is_price(value):
            return float(value)
    return None


def _is_price(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
