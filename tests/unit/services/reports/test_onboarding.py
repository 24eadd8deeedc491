"""The graduation report: pure judgements from a posterior and counts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.unit.deciding.test_eligible import SCHEMA, arm

from banditd.bandit.policies.base import ArmPrior, PolicySettings
from banditd.bandit.state import PolicyState
from banditd.core.types import ArmUsage, FloatArray
from banditd.deciding.view import RouteView, build_view
from banditd.services.reports.onboarding import Assessment, Estimate, assess, recommendation, state_of

NAMES = ("old", "other", "new")
# Mean contexts of the two clusters: bias, two lexical features, the clusters.
CONTEXTS = np.array([[1.0, 0.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0, 1.0]])
TRAFFIC = np.array([[30.0, 10.0, 5.0], [10.0, 30.0, 5.0]])


def view_of(rewards: dict[str, tuple[float, float]], n: int = 200, **changes: bool) -> RouteView:
    """Each arm earns these in cluster 0 and 1, ``n`` times each."""
    state = PolicyState(schema=SCHEMA, settings=PolicySettings(), arms=[ArmPrior(name) for name in NAMES])
    for name, levels in rewards.items():
        for i in range(n):
            state.fold(arm=name, epoch=0, x=CONTEXTS[i % 2], weight=1.0, reward=levels[i % 2])
    state.adopt(state.tuning().run())
    arms = [arm(name, enabled=changes.get(name, True)) for name in NAMES]
    return build_view(state.snapshot(), arms, {})


def judged(view: RouteView, penalty: FloatArray | None = None, decisions: FloatArray = TRAFFIC) -> Assessment:
    found = assess(
        view,
        2,
        contexts=CONTEXTS,
        decisions=decisions,
        mix=np.array([0, 1]),
        penalty=np.zeros(3) if penalty is None else penalty,
    )
    assert found is not None
    return found


EVEN = {"old": (0.6, 0.6), "other": (0.4, 0.4)}


def test_the_incumbents_are_mixed_as_they_share_each_clusters_traffic() -> None:
    found = judged(view_of({**EVEN, "new": (0.9, 0.9)}))
    # Three quarters of cluster 0 are old's, three quarters of cluster 1 are other's; each is half of the traffic.
    assert found.incumbents.mean == pytest.approx(0.5, abs=0.02)
    assert found.reward.mean == pytest.approx(0.9, abs=0.02)
    assert found.difference.mean == pytest.approx(found.reward.mean - found.incumbents.mean)
    assert found.difference.low < 0.4 < found.difference.high
    assert (found.clusters, found.leads, found.contends) == (2, 2, 2)


def test_an_arm_that_is_best_in_one_cluster_only_is_kept_for_it() -> None:
    found = judged(view_of({**EVEN, "new": (0.9, 0.1)}))
    assert (found.leads, found.contends) == (1, 1)
    assert state_of(quota_left=False, rewards=200, found=found) == "graduated"


def test_money_counts_where_it_counts_in_routing() -> None:
    view = view_of({**EVEN, "new": (0.7, 0.7)})
    assert judged(view).leads == 2
    dear = judged(view, penalty=np.array([0.0, 0.0, 0.5]))
    assert (dear.leads, dear.contends) == (0, 0)
    assert dear.difference == judged(view).difference  # the estimates are of rewards


def test_little_data_leaves_an_arm_in_the_race() -> None:
    found = judged(view_of({**EVEN, "new": (0.4, 0.4)}, n=4))
    assert found.leads < found.contends == 2


def test_unseen_clusters_and_a_disabled_arm_are_judged_on_what_there_is() -> None:
    found = judged(view_of({**EVEN, "new": (0.9, 0.1)}, new=False), decisions=np.array([[0, 0, 0], [9.0, 1.0, 0.0]]))
    assert (found.clusters, found.leads) == (1, 0)
    assert found.incumbents.mean == pytest.approx(0.58, abs=0.02)
    view = view_of(EVEN)
    for decisions, mix in ((np.zeros((2, 3)), [0, 1]), (TRAFFIC, [])):
        assert assess(
            view, 2, contexts=CONTEXTS, decisions=decisions, mix=np.array(mix, dtype=np.intp), penalty=np.zeros(3)
        ) is None  # fmt: skip


FOUND = Assessment(
    reward=Estimate(0.5, 0.4, 0.6),
    incumbents=Estimate(0.6, 0.55, 0.65),
    difference=Estimate(-0.1, -0.2, 0.02),
    clusters=8,
    leads=0,
    contends=0,
)


@pytest.mark.parametrize(
    ("quota_left", "rewards", "found", "state"),
    [
        (True, 100, FOUND, "onboarding"),
        (False, 4, FOUND, "onboarding"),
        (False, 100, None, "onboarding"),
        (False, 5, FOUND, "not_adopted"),
        (False, 5, replace(FOUND, contends=1), "graduated"),
    ],
)
def test_a_state_needs_the_quota_used_and_rewards(
    quota_left: bool, rewards: int, found: Assessment | None, state: str
) -> None:
    assert state_of(quota_left=quota_left, rewards=rewards, found=found) == state


@pytest.mark.parametrize(
    ("quota_left", "enabled", "found", "advice"),
    [
        (True, True, FOUND, "Wait: 7 of 20 decisions and $0.2500 of $1.0000"),
        (True, False, FOUND, "Enable it"),
        (False, True, None, "Wait for rewards: 9 of its 7"),
        (False, True, replace(FOUND, leads=3, contends=4), "Keep it: it is the best choice in 3 of 8 clusters"),
        (False, True, replace(FOUND, contends=2), "Keep it for now"),
        (False, True, FOUND, "Disable it, or get it cheaper"),
        (False, True, replace(FOUND, difference=Estimate(-0.1, -0.2, -0.01)), "Disable or delete it"),
    ],
)
def test_there_is_one_sentence_of_advice(
    quota_left: bool, enabled: bool, found: Assessment | None, advice: str
) -> None:
    said = recommendation(
        arm("new", enabled=enabled),
        ArmUsage(arm="new", decisions=7, cost_usd=0.25),
        state=state_of(quota_left=quota_left, rewards=9, found=found),
        quota_left=quota_left,
        rewards=9,
        found=found,
    )
    assert said.startswith(advice)
    assert said.endswith(".")


@pytest.mark.parametrize("quota_left", [True, False])
def test_an_arm_whose_calls_all_fail_is_not_to_be_waited_for(quota_left: bool) -> None:
    used = ArmUsage(arm="new", decisions=21, errors=29)
    said = recommendation(arm("new"), used, state="onboarding", quota_left=quota_left, rewards=0, found=FOUND)
    assert said.startswith("Look at its calls: all have failed.")
