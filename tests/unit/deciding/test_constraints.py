"""Constraints in a decision: what they forbid is never eligible, what they prefer gives way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.deciding.test_eligible import arm, view

from banditd.core.constraint import ArmConstraint
from banditd.core.errors import NoEligibleArmError
from banditd.core.types import FloatArray, Query
from banditd.deciding.constraints import Conditions
from banditd.deciding.eligible import eligible_arms

NAMES = ("a", "b", "c", "d")
SOME = st.frozensets(st.sampled_from(NAMES), min_size=1)
CONSTRAINT = st.builds(
    ArmConstraint, st.sampled_from(["one", "two"]), st.sampled_from(["force", "forbid", "prefer"]), SOME
)


def eligible(
    constraints: list[ArmConstraint], soft: frozenset[str], disabled: frozenset[str]
) -> tuple[set[str], dict[str, str]]:
    """(the arms that may answer, why the others may not); no arms where the query is refused."""
    found = eligible_arms(
        view(*(arm(name, enabled=name not in disabled) for name in NAMES)),
        [Query(constraints=tuple(constraints))],
        cost_usd=np.zeros((1, 4)),
        latency_ms=None,
        input_tokens=np.ones((1, 1)),
        soft=dict.fromkeys(soft, "breaker_open"),
    )
    if found.refused:
        error = found.refused[0]
        assert isinstance(error, NoEligibleArmError)
        return set(), dict(error.exclusions)
    return {name for name, may in zip(NAMES, found.arms[0], strict=True) if may}, found.exclusions[0]


@given(st.lists(CONSTRAINT, max_size=3), st.frozensets(st.sampled_from(NAMES)), st.frozensets(st.sampled_from(NAMES)))
def test_who_may_answer(constraints: list[ArmConstraint], soft: frozenset[str], disabled: frozenset[str]) -> None:
    hard = {
        name
        for name in NAMES
        if name in disabled
        or any((name in one.arms) == (one.action == "forbid") for one in constraints if one.action != "prefer")
    }
    may, why = eligible(constraints, soft, disabled)
    left = set(NAMES) - hard
    assert bool(may) == bool(left), "what is soft never leaves nothing"
    assert may <= left
    assert set(why) == set(NAMES) - may, "every exclusion has its reason"
    serving = left - soft or left
    preferences = [one.arms for one in constraints if one.action == "prefer"]
    assert may <= serving, "a preference does not bring an arm back whose breaker is open"
    if not preferences:
        assert may == serving
    elif serving & preferences[0]:
        assert may <= preferences[0]
    elif len(preferences) == 1:
        assert may == serving


def test_the_reason_names_the_constraint() -> None:
    _, why = eligible([ArmConstraint("no-pii", "forbid", frozenset("ab"))], frozenset(), frozenset())
    assert why == {"a": "constraint:no-pii", "b": "constraint:no-pii"}


UNIT = np.eye(3)


@pytest.mark.parametrize(
    ("conditions", "text", "embedding", "holds"),
    [
        (Conditions(tags={"team": "legal"}), None, None, True),
        (Conditions(tags={"team": "sales"}), "x", UNIT[0], False),
        (Conditions(found=lambda text: "x" in text), "axa", None, True),
        (Conditions(found=lambda text: "x" in text), None, None, False),
        (Conditions(found=lambda text: "x" in text, tags={"team": "sales"}), "x", None, False),
        (Conditions(utterances=("u",), similarity=0.9, embeddings=UNIT[:1]), "x", 5.0 * UNIT[0], True),
        (Conditions(utterances=("u", "v"), similarity=0.9, embeddings=UNIT[:2]), "x", UNIT[1], True),
        (Conditions(utterances=("u",), similarity=0.9, embeddings=UNIT[:1]), "x", UNIT[2], False),
        (Conditions(utterances=("u",), similarity=-1.0, embeddings=UNIT[:1]), "x", None, False),
        (Conditions(utterances=("u",), similarity=-1.0, embeddings=UNIT[:1]), "x", np.ones(2), False),
    ],
)
def test_a_constraint_holds_where_all_of_its_conditions_do(
    conditions: Conditions, text: str | None, embedding: FloatArray | None, holds: bool
) -> None:
    assert conditions.hold(text, {"team": "legal"}, embedding) is holds
