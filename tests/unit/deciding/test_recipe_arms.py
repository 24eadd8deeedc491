"""What a recipe is as an arm: price, tokens, latency and spread of its parts, and who may not call it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.unit.deciding.test_eligible import SCHEMA, arm, eligible

from banditd.bandit.policies.base import ArmPrior, PolicySettings
from banditd.bandit.state import PolicyState
from banditd.budget.amounts import AmountModel, Amounts
from banditd.core.constraint import ArmConstraint
from banditd.core.recipes import Recipe
from banditd.core.types import Arm, IntArray, Price, Query
from banditd.deciding.recipes import SettlingRates
from banditd.deciding.view import RouteView, build_view
from banditd.storage.like_with_like import would_have_cost_usd

A = arm("a", price=Price(0.0, 1.0, 0.1), expected_latency_ms=100.0, kwh_per_mtok_in=1.0)
B = arm("b", price=Price(0.0, 2.0, 0.2), expected_latency_ms=300.0)
C = arm("c", price=Price(0.0, 30.0, 3.0), expected_latency_ms=900.0)
DUO = arm("duo", recipe=Recipe(arm="duo", kind="agree", members=("a", "b"), otherwise="c"))
MOST = arm("most", recipe=Recipe(arm="most", kind="best_of", members=("a", "b", "c")))
STAGE = ("agree", ("a", "b"))
RATES = SettlingRates({STAGE: (6.0, 0.5)})  # with what is assumed: a quarter is left open


def view(*arms: Arm, tokens: tuple[float, ...] | None = None) -> RouteView:
    state = PolicyState(schema=SCHEMA, settings=PolicySettings(), arms=[ArmPrior(a.arm) for a in arms])
    amounts = None
    if tokens is not None:
        columns: IntArray = np.array([0], dtype=np.intp)
        taken = np.array(tokens)
        model = AmountModel(columns, np.zeros((len(arms), 1)), taken, np.full(len(arms), 0.5), taken)
        amounts = Amounts(arms=tuple(a.arm for a in arms), output_tokens=model, latency_ms=None, input_tokens=1.0)
    return build_view(state.snapshot(), arms, {}, amounts, RATES)


@pytest.mark.parametrize("tokens", [None, (100.0, 50.0, 10.0, 7.0, 7.0)])
def test_it_costs_what_its_calls_cost_whatever_each_of_them_takes(tokens: tuple[float, ...] | None) -> None:
    v = view(A, B, C, DUO, MOST, tokens=tokens)
    out = v.expected_output_tokens(np.ones((2, 5)))
    a, b, c, duo, most = v.cost_usd(np.zeros((2, 1)), out)[0].tolist()
    assert duo == pytest.approx(a + b + 0.25 * c)
    assert most == pytest.approx(a + b + c)
    typical = v.cost_usd(v.typical_input_tokens, v.output_tokens)
    assert v.cost_scale_usd == pytest.approx(typical[2])  # a model's, though a recipe costs more
    assert typical[4] > typical[2]
    spread = v.cost_spread_usd(out)[0]
    known = v.cost_usd(v.typical_input_tokens, out)[0]
    assert spread[3] ** 2 == pytest.approx(
        spread[0] ** 2 + spread[1] ** 2 + 0.25 * spread[2] ** 2 + 0.25 * 0.75 * known[2] ** 2
    )


def test_members_are_waited_for_together_and_the_other_after_them() -> None:
    latency = view(A, B, C, DUO, MOST).expected_latency_ms(np.ones((1, 5)))[0]
    assert latency.tolist() == pytest.approx([100.0, 300.0, 900.0, 300.0 + 0.25 * 900.0, 900.0])
    unknown = view(A, arm("b"), C, DUO).expected_latency_ms(np.ones((1, 5)))[0]
    assert np.isnan(unknown[3])


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        (Query(excluded_arms=frozenset({"b"})), "excluded_by_request"),
        (Query(constraints=(ArmConstraint("pii", "forbid", frozenset({"c"})),)), "constraint:pii"),
        (Query(candidates=("duo",)), None),
        (Query(recipes=False), "recipes_unwanted"),
        (Query(constraints=(ArmConstraint("only", "force", frozenset({"duo"})),)), None),
    ],
)
def test_what_keeps_a_part_from_a_query_keeps_its_recipe(query: Query, reason: str | None) -> None:
    v = view(A, B, C, DUO)
    allowed, reasons = eligible(v, query)
    assert reasons.get("duo") == reason
    assert ("duo" in allowed) is (reason is None)


def test_another_arm_costs_what_these_very_calls_say_of_the_query() -> None:
    """The members agreed, so the recipe was cheap: that makes the dear model no cheaper."""

    def call(name: str, usd: float, error: str | None = None) -> dict[str, Any]:
        return {"arm": name, "cost_usd": usd, "error": error, "recipe": "duo"}

    predicted = {"a": 1.0, "b": 2.0, "c": 40.0, "duo": 13.0}
    settled = {"arm": "duo", "cost_usd": 6.0, "attempts_usd": 2.0, "attempts": [call("a", 2.0), call("b", 4.0)]}
    assert would_have_cost_usd(predicted, "duo", settled, 6.0) == {"a": 2.0, "b": 4.0, "c": 80.0, "duo": 6.0}
    left_open = {**settled, "attempts": [*settled["attempts"], call("c", 60.0)], "cost_usd": 66.0}
    assert would_have_cost_usd(predicted, "duo", left_open, 66.0)["c"] == 60.0
