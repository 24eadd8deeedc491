"""Thompson on real outcomes with few seeds: a regression check, not a benchmark.

The floors are one-sided and lie three to four standard errors below what was measured (docs/learning.md), so
that they hold on any seed and fall when learning breaks: uniform play scores 0, and a learner that never
explores or never uses its rewards stays far below them.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from banditd.replay.engine import run
from banditd.replay.options import ReplayOptions

DATA = Path(os.environ.get("BANDITD_DATA") or Path(__file__).resolve().parents[3].parent / "shared" / "data")


def folder(name: str) -> Path:
    if not (DATA / name).is_dir():
        pytest.skip(f"no {name} under {DATA}; set BANDITD_DATA to the folder of replay data")
    return DATA / name


@pytest.mark.parametrize(
    ("name", "cost_weight", "rows", "least_all", "least_last"),
    [
        ("paretobandit4", 0.1, 1500, 0.80, 0.75),
        ("ulab_nim9", 0.0, 2000, 0.50, 0.58),
    ],
)
def test_thompson_keeps_its_headroom_on_real_outcomes(
    name: str, cost_weight: float, rows: int, least_all: float, least_last: float
) -> None:
    content = run(ReplayOptions(directory=folder(name), cost_weight=cost_weight, limit=rows, seeds=2)).content
    headroom = content["headroom_score"]
    assert isinstance(headroom, dict)
    assert headroom["all"] >= least_all
    assert headroom["last_third"] >= least_last


def test_a_budget_on_real_costs_is_held() -> None:
    options = ReplayOptions(
        directory=folder("paretobandit4"), split="test", warmup_split="val", budget_usd=2.3e-4, seeds=1
    )
    content = run(options).content
    cost, reward, references = content["cost"], content["reward"], content["references"]
    assert isinstance(cost, dict)
    assert isinstance(reward, dict)
    assert isinstance(references, dict)
    assert 0.8 < cost["over_budget"] < 1.06
    assert reward["mean"] > references["fixed_mixture_at_cost"] - 0.02
