"""The simulated truth: how well, how fast and how dearly each arm answers a query of each family.

The daemon never sees this. Because the truth is known for every arm, a run can say what each fixed arm would
have earned on the very same queries. Not random: an outcome is a function of (seed, query, arm).
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from banditd.simulate.families import FAMILIES, Prompt

# Mean reward on a query of middling difficulty, by arm and family: the arms of the example configuration.
QUALITY: dict[str, dict[str, float]] = {
    "small-general": {
        "chat": 0.80, "code": 0.38, "maths": 0.28, "extraction": 0.80,
        "translation": 0.58, "summarising": 0.70, "classification": 0.88, "planning": 0.35,
    },
    "medium-general": {
        "chat": 0.86, "code": 0.60, "maths": 0.52, "extraction": 0.86,
        "translation": 0.85, "summarising": 0.84, "classification": 0.88, "planning": 0.58,
    },
    "code-specialist": {
        "chat": 0.55, "code": 0.92, "maths": 0.60, "extraction": 0.84,
        "translation": 0.35, "summarising": 0.55, "classification": 0.74, "planning": 0.50,
    },
    "large-reasoner": {
        "chat": 0.76, "code": 0.82, "maths": 0.92, "extraction": 0.76,
        "translation": 0.78, "summarising": 0.74, "classification": 0.78, "planning": 0.90,
    },
}  # fmt: skip
# What the hardest query of a family costs an arm in reward, against the easiest.
DIFFICULTY_LOSS = {
    "small-general": 0.40,
    "medium-general": 0.25,
    "code-specialist": 0.25,
    "large-reasoner": 0.08,
}
VERBOSITY = {"small-general": 0.9, "medium-general": 1.0, "code-specialist": 1.1, "large-reasoner": 2.2}
MS_PER_TOKEN = {"small-general": 2.5, "medium-general": 5.0, "code-specialist": 4.0, "large-reasoner": 9.0}
EXAMPLE_ARMS: tuple[dict[str, Any], ...] = tuple(
    {
        "arm": arm,
        "upstream_model": f"example/{arm}",
        "provider": "example",
        "price": {"usd_per_mtok_in": usd_in, "usd_per_mtok_out": usd_out},
        "expected_output_tokens": tokens,
    }
    for arm, usd_in, usd_out, tokens in (
        ("small-general", 0.10, 0.40, 350),
        ("medium-general", 0.60, 1.80, 400),
        ("code-specialist", 0.40, 1.20, 500),
        ("large-reasoner", 2.50, 10.00, 700),
    )
)
NOISE_SD = 0.12
FIRST_TOKEN_MS = 180.0


@dataclass(frozen=True, slots=True)
class SimulatedArm:
    """An arm of the daemon with its simulated truth. Prices are in dollars per million tokens."""

    name: str
    usd_per_mtok_in: float
    usd_per_mtok_out: float
    usd_per_request: float
    quality: Mapping[str, float]
    difficulty_loss: float
    verbosity: float
    ms_per_token: float

    def mean_reward(self, prompt: Prompt) -> float:
        """Expected reward in [0, 1]: quality in the family, less the harder the query is."""
        return _clip(self.quality[prompt.family] - self.difficulty_loss * (prompt.difficulty - 0.5))

    def cost_usd(self, input_tokens: int, output_tokens: int) -> float:
        return (
            self.usd_per_request + (self.usd_per_mtok_in * input_tokens + self.usd_per_mtok_out * output_tokens) / 1e6
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one arm makes of one query. ``reward`` is what a judge would say, ``mean_reward`` the truth."""

    reward: float
    mean_reward: float
    input_tokens: int
    output_tokens: int
    cost_usd: float
    latency_ms: float


def simulated_arms(views: Sequence[Mapping[str, Any]]) -> list[SimulatedArm]:
    """The daemon's arms (as ``GET /v1/arms`` lists them) with a truth each.

    Arms of the example configuration have a table; others get one from their price and name: dear arms are
    better on average, and every arm has families that suit it.
    """
    prices = [math.log1p(_price(view, "usd_per_mtok_out")) for view in views]
    top = max(prices, default=0.0) or 1.0
    return [_simulated(view, price / top) for view, price in zip(views, prices, strict=True)]


def strangers(names: Sequence[str]) -> list[str]:
    """Arms that are not of the example configuration: perhaps somebody's real ones."""
    return [name for name in names if name not in QUALITY]


def outcome(arm: SimulatedArm, prompt: Prompt, *, seed: int, index: int) -> Outcome:
    """What ``arm`` makes of query ``index`` of the run with this seed."""
    rng = random.Random(f"{seed}/{index}/{arm.name}")
    mean = arm.mean_reward(prompt)
    output_tokens = max(1, round(prompt.output_tokens * arm.verbosity * rng.lognormvariate(0.0, 0.25)))
    input_tokens = max(1, round(len(prompt.text) / 4.2))
    return Outcome(
        reward=_clip(rng.gauss(mean, NOISE_SD)),
        mean_reward=mean,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cost_usd=arm.cost_usd(input_tokens, output_tokens),
        latency_ms=FIRST_TOKEN_MS + arm.ms_per_token * output_tokens * rng.lognormvariate(0.0, 0.2),
    )


def _simulated(view: Mapping[str, Any], tier: float) -> SimulatedArm:
    name = str(view["arm"])
    quality = QUALITY.get(name) or {
        family: _clip(0.45 + 0.35 * tier + 0.3 * (_hashed(name, family) - 0.5)) for family in FAMILIES
    }
    return SimulatedArm(
        name=name,
        usd_per_mtok_in=_price(view, "usd_per_mtok_in"),
        usd_per_mtok_out=_price(view, "usd_per_mtok_out"),
        usd_per_request=_price(view, "usd_per_request"),
        quality=quality,
        difficulty_loss=DIFFICULTY_LOSS.get(name, 0.35 - 0.25 * tier),
        verbosity=VERBOSITY.get(name, 1.0 + tier),
        ms_per_token=MS_PER_TOKEN.get(name, 3.0 + 5.0 * tier),
    )


def _price(view: Mapping[str, Any], name: str) -> float:
    price = view.get("price") or {}
    return float(price.get(name) or 0.0)


def _hashed(*parts: str) -> float:
    digest = hashlib.sha256("/".join(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _clip(value: float) -> float:
    return min(1.0, max(0.0, value))
