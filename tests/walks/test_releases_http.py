"""Releases over HTTP and from the command line, against a whole daemon."""

from __future__ import annotations

import asyncio
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.over_http import ask, client_of
from tests.walks.conftest import make_settings

from banditd.cli import commands
from banditd.web.schemas.releases import (
    ReleaseAnswer,
    ReleaseEventsAnswer,
    ReleasePointsAnswer,
    ReleasesAnswer,
    RollbackAnswer,
)

DOCS = Path(__file__).parents[2] / "docs" / "releases.md"


@pytest.fixture
async def client(sqlite_url: str) -> Any:
    async with client_of(make_settings(sqlite_url)) as found:
        yield found


async def candidate(client: Any, name: str = "bold", **more: Any) -> None:
    body = {"name": name, "settings": {"kind": "uniform"}, **more}
    assert (await ask(client, "POST", "/v1/policies/default/candidates", body))[0] == 201


async def test_a_release_from_its_start_to_its_end(client: Any) -> None:
    await candidate(client)
    status, begun = await ask(client, "POST", "/v1/releases", {"candidate": "bold"})
    assert status == 201, begun
    ReleaseAnswer.model_validate(begun)
    assert (begun["phase"], begun["share"], begun["step"]) == ("running", 0.01, 1)
    assert begun["words"].startswith("bold decides 1 % of the traffic (step 1 of 5).")
    assert begun["missing_units"] == {"reward": 30}
    place = f"/v1/releases/{begun['release_id']}"
    status, problem = await ask(client, "POST", f"{place}/promote")
    assert (status, problem["code"]) == (409, "RELEASE_NOT_DUE")
    assert "30 more rated units" in problem["detail"]
    status, shown = await ask(client, "POST", f"{place}/promote", {"force": True, "reason": "it is small"})
    assert (status, shown["share"]) == (200, 0.05)
    assert (await ask(client, "POST", f"{place}/pause", {"reason": "lunch"}))[1]["phase"] == "paused"
    assert (await ask(client, "POST", f"{place}/pause"))[1]["reason"] == "lunch"
    assert (await ask(client, "GET", place))[1]["phase"] == "paused"
    status, undone = await ask(client, "POST", "/v1/policies/default/rollback", {"reason": "enough"})
    RollbackAnswer.model_validate(undone)
    assert (status, undone["undone"]) == (200, "release")
    status, found = await ask(client, "GET", f"{place}/events")
    ReleaseEventsAnswer.model_validate(found)
    told = [(one["event"], one["reason"]) for one in found["events"]]
    assert told == [("started", None), ("promoted", "it is small"), ("paused", "lunch"), ("aborted", "enough")]
    assert (await ask(client, "POST", f"{place}/abort"))[0] == 200  # once more
    assert (await ask(client, "POST", f"{place}/resume"))[1]["code"] == "RELEASE_ENDED"
    status, way = await ask(client, "GET", f"{place}/points")
    ReleasePointsAnswer.model_validate(way)
    assert [one["share"] for one in way["points"]] == [0.01, 0.05, 0.0]
    assert way["points"][0]["measures"]["reward"]["evidence"] == 1.0
    nothing = await ask(client, "GET", f"/v1/releases/{begun['candidate_id']}/points")
    assert (nothing[0], nothing[1]["code"]) == (404, "RELEASE_NOT_FOUND")
    status, listed = await ask(client, "GET", "/v1/releases?policy=default&limit=5")
    ReleasesAnswer.model_validate(listed)
    assert [one["release_id"] for one in listed["releases"]] == [begun["release_id"]]
    assert (await ask(client, "POST", "/v1/policies/default/rollback"))[1]["code"] == "NOTHING_TO_ROLL_BACK"


async def test_what_cannot_be_is_refused_and_changes_nothing(client: Any) -> None:
    await candidate(client)
    for more, code in (
        ({"candidate": "nobody"}, "CANDIDATE_NOT_FOUND"),
        ({"policy": "nowhere"}, "POLICY_UNKNOWN"),
        ({"steps": [0.5, 0.2, 1.0]}, "INVALID_INPUT"),
        ({"steps": [0.0, 1.0]}, "INVALID_INPUT"),
        ({"steps": [0.5]}, "INVALID_INPUT"),
        ({"least_units": []}, "INVALID_INPUT"),
        ({"metrics": []}, "INVALID_INPUT"),
        ({"metrics": [{}, {}]}, "INVALID_INPUT"),
        ({"metrics": [{"alpha": 0.0}]}, "INVALID_INPUT"),
        ({"guardrails": [{"measure": "latency"}]}, "INVALID_INPUT"),
        ({"guardrails": [{"measure": "error", "limit": 3.0}]}, "INVALID_INPUT"),
        ({"unit": "user"}, "INVALID_INPUT"),
    ):
        status, problem = await ask(client, "POST", "/v1/releases", {"candidate": "bold", **more})
        assert (problem.get("code"), status in {404, 422}) == (code, True), (more, problem)
    assert (await ask(client, "GET", "/v1/releases"))[1] == {"releases": []}
    for path in ("/v1/releases/x", "/v1/releases/0198c2f0-0000-7000-8000-000000000000"):
        assert (await ask(client, "GET", path))[1]["code"] == "RELEASE_NOT_FOUND"
        assert (await ask(client, "POST", f"{path}/promote"))[1]["code"] == "RELEASE_NOT_FOUND"
    assert (await ask(client, "GET", "/v1/releases?policy=nowhere"))[0] == 404


async def test_the_commands_of_the_documentation(client: Any) -> None:
    text = DOCS.read_text(encoding="utf-8")
    lines = [
        line for block in re.findall(r"<!-- run -->\n```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()
    ]
    assert len(lines) >= 6
    address = str(client.make_url("/")).rstrip("/")
    said = []
    for line in lines:
        words = shlex.split(line)[1:]
        ran = await asyncio.to_thread(CliRunner().invoke, commands, words, env={"BANDITD_URL": address})
        assert ran.exit_code == 0, (line, ran.output, ran.exception)
        said.append(ran.output)
    status = said[lines.index("banditd release status")]
    assert "decides 1 % of the traffic" in status.splitlines()[1]
    assert "evidence against it" in status
    assert "was aborted" in said[-1]
    shown = await asyncio.to_thread(
        CliRunner().invoke, commands, ["release", "status", "--json"], env={"BANDITD_URL": address}
    )
    assert '"phase": "aborted"' in shown.output


async def test_how_far_a_release_is_shows_in_the_metrics(client: Any) -> None:
    await candidate(client)
    await ask(client, "POST", "/v1/releases", {"candidate": "bold"})
    text = await (await client.get("/metrics")).text()
    assert 'banditd_release_share{policy="default"} 0.01' in text
    assert 'banditd_release_share{policy="other"} 0.0' in text
    assert 'banditd_release_evidence{measure="reward",policy="default"}' in text
