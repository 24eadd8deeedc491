"""A frozen policy decides what the daemon would, and leaves nothing behind; ``banditd arena`` writes it down."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from tests.walks.conftest import ARMS, OpenDaemon, make_settings
from tests.walks.test_evaluation_walk import POLICY, live

from banditd.cli import commands
from banditd.core.errors import InvalidInputError
from banditd.core.types import Query
from banditd.daemon.frozen import load_frozen
from banditd.daemon.workbench import open_workbench

TEXTS = ["What is 2 + 2?", "Write a sonnet about ferns.", "ä"]


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """Only what other commands read is read: one database will do."""
    return sqlite_url


async def test_it_decides_what_the_daemon_would(open_daemon: OpenDaemon, database_url: str) -> None:
    for policy in (POLICY, {"promise": {"keep": 0.9}, "exploration_floor": 0.1, "rollout": 0.0}):
        async with open_daemon(**policy) as daemon:
            await live(daemon, 40)
            await daemon.promises.step()
            await daemon.services.arms.patch("default", "vision", {"enabled": False})
            await daemon.promises.step()
            expected = []
            if "rollout" not in policy:
                made = [await daemon.services.routing.route(Query(text=text, dry_run=True)) for text in TEXTS]
                expected = [dict(zip(one.arms, one.probability, strict=True)) for one in made]
            decisions = await daemon.storage.reports.totals()
        async with open_workbench(make_settings(database_url, **policy)) as bench:
            frozen = await load_frozen(bench, "default")
            assert [arm.arm for arm in frozen.arms] == ["small", "large"]
            found = await frozen.probabilities(TEXTS)
            assert found.sum(axis=1) == pytest.approx(1.0)
            for row, wanted in zip(found.tolist(), expected, strict=False):
                assert row == pytest.approx([wanted[arm.arm] for arm in frozen.arms], abs=1e-6)
            if not expected:
                assert (found[:, 0] > 0.0).all()  # the policy's own choice, though the baseline answers everything
            assert await bench.storage.reports.totals() == decisions


async def test_no_policy_and_no_arm_are_said(database_url: str) -> None:
    async with open_workbench(make_settings(database_url, arms=[{**ARMS[0], "enabled": False}])) as bench:
        with pytest.raises(InvalidInputError, match="no enabled arm"):
            await load_frozen(bench, "default")


def test_the_command_writes_both_files(tmp_path: Path, database_url: str) -> None:
    prompts, config = tmp_path / "router_data_10.json", tmp_path / "config.yaml"
    prompts.write_text(json.dumps([{"global index": f"S_{i}", "prompt": text} for i, text in enumerate(TEXTS)]))
    arms = [{**one, "upstream_model": f"maker/{one['arm']}"} for one in ARMS[:2]]
    config.write_text(yaml.safe_dump({"database": {"url": database_url}, "policies": {"default": {"arms": arms}}}))
    given = ["arena", str(prompts), "--config", str(config), "--out", str(tmp_path / "out.json")]
    run = CliRunner().invoke(commands, [*given, "--router-config", str(tmp_path / "banditd.json"), "--json"])
    assert run.exit_code == 0, run.output
    counts = json.loads(run.output)["models"]
    assert set(counts) == {"maker/small", "maker/large"}
    out = json.loads((tmp_path / "out.json").read_text())
    assert [one["global index"] for one in out] == ["S_0", "S_1", "S_2"]
    assert {one["prediction"] for one in out} <= set(counts)
    assert json.loads((tmp_path / "banditd.json").read_text())["pipeline_params"]["router_name"] == "banditd"
    drawn = [
        CliRunner().invoke(commands, [*given, "--choose", "draw", "--seed", "3", "--json"]).output for _ in range(2)
    ]
    assert drawn[0] == drawn[1]
