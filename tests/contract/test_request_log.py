"""The view ``request_log`` on both databases: what belongs to a request, joined, whoever has told of it and when."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import Any

from sqlalchemy import inspect, select, text

from banditd.core.candidate import Candidate
from banditd.core.origins import Origin
from banditd.core.release import FOLLOWED, FOLLOWED_AFTER_S, Guardrail, ReleaseTerms
from banditd.core.rewards import UsageReport
from banditd.core.usage import refused
from banditd.deciding.release_course import Release
from banditd.deciding.release_tests import ReleaseTests
from banditd.ports import DecisionFilter
from banditd.services.upkeep import export
from banditd.storage.schema.log import request_log


def price(*_: Any) -> None:
    return None


async def report(storage: Any, decision_id: str, **stated: Any) -> Any:
    return await storage.rewards.report_usage(UsageReport(decision_id=decision_id, **stated), price)


async def joined(storage: Any, decision_id: str) -> Any:
    query = select(request_log).where(request_log.c.decision_id == decision_id)
    return await storage.database.read(lambda connection: connection.execute(query).one())


async def decided(storage: Any, make: Any, count: int, **changes: Any) -> list[str]:
    made = [make.decision(make.now_us + i, **changes) for i in range(count)]
    await storage.decisions.append(made)
    return [str(one.decision_id) for one in made]


async def test_the_view_has_the_columns_that_the_code_knows(storage):
    def columns(connection: Any) -> set[str]:
        return {column["name"] for column in inspect(connection).get_columns("request_log")}

    assert await storage.database.read(columns) == {column.name for column in request_log.columns}


async def test_a_refusal_is_what_was_stated_and_else_what_the_finish_reason_tells(storage, make):
    cases = list(itertools.product((None, True, False), (None, "stop", "refusal", "content_filter")))
    ids = await decided(storage, make, len(cases))
    for decision_id, (refusal, reason) in zip(ids, cases, strict=True):
        await report(storage, decision_id, latency_ms=5.0, refusal=refusal, finish_reason=reason)
        known = UsageReport(decision_id=decision_id, refusal=refusal, finish_reason=reason)
        assert (await joined(storage, decision_id)).refusal is refused(known), (refusal, reason)
    await report(storage, ids[0], refusal=True)
    assert (await joined(storage, ids[0])).refusal is True
    assert (await report(storage, ids[0], refusal=True)).duplicate
    assert (await report(storage, ids[0], refusal=False)).revision == 2
    assert (await joined(storage, ids[0])).refusal is False
    whole = await storage.decisions.get(ids[0])
    assert [one["report"].get("refusal") for one in whole["usage_revisions"]] == [None, True]


async def test_what_followed_an_answer_is_found_from_both_ends_and_is_corrected(storage, make):
    first, other, unknown = await decided(storage, make, 3)
    again = make.decision(make.now_us + 10, origin=Origin("request-1", "f" * 32, first, None))
    better = make.decision(make.now_us + 11, origin=Origin(None, None, None, first))
    await storage.decisions.append([again, better])
    row = await joined(storage, first)
    assert (row.regenerated, row.escalated, row.escalated_to) == (True, True, better.decision_id)
    row = await joined(storage, again.decision_id)
    assert (row.request_id, row.trace_id, row.regenerated_from) == ("request-1", "f" * 32, first)
    assert (row.regenerated, row.escalated, row.refusal) == (False, False, None)
    # A report's word is the newer one, and takes the other back.
    await report(storage, again.decision_id, regenerated_from=other, output_chars=7)
    assert [(await joined(storage, one)).regenerated for one in (first, other)] == [False, True]
    await report(storage, other, escalated_to="human")
    row = await joined(storage, other)
    assert (row.escalated, row.escalated_to) == (True, "human")
    await report(storage, other, escalated_to=better.decision_id)
    assert (await joined(storage, better.decision_id)).escalated_from == first  # its own word comes first
    whole = await storage.decisions.get(again.decision_id)
    assert whole["request"]["regenerated_from"] == other
    assert whole["request"]["output_chars"] == 7
    assert (await joined(storage, unknown)).regenerated is False


async def test_decisions_are_found_by_their_request_trace_and_task(storage, make):
    origins = [Origin("one", "a" * 32), Origin("one", "b" * 32, task_id="run"), Origin("two", "a" * 32), Origin()]
    made = [make.decision(make.now_us + i, origin=origin) for i, origin in enumerate(origins)]
    await storage.decisions.append(made)
    for stated, places in (
        ({"request_id": "one"}, [1, 0]),
        ({"trace_id": "a" * 32}, [2, 0]),
        ({"request_id": "?"}, []),
        ({"task_id": "run"}, [1]),
        ({"task_id": "r"}, []),
    ):
        found = await storage.decisions.page(DecisionFilter(limit=9, **stated))
        assert [one["decision_id"] for one in found] == [made[i].decision_id for i in places]


async def test_exports_hold_what_is_joined(storage, make, tmp_path):
    first, second = await decided(storage, make, 2)
    await report(storage, second, regenerated_from=first, refusal=True, output_tokens=3, output_chars=9)
    for name in ("log.jsonl", "log.parquet"):
        await export.export_log(storage.whole_log, tmp_path / name)
    before, after = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert (before["regenerated"], before["refusal"], before["output_tokens"]) == (True, None, None)
    names = ("regenerated", "regenerated_from", "refusal", "output_tokens", "output_chars", "escalated_to")
    assert [after[name] for name in names] == [False, first, True, 3, 9, None]


async def test_rows_of_an_older_replica_and_damaged_releases_are_read(storage, make):
    [decision_id] = await decided(storage, make, 1)
    await report(storage, decision_id, finish_reason="content_filter")
    change = text("UPDATE decision SET release = '{not \"side\"' WHERE decision_id = :it")
    await storage.database.write(lambda connection: connection.execute(change, {"it": decision_id}).rowcount)
    row = await joined(storage, decision_id)
    assert (row.release_side, row.refusal, row.output_chars) == (None, True, None)


# ---------------------------------------------------------------- guardrails of releases


def release(*measures: str) -> Release:
    terms = ReleaseTerms(guardrails=tuple(Guardrail(measure=one) for one in measures))  # type: ignore[arg-type]
    candidate = Candidate(candidate_id="c", policy="default", name="cheap")
    tests = ReleaseTests.of(terms)
    return Release(release_id="r1", policy="default", candidate=candidate, terms=terms, tests=tests)


def part(unit: str, side: str) -> dict[str, object]:
    return {"release": "r1", "unit": unit, "side": side, "share": 0.5, "differ": True, "distance": 1.0}


ID_AHEAD_US = 11_000_000
"""Ids of one process never go back, and may be ten seconds ahead of their time."""


async def test_what_follows_is_looked_at_ten_minutes_after_the_first_answer_of_a_unit(storage, make):
    opened = replace(release("error", "regeneration", "escalation"), created_at_us=make.now_us)
    sides = [("u1", "candidate"), ("u1", "candidate"), ("u2", "incumbent"), ("u3", "candidate")]
    made = [make.decision(make.now_us + i, release=part(*one)) for i, one in enumerate(sides)]
    asked_again = make.decision(make.now_us + 9, origin=Origin(regenerated_from=made[0].decision_id))
    await storage.decisions.append([*made, asked_again])
    for one in made[:3]:
        await report(storage, one.decision_id, latency_ms=1.0)
    await report(storage, made[2].decision_id, escalated_to="human")
    await report(storage, made[3].decision_id, error="timeout")  # no answer: it counts for the split alone
    wait_us = FOLLOWED_AFTER_S * 1_000_000

    def seen(outcomes: Any) -> dict[str, Any]:
        return {one.unit: (one.candidate, dict(one.values)) for one in outcomes if one.measure == FOLLOWED}

    assert seen((await storage.releases.look(opened, make.now_us + wait_us - 1000)).outcomes) == {}
    look = await storage.releases.look(opened, make.now_us + wait_us + ID_AHEAD_US)
    assert seen(look.outcomes) == {
        "u1": (True, {"regeneration": 0.0, "escalation": 1.0}),
        "u2": (False, {"regeneration": 1.0, "escalation": 0.0}),
        "u3": (True, {}),
    }
    only = replace(opened, terms=replace(opened.terms, guardrails=(Guardrail(measure="error"),)))
    assert seen((await storage.releases.look(only, make.now_us + wait_us + ID_AHEAD_US)).outcomes) == {}


async def test_a_task_and_the_step_before_are_kept_shown_and_exported(storage, make):
    [first] = await decided(storage, make, 1, origin=Origin(task_id="run 1"))
    [then] = await decided(storage, make, 1, origin=Origin(task_id="run 1", parent_decision_id=first))
    [alone] = await decided(storage, make, 1)
    expected = {first: ("run 1", None), then: ("run 1", first), alone: (None, None)}
    page = await storage.decisions.page(DecisionFilter(task_id="run 1"))
    assert [one["decision_id"] for one in page] == sorted((first, then), reverse=True)
    for decision_id, told in expected.items():
        whole = await storage.decisions.get(decision_id)
        row = await joined(storage, decision_id)
        assert (whole["task_id"], whole["parent_decision_id"]) == (row.task_id, row.parent_decision_id) == told
    exported = {one["decision_id"]: one async for one in storage.whole_log.stream(None)}
    assert {key: (one["task_id"], one["parent_decision_id"]) for key, one in exported.items()} == expected
