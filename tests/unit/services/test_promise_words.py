"""What would settle whether a promise was kept, in words."""

from __future__ import annotations

import pytest

from banditd.ope.fixed import FixedArmSums
from banditd.ope.settling import decisions_to_settle, half_width_to_judge, share_to_come
from banditd.services.promising.reports import settled_by

FEW = "at least {} more rewarded decisions: there are too few to say how many"


def of_baseline(rated: int, probability: float, *, earned: float = 0.8) -> FixedArmSums:
    """Sums of decisions that drew it with that probability; the baseline's mean reward is .8."""
    drawn = round(rated * probability)
    return FixedArmSums(
        rated=rated,
        drawn=drawn,
        estimate=0.8 * rated,
        gain=(0.8 - earned) * rated,
        inverse_probability=rated / probability,
        residual_power=0.16 * drawn,
    )


@pytest.mark.parametrize(("rated", "probability", "least"), [(0, 1.0, 50), (2, 1.0, 48), (19, 0.5, 41)])
def test_of_a_few_rewards_it_says_only_how_many_are_needed_at_least(
    rated: int, probability: float, least: int
) -> None:
    assert settled_by(of_baseline(rated, probability), 0.95, 0.05) == FEW.format(least)


def test_of_enough_it_says_how_many_more_and_nothing_of_what_is_known() -> None:
    sums = of_baseline(100, 0.5)
    wanted = half_width_to_judge(sums, 0.95)
    assert wanted is not None
    more = decisions_to_settle(sums, wanted, share_to_come(sums, 0.05))
    assert more is not None
    assert settled_by(sums, 0.95, 0.05) == f"about {round(more, -1 if more < 1000 else -2):,} more rewarded decisions"
    assert settled_by(of_baseline(1000, 0.5), 0.85, 0.05) is None


def test_it_asks_for_no_more_where_the_baseline_gets_a_larger_share() -> None:
    sums = of_baseline(60, 0.1)
    rare, often = (decisions_to_settle(sums, 0.05, share_to_come(sums, least)) for least in (0.05, 0.5))
    assert rare is not None
    assert often is not None
    assert often < rare


def test_of_quality_at_the_very_edge_nothing_tells() -> None:
    sums = of_baseline(10_000, 0.5, earned=0.8 * 0.94)
    words = settled_by(sums, 0.95, 0.05)
    assert words is not None
    assert "edge" in words
