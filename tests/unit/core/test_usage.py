"""Usage reports as revisions: what completes, what corrects, and what is no news."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banditd.core.attempts import Attempt
from banditd.core.rewards import UsageReport
from banditd.core.usage import merged, news_of, normalised, refused, says_the_same


def report(**said: Any) -> UsageReport:
    return UsageReport(decision_id="d", **said)


def known(*reports: UsageReport) -> UsageReport:
    """What is known after these reports, chosen arm ``a``."""
    state = normalised(reports[0], "a")
    for one in reports[1:]:
        state = merged(state, one, "a")
    return state


PIECES = [
    report(latency_ms=20.0),
    report(input_tokens=10, output_tokens=5),
    report(cached_input_tokens=3),
    report(finish_reason="stop"),
    report(attempts=(Attempt(arm="a", error="overload", retry_after_s=2.0), Attempt(arm="b"))),
]


@pytest.mark.parametrize("order", list(itertools.permutations(range(5))), ids=str)
def test_pieces_complete_each_other_in_any_order_and_repeats_are_no_news(order: tuple[int, ...]) -> None:
    whole = known(*(PIECES[i] for i in order))
    assert (whole.latency_ms, whole.input_tokens, whole.output_tokens, whole.cached_input_tokens) == (20.0, 10, 5, 3)
    assert (whole.served_arm, whole.error, whole.finish_reason) == ("b", None, "stop")
    assert whole.attempts[1].output_tokens == 5
    for piece in PIECES:
        assert says_the_same(whole, merged(whole, piece, "a"))


def test_a_field_that_is_given_again_replaces_what_was_known() -> None:
    state = known(report(cost_usd=1e6, latency_ms=5.0), report(cost_usd=0.0001))
    assert (state.cost_usd, state.latency_ms) == (0.0001, 5.0)
    assert not says_the_same(known(report(cost_usd=1e6, latency_ms=5.0)), state)


@pytest.mark.parametrize(
    ("attempts", "served", "error"),
    [
        ([("a", None)], None, None),
        ([("a", "server"), ("b", None)], "b", None),
        ([("a", "server"), ("b", "timeout"), ("a", None)], None, None),
        ([("a", "server"), ("b", "timeout")], None, "timeout"),
        ([("a", "server"), ("b", "transport", 20.0)], "b", "transport"),  # it broke off in the middle
        ([("a", "transport", 20.0)], None, "transport"),
        ([("b", "server", 20.0), ("a", "timeout")], None, "timeout"),
        ([("b", None), ("a", "server")], "b", None),  # a hedged call that lost
    ],
)
def test_the_last_that_answered_has_served(
    attempts: list[tuple[Any, ...]], served: str | None, error: str | None
) -> None:
    """``(arm, failure, milliseconds to its first token)``."""
    made = (
        Attempt(arm=arm, error=error, first_token_ms=first[0] if first else None) for arm, error, *first in attempts
    )
    state = known(report(attempts=tuple(made)))
    assert (state.served_arm, state.error) == (served, error)
    assert normalised(state, "a") == state


def test_figures_of_the_attempt_that_answered_are_those_of_the_report_and_back() -> None:
    answer = Attempt(arm="b", input_tokens=7, output_tokens=2, latency_ms=30.0)
    state = known(report(attempts=(Attempt(arm="a", error="server", latency_ms=9.0), answer), latency_ms=50.0))
    assert (state.input_tokens, state.output_tokens, state.latency_ms) == (7, 2, 30.0)
    state = merged(state, report(output_tokens=4), "a")
    assert (state.output_tokens, state.attempts[1].output_tokens, state.attempts[0].output_tokens) == (4, 4, None)


def test_an_older_form_of_a_fallback_becomes_two_attempts() -> None:
    for reports in (
        [report(served_arm="b", error="http_500", input_tokens=3)],
        [report(error="http_500"), report(served_arm="b", input_tokens=3)],
        [report(served_arm="b"), report(error="http_500", input_tokens=3)],
    ):
        state = known(*reports)
        assert [(one.arm, one.error, one.input_tokens) for one in state.attempts] == [
            ("a", "server", None), ("b", None, 3),
        ]  # fmt: skip
        assert (state.served_arm, state.error) == ("b", None)


def test_attempts_correct_who_served_and_what_failed() -> None:
    failed = report(attempts=(Attempt(arm="a", error="timeout"),))
    answered = report(attempts=(Attempt(arm="a"),))
    assert known(failed, answered).error is None
    assert known(answered, failed).error == "timeout"
    assert known(report(error="my own words"), answered).error is None
    back = known(report(served_arm="b"), report(served_arm="a"))
    assert back.served_arm is None


def test_only_what_was_not_told_before_is_news() -> None:
    first = known(report(attempts=(Attempt(arm="a", error="server"),)))
    both = merged(first, report(attempts=(Attempt(arm="a", error="server"), Attempt(arm="b"))), "a")
    assert [one.arm for one in news_of(None, first, "a")] == ["a"]
    assert [one.arm for one in news_of(first, both, "a")] == ["b"]
    assert news_of(both, merged(both, report(input_tokens=4), "a"), "a") == ()
    quiet = known(report(latency_ms=3.0))
    assert [one.error for one in news_of(quiet, known(report(latency_ms=3.0), report(error="401")), "a")] == ["auth"]


OF_ANSWER = {
    "refusal": st.sampled_from([None, True, False]),
    "output_chars": st.none() | st.integers(0, 3),
    "regenerated_from": st.sampled_from([None, "x", "y"]),
    "escalated_to": st.sampled_from([None, "human", "z"]),
    "finish_reason": st.sampled_from([None, "stop", "refusal"]),
    "latency_ms": st.none() | st.just(2.0),
}


@given(st.lists(st.fixed_dictionaries(OF_ANSWER), min_size=1, max_size=5))
def test_the_newest_word_on_each_fact_of_an_answer_holds_and_what_is_left_out_stays(
    stated: list[dict[str, Any]],
) -> None:
    state = known(*(report(**one) for one in stated))
    for name in OF_ANSWER:
        words = [one[name] for one in stated if one[name] is not None]
        assert getattr(state, name) == (words[-1] if words else None)
    assert says_the_same(merged(state, report(**stated[-1]), "a"), state)
    assert refused(state) == (state.refusal if state.refusal is not None else _told_by(state.finish_reason))


def _told_by(reason: str | None) -> bool | None:
    return None if reason is None else reason == "refusal"
