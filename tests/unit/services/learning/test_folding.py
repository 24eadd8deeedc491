"""What a decision's rewards put into the statistics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from banditd.core.rewards import Contribution, RewardEvent
from banditd.ports import FoldItem
from banditd.services.learning.folding import (
    contribution_of,
    merge_events,
    noise_of_share,
    other_contributions_of,
    stat_deltas,
)

event = st.builds(
    RewardEvent,
    reward=st.floats(0, 1),
    noise_variance=st.floats(0, 10),
    kind=st.just("reward"),
    created_at_us=st.integers(0, 10**9),
)


def item(*events: RewardEvent, contribution: Contribution | None = None, served: str | None = None) -> FoldItem:
    return FoldItem(
        decision_id="d",
        policy="default",
        chosen_arm="a",
        served_arm=served,
        epoch=3,
        schema_hash="s",
        x=np.ones(2),
        cluster=1,
        created_at_us=1_000_000,
        propensity=0.5,
        events=tuple(events),
        contribution=contribution,
        queue_ids=("q",),
    )


def test_no_reward_is_unlabelled_and_not_zero() -> None:
    assert merge_events([]) is None
    assert contribution_of(item()) is None


def test_a_single_noiseless_reward_counts_as_one_observation_of_itself() -> None:
    assert merge_events([RewardEvent(0.3, 0.0, "reward", 0)]) == (1.0, pytest.approx(0.3))


def test_a_default_stands_only_while_no_real_reward_is_there() -> None:
    default = RewardEvent(0.0, 0.0, "default", 0)
    assert merge_events([default]) == (1.0, 0.0)
    assert merge_events([default, RewardEvent(0.8, 0.0, "reward", 1)]) == (1.0, pytest.approx(0.8))


def test_the_less_noisy_source_pulls_harder() -> None:
    thumb, judge = RewardEvent(1.0, 0.25, "reward", 0), RewardEvent(0.4, 0.01, "reward", 0)
    merged = merge_events([thumb, judge])
    assert merged is not None
    assert merged[1] == pytest.approx((1.0 / 0.25 + 0.4 / 0.01) / (1 / 0.25 + 1 / 0.01))


@given(st.lists(event, min_size=1, max_size=6))
def test_merging_stays_within_the_rewards_and_ignores_their_order(events: list[RewardEvent]) -> None:
    merged, backwards = merge_events(events), merge_events(events[::-1])
    assert merged is not None
    assert backwards is not None
    weight, reward = merged
    rewards = [e.reward for e in events]
    assert min(rewards) - 1e-9 <= reward <= max(rewards) + 1e-9
    assert 0.0 < weight <= 1.0
    assert backwards == pytest.approx(merged)


@given(st.lists(event, min_size=1, max_size=5), event)
def test_another_reward_never_lowers_the_weight_much(events: list[RewardEvent], more: RewardEvent) -> None:
    before, after = merge_events(events), merge_events([*events, more])
    assert before is not None
    assert after is not None
    # A source of no noise at all is capped, so one of them alone may weigh a hair more than with company.
    assert after[0] >= before[0] - 1e-3


def test_the_served_arm_gets_the_credit() -> None:
    assert contribution_of(item(RewardEvent(1.0, 0.0, "reward", 0), served="b")) == Contribution("b", 3, 1.0, 1.0)


def test_a_correction_changes_the_plain_statistics_by_the_difference() -> None:
    old = Contribution("a", 3, 1.0, 0.2)
    changed = item(RewardEvent(0.9, 0.0, "reward", 2_000_000), contribution=old)
    deltas = stat_deltas(changed, contribution_of(changed))
    assert sum(d.rewards for d in deltas) == 0
    assert sum(d.weighted_reward for d in deltas) == pytest.approx(0.7)
    assert all(d.delay_s is None for d in deltas)


def test_only_the_first_reward_tells_the_delay() -> None:
    first = item(RewardEvent(0.9, 0.0, "reward", 3_500_000))
    [delta] = stat_deltas(first, contribution_of(first))
    assert delta.delay_s == pytest.approx(2.5)


def test_a_retraction_takes_out_what_was_in() -> None:
    old = Contribution("a", 3, 0.5, 0.6)
    [delta] = stat_deltas(item(contribution=old), None)
    assert (delta.rewards, delta.weight, delta.weighted_reward) == (-1, -0.5, pytest.approx(-0.3))


@given(st.floats(0, 10), st.integers(1, 1000))
def test_the_shares_of_a_task_weigh_together_what_one_reward_of_their_source_does(noise: float, steps: int) -> None:
    whole, share = (
        merge_events([RewardEvent(0.3, variance, "task", 0)]) for variance in (noise, noise_of_share(noise, steps))
    )
    assert whole is not None
    assert share is not None
    assert share[0] * steps == pytest.approx(whole[0])
    assert noise_of_share(noise, 1) == pytest.approx(noise)


@given(st.lists(event, max_size=3), st.lists(event, min_size=1, max_size=3), st.sampled_from([None, "b"]))
def test_a_share_stands_apart_for_who_served_and_only_where_there_is_no_own_reward(
    own: list[RewardEvent], shares: list[RewardEvent], served: str | None
) -> None:
    one = replace(item(*own, served=served), of_task=tuple(shares), others={"c": tuple(shares)})
    apart = other_contributions_of(one)
    assert apart["c"].reward == merge_events(shares)[1]  # type: ignore[index]
    assert set(apart) == {"c"} | (set() if own else {served or "a"})
    assert (contribution_of(one) is None) == (not own)
