"""Kinds of failure, as clients and libraries word them."""

from __future__ import annotations

import pytest

from banditd.core.attempts import ERROR_CLASSES, Attempt, attempts_of, error_class_of


@pytest.mark.parametrize("name", sorted(ERROR_CLASSES))
def test_a_class_stands_for_itself(name: str) -> None:
    assert error_class_of(name) == name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http_500", "server"), ("HTTP 502 Bad Gateway", "server"), ("503", "overload"), ("status=429", "overload"),
        ("529", "overload"), ("401", "auth"), ("http_403", "auth"), ("402 Payment Required", "auth"),
        ("http_400", "request"), ("404", "request"), ("504", "timeout"), ("408", "timeout"), ("499", "client_gone"),
        ("APITimeoutError", "timeout"), ("TimeoutError", "timeout"), ("context deadline exceeded", "timeout"),
        ("APIConnectionError", "transport"), ("ConnectionRefusedError", "transport"),
        ("ConnectionResetError", "transport"),
        ("SSLCertVerificationError", "transport"), ("ReadTimeout", "timeout"),
        ("ServerDisconnectedError", "transport"),
        ("RateLimitError", "overload"), ("overloaded_error", "overload"), ("RESOURCE_EXHAUSTED", "overload"),
        ("ServiceUnavailableError", "overload"), ("insufficient_quota", "auth"), ("AuthenticationError", "auth"),
        ("PermissionDeniedError", "auth"), ("invalid_api_key", "auth"), ("ContextWindowExceededError", "context"),
        ("context_length_exceeded", "context"), ("content_filter", "policy"),
        ("ContentPolicyViolationError", "policy"),
        ("BadRequestError", "request"), ("UnprocessableEntityError", "request"), ("NotFoundError", "request"),
        ("CancelledError", "client_gone"), ("client disconnected", "client_gone"), ("InternalServerError", "server"),
        ("RuntimeError", "server"), ("something else", "server"), ("model v4000 said no", "server"), ("", "server"),
    ],
)  # fmt: skip
def test_words_of_clients_are_understood(text: str, expected: str) -> None:
    assert error_class_of(text) == expected


def test_what_a_report_tells_without_attempts() -> None:
    def told(served_arm: str | None, error: str | None) -> list[tuple[str, str | None]]:
        found = attempts_of((), chosen_arm="a", served_arm=served_arm, error=error)
        return [(one.arm, one.error) for one in found]

    assert told(None, None) == told("a", None) == [("a", None)]
    assert told(None, "429") == told("a", "429") == [("a", "overload")]
    assert told("b", None) == [("a", "server"), ("b", None)]
    assert told("b", "timeout") == [("a", "timeout"), ("b", None)]


def test_attempts_stand_for_themselves() -> None:
    told = (Attempt(arm="c", error="auth"), Attempt(arm="b"))
    assert attempts_of(told, chosen_arm="a", served_arm="b", error=None) == told
