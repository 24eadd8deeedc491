"""Which arms a probed query is sent to: the unseen first, then by information per dollar, with what probability."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from tests.contract.conftest import make_decision

from banditd.bandit.policies.base import ArmPrior, PolicySettings
from banditd.bandit.snapshot import Snapshot
from banditd.bandit.state import PolicyState
from banditd.core.recipes import Recipe
from banditd.core.types import Arm, Context, Decision, FeatureGroup, FeatureSchema, Price
from banditd.deciding.probing import CHEAP, HARDLY_SEEN, inclusion, probed_arms, systematic
from banditd.deciding.view import RouteView, build_view

SCHEMA = FeatureSchema(
    version=1, hash="s", groups=(FeatureGroup("bias", 0, 1),), names=("bias",), encoder_id="e",
    embedding_dimension=0, n_clusters=0,
)  # fmt: skip
X = np.ones(1)


@functools.cache
def snapshot_of(seen: tuple[tuple[str, tuple[int, float]], ...]) -> Snapshot:
    state = PolicyState(schema=SCHEMA, settings=PolicySettings(), arms=[ArmPrior(name) for name, _ in seen])
    generator = np.random.default_rng(0)
    for name, (n, mean) in seen:
        for reward in np.clip(mean + 0.1 * generator.normal(size=n), 0.0, 1.0):
            state.fold(arm=name, epoch=0, x=X, weight=1.0, reward=float(reward))
    return state.snapshot()


def view_of(seen: dict[str, tuple[int, float]], **changes: Any) -> RouteView:
    """Arms by (rewards, their mean); a cent a call unless ``prices`` says otherwise."""
    prices, disabled = changes.get("prices", {}), changes.get("disabled", ())
    arms = [
        Arm(
            policy="p", arm=name, upstream_model=name, price=Price(usd_per_request=prices.get(name, 0.01)),
            enabled=name not in disabled,
            recipe=Recipe(arm=name, kind="agree", members=("a", "b"), otherwise="off") if name == "recipe" else None,
        )
        for name in seen
    ]  # fmt: skip
    return build_view(snapshot_of(tuple(seen.items())), arms, {})


def decision_of(view: RouteView, served: str) -> Decision:
    names = tuple(arm.arm for arm in view.arms)
    cost_usd = np.array([arm.price.usd_per_request for arm in view.arms])
    return make_decision(
        arms=names,
        arm=served,
        cost_usd=cost_usd,
        penalty=np.zeros(len(names)),
        context=Context(X, 0),
        input_tokens=10,
    )


def shares(view: RouteView, served: str = "a", **more: Any) -> dict[str, float]:
    """How often each arm is asked, over all coins; each as often as it says."""
    asked = {"without": {served}, "most": 1, "judge_usd": 0.0, "most_output_tokens": None, **more}
    found: dict[str, float] = {}
    said: dict[str, float] = {}
    n = 50
    for i in range(n):
        for one in probed_arms(view, decision_of(view, served), uniform=(i + 0.5) / n, **asked):
            found[one.arm] = found.get(one.arm, 0.0) + 1 / n
            said[one.arm] = one.probability
    assert found == pytest.approx(said, abs=2 / n)
    return said


def test_arms_that_are_hardly_seen_come_first_the_least_seen_most_often() -> None:
    seen = {"a": (60, 0.7), "b": (60, 0.7), "c": (0, 0.0), "d": (10, 0.5)}
    found = shares(view_of(seen, prices={"c": 1.0}))
    assert set(found) == {"c", "d"}
    assert found["c"] == pytest.approx(HARDLY_SEEN / (2 * HARDLY_SEEN - 10))


def test_then_the_uncertain_are_asked_by_the_dollar_and_what_cannot_be_best_is_not() -> None:
    seen = {"a": (150, 0.6), "close": (40, 0.6), "bad": (60, 0.1)}
    assert shares(view_of(seen)) == {"close": pytest.approx(1.0)}
    seen = {"a": (150, 0.6), "close": (40, 0.6), "twin": (40, 0.6)}
    dear = shares(view_of(seen, prices={"close": 0.1}))
    even = shares(view_of(seen))
    assert dear["close"] < even["close"] / 5
    # What the judge costs is part of the price: beside a dear verdict the arm's own price matters little.
    assert shares(view_of(seen, prices={"close": 0.1}), judge_usd=10.0) == pytest.approx(even, abs=0.02)
    # A free call counts as a thousandth of the dearest: it does not crowd out all else, but nearly.
    free = shares(view_of(seen, prices={"twin": 0.0}))
    assert free["twin"] == pytest.approx(1 - CHEAP, abs=CHEAP)
    hopeless = {"a": (150, 0.9), "bad": (60, 0.1), "worse": (60, 0.05)}
    assert shares(view_of(hopeless), most=9) == {}
    # Several: the hardly seen, and beside them who may be the best.
    found = shares(view_of({**hopeless, "new": (3, 0.5), "newer": (2, 0.5), "close": (40, 0.88)}), most=4)
    assert found == {name: pytest.approx(1.0) for name in ("new", "newer", "close")}


def test_who_is_to_come_first_does_and_the_others_share_what_is_left() -> None:
    view = view_of({"a": (150, 0.9), "bad": (60, 0.1), "new": (3, 0.5)})
    assert shares(view, first="bad") == {"bad": 1.0}
    assert shares(view, first="bad", most=2) == {"bad": 1.0, "new": pytest.approx(1.0)}
    assert shares(view, first="nobody") == {"new": pytest.approx(1.0)}


def test_neither_who_was_called_nor_who_may_not_serve_nor_a_recipe_is_asked() -> None:
    seen = {"a": (50, 0.6), "b": (50, 0.6), "off": (0, 0.6), "recipe": (0, 0.6)}
    view = view_of(seen, disabled=("off",))
    assert shares(view, most=9) == {"b": pytest.approx(1.0)}
    assert shares(view, most=9, without={"a", "b"}) == {}
    gone = decision_of(view, "a")._replace(arms=("a", "deleted", "off", "recipe"))
    assert probed_arms(
        view, gone, without={"a"}, most=2, judge_usd=0.0, most_output_tokens=None, uniform=0.5
    ) == []  # fmt: skip


def test_what_is_set_aside_is_no_more_than_the_request_allows() -> None:
    view = view_of({"a": (0, 0.0), "b": (0, 0.0)})
    priced = [Arm(policy="p", arm=name, upstream_model=name, price=Price(1.0, 100.0)) for name in "ab"]
    view = build_view(view.snapshot, priced, {})
    asked = {"without": {"a"}, "most": 1, "judge_usd": 0.0, "uniform": 0.5}
    decision = decision_of(view, "a")._replace(cost_usd=np.array([0.04, 0.04]))
    [free] = probed_arms(view, decision, most_output_tokens=None, **asked)
    assert free.reserve_usd == pytest.approx(0.04 + 2 * 400 * 100e-6)
    [bound] = probed_arms(view, decision, most_output_tokens=9, **asked)
    assert bound.reserve_usd == pytest.approx(10e-6 + 9 * 100e-6)


@pytest.mark.parametrize(("weights", "most"), [([1, 1, 1, 1], 2), ([100, 1, 1, 0], 2), ([5, 3, 1], 3), ([0, 0], 1)])
def test_so_many_are_drawn_each_with_its_share(weights: list[float], most: int) -> None:
    share = inclusion(np.array(weights, dtype=float), most)
    assert share.sum() == pytest.approx(min(most, np.count_nonzero(weights)))
    assert share.max(initial=0.0) <= 1.0
    n, counts = 1000, np.zeros(len(weights))
    for i in range(n):
        drawn = systematic(share, (i + 0.5) / n)
        assert len(drawn) == len(set(drawn)) == round(share.sum())
        counts[drawn] += 1
    np.testing.assert_allclose(counts / n, share, atol=2 / n)
