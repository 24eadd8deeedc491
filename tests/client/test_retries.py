"""When the clients ask again, and how long they wait."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banditd.client import NO_RETRIES, BudgetUsedUpError, Retries, UnavailableError
from banditd.client.errors import parse_retry_after, refusal

RNG = random.Random(7)


@given(tried=st.integers(1, 9), asked_s=st.none() | st.floats(0, 30))
def test_a_pause_is_no_shorter_than_asked_and_grows_no_further_than_its_cap(
    tried: int, asked_s: float | None
) -> None:
    retries = Retries(tries=10, base_s=0.1, cap_s=2.0)
    pause_s = retries.pause_s(refusal(503, {}, asked_s), tried, RNG)
    assert pause_s is not None
    assert (asked_s or 0) <= pause_s <= (asked_s or 0) + min(2.0, 0.1 * 2 ** (tried - 1))


def test_pauses_double_on_average_and_are_spread() -> None:
    retries = Retries(tries=10, base_s=0.1, cap_s=100.0)
    error = UnavailableError("gone")
    means = []
    for tried in (1, 2, 3):
        pauses = [retries.pause_s(error, tried, RNG) or 0.0 for _ in range(4000)]
        means.append(sum(pauses) / len(pauses))
        assert max(pauses) - min(pauses) > 0.8 * 0.1 * 2 ** (tried - 1)
    assert means == pytest.approx([0.05, 0.1, 0.2], rel=0.1)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_passes_is_tried_again_until_the_tries_are_used_up(status: int) -> None:
    retries = Retries(tries=3)
    assert retries.pause_s(refusal(status, {}), 2, RNG) is not None
    assert retries.pause_s(refusal(status, {}), 3, RNG) is None
    assert NO_RETRIES.pause_s(refusal(status, {}), 1, RNG) is None


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 413, 415, 422, 500])
def test_what_will_not_change_is_not_asked_again(status: int) -> None:
    assert Retries().pause_s(refusal(status, {}), 1, RNG) is None


def test_a_used_up_budget_is_told_apart_and_not_waited_for() -> None:
    error = refusal(429, {"code": "BUDGET_EXHAUSTED"}, 1.0)
    assert isinstance(error, BudgetUsedUpError)
    assert Retries().pause_s(error, 1, RNG) is None


def test_a_wait_beyond_the_patience_is_not_begun() -> None:
    assert Retries(patience_s=5).pause_s(refusal(429, {}, 6.0), 1, RNG) is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None), ("3", 3.0), ("0.5", 0.5), ("-4", 0.0), ("soon", None), ("inf", None), ("nan", None),
        ("Wed, 21 Oct 2026 07:28:10 GMT", 10.0), ("Wed, 21 Oct 2026 07:00:00 GMT", 0.0),
    ],
)  # fmt: skip
def test_retry_after_is_a_number_or_a_date(header: str | None, seconds: float | None) -> None:
    at_s = 1792567680.0  # 2026-10-21T07:28:00Z
    assert parse_retry_after(header, now_s=at_s) == seconds


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="tries"):
        Retries(tries=0)
