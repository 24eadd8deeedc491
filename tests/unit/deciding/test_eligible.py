"""Masks before probabilities: who may answer, and why the others may not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from banditd.bandit.policies.base import ArmPrior, PolicySettings
from banditd.bandit.state import PolicyState
from banditd.core.errors import InvalidInputError, NoEligibleArmError
from banditd.core.types import Arm, ArmUsage, FeatureGroup, FeatureSchema, Price, Query
from banditd.deciding.eligible import eligible_arms
from banditd.deciding.view import RouteView, build_view

SCHEMA = FeatureSchema(
    version=1,
    hash="h",
    groups=(FeatureGroup("bias", 0, 1), FeatureGroup("lexical", 1, 3), FeatureGroup("cluster", 3, 5)),
    names=("bias", "l0", "l1", "c0", "c1"),
    encoder_id="e",
    embedding_dimension=2,
    n_clusters=2,
)


def arm(name: str, **changes: object) -> Arm:
    return dataclasses.replace(Arm(policy="default", arm=name, upstream_model=name), **changes)  # type: ignore[arg-type]


def view(*arms: Arm, usage: dict[str, ArmUsage] | None = None) -> RouteView:
    state = PolicyState(schema=SCHEMA, settings=PolicySettings(), arms=[ArmPrior(a.arm) for a in arms])
    return build_view(state.snapshot(), arms, usage or {})


def eligible(v: RouteView, query: Query, tokens: int = 100, soft: dict[str, str] | None = None):  # type: ignore[no-untyped-def]
    found = eligible_arms(
        v,
        [Query(), query],
        cost_usd=np.tile(v.cost_usd(tokens, v.output_tokens), (2, 1)),
        latency_ms=np.tile(v.latency_ms, (2, 1)),
        input_tokens=np.array([[0.0], [tokens]]),
        soft=soft or {},
    )
    for error in found.refused.values():
        raise error
    assert found.arms[0].any()
    return [v.arms[i].arm for i in np.flatnonzero(found.arms[1])], found.exclusions[1]


CHEAP = arm("cheap", price=Price(0.1, 0.1), expected_latency_ms=100.0)
DEAR = arm("dear", price=Price(10.0, 30.0), expected_latency_ms=900.0, capabilities=frozenset({"vision"}))
SMALL = arm("small", context_window_tokens=1000)


@pytest.mark.parametrize(
    ("query", "tokens", "allowed", "reasons"),
    [
        (Query(), 100, ["cheap", "dear", "small"], {}),
        (
            Query(candidates=("dear",)),
            100,
            ["dear"],
            {"cheap": "not_a_candidate", "small": "not_a_candidate"},
        ),
        (Query(excluded_arms=frozenset({"dear"})), 100, ["cheap", "small"], {"dear": "excluded_by_request"}),
        (Query(max_cost_usd=0.001), 100, ["cheap", "small"], {"dear": "max_cost_usd"}),
        (Query(max_latency_ms=500), 100, ["cheap", "small"], {"dear": "max_latency_ms"}),
        (
            Query(capabilities=frozenset({"vision"})),
            100,
            ["dear"],
            {"cheap": "capability_missing", "small": "capability_missing"},
        ),
        (Query(), 1001, ["cheap", "dear"], {"small": "context_window"}),
    ],
)
def test_each_constraint_excludes_with_its_reason(query, tokens, allowed, reasons) -> None:  # type: ignore[no-untyped-def]
    assert eligible(view(CHEAP, DEAR, SMALL), query, tokens) == (allowed, reasons)


def test_a_disabled_arm_is_never_eligible() -> None:
    v = view(CHEAP, dataclasses.replace(DEAR, enabled=False))
    assert eligible(v, Query()) == (["cheap"], {"dear": "disabled"})


def test_nothing_left_says_why_for_every_arm() -> None:
    with pytest.raises(NoEligibleArmError) as caught:
        eligible(view(CHEAP, DEAR), Query(max_cost_usd=0.0))
    assert caught.value.exclusions == {"cheap": "max_cost_usd", "dear": "max_cost_usd"}
    assert "cheap: max_cost_usd" in caught.value.message


def test_an_unknown_candidate_is_an_error_that_names_the_arms() -> None:
    with pytest.raises(InvalidInputError, match="cheap, dear"):
        eligible(view(CHEAP, DEAR), Query(candidates=("gpt-9",)))


def test_soft_exclusions_give_way_when_they_would_leave_nothing() -> None:
    v = view(CHEAP, DEAR)
    assert eligible(v, Query(), soft={"dear": "budget"}) == (["cheap"], {"dear": "budget"})
    assert eligible(v, Query(), soft={"dear": "budget", "cheap": "breaker_open"})[0] == ["cheap", "dear"]


def test_an_arm_added_later_gets_its_share_until_its_quota_is_used() -> None:
    new = dataclasses.replace(DEAR, created_at_us=5)
    assert view(CHEAP, new).onboarding_share.tolist() == [0.0, pytest.approx(0.2)]
    used = {"dear": ArmUsage(arm="dear", decisions=20)}
    assert view(CHEAP, new, usage=used).onboarding_share.tolist() == [0.0, 0.0]
    paid = {"dear": ArmUsage(arm="dear", decisions=3, cost_usd=2.0)}
    assert view(CHEAP, new, usage=paid).onboarding_share.tolist() == [0.0, 0.0]


def test_predicted_cost_follows_price_and_length() -> None:
    v = view(CHEAP, DEAR)
    assert v.cost_usd(1000, 500) == pytest.approx([1e-7 * 1500, 1e-5 * 1000 + 3e-5 * 500])


def test_of_many_unknown_arms_a_few_are_named() -> None:
    unknown = [f"unknown-{n:03}" for n in range(500)]
    for query in (Query(excluded_arms=frozenset(unknown)), Query(candidates=tuple(unknown))):
        with pytest.raises(InvalidInputError, match="unknown-009 and 490 more; arms of policy") as refused:
            eligible(view(CHEAP, DEAR), query)
        assert "unknown-010" not in refused.value.message
