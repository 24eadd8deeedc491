"""Breakers: which failures exclude an arm, for how long, and how it comes back."""

from __future__ import annotations

import pytest

from banditd.core.attempts import ErrorClass
from banditd.services.breakers import MOST_COOL_DOWN_S, Breakers

S = 1_000_000
COUNTED: list[ErrorClass] = ["transport", "timeout", "server", "overload"]
IGNORED: list[ErrorClass] = ["request", "context", "policy", "client_gone"]


def breakers() -> Breakers:
    return Breakers(errors=3, open_s=10.0)


def opened(at_us: int = 0) -> Breakers:
    made = breakers()
    for _ in range(3):
        made.count("a", "server", now_us=at_us)
    return made


@pytest.mark.parametrize("error", COUNTED)
def test_errors_in_a_row_open_it_and_a_success_ends_the_row(error: ErrorClass) -> None:
    made = breakers()
    for _ in range(2):
        made.count("a", error, now_us=0)
    made.count("a", None, now_us=0)
    for _ in range(3):
        assert made.exclusions(0) == {}
        made.count("a", error, now_us=0)
    assert made.exclusions(10 * S - 1) == {"a": "breaker_open"}
    assert made.exclusions(10 * S) == {}


@pytest.mark.parametrize("error", IGNORED)
def test_what_the_query_or_the_client_did_never_counts(error: ErrorClass) -> None:
    made = breakers()
    for _ in range(2):
        made.count("a", "server", now_us=0)
    for _ in range(50):
        made.count("a", error, now_us=0)
    assert made.exclusions(0) == {}
    made.count("a", "server", now_us=0)  # nor does it end a row
    assert made.exclusions(0) == {"a": "breaker_open"}


def test_a_refused_key_opens_it_at_once() -> None:
    made = breakers()
    made.count("a", "auth", now_us=5 * S)
    assert made.exclusions(15 * S - 1) == {"a": "breaker_open"}
    assert made.exclusions(15 * S) == {}


@pytest.mark.parametrize("wait_s", [0.5, 7.0, 600.0])
def test_an_overloaded_arm_is_left_alone_exactly_as_long_as_it_asked(wait_s: float) -> None:
    made = breakers()
    made.count("a", "overload", now_us=S, retry_after_s=wait_s)
    end_us = S + int(wait_s * S)
    assert made.exclusions(end_us - 1) == {"a": "cooling_down"}
    made.count("a", None, now_us=end_us - 1)  # the end of a call from before does not shorten it
    assert made.exclusions(end_us - 1) == {"a": "cooling_down"}
    assert made.exclusions(end_us) == {}


def test_an_overload_that_asks_for_a_wait_is_no_failure_in_a_row() -> None:
    made = breakers()
    for _ in range(20):
        made.count("a", "overload", now_us=0, retry_after_s=1.0)
    assert made.exclusions(S) == {}


@pytest.mark.parametrize("wait_s", [1e9, 1e300])
def test_no_wait_is_believed_for_ever(wait_s: float) -> None:
    made = breakers()
    made.count("a", "overload", now_us=0, retry_after_s=wait_s)
    assert made.exclusions(int(MOST_COOL_DOWN_S) * S) == {}


def test_half_open_lets_one_probe_through_and_its_success_closes_it() -> None:
    made = opened()
    made.drawn("a", 10 * S)
    assert made.exclusions(10 * S) == {"a": "breaker_probe"}
    made.count("a", None, now_us=11 * S)
    assert made.exclusions(11 * S) == {}
    made.count("a", "server", now_us=11 * S)  # and the row begins anew
    assert made.exclusions(11 * S) == {}


def test_a_probe_that_fails_opens_it_again() -> None:
    made = opened()
    made.drawn("a", 10 * S)
    made.count("a", "timeout", now_us=12 * S)
    assert made.exclusions(22 * S - 1) == {"a": "breaker_open"}
    assert made.exclusions(22 * S) == {}


@pytest.mark.parametrize("error", IGNORED)
def test_a_probe_that_says_nothing_leaves_the_next_one_free(error: ErrorClass) -> None:
    made = opened()
    made.drawn("a", 10 * S)
    made.count("a", error, now_us=11 * S)
    assert made.exclusions(11 * S) == {}
    made.drawn("a", 11 * S)
    assert made.exclusions(11 * S) == {"a": "breaker_probe"}


def test_a_probe_that_nobody_tells_of_is_forgotten() -> None:
    made = opened()
    made.drawn("a", 10 * S)
    assert made.exclusions(20 * S - 1) == {"a": "breaker_probe"}
    assert made.exclusions(20 * S) == {}


def test_a_probe_that_was_not_committed_is_none() -> None:
    made = opened()
    made.drawn("a", 10 * S)
    made.take_back("a")
    assert made.exclusions(10 * S) == {}


def test_calls_that_were_under_way_do_not_prolong_it() -> None:
    made = opened()
    for at_s in range(1, 10):
        made.count("a", "timeout", now_us=at_s * S)
    assert made.exclusions(10 * S) == {}


def test_without_a_number_nothing_is_ever_excluded() -> None:
    made = Breakers(errors=0, open_s=10.0)
    for error in (*COUNTED, "auth"):
        made.count("a", error, now_us=0, retry_after_s=5.0)
    assert made.exclusions(0) == {}


def test_arms_do_not_share_a_row() -> None:
    made = breakers()
    for arm in ("a", "b", "a", "b", "a"):
        made.count(arm, "server", now_us=0)
    assert made.exclusions(0) == {"a": "breaker_open"}


@pytest.mark.parametrize("back_s", [3600, 24 * 3600])
def test_a_clock_that_was_ahead_keeps_no_arm_away_for_longer_than_a_wait_lasts(back_s: int) -> None:
    ahead = back_s * S
    made = opened(ahead)
    assert made.exclusions(ahead) == {"a": "breaker_open"}
    assert made.exclusions(0) == {}
    assert made.half_open(0)
    made.drawn("a", 0)
    assert made.exclusions(1) == {"a": "breaker_probe"}
    made.count("a", "server", now_us=1)  # the probe failed: it opens again, by the right clock
    assert made.exclusions(10 * S) == {"a": "breaker_open"}
    assert made.exclusions(10 * S + 1) == {}

    cooling = breakers()
    cooling.count("a", "overload", now_us=ahead, retry_after_s=30.0)
    assert cooling.exclusions(ahead + 30 * S - 1) == {"a": "cooling_down"}
    assert cooling.exclusions(0) == {}
    cooling.count("a", "overload", now_us=0, retry_after_s=5.0)
    assert cooling.exclusions(5 * S - 1) == {"a": "cooling_down"}
    assert cooling.exclusions(5 * S) == {}

    probed = opened(0)
    probed.drawn("a", ahead)
    assert probed.exclusions(20 * S) == {}


def test_the_longer_of_two_cool_downs_holds() -> None:
    made = breakers()
    made.count("a", "overload", now_us=0, retry_after_s=60.0)
    made.count("a", "overload", now_us=10 * S, retry_after_s=1.0)
    assert made.exclusions(60 * S - 1) == {"a": "cooling_down"}
    assert made.exclusions(60 * S) == {}


def test_it_says_until_when_each_arm_is_left_alone() -> None:
    made = opened()
    made.count("b", "overload", now_us=S, retry_after_s=60.0)
    assert made.away(5 * S) == {"a": ("breaker_open", 10 * S), "b": ("cooling_down", 61 * S)}
    made.drawn("a", 12 * S)
    assert made.away(13 * S)["a"] == ("breaker_probe", 22 * S)
    made.count("a", None, now_us=13 * S)
    assert set(made.away(13 * S)) == {"b"}
    assert made.away(61 * S) == {}
