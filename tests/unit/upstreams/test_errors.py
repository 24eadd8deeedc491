"""The class of an error is what is to be done about it, however a provider words it."""

from __future__ import annotations

import json

import pytest

from banditd.upstreams.errors import from_answer, from_event, retry_after_s

NOW_S = 1_790_000_000.0


def _error(status: int, error: object, headers: dict[str, str] | None = None, secret: str | None = None):  # type: ignore[no-untyped-def]
    body = json.dumps({"error": error}).encode()
    return from_answer("up", status, headers or {}, body, now_s=NOW_S, secret=secret)


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        (400, {"message": "bad temperature", "type": "invalid_request_error"}, "request"),
        (422, {"message": "no"}, "request"),
        (413, {"message": "Request too large"}, "request"),
        (400, {"message": "This model's maximum context length is 8192 tokens", "code": None}, "context"),
        (400, {"code": "context_length_exceeded", "message": "no"}, "context"),
        (400, {"type": "exceed_context_size_error", "code": 400, "message": "too big"}, "context"),
        (400, {"type": "invalid_request_error", "message": "prompt is too long: 210000 tokens > 200000"}, "context"),
        (413, {"message": "input is too long for requested model"}, "context"),
        (500, {"message": "the request exceeds the available context size"}, "context"),
        (400, {"code": "string_above_max_length", "message": "Invalid 'messages[1].content': too long"}, "context"),
        (400, {"code": "string_above_max_length", "message": "Invalid 'input': string too long"}, "context"),
        (400, {"code": "string_above_max_length", "message": "Invalid 'user': string too long"}, "request"),
        (400, {"code": "string_above_max_length", "message": "Invalid 'input[3].id': string too long"}, "request"),
        (400, {"code": "content_filter", "message": "filtered"}, "policy"),
        (403, {"message": "flagged", "code": "content_policy_violation"}, "policy"),
        (400, {"message": "Your credit balance is too low to access the API"}, "auth"),
        (429, {"type": "insufficient_quota", "message": "You exceeded your current quota"}, "auth"),
        (400, {"message": "API key not valid. Please pass a valid API key."}, "auth"),
        (400, {"code": "billing_hard_limit_reached", "message": "no"}, "auth"),
        (429, {"code": "billing_not_active", "message": "Your account is not active, check your billing"}, "auth"),
        (401, {"message": "no"}, "auth"),
        (402, {"message": "no"}, "auth"),
        (403, {"message": "no"}, "auth"),
        (429, {"message": "Rate limit reached for the context window tier"}, "overload"),
        (503, {"message": "no"}, "overload"),
        (529, {"type": "overloaded_error", "message": "Overloaded"}, "overload"),
        (500, {"message": "no"}, "server"),
        (502, {"message": "no"}, "server"),
        (404, {"code": "model_not_found", "message": "no"}, "server"),
        (409, {"message": "no"}, "server"),
        (307, {"message": "no"}, "server"),
    ],
)
def test_the_class_of_an_answer(status: int, error: object, expected: str) -> None:
    assert _error(status, error).error_class == expected


@pytest.mark.parametrize(
    "message",
    [
        "Invalid schema for function 'get_billing_details': 'required' is missing",
        "Error while downloading https://shop.example/billing_details/credit balance.png",
        'Invalid key: "invalid api key" in properties',
        "The model's tool `get_rate_limit` is not among its tools",
        "1 validation error: input_value='I have insufficient funds on my account, is that a rate limit",
    ],
)
def test_what_a_client_writes_closes_no_arm_to_others(message: str) -> None:
    for status in (400, 413, 422):
        assert _error(status, {"message": message, "type": "invalid_request_error"}).error_class == "request"


@pytest.mark.parametrize(
    "error",
    [
        {
            "message": {"detail": [{"type": "extra_forbidden", "loc": ["body", "user"]}]},
            "type": "invalid_request_error",
        },
        {"message": "Unsupported parameter: 'max_tokens' is not supported with this model.", "code": None},
        {"code": "unsupported_value", "message": "'temperature' must be 1"},
        {"message": "Unrecognized request argument supplied: store"},
        {"message": "thinking: Extra inputs are not permitted"},
        {"message": 'Invalid JSON payload received. Unknown name "store": Cannot find field.'},  # Google
        {"message": "'messages.1' : property 'reasoning_content' is unsupported"},  # Groq
        {"message": "messages[1]: unknown variant `image_url`, expected `text`"},  # DeepSeek
        {"message": "registry.ollama.ai/library/gemma3 does not support tools"},
        {"message": "max_tokens is too large: 32000. This model supports at most 16384 completion tokens"},
        {"message": "Invalid max_tokens value, the valid range of max_tokens is [1, 8192]"},  # DeepSeek
        {"message": "max_tokens: 32000 > 8192, which is the maximum allowed number of output tokens for claude"},
        {"message": '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser'},  # vLLM
    ],
)
def test_what_one_endpoint_does_not_know_another_may(error: dict[str, object]) -> None:
    told = _error(422, error)
    assert (told.error_class, told.elsewhere) == ("request", True)
    assert not _error(400, {"message": "bad temperature"}).elsewhere
    assert not _error(429, error).elsewhere


def test_what_a_provider_behind_the_upstream_said_counts() -> None:
    raw = '{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens"}}'
    error = _error(400, {"code": 400, "message": "Provider returned error", "metadata": {"raw": raw}})
    assert error.error_class == "context"
    assert "prompt is too long" in error.message


def test_a_list_of_what_is_wrong_is_told() -> None:
    body = json.dumps({"detail": [{"loc": ["body", "n"], "msg": "too many"}]}).encode()
    assert '"too many"' in from_answer("up", 422, {}, body, now_s=NOW_S, secret=None).message


def test_a_firewalls_page_is_no_word_on_the_key() -> None:
    assert from_answer("up", 403, {}, b"<html>blocked", now_s=NOW_S, secret=None).error_class == "server"


def test_googles_rates_are_quotas_that_come_back() -> None:
    """As its endpoint for OpenAI's clients words them."""
    told = "You exceeded your current quota, please check your plan and billing details. Please retry in 38.2s."
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "38.5s"}]
    error = _error(429, {"code": 429, "message": told, "status": "RESOURCE_EXHAUSTED", "details": details})
    assert (error.error_class, error.retry_after_s) == ("overload", 38.5)


@pytest.mark.parametrize(
    "message",
    [
        "The input token count (1189252) exceeds the maximum number of tokens allowed (1048575).",
        "Invalid request: Your request exceeded model token limit: 131072",
        "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens",
        "This model's maximum context length is 4096 tokens. However, your messages have 5000. Shorten 'messages'.",
        "input length and `max_tokens` exceed context limit: 199000 + 8192 > 200000",
    ],
)
def test_a_prompt_that_is_too_long_is_known_by_its_words(message: str) -> None:
    assert _error(400, {"message": message}).error_class == "context"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b'"text"', b'{"error": 7}', b"[1]", b"\xff"])
def test_any_body_will_do(body: bytes) -> None:
    assert from_answer("up", 500, {}, body, now_s=NOW_S, secret=None).error_class == "server"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"code": 429, "message": "Rate limit"}, "overload"),
        ({"code": "rate_limit_exceeded", "message": "slow down"}, "overload"),
        ({"type": "insufficient_quota", "message": "pay"}, "auth"),
        ({"code": "context_length_exceeded", "message": "long"}, "context"),
        ({"code": 400, "message": "bad"}, "request"),
        ({"code": 502, "message": "broke"}, "server"),
        ("something broke", "server"),
        ({}, "server"),
        (None, "server"),
    ],
)
def test_the_class_of_an_error_in_a_stream(error: object, expected: str) -> None:
    assert from_event("up", error, secret=None).error_class == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Mon, 21 Sep 2026 14:13:50 GMT"}, 30.0),
        ({"retry-after": "Mon, 21 Sep 2020 14:13:50 GMT"}, 0.0),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "999999"}, 3600.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after-ms": ""}, None),
        ({}, None),
    ],
)
def test_how_long_to_wait(headers: dict[str, str], expected: float | None) -> None:
    assert retry_after_s(headers, NOW_S) == expected


def test_a_key_is_in_no_message_and_no_code() -> None:
    quoted = _error(400, {"message": "you sent sk-secret-1 in a field", "code": "sk-secret-1"}, secret="sk-secret-1")
    assert "sk-secret-1" not in quoted.message + quoted.code
    assert "sk-secret" not in _error(401, {"message": "Incorrect API key: sk-secret-1*"}, secret="other").message
    event = from_event("up", {"message": "sk-secret-1", "code": "sk-secret-1"}, secret="sk-secret-1")
    assert "sk-secret-1" not in event.message + event.code


def test_only_a_failing_server_is_asked_again() -> None:
    assert [_error(status, {}).retry_same for status in (500, 502, 404, 307, 429, 401, 400)] == [
        True, True, False, False, False, False, False
    ]  # fmt: skip
