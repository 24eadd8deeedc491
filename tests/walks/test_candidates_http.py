"""Candidates over HTTP, against a whole daemon: what they may change, what is refused, and why."""

from __future__ import annotations

from typing import Any

import pytest
from tests.over_http import ask, client_of
from tests.walks.conftest import make_settings

from banditd.web.schemas.candidates import CandidateAnswer, CandidatesAnswer, EvaluationAnswer

PLACE = "/v1/policies/default/candidates"


@pytest.fixture
async def client(sqlite_url: str) -> Any:
    settings = make_settings(sqlite_url, promise={"keep": 0.95})
    async with client_of(settings) as found:
        yield found


async def test_a_candidate_is_created_once_shown_and_deleted(client: Any) -> None:
    body = {
        "name": "bold",
        "settings": {"kind": "squarecb", "exploration_floor": 0.02, "promise": {"keep": 0.9}},
        "arms": {"vision": {"enabled": False}, "large": {"min_share": 0.1}},
    }
    status, made = await ask(client, "POST", PLACE, body)
    assert status == 201
    CandidateAnswer.model_validate(made)
    assert made["class"] == "A"
    assert made["difference"] == [
        "kind: thompson -> squarecb", "exploration_floor: 0.005 -> 0.02", "promise.keep: 0.95 -> 0.9",
        "arm large: min_share: 0 -> 0.1", "arm vision: enabled -> disabled",
    ]  # fmt: skip
    status, again = await ask(client, "POST", PLACE, body)
    assert (status, again) == (200, made)
    status, problem = await ask(client, "POST", PLACE, {**body, "settings": {}})
    assert (status, problem["code"]) == (409, "CANDIDATE_EXISTS")
    status, listed = await ask(client, "GET", PLACE)
    CandidatesAnswer.model_validate(listed)
    assert listed["candidates"] == [made]
    assert made["shadow"] is None
    status, shadowed = await ask(client, "PATCH", f"{PLACE}/plain", {"shadow": True})
    assert status == 404
    plain = {"name": "plain", "settings": {"kind": "squarecb"}}
    assert (await ask(client, "POST", PLACE, plain))[0] == 201
    status, shadowed = await ask(client, "PATCH", f"{PLACE}/plain", {"shadow": True})
    CandidateAnswer.model_validate(shadowed)
    assert (status, shadowed["shadow"]["running"], shadowed["shadow"]["rated"]) == (200, True, 0)
    status, found = await ask(client, "POST", "/v1/evaluations", {"candidate": "plain", "method": "shadow"})
    EvaluationAnswer.model_validate(found)
    assert (status, found["phase"], found["interval_kind"]) == (202, "inconclusive", "anytime")
    status, shadowed = await ask(client, "PATCH", f"{PLACE}/plain", {"shadow": False})
    assert (status, shadowed["shadow"]["running"]) == (200, False)
    status, shadowed = await ask(client, "PATCH", f"{PLACE}/bold", {"shadow": True})
    assert (status, shadowed["shadow"]["running"]) == (200, True)  # with another promise and other arms
    called = {"name": "called", "arms": {"large": {"params": {"seed": 1}}}}
    assert (await ask(client, "POST", PLACE, called))[0] == 201
    status, problem = await ask(client, "PATCH", f"{PLACE}/called", {"shadow": True})
    assert (status, problem["code"]) == (422, "CANDIDATE_NOT_SHADOWED")
    assert "would answer differently" in problem["detail"]
    for wrong in ({}, {"shadow": 1}, {"shadow": True, "settings": {}}, {"shadow": None}):
        assert (await ask(client, "PATCH", f"{PLACE}/plain", wrong))[0] == 422, wrong
    assert (await ask(client, "DELETE", f"{PLACE}/plain"))[0] == 204
    # An arm that is gone takes nothing with it but the candidate's use.
    assert (await ask(client, "DELETE", "/v1/arms/vision"))[0] == 204
    status, shown = await ask(client, "GET", f"{PLACE}/bold")
    assert (status, shown["class"], shown["difference"]) == (200, None, [])
    assert "no arm vision" in shown["problem"]
    assert (await ask(client, "DELETE", f"{PLACE}/bold"))[0] == 204
    assert (await ask(client, "DELETE", f"{PLACE}/bold"))[0] == 404
    for path in ("/v1/policies/nowhere/candidates", f"{PLACE}/%00", f"{PLACE}/nobody"):
        assert (await ask(client, "GET", path))[0] == 404, path


async def test_what_is_new_answers_is_of_another_class(client: Any) -> None:
    await ask(client, "PATCH", "/v1/arms/vision", {"enabled": False})
    wanted = ({"vision": {"enabled": True}}, {"small": {"params": {"seed": 1}}}, {"small": {"upstream_model": "b"}})
    for number, fields in enumerate(wanted):
        status, made = await ask(client, "POST", PLACE, {"name": f"c{number}", "arms": fields})
        assert (status, made["class"]) == (201, "C"), fields
    status, same = await ask(client, "POST", PLACE, {"name": "same", "arms": {"small": {"enabled": True}}})
    assert (status, same["class"], same["difference"]) == (201, "A", [])


async def test_the_configuration_would_refuse_it_and_so_does_this(client: Any) -> None:
    for settings, arms, where in (
        ({"kind": "oracle"}, {}, "/settings/kind"),
        ({"kind": 1}, {}, "/settings/kind"),
        ({"options": {"sclae": 1}}, {}, "/settings/options/sclae"),
        ({"kind": "linucb", "options": {"scale": 1}}, {}, "/settings/options/scale"),
        ({"exploration_floor": 0.9}, {}, "/settings/exploration_floor"),
        ({"exploration_floor": 10**400}, {}, "/settings/exploration_floor"),
        ({"cost_weight": -1, "promise": None}, {}, "/settings/cost_weight"),
        ({"cost_weight": True}, {}, "/settings/cost_weight"),
        ({"cost_weight": 0.1}, {}, "/settings"),  # beside a promise
        ({"kind": "uniform"}, {}, "/settings"),  # that could keep none
        ({"promise": {"keep": 0.1}}, {}, "/settings/promise/keep"),
        ({"promise": {"kept": 0.9}}, {}, "/settings/promise/kept"),
        # What the configuration would convert would be kept, and decided by, as it was sent.
        ({"promise": {"keep": "0.9"}}, {}, "/settings/promise/keep"),
        ({"promise": {"keep": True}}, {}, "/settings/promise/keep"),
        ({"promise": {"keep": None}}, {}, "/settings/promise/keep"),
        ({"promise": {"precision": "0.02"}}, {}, "/settings/promise/precision"),
        ({"promise": {"reference_share": False}}, {}, "/settings/promise/reference_share"),
        ({"promise": {"baseline": 5}}, {}, "/settings/promise/baseline"),
        ({"promise": {"keep_by_tag": {"team": {"legal": "0.99"}}}}, {}, "/settings/promise/keep_by_tag"),
        ({"promise": {"keep_by_tag": {"team": 0.99}}}, {}, "/settings/promise/keep_by_tag"),
        ({"options": {"scale": 1e200}}, {}, "/settings/options/scale"),  # its square is no number
        ({"promise": {"baseline": "nobody"}}, {}, "/settings"),
        ({"half_life_decisions": 100}, {}, "/settings/half_life_decisions"),
        ({"context_tags": ["task"]}, {}, "/settings/context_tags"),
        ({"budgets": []}, {}, "/settings/budgets"),
        ({}, {"nobody": {"enabled": False}}, "/arms/nobody"),
        ({}, {"small": {"enabled": 0}}, "/arms/small/enabled"),
        ({}, {"small": {"max_share": 0.0}}, "/arms/small/max_share"),
        ({}, {"small": {"quality_tier": "premium"}}, "/arms/small/quality_tier"),
        ({}, {"small": {"price": {}}}, "/arms/small/price"),
        ({}, {"small": {"params": {"model": "x"}}}, "/arms/small"),
        ({}, {"small": {"upstream_model": "a\nb"}}, "/arms/small/upstream_model"),
        ({}, {arm: {"max_share": 0.2} for arm in ("small", "large", "vision")}, "/settings"),
        ({}, {arm: {"enabled": False} for arm in ("small", "large", "vision")}, "/arms"),
    ):
        status, problem = await ask(client, "POST", PLACE, {"name": "x", "settings": settings, "arms": arms})
        assert (status, [one["pointer"] for one in problem["errors"]]) == (422, [where]), (settings, arms, problem)
    assert (await ask(client, "GET", PLACE))[1]["candidates"] == []


async def test_cases_with_known_scores_are_decided_at_once_and_not_kept(client: Any) -> None:
    def cases(n: int, **scores: float) -> list[dict[str, object]]:
        return [{"input": f"question {i}", "scores": {"small": 0.2 + 0.01 * (i % 7), **scores}} for i in range(n)]

    await ask(client, "PATCH", "/v1/policies/default", {"promise": None})
    for name, settings in (("same", {}), ("free", {"kind": "fixed", "options": {"arm": "small"}})):
        assert (await ask(client, "POST", PLACE, {"name": name, "settings": settings}))[0] == 201
    body = {"candidate": "same", "method": "cases", "cases": cases(20, large=0.9)}
    status, found = await ask(client, "POST", "/v1/evaluations", body)
    EvaluationAnswer.model_validate(found)
    assert (status, found["phase"], found["interval"], found["rated"]) == (202, "passed", [0.0, 0.0], 20)
    status, found = await ask(client, "POST", "/v1/evaluations", {**body, "candidate": "free", "against": "large"})
    assert found["phase"] == "failed"
    assert found["estimate"] == pytest.approx(-0.67, abs=0.01)
    assert (found["reward"], found["other_reward"]) == (pytest.approx(0.23, abs=0.01), pytest.approx(0.9))
    assert found["cost_usd"] < found["other_cost_usd"]
    # Few cases that differ much show little.
    mixed = [
        {**one, "scores": {"small": float(i % 2), "large": float(i % 3 == 0)}} for i, one in enumerate(cases(21))
    ]
    status, found = await ask(client, "POST", "/v1/evaluations", {**body, "candidate": "free", "cases": mixed})
    assert found["phase"] == "inconclusive"
    assert found["half_width"] > 0.05
    assert "21 cases cannot show a drop of less than" in found["reason"]
    shown = (await ask(client, "GET", f"/v1/evaluations/{found['evaluation_id']}"))[1]
    assert shown == found
    listed = (await ask(client, "GET", "/v1/evaluations?policy=default&candidate=free&limit=5"))[1]["evaluations"]
    assert [one["method"] for one in listed] == ["cases", "cases"]
    for wrong, where in (
        ({"cases": cases(19, large=0.9)}, "/cases"),
        ({"cases": [{"input": "x", "scores": {"nobody": 1.0}}] * 20}, "/cases/0/scores"),
        ({"cases": cases(20), "against": "large"}, "/cases/0/scores"),
        ({"cases": [{"input": "x", "scores": {"small": 1.5}}] * 20}, "/cases/0/scores/small"),
        ({"cases": None}, ""),
        ({"since": "2026-01-01T00:00:00Z"}, ""),
        ({"against": "nobody"}, "/against"),
        ({"margin": 0}, "/margin"),
    ):
        status, problem = await ask(client, "POST", "/v1/evaluations", {**body, **wrong})
        assert (status, problem["errors"][0]["pointer"]) == (422, where), (wrong, problem)
    for path in ("/v1/evaluations/x", "/v1/evaluations/00000000-0000-7000-8000-00000000dead"):
        assert (await ask(client, "GET", path))[0] == 404
    assert (await ask(client, "POST", "/v1/evaluations", {"candidate": "nobody"}))[0] == 404
