"""The published protocol: three arms, seven budgets, learn on val and continue on test, and what was published."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from banditd.core.types import Context, FeatureSchema, FloatArray, Price
from banditd.replay.contexts import build_contexts
from banditd.replay.dataset import ReplayData, load_dataset

ROOT: Final = Path(__file__).resolve().parents[2]
DATA: Final = Path(os.environ.get("BANDITD_DATA", ROOT / "../shared/data"))
DATASET: Final = "paretobandit4"
# List prices as ParetoBandit's registry has them, dollars per million tokens in and out.
PRICES: Final = {
    "llama-3.1-8b-instruct": Price(usd_per_mtok_in=0.1, usd_per_mtok_out=0.1),
    "mistral-large-2512": Price(usd_per_mtok_in=0.5, usd_per_mtok_out=1.5),
    "gemini-2.5-pro": Price(usd_per_mtok_in=1.25, usd_per_mtok_out=10.0),
}
ARMS: Final = tuple(PRICES)
DROPPING: Final = 2  # the arm whose price falls
DROPPED: Final = Price(usd_per_mtok_in=0.1, usd_per_mtok_out=0.1)
# Costs in phase 2 are scaled by the ratio of the mean prices, as published.
DROP_FACTOR: Final = 0.1 / 5.625
BUDGETS: Final = (2.929e-5, 8.288e-5, 2.345e-4, 6.637e-4, 1.878e-3, 5.314e-3, 1.504e-2)
DRIFT_BUDGETS: Final = {"tight": 3.0e-4, "moderate": 6.62e-4, "loose": 1.87e-3}


@dataclass(frozen=True, slots=True)
class Published:
    """ParetoBandit's own figures on 1,824 prompts, and the fixed-arm mixture there; 20 seeds."""

    reward: float
    over_budget: float
    mixture: float


PUBLISHED: Final = (
    Published(0.7932, 0.98, 0.7931),
    Published(0.8128, 1.00, 0.8073),
    Published(0.8588, 1.00, 0.8469),
    Published(0.8978, 0.98, 0.9231),
    Published(0.9172, 0.91, 0.9238),
    Published(0.9244, 0.89, 0.9257),
    Published(0.9290, 0.74, 0.9297),
)
AIMS: Final = (0.7948, 0.8190, 0.8650, 0.9235, 0.9250, 0.9280, 0.9330)
# Phases 1, 2 and 3: cost over budget, and reward.
DRIFT_PUBLISHED: Final = {
    "tight": ((1.01, 0.95, 1.04), (0.8621, 0.9334, 0.8543)),
    "moderate": ((0.99, 0.65, 1.00), (0.8823, 0.9259, 0.8914)),
    "loose": ((0.96, 0.23, 0.95), (0.9094, 0.9276, 0.9119)),
}


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """data : all rows of the three arms."""

    data: ReplayData
    schema: FeatureSchema
    contexts: list[Context]

    @property
    def test_means(self) -> tuple[FloatArray, FloatArray]:
        """(mean reward, mean cost) of every arm on the scored rows: float64 (3,) each."""
        rows = self.data.rows_of("test")
        return self.data.score[rows].mean(axis=0), self.data.cost_usd[rows].mean(axis=0)


@cache
def setting() -> Setting:
    data = load_dataset(DATA / DATASET, ",".join(ARMS))
    schema, contexts = build_contexts(data.prompts, with_facts=False)
    return Setting(data, schema, contexts)
