"""Keys, limits, problems, request ids, metrics, logs: what stands around every handler."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import re
from typing import Any

import pytest

from banditd.core import errors
from banditd.core.errors import ConfigurationError, RateLimitedError
from banditd.obs.logs import configure_logging
from banditd.web.problems import KINDS, kind_of
from banditd.web.routes import ROUTES
from banditd.web.security import ApiKey, KeyRing, RateLimiter, network_of

QUERY = {"input": "the words of a customer"}
ID = "01890a5d-ac96-774b-bcce-b302099a8057"


def key(name: str, *scopes: str) -> ApiKey:
    digest = hashlib.sha256(f"secret-{name}".encode()).hexdigest()
    return ApiKey(name=name, sha256=digest, scopes=frozenset(scopes))


async def test_every_route_is_guarded_by_its_scope(serve: Any, daemon: Any) -> None:
    names = ("route", "reward", "read", "admin")
    client = await serve(daemon, api_keys=tuple(key(name, name) for name in names))
    for route in ROUTES:
        path = re.sub(r"\{[a-z]+\}", ID, route.path)
        bare = await client.request(route.method, path)
        if route.scope is None:
            assert bare.status not in {401, 403}, path
            continue
        assert bare.status == 401, path
        assert bare.headers["WWW-Authenticate"].startswith("Bearer")
        for name in names:
            answer = await client.request(route.method, path, headers={"x-api-key": f"secret-{name}"})
            allowed = name in {route.scope, "admin"}
            assert (answer.status not in {401, 403}) is allowed, (path, name, answer.status)


async def test_a_key_may_come_as_a_bearer_and_an_unknown_one_may_not(serve: Any, daemon: Any) -> None:
    client = await serve(daemon, api_keys=(key("route", "route"),))
    good = await client.post("/v1/route", json=QUERY, headers={"Authorization": "Bearer secret-route"})
    assert good.status == 200
    for header in ("Bearer nonsense", "Basic secret-route", "Bearer", ""):
        bad = await client.post("/v1/route", json=QUERY, headers={"Authorization": header})
        assert bad.status == 401, header
    assert (await bad.json())["code"] == "API_KEY_MISSING"


@pytest.mark.parametrize("digest", ["", "abc", "z" * 64])
def test_a_key_that_is_no_digest_is_refused_at_start_without_being_shown(digest: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        KeyRing([ApiKey(name="ci", sha256=digest)])
    assert "ci" in str(raised.value)
    assert not digest or digest not in str(raised.value)


def test_a_key_hides_its_digest_in_its_repr() -> None:
    assert key("ci", "read").sha256 not in repr(key("ci", "read"))


def test_a_bucket_refills() -> None:
    now = [0.0]
    limiter = RateLimiter(rate_per_s=2.0, burst=2, clock_s=lambda: now[0])
    limiter.take("a")
    limiter.take("a")
    with pytest.raises(RateLimitedError) as raised:
        limiter.take("a")
    assert raised.value.retry_after_s == pytest.approx(0.5)
    limiter.take("b")
    now[0] = 0.5
    limiter.take("a")
    with pytest.raises(RateLimitedError):
        limiter.take("a")


@pytest.mark.parametrize("strangers", ["198.51.{}.{}", "2001:db8:{:x}:{:x}::1"])
def test_strangers_cannot_make_the_limiter_forget_anybody(strangers: str) -> None:
    now = [0.0]
    limiter = RateLimiter(rate_per_s=1.0, burst=2, clock_s=lambda: now[0])

    def refused(take: Any, caller: str) -> bool:
        try:
            take(caller)
        except RateLimitedError:
            return True
        return False

    for _ in range(2):
        limiter.take("192.0.2.1")
        limiter.take_for_key("app")
    crowd = [refused(limiter.take, strangers.format(n // 256, n % 256)) for n in range(20_000)]
    assert refused(limiter.take, "192.0.2.1")
    assert refused(limiter.take_for_key, "app")
    assert sum(crowd) > 9_000  # those for whom there was no room share one bucket
    assert len(limiter._networks) <= 10_001
    now[0] = 10.0
    assert not refused(limiter.take, "203.0.113.5")
    assert "203.0.113.5" in limiter._networks


def test_an_ipv6_host_is_its_64_and_a_mapped_address_is_the_address() -> None:
    limiter = RateLimiter(rate_per_s=0.001, burst=2, clock_s=lambda: 0.0)
    limiter.take("2001:db8:1:2::1")
    limiter.take("2001:db8:1:2:ffff::9%eth0")
    with pytest.raises(RateLimitedError):
        limiter.take("2001:db8:1:2::77")
    limiter.take("2001:db8:1:3::1")
    assert network_of("::ffff:192.0.2.7") == network_of("192.0.2.7") == "192.0.2.7"
    assert network_of("no address") == "no address"


async def test_too_many_requests_are_told_when_to_come_back_but_health_is_always_answered(
    serve: Any, daemon: Any
) -> None:
    client = await serve(daemon, rate_limit_per_s=0.001, rate_limit_burst=2)
    statuses = [(await client.post("/v1/route", json=QUERY)).status for _ in range(3)]
    assert statuses == [200, 200, 429]
    refused = await client.get("/v1/stats")
    assert refused.status == 429
    assert int(refused.headers["Retry-After"]) >= 1
    assert (await client.get("/health/liveness")).status == 200
    assert "banditd_rate_limited_total 2.0" in await (await client.get("/metrics")).text()


async def test_guessing_keys_is_limited_and_does_not_use_up_the_tokens_of_a_good_one(serve: Any, daemon: Any) -> None:
    client = await serve(daemon, api_keys=(key("route", "route"),), rate_limit_per_s=0.001, rate_limit_burst=3)
    guesses = [await client.post("/v1/route", headers={"x-api-key": str(n)}) for n in range(4)]
    assert [guess.status for guess in guesses] == [401, 401, 401, 429]
    good = await client.post("/v1/route", json=QUERY, headers={"x-api-key": "secret-route"})
    assert good.status == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "PATH_NOT_FOUND"),
        ("GET", "/v1/route", 405, "METHOD_NOT_ALLOWED"),
        ("PUT", "/v1/arms", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/v1/decisions/nonsense", 404, "DECISION_NOT_FOUND"),
        ("GET", f"/v1/decisions/{ID}", 404, "DECISION_NOT_FOUND"),
        ("GET", "/v1/arms/nobody", 404, "ARM_UNKNOWN"),
        ("GET", "/v1/arms/%00", 404, "ARM_UNKNOWN"),
        ("GET", "/v1/stats?policy=a%00b", 422, "INVALID_INPUT"),
        ("GET", "/v1/stats?polcy=a", 422, "INVALID_INPUT"),
        ("GET", "/v1/stats?policy=a&policy=b", 422, "INVALID_INPUT"),
        ("GET", "/v1/stats?window_s=1_000", 422, "INVALID_INPUT"),
        ("GET", "/v1/decisions?limit=0", 422, "INVALID_INPUT"),
        ("GET", "/v1/decisions?explored=yes", 422, "INVALID_INPUT"),
        ("GET", "/v1/decisions?since=2026-02-30T00:00:00Z", 422, "INVALID_INPUT"),
        ("GET", "/v1/decisions?since=0001-01-01T00:00:00Z", 200, None),
        ("GET", "/problems/nonsense", 404, "PROBLEM_UNKNOWN"),
        ("POST", "/v1/rewards", 415, "UNSUPPORTED_MEDIA_TYPE"),
    ],
)
async def test_whatever_is_wrong_has_one_shape(
    client: Any, method: str, path: str, status: int, code: str | None
) -> None:
    answer = await client.request(method, path)
    assert answer.status == status
    if code is None:
        return
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = await answer.json()
    assert set(problem) >= {"type", "title", "status", "detail", "instance", "code", "errors"}
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["instance"] == f"urn:banditd:request:{answer.headers['x-request-id']}"
    assert (await client.get(problem["type"])).status == 200
    assert ("Allow" in answer.headers) is (status == 405)


async def test_an_unknown_parameter_is_told_its_nearest_name(client: Any) -> None:
    problem = await (await client.get("/v1/stats?polcy=a")).json()
    assert problem["errors"] == [
        {"pointer": "polcy", "message": "is not a field of this request; did you mean 'policy'?"}
    ]


def test_every_error_of_ours_has_a_kind_and_bugs_are_500() -> None:
    client_errors = {
        errors.InvalidInputError: 422, errors.NoEligibleArmError: 422, errors.EmbeddingShapeError: 422,
        errors.NotFoundError: 404, errors.ConflictError: 409, errors.GoneError: 410,
        errors.ForbiddenError: 403, errors.UnauthenticatedError: 401, errors.RateLimitedError: 429,
            errors.BudgetExhaustedError: 429,
        errors.UnavailableError: 503, errors.EncoderUnavailableError: 503, errors.LeaseLostError: 503,
        errors.EncoderOverloadedError: 503, errors.StorageUnavailableError: 503,
        errors.OutcomeUnknownError: 503, errors.DatabaseDamagedError: 503, errors.DecisionDamagedError: 409,
        errors.ConfigurationError: 500, errors.InvariantError: 500,
    }  # fmt: skip
    ours = {
        value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, errors.BanditdError)
    }
    assert ours - {errors.BanditdError} == set(client_errors)
    for error, status in client_errors.items():
        assert kind_of(error.__new__(error)).status == status, error
    assert kind_of(ValueError()).status == 500


async def test_an_internal_failure_of_ours_keeps_its_text_to_itself(client: Any, daemon: Any, caplog: Any) -> None:
    daemon.routing.failure = errors.InvariantError("the matrix of customer 7 is broken")
    with caplog.at_level("ERROR", "banditd.web"):
        answer = await client.post("/v1/route", json=QUERY)
    assert answer.status == 500
    assert "customer" not in await answer.text()
    assert any(record.exc_info and "customer" in str(record.exc_info[1]) for record in caplog.records)


async def test_an_overloaded_part_says_when_to_come_back(client: Any, daemon: Any) -> None:
    daemon.routing.failure = errors.EncoderOverloadedError("the encoder's queue is full", retry_after_s=2.5)
    answer = await client.post("/v1/route", json=QUERY)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "3")


async def test_a_client_may_name_its_request_but_not_forge_a_header(client: Any) -> None:
    named = await client.get("/health/liveness", headers={"x-request-id": "trace-1"})
    assert named.headers["x-request-id"] == "trace-1"
    odd = await client.get("/health/liveness", headers={"x-request-id": "a b;<script>"})
    assert re.fullmatch(r"[0-9a-f]+-[0-9a-f]+", odd.headers["x-request-id"])


async def test_metrics_count_routes_by_their_template(client: Any) -> None:
    await client.post("/v1/route", json=QUERY)
    await client.get(f"/v1/decisions/{ID}")
    await client.get("/nowhere/at/all")
    await client.post("/v1/route", json={})
    queries = [QUERY, {**QUERY, "candidates": ["gone"]}]
    await client.post("/v1/route/batch", json={"queries": queries})
    answer = await client.get("/metrics")
    text = await answer.text()
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert 'banditd_http_requests_total{method="POST",route="/v1/route",status="200"} 1.0' in text
    assert 'route="/v1/decisions/{id}",status="404"} 1.0' in text
    assert 'route="unmatched",status="404"} 1.0' in text
    assert "banditd_route_overhead_seconds_count 1.0" in text
    assert 'banditd_route_errors_total{code="INVALID_INPUT"} 1.0' in text
    assert 'banditd_route_errors_total{code="NO_ELIGIBLE_ARM"} 1.0' in text
    assert ID not in text


async def test_the_access_line_has_no_content(serve: Any, daemon: Any) -> None:
    stream = io.StringIO()
    root = logging.getLogger()
    handlers, level, ours = list(root.handlers), root.level, logging.getLogger("banditd").level
    switches = logging.logThreads, logging.logProcesses, logging.logMultiprocessing, logging._srcfile
    try:
        configure_logging("INFO", "json", stream)
        client = await serve(daemon, access_log=True, api_keys=(key("route", "route"),))
        headers = {"Authorization": "Bearer secret-route", "x-request-id": "r1"}
        await client.post("/v1/route?token=hidden", json=QUERY, headers=headers)
        daemon.routing.failure = ValueError("boom")
        await client.post("/v1/route", json=QUERY, headers=headers)
        daemon.routing.failure = None
        await client.post("/v1/route", json=QUERY, headers=headers)
        await client.close()  # writes what is still waiting
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.getLogger("banditd").setLevel(ours)
        logging.logThreads, logging.logProcesses, logging.logMultiprocessing, logging._srcfile = switches
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    answered = [line for line in lines if line["event"] == "request.answered"]
    assert [line["status"] for line in answered] == [200, 500, 200]
    assert answered[0]["request_id"] == "r1"
    assert answered[0]["key"] == "route"
    assert next(line for line in lines if line["event"] == "request.failed")["exception"]
    for word in ("customer", "secret-route", "hidden"):
        assert word not in stream.getvalue()


async def test_the_services_are_closed_with_the_application(serve: Any, daemon: Any) -> None:
    client = await serve(daemon)
    assert not daemon.closed
    await client.close()
    assert daemon.closed


async def test_readiness_is_503_with_its_parts_while_liveness_stays_200(client: Any, daemon: Any) -> None:
    assert (await client.get("/health/readiness")).status == 200
    daemon.health.ready = False
    answer = await client.get("/health/readiness")
    assert answer.status == 503
    assert (await answer.json())["database"] == {"ok": False}
    assert (await client.get("/health/liveness")).status == 200


@pytest.mark.parametrize("path", ["/", "/docs", *(f"/problems/{slug}" for slug in KINDS)])
async def test_pages_load_nothing_from_elsewhere(client: Any, path: str) -> None:
    answer = await client.get(path)
    text = await answer.text()
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/html")
    assert not re.search(r"(src|href)=['\"]?(https?:)?//", text)
    # The dashboard has scripts, but only files of its own; its policy is looked at in test_dashboard.py.
    assert "<script" not in text if path != "/" else not re.search(r"<script(?![^>]*\bsrc=\"dashboard/)", text)


async def test_a_broken_compressed_body_is_the_clients_fault(client: Any) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = await client.post("/v1/route", data=b"not gzip", headers=headers)
    assert answer.status == 400
    assert (await answer.json())["code"] == "BROKEN_BODY"
