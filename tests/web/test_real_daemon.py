"""The whole daemon over HTTP, on both databases: what the reports say, and what no bad input may do."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from tests.over_http import client_of, get
from tests.patience import PATIENT

from banditd.settings import Settings
from banditd.web.schemas.arms import Onboarding

ARMS = [
    {"arm": "small", "price": {"usd_per_mtok_in": 0.1, "usd_per_mtok_out": 0.4}},
    {"arm": "large", "price": {"usd_per_mtok_in": 3.0, "usd_per_mtok_out": 15.0}},
]
QUERIES = ("What is 17 times 23?", "Write a poem about rain.", "def f(x): return x", "Translate 'cat'.")


@pytest.fixture
async def live(database_url: str) -> AsyncIterator[Any]:
    settings = Settings(
        database={"url": database_url, **PATIENT},
        learner={"pause_ms": 0, "poll_s": 0.25, "lease_s": 2},
        policies={"default": {"arms": ARMS}, "even": {"kind": "uniform", "arms": ARMS}},
    )
    async with client_of(settings) as client:
        yield client


async def until_learned(live: Any, policy: str, rewards: int) -> dict[str, Any]:
    async with asyncio.timeout(120):
        while True:
            stats = await get(live, f"/v1/stats?policy={policy}")
            if stats["rewards"] >= rewards:
                return stats
            await asyncio.sleep(0.02)


async def walk(live: Any, policy: str, count: int, *, late: float = 0.2) -> list[dict[str, Any]]:
    """Route, report usage, reward: 0.8 for the large arm, ``late`` for one of that name, 0.2 for others."""
    decisions = []
    for index in range(count):
        query = {"input": f"{QUERIES[index % len(QUERIES)]} {index}", "policy": policy}
        decision = await (await live.post("/v1/route", json=query)).json()
        usage = {"input_tokens": 100, "output_tokens": 50, "latency_ms": 40.0}
        settled = await live.post(f"/v1/decisions/{decision['decision_id']}/usage", json=usage)
        assert settled.status == 200
        value = {"large": 0.8, "late": late}.get(decision["arm"], 0.2)
        body = {"decision_id": decision["decision_id"], "value": value, "source": "judge"}
        assert (await live.post("/v1/rewards", json=body)).status == 200
        decisions.append(decision)
    return decisions


async def test_the_statistics_are_those_of_the_decisions(live: Any) -> None:
    decisions = await walk(live, "even", 60)
    stats = await until_learned(live, "even", 60)
    pulls = {arm: sum(d["arm"] == arm for d in decisions) for arm in ("small", "large")}
    assert stats["decisions"] == 60
    assert stats["exploration_rate"] == pytest.approx(sum(d["explored"] for d in decisions) / 60)
    shares = np.array([pulls["small"], pulls["large"]]) / 60
    entropy = stats["selection_entropy"]
    assert entropy["realised"] == pytest.approx(float(-(shares * np.log(shares)).sum()))
    assert entropy["policy_mean"] == pytest.approx(np.log(2))
    assert entropy["maximum"] == pytest.approx(np.log(2))
    assert stats["coverage"]["share"] == 1.0
    rows = {row["arm"]: row for row in stats["arms"]}
    price = {"small": (100 * 0.1 + 50 * 0.4) / 1e6, "large": (100 * 3.0 + 50 * 15.0) / 1e6}
    for arm, mean in (("small", 0.2), ("large", 0.8)):
        row = rows[arm]
        assert row["decisions"] == row["rewards"] == pulls[arm]
        assert row["mean_reward"] == pytest.approx(mean)
        assert row["interval"][0] <= mean <= row["interval"][1]
        assert row["spend_usd"] == pytest.approx(pulls[arm] * price[arm])
        assert row["mean_latency_ms"] == pytest.approx(40.0)
        assert row["fixed"]["on_decisions"] == 60
    assert stats["spend_usd"] == pytest.approx(sum(pulls[arm] * price[arm] for arm in pulls))
    headline = (await get(live, "/v1/savings?policy=even"))["saved"]
    for figure in ("basis", "would_have_cost_usd"):
        assert rows["large"]["fixed"][figure] == headline[figure], "one question has one answer"
    saved = rows["large"]["fixed"]["saved_usd"]
    assert saved == headline["usd"] == pytest.approx(headline["would_have_cost_usd"] - stats["spend_usd"])
    assert saved > 0 > rows["small"]["fixed"]["saved_usd"]
    [large] = [one for one in stats["savings"]["arms"] if one["arm"] == "large"]
    assert (stats["savings"]["basis"], large["saved_share"]) == ("settled", pytest.approx(headline["share"]))
    assert stats["savings"]["cost_usd_per_decision"] == pytest.approx(stats["spend_usd"] / 60)
    recent = await get(live, "/v1/stats?policy=even&window_s=3600")
    assert recent["decisions"] == 60
    series = await get(live, "/v1/stats/timeseries?policy=even&step_s=3600")
    assert sum(step["decisions"] for step in series["steps"]) == 60
    contexts = await get(live, "/v1/stats/contexts?policy=even")
    assert sum(cluster["decisions"] for cluster in contexts["clusters"]) == 60
    assert all(cluster["words"] for cluster in contexts["clusters"])


async def test_of_two_rewards_every_report_tells_the_mean_and_none_an_interval(live: Any) -> None:
    for number in range(2):
        query = {"input": "What is 17 times 23?", "policy": "even", "candidates": ["large"], "tags": {"team": "a"}}
        made = await (await live.post("/v1/route", json=query)).json()
        body = {"decision_id": made["decision_id"], "value": 0.9 - 0.1 * number, "source": "judge"}
        assert (await live.post("/v1/rewards", json=body)).status == 200
    stats = await until_learned(live, "even", 2)
    [series] = (await get(live, "/v1/stats/timeseries?policy=even&step_s=3600"))["steps"]
    [group] = (await get(live, "/v1/stats/contexts?policy=even&by=tag:team"))["groups"]
    [context] = (await get(live, "/v1/stats/contexts?policy=even"))["clusters"]
    told = {
        "all": stats,
        "arm": next(row for row in stats["arms"] if row["arm"] == "large"),
        "arms": (await get(live, "/v1/arms/large?policy=even"))["statistics"],
        "step": series,
        "tag": await get(live, "/v1/stats?policy=even&tag=team:a"),
        "cell": next(row for row in group["arms"] if row["arm"] == "large"),
        "context": next(row for row in context["arms"] if row["arm"] == "large"),
        "learning": await get(live, "/v1/stats/learning?policy=even"),
    }
    assert {
        name: (row["rewards"], round(row["mean_reward"], 9), row["interval"]) for name, row in told.items()
    } == dict.fromkeys(told, (2, 0.85, None))


async def test_a_policy_that_has_seen_nothing_says_so(live: Any) -> None:
    stats = await get(live, "/v1/stats")
    assert stats["decisions"] == 0
    for name in ("exploration_rate", "mean_reward", "interval"):
        assert stats[name] is None, name
    assert stats["selection_entropy"]["realised"] is None
    assert stats["coverage"]["share"] is None
    assert "not enough data" in stats["coverage"]["reason"]
    assert "not enough data" in stats["arms"][0]["fixed"]["reason"]
    report = await get(live, "/v1/policies/default/report")
    assert report["converged"] is None
    assert "not enough data" in report["convergence"]["reason"]
    assert (await get(live, "/v1/stats/contexts"))["clusters"] == []
    assert (await get(live, "/v1/stats/timeseries"))["steps"] == []


async def test_an_arm_added_later_is_not_compared_over_decisions_it_never_saw(live: Any) -> None:
    await walk(live, "even", 4)
    added = await live.post("/v1/arms?policy=even", json={"arm": "late", "onboarding_decisions": 0})
    assert added.status == 201
    await walk(live, "even", 4)
    rows = {row["arm"]: row for row in (await get(live, "/v1/stats?policy=even"))["arms"]}
    assert rows["late"]["fixed"]["on_decisions"] == 4
    assert rows["late"]["fixed"]["saved_usd"] is None
    assert "4 of 8" in rows["late"]["fixed"]["reason"]
    assert (await live.delete("/v1/arms/late?policy=even")).status == 204
    gone = (await get(live, "/v1/stats?policy=even"))["arms"]
    assert [row["present"] for row in gone if row["arm"] == "late"] in ([False], [])


async def onboarding_of(live: Any, arm: str) -> dict[str, Any]:
    report = (await get(live, f"/v1/arms/{arm}?policy=even"))["onboarding"]
    listed = {view["arm"]: view for view in (await get(live, "/v1/arms?policy=even"))["arms"]}
    assert listed[arm]["onboarding"].keys() == report.keys()  # the learner may be at work between the two
    Onboarding.model_validate(report)
    return report


@pytest.mark.parametrize(("late", "state", "advice"), [(0.95, "graduated", "Keep"), (0.05, "not_adopted", "Disable")])
async def test_a_new_arm_graduates_or_is_not_adopted(live: Any, late: float, state: str, advice: str) -> None:
    before = await walk(live, "even", 40)
    old = await onboarding_of(live, "small")
    assert (old["state"], old["recommendation"], old["difference"]) == (None, None, None)
    arm = {"arm": "late", "onboarding_decisions": 12, "onboarding_usd": 0}
    assert (await live.post("/v1/arms?policy=even", json=arm)).status == 201
    fresh = await onboarding_of(live, "late")
    assert (fresh["state"], fresh["active"], fresh["rewards"]) == ("onboarding", True, 0)
    assert "0 of 12 decisions" in fresh["recommendation"]
    assert fresh["clusters"]["contends"] > 0  # nothing is known, so it may be the best anywhere
    decisions = await walk(live, "even", 120, late=late)
    await until_learned(live, "even", 160)
    report = await onboarding_of(live, "late")
    assert report["rewards"] == sum(d["arm"] == "late" for d in decisions) > 12
    assert (report["state"], report["active"], report["decisions"]) == (state, False, 12)
    assert report["recommendation"].startswith(advice)
    others = np.mean([0.8 if d["arm"] == "large" else 0.2 for d in before + decisions if d["arm"] != "late"])
    low, high = report["difference"]["interval"]
    assert low < report["difference"]["mean"] < high
    assert report["difference"]["mean"] == pytest.approx(late - others, abs=0.1)
    assert low > 0.0 or high < 0.0
    assert report["reward"]["mean"] - report["incumbents"]["mean"] == pytest.approx(report["difference"]["mean"])
    clusters = report["clusters"]
    assert clusters["contends_share"] == clusters["contends"] / clusters["seen"]
    assert clusters["leads"] == (clusters["seen"] if late > 0.9 else 0)


async def test_a_quota_that_is_used_without_rewards_waits_for_them(live: Any) -> None:
    await walk(live, "even", 10)
    arm = {"arm": "late", "onboarding_decisions": 1, "onboarding_usd": 0}
    assert (await live.post("/v1/arms?policy=even", json=arm)).status == 201
    for _ in range(3):
        body = {"input": "hello", "policy": "even", "candidates": ["late"]}
        assert (await live.post("/v1/route", json=body)).status == 200
    async with asyncio.timeout(120):
        while True:
            report = await onboarding_of(live, "late")
            if not report["active"]:
                break
            await asyncio.sleep(0.02)
    assert report["state"] == "onboarding"
    assert report["recommendation"].startswith("Wait for rewards: 0 of its 3")


async def test_pages_of_the_log_join_without_gap_or_repeat(live: Any) -> None:
    made = [decision["decision_id"] for decision in await walk(live, "default", 7)]
    seen: list[str] = []
    path = "/v1/decisions?limit=3"
    for _ in range(3):
        page = await get(live, path)
        seen += [decision["decision_id"] for decision in page["decisions"]]
        path = f"/v1/decisions?limit=3&before_id={page['next_before_id']}"
    assert page["next_before_id"] is None
    assert seen == sorted(made, reverse=True)
    whole = await get(live, f"/v1/decisions/{made[0]}")
    assert whole["usage"]["output_tokens"] == 50
    assert whole["rewards"][0]["source"] == "judge"
    assert [arm["arm"] for arm in whole["arms"]] == ["small", "large"]
    assert sum(arm["probability"] for arm in whole["arms"]) == pytest.approx(1.0)
    assert "body_hash" not in str(whole)


async def test_policies_show_their_versions_and_snapshots(live: Any) -> None:
    await walk(live, "default", 3)
    await until_learned(live, "default", 3)
    policies = {policy["policy"]: policy for policy in (await get(live, "/v1/policies"))["policies"]}
    assert set(policies) == {"default", "even"}
    assert policies["even"]["kind"] == "uniform"
    assert policies["default"]["policy_version"] > policies["even"]["policy_version"]
    snapshots = (await get(live, "/v1/policies/default/snapshots"))["snapshots"]
    assert snapshots[0]["version"] == policies["default"]["stored_version"]
    assert snapshots[0]["created_at"].endswith("Z")


BAD_ROUTES: list[tuple[dict[str, Any], int]] = [
    ({"embedding": [1.0, 2.0, 3.0]}, 422),
    ({"embedding": [0.0] * 112}, 422),
    ({"input": "hi", "candidates": ["nobody"]}, 422),
    ({"input": "hi", "excluded_arms": ["small", "large"]}, 422),
    ({"input": "hi", "max_cost_usd": 0.0}, 422),
    ({"input": "hi", "capabilities": ["telepathy"]}, 422),
    ({"input": "hi", "features": {"unknown": 1.0}}, 422),
    ({"input": "hi", "policy": "nobody"}, 404),
]


async def test_what_only_the_services_can_refuse_is_a_problem_that_names_the_field(live: Any) -> None:
    for body, status in BAD_ROUTES:
        answer = await live.post("/v1/route", json=body)
        problem = await answer.json()
        assert answer.status == status, problem
        assert problem["detail"]
        assert problem["errors"] or problem["exclusions"]
    assert (await get(live, "/v1/decisions"))["decisions"] == []


ODD_TEXTS = (
    " ", "\n\t", "\0", "\x1b[31m", "a" * 1_000_000, "\U0001f600" * 10_000, "u\u0301\u202e", "9" * 100_000,
    "'; DROP TABLE decision; --", "{" * 10_000,
)  # fmt: skip


async def test_any_text_is_routed_and_rewarded(live: Any) -> None:
    for text in ODD_TEXTS:
        query = {"input": text, "session_id": "s'1", "tags": {"a": "ü;--"}}
        answer = await live.post("/v1/route", json=query)
        assert answer.status == 200, (text[:50], (await answer.text())[:500])
        decision_id = (await answer.json())["decision_id"]
        body = {"decision_id": decision_id, "value": 1, "metadata": {"note": "ü\u2028"}}
        assert (await live.post("/v1/rewards", json=body)).status == 200


async def test_embeddings_at_the_edges_of_numbers_are_routed_or_refused_never_500(live: Any) -> None:
    for value in (1e6, -1e6, 1e-300, 5e-324, 1e-12):
        answer = await live.post("/v1/route", json={"embedding": [value] * 112})
        assert answer.status in {200, 422}, (value, await answer.text())
        if answer.status == 200:
            body = await answer.json()
            assert 0.0 < body["propensity"] <= 1.0
            assert body["predicted_reward"] is not None


async def test_the_codes_of_rewards_over_the_real_log(live: Any) -> None:
    decision = await (await live.post("/v1/route", json={"input": "hi"})).json()
    body = {"decision_id": decision["decision_id"], "value": 0.25}
    keyed = {"Idempotency-Key": uuid.uuid4().hex}
    first = await live.post("/v1/rewards", json=body, headers=keyed)
    again = await live.post("/v1/rewards", json=body, headers=keyed)
    other = await live.post("/v1/rewards", json={**body, "value": 0.5}, headers=keyed)
    assert (first.status, again.status, other.status) == (200, 200, 409)
    assert (await first.json())["duplicate"] is False
    assert (await again.json())["duplicate"] is True
    unknown = await live.post("/v1/rewards", json={**body, "decision_id": str(uuid.uuid4())})
    assert unknown.status == 404
    outside = await live.post("/v1/rewards", json={**body, "value": 7.0})
    assert outside.status == 422
    assert (await outside.json())["errors"][0]["pointer"] == "/value"
    nobody = await live.post("/v1/rewards", json={**body, "source": "nobody"})
    assert nobody.status == 422
    assert (await nobody.json())["errors"][0]["pointer"] == "/source"
    deferred = await (await live.post("/v1/route", json={"input": "hi", "defer_activation": True})).json()
    held = await live.post("/v1/rewards", json={"decision_id": deferred["decision_id"], "thumb": "up"})
    assert held.status == 202
    path = f"/v1/decisions/{deferred['decision_id']}/activate"
    assert (await (await live.post(path)).json())["activated"] is True
    assert (await (await live.post(path)).json())["activated"] is False
    stats = await until_learned(live, "default", 2)
    assert stats["rewards"] == 2
    receipt = await first.json()
    back = await live.delete(f"/v1/rewards/{receipt['reward_id']}")
    assert back.status == 200
    assert (await back.json())["reward"] is None


async def test_readiness_shows_every_part(live: Any) -> None:
    body = await get(live, "/health/readiness")
    assert body["status"] == "ready"
    assert body["database"]["ok"] is True
    assert set(body["policies"]) == {"default", "even"}


async def test_rewards_of_other_arms_over_http(live: Any) -> None:
    query = {"input": QUERIES[0], "candidates": ["small"], "reference": "question-1"}
    decision = (await (await live.post("/v1/route", json=query)).json())["decision_id"]
    told = {"decision_id": decision, "value": 0.9, "source": "metric"}
    rewards = [
        told | {"arm": "small", "value": 0.2},
        told | {"arm": "large"},
        told | {"arm": "huge"},
        {"reference": "question-1", "arm": "large", "value": 0.7, "source": "judge", "idempotency_key": "k"},
    ]
    for duplicate in (False, True):
        answer = await live.post("/v1/rewards", json=rewards)
        assert answer.status == 207
        own, other, unknown, judged = (await answer.json())["results"]
        for one, arm in ((own, None), (other, "large"), (judged, "large")):
            assert (one["receipt"]["arm"], one["receipt"]["duplicate"]) == (arm, duplicate)
        assert (unknown["status_code"], unknown["error"]["code"]) == (422, "ARM_UNKNOWN")
    refused = await live.post("/v1/rewards", json=told | {"arm": "not a name"})
    assert refused.status == 422
    assert (await until_learned(live, "default", 1))["rewards"] == 1
    async with asyncio.timeout(120):
        while not (whole := await get(live, f"/v1/decisions/{decision}"))["arm_rewards"]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert sorted((one["reward"], one["arm"]) for one in whole["rewards"]) == [
        (0.2, "small"), (0.7, "large"), (0.9, "large"),
    ]  # fmt: skip
    assert whole["contribution"]["arm"] == "small"
    gone = await live.delete(f"/v1/rewards/{judged['receipt']['reward_id']}")
    assert (gone.status, (await gone.json())["arm"]) == (200, "large")
