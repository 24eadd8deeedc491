"""Calendar windows and what is left of them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banditd.budget.windows import planned_usd, window_before, window_of
from banditd.core.types import DAY_US, HOUR_US


def at(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("per", "start", "end"),
    [
        ("hour", (2026, 2, 28, 23), (2026, 3, 1, 0)),
        ("day", (2026, 2, 28), (2026, 3, 1)),
        ("month", (2026, 2, 1), (2026, 3, 1)),
    ],
)
def test_windows_are_those_of_the_calendar(per: str, start: tuple[int, ...], end: tuple[int, ...]) -> None:
    assert window_of(per, at(2026, 2, 28, 23, 59, 59)) == (at(*start), at(*end))


def test_a_leap_year_has_its_day() -> None:
    assert window_of("month", at(2028, 2, 29))[1] == at(2028, 3, 1)


def test_a_budget_per_decision_has_no_window_and_other_periods_are_refused() -> None:
    assert window_of("decision", 5) == (0, 0)
    with pytest.raises(ValueError, match="week"):
        window_of("week", 5)


@given(st.sampled_from(["hour", "day", "month"]), st.integers(0, 4_000_000_000_000_000))
def test_windows_tile_the_time(per: str, at_us: int) -> None:
    start, end = window_of(per, at_us)
    assert start <= at_us < end
    assert window_of(per, end)[0] == end
    assert window_of(per, start - 1)[1] == start if start else True
    if start >= 32 * DAY_US:
        assert window_before(per, start) == window_of(per, start - 1)[0]


def plan(**changes: object) -> float:
    values: dict[str, object] = {
        "left_usd": 10.0, "now_us": HOUR_US // 2, "start_us": 0, "end_us": HOUR_US, "decisions": 0,
        "opened_at_us": 0, "decisions_before": 0,
    }  # fmt: skip
    return planned_usd(**(values | changes))  # type: ignore[arg-type]


def test_what_is_left_is_spread_over_as_many_decisions_as_came_so_far() -> None:
    # Half of the window is over and saw 1,000 decisions, like half of the 2,000 before: 1,000 are to come.
    assert plan(decisions=1000, decisions_before=2000) == pytest.approx(10.0 / 1000)


def test_without_a_window_before_the_rate_is_counted_from_the_first_decision() -> None:
    late = plan(decisions=100, opened_at_us=HOUR_US // 2 - 100_000_000)
    assert late == pytest.approx(10.0 / (101 / 160 * 1800))
    assert plan() == pytest.approx(10.0 / 30)  # nothing known: a decision a minute


def test_a_burst_is_not_taken_for_a_month_of_it() -> None:
    month = {"end_us": 30 * DAY_US, "now_us": 20_000_000, "opened_at_us": 1, "left_usd": 30.0}
    # 1,200 decisions in 20 seconds: expected is what they are in a hundredth of the month, not in 20 seconds.
    assert plan(decisions=1200, **month) == pytest.approx(30.0 / 120_000, rel=0.01)


def test_money_that_is_gone_plans_nothing_and_the_last_moment_plans_all() -> None:
    assert plan(left_usd=-1.0) == 0.0
    assert plan(now_us=HOUR_US - 1, decisions=10, decisions_before=10) == pytest.approx(10.0)
