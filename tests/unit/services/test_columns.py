"""The columns of a decided batch hold what its arrays hold, whichever arms each query may have."""

from __future__ import annotations

import numpy as np
import pytest
from tests.unit.deciding.test_decide import context, random_view

from banditd.core.types import Decision, Query
from banditd.deciding.decide import Case, Situation, decide
from banditd.services.columns import drawn_columns, query_columns

VECTORS = ("probability", "mean", "deviation", "cost_usd", "penalty")


@pytest.mark.parametrize("limited", [False, True])
def test_a_row_holds_the_arms_that_it_was_drawn_from(limited: bool) -> None:
    rng = np.random.default_rng(3)
    view = random_view(rng, 5, 40)
    few = ("a1", "a3") if limited else None
    queries = [Query(candidates=few if i % 2 else None, tags={"row": str(i)}) for i in range(6)]
    cases = [Case(query=query, context=context(rng), input_tokens=80.0) for query in queries]
    situation = Situation(view=view, now_us=10**15, exploration_floor=0.01, cost_weight=0.2)
    decided = decide(situation, cases, rng.random(6))
    columns = drawn_columns(situation, decided)
    assert set(columns) | set(query_columns(queries)) < set(Decision._fields)
    rows = list(zip(*(columns[name] for name in ("arms", "arm", "propensity", *VECTORS)), strict=False))
    assert len(rows) == len(set(columns["decision_id"])) == 6
    arrays = (
        decided.draw.probability,
        decided.scores.mean,
        decided.scores.deviation,
        decided.priced.cost_usd,
        decided.priced.penalty,
    )
    for row, (arms, arm, propensity, *vectors) in enumerate(rows):
        listed = [view.index[name] for name in arms]
        assert arms == (few if limited and row % 2 else view.snapshot.arms)
        assert propensity == vectors[0][arms.index(arm)]
        for vector, array in zip(vectors, arrays, strict=True):
            assert np.array_equal(vector, array[row, listed])
    assert [tags["row"] for tags in query_columns(queries)["tags"]] == list("012345")
