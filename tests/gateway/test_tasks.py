"""Tasks and steps as agents tell them to the gateway: in its own words, in OpenAI's metadata, or to others."""

from __future__ import annotations

from typing import Any

import pytest
from tests.gateway.test_conversations import ASKED, Talk, talk, user

from banditd.web.gateway.sessions import with_named_task
from banditd.web.schemas.chat import GatewayOptions

__all__ = ["talk"]
RUN = "5f7a9c1e-2b3d-4c5e-8f90-1a2b3c4d5e6f"
CHILD = "6a7a9c1e-2b3d-4c5e-8f90-1a2b3c4d5e6f"
ORDER = f"20261130T094500123456Z{RUN}.20261130T094501000000Z{CHILD}"


def told(made: dict[str, Any]) -> tuple[Any, ...]:
    return made["task_id"], made["parent_decision_id"], made["tags"].get("step")


async def test_an_agent_says_its_task_in_headers_in_the_body_or_in_metadata(talk: Talk) -> None:
    first = await talk.turn(ASKED, headers={"x-banditd-task-id": "run 1", "x-banditd-step": "plan"})
    before = first["decision_id"]
    assert told(first) == ("run 1", None, "plan")
    parent = {"x-banditd-parent-decision-id": f"chatcmpl-{before}"}
    by_body = await talk.turn(
        [user("Act.")], headers={**parent, "x-banditd-task-id": "other"}, banditd={"task_id": "run 1", "step": "act"}
    )
    assert told(by_body) == ("run 1", before, "act")
    metadata = {"banditd_task_id": "run 1", "banditd_step": "act", "banditd_parent_decision_id": before}
    assert told(await talk.turn([user("Act.")], metadata=metadata)) == ("run 1", before, "act")
    tagged = await talk.turn([user("Act.")], metadata=metadata, headers={"x-banditd-tag-step": "look"})
    assert told(tagged) == ("run 1", before, "look")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("messages", {"messages": [user("Act.")], "max_tokens": 9}),
        ("responses", {"input": "Act.", "metadata": {"banditd_step": "act"}}),
    ],
)
async def test_every_surface_knows_the_task(talk: Talk, path: str, body: dict[str, Any]) -> None:
    headers = {"x-banditd-task-id": "run 1", "x-banditd-tag-step": "act"}
    asked = {"model": "banditd/auto", **body}
    async with talk.http.post(f"{talk.served.base}/{path}", json=asked, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
    assert told(await talk.served.decision(answer.headers["x-banditd-decision-id"])) == ("run 1", None, "act")


async def test_a_step_and_a_tag_that_differ_are_refused(talk: Talk) -> None:
    body = {"model": "banditd/auto", "messages": ASKED, "banditd": {"step": "plan"}}
    headers = {"x-banditd-tag-step": "act"}
    async with talk.http.post(f"{talk.served.base}/chat/completions", json=body, headers=headers) as answer:
        error = (await answer.json())["error"]
    assert (answer.status, error["param"]) == (400, "banditd.step")
    assert "give one of the two" in error["message"]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Helicone-Session-Id": "research-42", "Helicone-Session-Path": "/research/query"}, "research-42"),
        ({"x-portkey-trace-id": "run-9"}, "run-9"),
        ({"langsmith-trace": ORDER}, RUN),
        ({"langsmith-trace": "nonsense"}, None),
        ({"x-portkey-trace-id": "x" * 257}, None),
        ({"x-portkey-trace-id": "run-9", "x-banditd-task-id": "mine"}, "mine"),
    ],
)
async def test_what_agents_tell_other_gateways_names_the_task_where_they_say_nothing_to_this_one(
    talk: Talk, headers: dict[str, str], expected: str | None
) -> None:
    assert told(await talk.turn(ASKED, headers=headers)) == (expected, None, None)


@pytest.mark.parametrize("metadata", [7, [], {"banditd_task_id": 7, "banditd_step": {}}, {"banditd_step": "x" * 257}])
@pytest.mark.parametrize("parent", [None, 7, "no decision", RUN.upper()])
def test_metadata_of_any_shape_never_refuses_a_call(metadata: Any, parent: Any) -> None:
    if isinstance(metadata, dict):
        metadata = {**metadata, "banditd_parent_decision_id": parent}
    assert with_named_task(GatewayOptions(), {}, {"metadata": metadata}) == GatewayOptions()
