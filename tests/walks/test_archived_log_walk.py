"""A log of which a half is in an archive: rebuild, export and evaluate say of it what they said of the whole."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, select
from tests.walks.conftest import ShiftedClock, make_settings
from tests.walks.test_damage import assert_counted
from tests.walks.test_evaluation_walk import POLICY, live
from tests.walks.test_repair import counted, refold

from banditd.daemon.open import open_services
from banditd.daemon.workbench import open_workbench
from banditd.services.learning.rebuild import RebuildReport
from banditd.services.upkeep.export import export_log
from banditd.settings import Settings
from banditd.storage import dialect
from banditd.storage.partitions.layout import partitions, time_of_id_us
from banditd.storage.schema import decision

HALF = 60
DAY_US = 86_400 * 1_000_000
QUESTION = {"against": "incumbent", "since_us": None, "until_us": None, "margin": 0.01, "interval": "fixed"}
OF_THE_ASKING = {"evaluation_id", "created_at_us", "finished_at_us", "done", "total"}


@pytest.fixture
def settings(postgres_url: str, tmp_path: Path) -> Settings:
    made = make_settings(postgres_url, **POLICY)
    jobs = {"archive_url": (tmp_path / "archive").as_uri(), "retention_days": 7}
    return made.model_copy(update={"jobs": type(made.jobs).model_validate(jobs)})


@pytest.fixture(autouse=True)
def same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("banditd.services.candidates.evaluating.RESTS", 0.0)
    monkeypatch.setattr("banditd.daemon.open.np.random.default_rng", lambda: np.random.Generator(np.random.PCG64(7)))


async def said(settings: Settings, file: Path) -> tuple[dict[str, Any], RebuildReport]:
    """An evaluation of the candidate and what a rebuild would find; the log is exported to ``file``."""
    async with open_services(settings, start_jobs=False) as daemon:
        asking: Any = daemon.services.evaluations
        found = await asking.ask("default", "other-kind", **QUESTION)
        while found["phase"] == "running":
            await asyncio.sleep(0.01)
            found = await asking.get(found["evaluation_id"])
    async with open_workbench(settings) as bench:
        await export_log(bench.storage.whole_log, file)
        report = await refold(bench, write=False)
    return {key: value for key, value in found.items() if key not in OF_THE_ASKING}, report


async def test_what_is_archived_is_evaluated_exported_and_rebuilt(
    settings: Settings, postgres_url: str, clock: ShiftedClock, tmp_path: Path
) -> None:
    for hours in (-24 * 35, 0):  # in two partitions
        clock.hours = hours
        async with open_workbench(settings) as bench:
            await bench.storage.partitions.make_ahead(clock.now_us())
        async with open_services(settings, start_jobs=False) as daemon:
            await live(daemon, HALF)
            if not hours:
                await daemon.services.candidates.create(  # type: ignore[union-attr]
                    "default", "other-kind", settings={"kind": "linucb", "exploration_floor": 0.05}, arms={}
                )
    files = [tmp_path / f"{name}.jsonl" for name in ("whole", "half", "again")]
    evaluation, report = whole = await said(settings, files[0])
    assert (evaluation["rated"], report.decisions) == (2 * HALF, 2 * HALF)
    assert (report.agrees, report.complete_log) == (True, True)
    sums = counted(postgres_url)
    engine = dialect.make_engine(dialect.normalise_url(postgres_url), pool_size=1, busy_timeout_s=5)
    async with open_workbench(settings) as bench:
        with engine.connect() as connection:
            first = partitions(connection)[0]
        await bench.storage.partitions.drop(before_us=time_of_id_us(first.to_id) + DAY_US)
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(decision)).scalar_one() == HALF
    engine.dispose()
    assert await said(settings, files[1]) == whole
    async with open_workbench(settings) as bench:
        assert (await refold(bench, write=True)).written
    assert_counted(counted(postgres_url), sums)
    assert await said(settings, files[2]) == whole
    texts = [file.read_text() for file in files]
    assert texts[0].count("\n") == 2 * HALF
    assert texts[1:] == texts[:1] * 2
