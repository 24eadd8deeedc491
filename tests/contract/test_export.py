"""The log as a file: the same rows in either format, whatever the first of them hold, and never half a file."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet
import pytest

from banditd.core.errors import ConfigurationError, StorageUnavailableError
from banditd.core.money import AccountKey, Charge
from banditd.core.rewards import Contribution, UsageReport
from banditd.core.types import Blend
from banditd.services.upkeep import export
from banditd.services.upkeep.export_parquet import ParquetWriter


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(export, "BATCH_ROWS", 3)


async def _log(storage, make):
    """Four decisions about which nothing is known, then one of which everything is."""
    await storage.leases.acquire("learner", "me", ttl_s=10, now_us=make.now_us)
    plain = [make.decision(make.now_us + i, tags={}, exclusions={}) for i in range(4)]
    whole = make.decision(
        make.now_us + 9,
        deferred=True,
        degraded="encoder_timeout",
        session_id="s",
        input_text="à la carte",
        charges=(Charge(key=AccountKey("default", "day", "all", 5), usd=0.001),),
        mixture=Blend(0.5, np.array([0.25, 0.75, 0.0])),
    )
    await storage.decisions.append([*plain, whole])
    await storage.decisions.activate(whole.decision_id, make.now_us + 10)
    await storage.rewards.record([make.reward(whole.decision_id, 0.75)], make.judge)
    await storage.arms.add(make.arm("dear"))
    usage = UsageReport(decision_id=whole.decision_id, cost_usd=0.5, served_arm="dear")
    await storage.rewards.report_usage(usage, lambda *_: None)
    items = await storage.learning.claim("default", 10)
    await storage.learning.commit(
        make.fold(contributions={item.decision_id: Contribution("dear", 2, 0.5, 0.75) for item in items}), holder="me"
    )
    return [*plain, whole]


async def test_both_formats_hold_every_row_of_the_log_alike(storage, make, tmp_path):
    made = await _log(storage, make)
    for name in ("log.jsonl", "log.parquet"):
        assert await export.export_log(storage.whole_log, tmp_path / name) == 5
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    table = pyarrow.parquet.read_table(tmp_path / "log.parquet").to_pylist()
    texts = {name for name, kind in storage.whole_log.columns.items() if kind == "json"}
    parsed = [
        {name: json.loads(value) if name in texts and value is not None else value for name, value in row.items()}
        for row in table
    ]
    assert parsed == rows
    assert [row["decision_id"] for row in rows] == [one.decision_id for one in made]
    nothing, everything = rows[0], rows[-1]
    outcome = ("reward", "reward_weight", "spend_usd", "served_arm", "activated_at_us", "charges", "mixture")
    assert [nothing[name] for name in outcome] == [None] * 5 + [[], None]
    assert [everything[name] for name in outcome[:5]] == [0.75, 0.5, 0.5, "dear", make.now_us + 10]
    assert everything["charges"] == [{"budget": "day", "account": "all"}]
    assert everything["mixture"] == {"share": 0.5, "fixed": [0.25, 0.75, 0.0]}


async def test_parquet_knows_exactly_the_columns_of_the_log(storage, make, tmp_path):
    await export.export_log(storage.whole_log, tmp_path / "empty.parquet")
    empty = pyarrow.parquet.read_table(tmp_path / "empty.parquet")
    await _log(storage, make)
    [row] = [row async for row in storage.whole_log.stream("default", batch_rows=1)][:1]
    assert (empty.num_rows, set(empty.column_names)) == (0, set(row))
    assert set(storage.whole_log.columns) == set(row)


async def test_a_failed_export_leaves_what_was_there_and_nothing_else(storage, make, tmp_path):
    await _log(storage, make)

    class Broken:
        columns = storage.whole_log.columns

        async def stream(self, policy):
            async for row in storage.whole_log.stream(policy):
                yield row
                if row["decision_id"] > seen[3]:
                    raise StorageUnavailableError("gone")

    seen = [row["decision_id"] async for row in storage.whole_log.stream(None)]
    for name in ("log.jsonl", "log.parquet"):
        path = tmp_path / name
        for before in (None, b"the export of yesterday"):
            if before is not None:
                path.write_bytes(before)
            with pytest.raises(StorageUnavailableError):
                await export.export_log(Broken(), path)
            assert (path.read_bytes() if path.exists() else None) == before
        path.unlink()
        assert [one.name for one in tmp_path.iterdir() if "log" in one.name] == []


async def test_a_link_keeps_pointing_to_what_was_exported(storage, make, tmp_path):
    await _log(storage, make)
    (tmp_path / "real.jsonl").touch()
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "real.jsonl")
    assert await export.export_log(storage.whole_log, tmp_path / "link.jsonl") == 5
    assert len((tmp_path / "real.jsonl").read_text(encoding="utf-8").splitlines()) == 5


async def test_a_place_that_cannot_be_written_to_is_said(storage, tmp_path):
    for name in ("log.jsonl", "log.parquet"):
        with pytest.raises(ConfigurationError, match="cannot be written"):
            await export.export_log(storage.whole_log, tmp_path / "nowhere" / name)
    with pytest.raises(ConfigurationError, match=r"name it \.jsonl or \.parquet"):
        await export.export_log(storage.whole_log, tmp_path / "log.csv")


def test_a_column_without_a_type_is_not_left_out_in_silence(tmp_path):
    writer = ParquetWriter(tmp_path / "log.parquet", {"arm": "string"})
    with pytest.raises(ValueError, match="no Parquet type for invented"):
        writer.write([{"invented": 1}])
    writer.close()
