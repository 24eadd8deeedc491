"""What is played: pools, promises about them, and how they are named."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Final

from bench.promise import company, first_day

ROOT: Final = Path(__file__).resolve().parents[2]
DATA: Final = Path(os.environ.get("BANDITD_DATA", ROOT / "../shared/data"))
ROWS: Final = 4000  # of a longer set so many are drawn, with seed 0
KEEPS: Final = (0.98, 0.95)
RATES: Final = (1.0, 0.3)  # of the decisions that get a reward
BASELINES: Final = ("dearest", "best", "cheapest")
_K3: Final = "llama-3.1-8b-instruct,mistral-large-2512,gemini-2.5-pro"

# Name -> (folder below DATA, pool of it).
POOLS: Final[dict[str, tuple[str, str | None]]] = {
    "pareto4": ("paretobandit4", None),
    "paretoK3": ("paretobandit4", _K3),
    "api12": ("bfcl2408", "api12"),
    "mid10": ("bfcl2408", "mid10"),
    "cheap8": ("bfcl2408", "cheap8"),
    "upside_down9": ("bfcl2408", "upside_down9"),
    "api9": ("zeroeval3", "api9"),
    "o1mini6": ("zeroeval3", "with_o1mini6"),
    "upside_down8": ("zeroeval3", "upside_down8"),
    "mid8": ("mmlu_pro", "mid8"),
    "instruct12": ("mmlu_pro", "instruct12"),
    "rational9": ("rational9", None),
}
COMPANY: Final = company.NAME
FIRST_DAY: Final = first_day.NAME
MADE_UP: Final = {COMPANY: company.RATE, FIRST_DAY: first_day.RATE}
"""Worlds with rewards of their own and one baseline, and their rates."""


@dataclass(frozen=True, slots=True, order=True)
class Case:
    """A promise about a pool. rate : of the decisions that get a reward."""

    pool: str
    baseline: str
    keep: float
    rate: float

    def shown(self) -> str:
        rewards = "" if self.rate == 1.0 else f", {self.rate:.0%} rewards"
        baseline = "" if self.baseline == "dearest" else f", {self.baseline}"
        return f"{self.pool}{baseline}; keep {self.keep:g}{rewards}"


def cases(
    pools: Sequence[str], baselines: Sequence[str], keeps: Sequence[float], rates: Sequence[float]
) -> list[Case]:
    """Every promise that is asked for; made-up worlds have their own rewards and one baseline."""
    found = []
    for pool in pools:
        if pool in MADE_UP:
            found += [Case(pool, "dearest", keep, MADE_UP[pool]) for keep in keeps]
            continue
        found += [Case(pool, baseline, keep, rate) for baseline, keep, rate in product(baselines, keeps, rates)]
    return found
