"""What follows an answer, over HTTP and by the job: found by its ids, counted once, and rewarded once if at all."""

from __future__ import annotations

import time
from typing import Any

import pytest
from tests.over_http import ask, client_of
from tests.walks.conftest import OpenDaemon, ShiftedClock, make_settings
from tests.walks.test_release_walk import DEAR, begin, look

from banditd.core.origins import Origin
from banditd.core.release import Guardrail, ReleaseTerms
from banditd.core.rewards import UsageReport
from banditd.core.types import Decision, Query
from banditd.daemon.open import Daemon, open_services

TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
async def client(sqlite_url: str) -> Any:
    async with client_of(make_settings(sqlite_url)) as found:
        yield found


async def test_a_decision_is_found_by_its_request_and_its_trace(client: Any) -> None:
    traceparent = f"00-{TRACE}-b7ad6b7169203331-01"
    answer = await client.post("/v1/route", json={"input": "one"}, headers={"traceparent": traceparent})
    first, request_id = await answer.json(), answer.headers["x-request-id"]
    _, batch = await ask(
        client, "POST", "/v1/route/batch", x_request_id="mine.1",
        body={"queries": [{"input": "two"}, {"input": "three", "regenerated_from": first["decision_id"]}]},
    )  # fmt: skip
    ids = [one["decision"]["decision_id"] for one in batch["results"]]
    for search, expected in (
        (f"request_id={request_id}", [first["decision_id"]]), ("request_id=mine.1", ids[::-1]),
        (f"trace_id={TRACE}", [first["decision_id"]]), (f"trace_id={'a' * 32}", []),
    ):  # fmt: skip
        _, page = await ask(client, "GET", f"/v1/decisions?{search}")
        assert [one["decision_id"] for one in page["decisions"]] == expected, search
    _, whole = await ask(client, "GET", f"/v1/decisions/{ids[1]}")
    joined = whole["request"]
    assert (joined["request_id"], joined["trace_id"], joined["refusal"]) == ("mine.1", None, None)
    assert joined["regenerated_from"] == first["decision_id"]
    assert (await ask(client, "GET", "/v1/decisions?trace_id=short"))[0] == 422


async def test_usage_says_what_became_of_an_answer_and_bad_words_are_refused(client: Any) -> None:
    _, one = await ask(client, "POST", "/v1/route", {"input": "one"})
    _, other = await ask(client, "POST", "/v1/route", {"input": "other", "escalated_from": one["decision_id"]})
    place = f"/v1/decisions/{one['decision_id']}"
    stated = {"refusal": True, "output_chars": 12, "regenerated_from": f"chatcmpl-{other['decision_id']}"}
    assert (await ask(client, "POST", f"{place}/usage", stated))[1]["duplicate"] is False
    assert (await ask(client, "POST", f"{place}/usage", {"refusal": True}))[1]["duplicate"] is True
    _, whole = await ask(client, "GET", place)
    joined = whole["request"]
    assert (joined["refusal"], joined["output_chars"], joined["regenerated_from"]) == (True, 12, other["decision_id"])
    assert (joined["escalated"], joined["escalated_to"]) == (True, other["decision_id"])
    for bad, where in (
        ({"regenerated_from": one["decision_id"]}, "/regenerated_from"),
        ({"escalated_to": f"msg_{one['decision_id']}"}, "/escalated_to"),
        ({"regenerated_from": "nobody"}, "/regenerated_from"), ({"output_chars": -1}, "/output_chars"),
        ({"escalated_to": "x" * 257}, "/escalated_to"), ({"refusal": "yes"}, "/refusal"),
    ):  # fmt: skip
        status, problem = await ask(client, "POST", f"{place}/usage", bad)
        assert (status, problem["errors"][0]["pointer"]) == (422, where)
    assert (await ask(client, "POST", "/v1/route", {"input": "x", "regenerated_from": "no"}))[0] == 422


# ---------------------------------------------------------------- counted and rewarded


async def decide(daemon: Daemon, key_name: str | None = None, **origin: Any) -> Decision:
    return await daemon.services.routing.route(Query(text="a query", key_name=key_name, origin=Origin(**origin)))


async def look_up(daemon: Daemon) -> None:
    await daemon.jobs.run_now("follow_ups")


def counted(daemon: Daemon, arm: str, outcome: str) -> bool | float:
    labels = {"policy": "default", "arm": arm, "outcome": outcome}
    return daemon.metrics.registry.get_sample_value("banditd_answers_total", labels) or 0.0


async def rewards(daemon: Daemon, made: Decision) -> list[tuple[Any, ...]]:
    whole: Any = await daemon.services.reports.decision(made.decision_id)
    return [(one["metric"], one["source"], one["reward"], one["kind"]) for one in whole["rewards"]]


async def test_follow_ups_are_counted_once_by_the_arm_that_answered_and_only_logged(open_daemon: OpenDaemon) -> None:
    async with open_daemon(**DEAR) as daemon:
        first = await decide(daemon)
        await decide(daemon, regenerated_from=first.decision_id)
        await look_up(daemon)
        assert counted(daemon, "large", "regenerated") == 0.0  # before the first look: another life's
        second = await decide(daemon)
        await decide(daemon, regenerated_from=second.decision_id)
        report = UsageReport(decision_id=second.decision_id, served_arm="small", escalated_to="human", refusal=True)
        for _ in range(2):
            await daemon.services.rewards.report_usage(report)
            await look_up(daemon)
        outcomes = ("regenerated", "escalated", "refused")
        assert [counted(daemon, "small", outcome) for outcome in outcomes] == [1.0, 1.0, 1.0]
        assert [counted(daemon, "large", outcome) for outcome in outcomes] == [0.0, 0.0, 0.0]
        assert await rewards(daemon, second) == []


async def test_an_answer_that_is_asked_for_again_gets_the_configured_reward_once(
    open_daemon: OpenDaemon, clock: ShiftedClock
) -> None:
    given = ("regeneration", "implicit", 0.25, "reward")
    async with open_daemon(reward={"regeneration_reward": 0.25}, **DEAR) as daemon:
        first, foreign, old = await decide(daemon), await decide(daemon, "one"), await decide(daemon)
        for _ in range(2):
            await decide(daemon, regenerated_from=first.decision_id)
            await decide(daemon, "two", regenerated_from=foreign.decision_id)  # another tenant's has no say
            await look_up(daemon)
        assert [await rewards(daemon, one) for one in (first, foreign, old)] == [[given], [], []]
        whole: Any = await daemon.services.reports.decision(first.decision_id)
        await daemon.services.rewards.retract(whole["rewards"][0]["reward_id"])
        await look_up(daemon)
        assert [kind for *_, kind in await rewards(daemon, first)] == ["reward", "retraction"]
        clock.hours = 2.5
        await decide(daemon, regenerated_from=old.decision_id)
        await look_up(daemon)
        assert await rewards(daemon, old) == []


async def test_only_the_key_of_an_answer_has_a_say_in_whether_a_release_counts_it_as_asked_for_again(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("banditd.storage.follow_ups.FOLLOWED_AFTER_S", -1)
    terms = ReleaseTerms(steps=(0.5, 1.0), guardrails=(Guardrail(measure="regeneration"),))
    async with open_services(make_settings(sqlite_url, **DEAR), start_jobs=False) as daemon:
        release_id = await begin(daemon, terms)
        own, foreign, reported, anybodys, quiet = [
            await decide(daemon, key) for key in ("one", "one", "one", None, "one")
        ]
        await decide(daemon, "one", regenerated_from=own.decision_id)
        await decide(daemon, "two", regenerated_from=foreign.decision_id)
        await decide(daemon, None, regenerated_from=foreign.decision_id)
        claim = await decide(daemon, "two")
        report = UsageReport(decision_id=claim.decision_id, regenerated_from=reported.decision_id)
        await daemon.services.rewards.report_usage(report)
        await decide(daemon, "two", regenerated_from=anybodys.decision_id)
        made = (own, foreign, reported, anybodys, quiet)
        for one in made:
            await daemon.services.rewards.report_usage(UsageReport(decision_id=one.decision_id, output_tokens=9))
        release = daemon.releases.open("default")
        assert release is not None
        assert release.release_id == release_id
        seen = await daemon.storage.releases.look(release, time.time_ns() // 1000)
        counted_as = {
            one.decision_id: one.values.get("regeneration") for one in seen.outcomes if one.measure == "followed"
        }
        assert [counted_as[one.decision_id] for one in made] == [0.0, 1.0, 1.0, 0.0, 1.0]


async def test_a_candidate_whose_answers_are_asked_for_again_is_taken_back(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("banditd.storage.follow_ups.FOLLOWED_AFTER_S", -1)
    watched = (Guardrail(measure="regeneration"), Guardrail(measure="output_length", limit=1000.0))
    async with open_services(make_settings(sqlite_url, **DEAR), start_jobs=False) as daemon:
        release_id = await begin(daemon, ReleaseTerms(steps=(0.5, 1.0), guardrails=watched))
        while daemon.releases.open("default") is not None:
            for _ in range(40):
                one = await decide(daemon)
                await daemon.services.rewards.report_usage(UsageReport(decision_id=one.decision_id, output_tokens=9))
                if one.arm == "small":
                    await decide(daemon, regenerated_from=one.decision_id)
            await daemon.releases.step()
        shown: Any = await look(daemon, release_id)
        assert (shown["phase"], "regeneration" in shown["reason"]) == ("rolled_back", True)
        regeneration, length = shown["guardrails"]
        assert regeneration["evidence"] >= regeneration["needed"]
        assert length["evidence"] < 1.0
