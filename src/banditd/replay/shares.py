"""What caps on the arms' shares did in a replay, beside a coin that is tossed for the same share. No playing here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from banditd.replay.plan import Plan, SeedRun
from banditd.replay.references import column_means, phases


def share_report(plan: Plan, runs: Sequence[SeedRun]) -> list[dict[str, object]] | None:
    """By capped arm: its share of the decisions, and the utility of as many of its calls at random.

    None without caps. The coin's other side is the best of the other arms, known in advance.
    """
    if not plan.options.max_shares:
        return None
    return [_of(plan, runs, arm, cap) for arm, cap in plan.options.max_shares.items()]


def _of(plan: Plan, runs: Sequence[SeedRun], arm: str, cap: float) -> dict[str, object]:
    place = plan.data.arms.index(arm)
    share = {
        name: float(np.mean([(run.chosen[part] == place).mean() for run in runs]))
        for name, part in phases(runs[0].rows.size)
    }
    coins = []
    for run in runs:
        utility = column_means((plan.data.score - plan.penalty)[run.rows])
        called = float((run.chosen == place).mean())
        coins.append(called * utility[place] + (1.0 - called) * np.delete(utility, place).max())
    return {"arm": arm, "max_share": cap, "share": share, "coin": float(np.mean(coins))}
