"""Old partitions in an archive: every row stays readable, once, and nothing is dropped that was not kept."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import time
import uuid

import fsspec
import pytest
from moto.server import ThreadedMotoServer
from sqlalchemy import text

from banditd.core.errors import ConfigurationError, InvalidInputError, StorageUnavailableError
from banditd.core.ids import lowest_id
from banditd.core.rewards import Contribution, UsageReport
from banditd.ports import PRUNED_CURSOR
from banditd.storage import dialect, open_storage
from banditd.storage.archive import backup, copy_database
from banditd.storage.archived import writing
from banditd.storage.archived.files import ArchiveFolder
from banditd.storage.partitions import upkeep
from banditd.storage.partitions.layout import SPAN_US, partitions, time_of_id_us

DAY_US = 86_400 * 1_000_000


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    monkeypatch.setattr(writing, "PART_DECISIONS", 6)


@pytest.fixture
def place(tmp_path):
    return (tmp_path / "archive").as_uri()


@pytest.fixture
def opened(postgres_url, place):
    return lambda url=place: open_storage(postgres_url, writer_name="first", archive_url=url)


def run(storage, work):
    with dialect.writing(storage.database.engine).begin() as connection:
        return work(connection)


def count(storage, table):
    return run(storage, lambda c: c.execute(text(f"SELECT count(*) FROM {table}")).scalar())


async def fill(storage, make):
    """Learned, rewarded, reported decisions in the first partition and the second; returns when the first is old."""
    first, second = run(storage, partitions)[:2]
    for start_us, n in ((time_of_id_us(first.from_id) + DAY_US, 10), (time_of_id_us(second.from_id) + DAY_US, 3)):
        made = [make.decision(start_us + i * 1000, tags={"n": str(i)}) for i in range(n)]
        await storage.decisions.append(made)
        rewards = [make.reward(one.decision_id, 0.1 * i) for i, one in enumerate(made)]
        others = {one.decision_id: f"of another arm {one.decision_id}" for one in made[:2]}
        rewards += [make.reward(one, 0.5, arm="dear", identity=name) for one, name in others.items()]
        await storage.rewards.record(rewards, make.judge)
        for one in made[:5]:
            report = UsageReport(decision_id=one.decision_id, cost_usd=0.5, latency_ms=7.0)
            await storage.rewards.report_usage(report, lambda *_: None)
    # All of it came long ago.
    for table in ("reward_event", "arm_reward", "usage_report"):
        run(storage, lambda c, t=table: c.execute(text(f"UPDATE {t} SET received_at_us = 1")))
    await learn(storage, make)
    return time_of_id_us(first.to_id) + DAY_US


async def learn(storage, make):
    items = await storage.learning.claim("default", 100)
    await storage.leases.acquire("learner", "me", ttl_s=10, now_us=make.now_us)
    version = (await storage.learning.versions()).get("default", 0)
    fold = make.fold(
        version,
        contributions={item.decision_id: Contribution("cheap", 2, 1.0, 0.25) for item in items},
        queue_ids=[queue_id for item in items for queue_id in item.queue_ids],
    )
    await storage.learning.commit(fold, holder="me")


async def everything(storage):
    """The log by its three readers, in plain values."""
    exported = [json.dumps(row, sort_keys=True, default=str) async for row in storage.whole_log.stream(None)]
    replayed = [
        repr(dataclasses.replace(item, x=item.x.tolist()))
        async for items in storage.learning.replay_log("default", batch_rows=3)
        for item in items
    ]
    taught, before = [], None
    while True:
        page, before = await storage.whole_log.taught("default", "schema", since_us=None, before_id=before, limit=3)
        taught += [(one.decision_id, one.contribution, one.x.tolist(), one.rated_at_us) for one in page]
        if before is None:
            break
    ends = {"since_us": 0, "until_us": 2**50}
    return exported, replayed, taught, await storage.whole_log.coverage("default", **ends)


def test_what_a_store_needs_to_be_installed_is_said(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)  # where it was found once
    with pytest.raises(ConfigurationError, match=r"Install s3fs.*pip install 'banditd\[s3\]'"):
        ArchiveFolder("s3://bucket/folder").get("decision/part", tmp_path / "part")


def test_a_store_without_keys_or_without_an_answer_is_said_to_be_away(s3_url, monkeypatch, tmp_path):
    (tmp_path / "part").write_bytes(b"rows")
    folder = ArchiveFolder(s3_url)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    for gone in ((), ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")):
        for name in gone:
            monkeypatch.delenv(name)
        fsspec.filesystem("s3").clear_instance_cache()
        with pytest.raises(StorageUnavailableError, match="part cannot be written"):
            folder.put("decision/part", tmp_path / "part")
        with pytest.raises(StorageUnavailableError, match="part cannot be read"):
            folder.get("decision/part", tmp_path / "back")


@pytest.fixture
def file_url(place):
    return place


@pytest.fixture
def memory_url(place):
    return f"memory://{place.rpartition('/')[0].replace('/', '-')}"


@pytest.fixture
def s3_url(monkeypatch):
    """A bucket of a server that speaks S3: what the variables of the AWS tools name is all that s3fs is told."""
    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "of-a-test")
    bucket = f"bucket-{uuid.uuid4().hex}"
    fsspec.filesystem("s3", skip_instance_cache=True).mkdir(bucket)
    yield f"s3://{bucket}/banditd"
    server.stop()
    fsspec.filesystem("s3").clear_instance_cache()


@pytest.mark.parametrize("kind", ["file", "memory", "s3"])
async def test_an_archived_log_reads_like_the_log_that_it_was(opened, make, request, kind):
    url = request.getfixturevalue(f"{kind}_url")
    async with opened(url) as storage:
        before_us = await fill(storage, make)
        before = await everything(storage)
        assert [len(one) for one in before[:3]] == [13, 13, 13]
        await storage.partitions.drop(before_us=before_us)
        assert (count(storage, "decision"), count(storage, "archived_part")) == (3, 2)
        assert (count(storage, "reward_event"), count(storage, "arm_reward")) == (3, 2)
        assert await everything(storage) == before
        # Nothing is lost, so nothing says that the log has been pruned.
        assert await storage.jobs.cursor(PRUNED_CURSOR) == 0
        assert (await storage.reports.totals())["decision"] == 3
        assert [row async for row in storage.whole_log.stream("another")] == []
    store, folder = fsspec.core.url_to_fs(url)
    assert len(store.glob(f"{folder}/decision/*.parquet")) == 2


async def test_while_a_decision_is_in_both_it_is_read_once(opened, make):
    async with opened() as storage:
        before_us = await fill(storage, make)
        before = await everything(storage)
        first = run(storage, partitions)[0]
        await storage.partitions._archive.keep(first.to_id)
        assert count(storage, "decision") == 13
        assert await everything(storage) == before
        await storage.partitions.drop(before_us=before_us)
        assert await everything(storage) == before


async def test_what_comes_after_it_was_archived_is_archived_again(opened, make):
    async with opened() as storage:
        before_us = await fill(storage, make)
        first = run(storage, partitions)[0]
        await storage.partitions._archive.keep(first.to_id)
        late = [row async for row in storage.whole_log.stream(None)][5]["decision_id"]
        await storage.rewards.record([make.reward(late, 1.0, source="late", received_at_us=now_us())], make.judge)
        # To be learned first.
        await storage.partitions.drop(before_us=before_us)
        assert count(storage, "decision") == 13
        await learn(storage, make)
        before = await everything(storage)
        await storage.partitions.drop(before_us=before_us)
        assert count(storage, "decision") == 3
        assert await everything(storage) == before


def now_us():
    return time.time_ns() // 1000


@pytest.fixture
def in_between(opened, make, monkeypatch):
    """Usage and a reward that is only kept come when all is archived, and the partition not yet dropped."""
    keep = writing.ArchiveWriter.keep

    async def fill_and_wait(storage):
        before_us = await fill(storage, make)
        ids = [row["decision_id"] async for row in storage.whole_log.stream(None)]
        log_only = lambda submission, *known: dataclasses.replace(make.judge(submission, *known), status="logged")  # noqa: E731
        found = []

        async def late(writer, below_id):
            await keep(writer, below_id)
            if not found:
                for one in (
                    ids[1],
                    ids[7],
                ):  # of the first part a report that completes one, of the second the only one
                    report = UsageReport(decision_id=one, output_tokens=1234, received_at_us=now_us())
                    await storage.rewards.report_usage(report, lambda *_: None)
                await storage.rewards.record(
                    [make.reward(ids[8], 1.0, source="late", received_at_us=now_us())], log_only
                )
                found.append(await everything(storage))

        monkeypatch.setattr(writing.ArchiveWriter, "keep", late)
        return before_us, found

    return fill_and_wait


async def usage_of(storage):
    return {row["decision_id"]: row["output_tokens"] async for row in storage.whole_log.stream(None)}


async def test_what_comes_between_archiving_and_dropping_is_archived_too(opened, in_between):
    async with opened() as storage:
        before_us, found = await in_between(storage)
        await storage.partitions.drop(before_us=before_us)
        assert (count(storage, "decision"), count(storage, "usage_report"), count(storage, "reward_event")) == (
            3,
            3,
            3,
        )
        assert sum(tokens == 1234 for tokens in (await usage_of(storage)).values()) == 2
        assert [await everything(storage)] == found
        parts = run(storage, lambda c: c.execute(text("SELECT last_id, archived_at_us FROM archived_part")).all())
        await storage.partitions.drop(before_us=before_us)
        assert (
            run(storage, lambda c: c.execute(text("SELECT last_id, archived_at_us FROM archived_part")).all())
            == parts
        )


@pytest.mark.parametrize("deleted", ["complete", "_sweep", "half of it"])
async def test_killed_in_any_step_after_dropping_it_loses_nothing(opened, in_between, monkeypatch, deleted):
    async with opened() as storage:
        before_us, found = await in_between(storage)

        async def killed(*_):
            raise InterruptedError

        with monkeypatch.context() as broken:
            if deleted == "half of it":
                # The sweep goes by chunks and tables: it ends after the first.
                broken.setattr(upkeep, "_CHUNK", 1)
                transact, swept = upkeep.SqlPartitions._transact, []

                async def some(self, work):
                    if work.__qualname__.startswith("SqlPartitions._sweep"):
                        swept.append(work)
                        if len(swept) > 4:
                            raise InterruptedError
                    return await transact(self, work)

                broken.setattr(upkeep.SqlPartitions, "_transact", some)
            elif deleted == "complete":
                broken.setattr(writing.ArchiveWriter, "complete", killed)
            else:
                broken.setattr(upkeep.SqlPartitions, "_sweep", killed)
            with pytest.raises(InterruptedError):
                await storage.partitions.drop(before_us=before_us)
        assert count(storage, "decision") == 3
        await storage.partitions.drop(before_us=before_us)
        assert count(storage, "usage_report") == 3
        assert [await everything(storage)] == found


async def test_nothing_is_dropped_while_the_archive_cannot_be_written(opened, make, monkeypatch):
    async with opened() as storage:
        before_us = await fill(storage, make)
        with monkeypatch.context() as broken:
            puts = []

            def put(_self, name, _local):
                puts.append(name)
                if len(puts) == 8:
                    raise StorageUnavailableError("the store is away")
                return original(_self, name, _local)

            original = ArchiveFolder.put
            broken.setattr(ArchiveFolder, "put", put)
            with pytest.raises(StorageUnavailableError, match="away"):
                await storage.partitions.drop(before_us=before_us)
        assert count(storage, "decision") == 13
        before = await everything(storage)
        await storage.partitions.drop(before_us=before_us)
        assert count(storage, "decision") == 3
        assert await everything(storage) == before


async def test_files_that_are_gone_or_damaged_are_named(opened, make, tmp_path):
    async with opened() as storage:
        await storage.partitions.drop(before_us=await fill(storage, make))
        whole = tmp_path / "whole"
        shutil.copytree(tmp_path / "archive", whole)
        found = sorted((tmp_path / "archive" / "decision").iterdir())
        found[1].write_bytes(found[1].read_bytes()[:-100])
        with pytest.raises(InvalidInputError, match="decision of the archived log is damaged"):
            await everything(storage)
        shutil.rmtree(tmp_path / "archive" / "usage_report")
        with pytest.raises(InvalidInputError, match=r"usage_report/.*bring it back"):
            await everything(storage)
    # It may be moved as a whole.
    async with opened(whole.as_uri()) as storage:
        assert len((await everything(storage))[0]) == 13
    async with opened(None) as storage:
        with pytest.raises(ConfigurationError, match="archive_url"):
            await everything(storage)


async def test_a_log_without_partitions_is_not_deleted_where_it_should_be_archived(whole_url, place):
    async with open_storage(whole_url, writer_name="first", archive_url=place) as storage:
        with pytest.raises(ConfigurationError, match="migrate --partition"):
            await storage.partitions.drop(before_us=SPAN_US)


async def test_a_copy_of_the_database_reads_the_same_archive_and_goes_on_archiving(
    opened, make, place, tmp_path, postgres_url
):
    async with opened() as storage:
        await storage.partitions.drop(before_us=await fill(storage, make))
        second = run(storage, partitions)[0]
        before = await everything(storage)
    url = f"sqlite:///{tmp_path / 'copy.db'}"
    copy_database(postgres_url, url, while_serving=True, progress=lambda *_: None)
    async with open_storage(url, writer_name="first", archive_url=place) as copied:
        assert await everything(copied) == before
        assert await copied.maintenance.drop_partitions(before_us=time_of_id_us(second.to_id)) == 0
        assert count(copied, "decision") == 3  # the spans of four weeks are the same, and this one has not ended
        assert await copied.maintenance.drop_partitions(before_us=time_of_id_us(second.to_id) + DAY_US) == 0
        assert (count(copied, "decision"), count(copied, "usage_report"), count(copied, "archived_part")) == (0, 0, 3)
        assert await everything(copied) == before
    async with open_storage(url, writer_name="first") as alone:
        with pytest.raises(ConfigurationError, match=r"jobs\.archive_url"):
            await everything(alone)


async def test_on_sqlite_what_is_deleted_is_in_the_archive(sqlite_url, make, place, monkeypatch):
    """Part by part, the oldest first; what is queued, or came since, keeps its part and the later ones."""
    monkeypatch.setattr(writing, "_SLACK_US", 0)  # there is one clock
    async with open_storage(sqlite_url, writer_name="first", archive_url=place) as storage:
        made = [make.decision(DAY_US + i * 1000) for i in range(20)]
        await storage.decisions.append(made)
        await storage.rewards.record([make.reward(one.decision_id, 0.5) for one in made], make.judge)
        await storage.partitions.drop(before_us=2 * SPAN_US)
        assert (count(storage, "decision"), count(storage, "archived_part")) == (20, 0)  # nothing is learned yet
        await learn(storage, make)
        archive = storage.partitions._archive
        await archive.keep(lowest_id(SPAN_US))
        assert (count(storage, "decision"), count(storage, "archived_part")) == (20, 4)
        late = UsageReport(decision_id=made[7].decision_id, output_tokens=1234, received_at_us=now_us())
        await storage.rewards.report_usage(late, lambda *_: None)
        assert await storage.database.write(lambda c: storage.partitions._delete_part(c, archive))
        assert not await storage.database.write(lambda c: storage.partitions._delete_part(c, archive))
        assert count(storage, "decision") == 14
        later = make.reward(made[19].decision_id, 0.7, source="late", received_at_us=now_us())
        await storage.rewards.record([later], make.judge)
        await storage.partitions.drop(before_us=2 * SPAN_US)
        assert count(storage, "decision") == 14
        await learn(storage, make)
        before = await everything(storage)
        assert sum(tokens == 1234 for tokens in (await usage_of(storage)).values()) == 1
        await storage.partitions.drop(before_us=2 * SPAN_US)
        assert [count(storage, table) for table in ("decision", "contribution", "usage_report")] == [0, 0, 0]
        assert await everything(storage) == before
        assert await storage.jobs.cursor(PRUNED_CURSOR) == 0
        totals = await storage.reports.totals()
        assert (totals["decision"], totals["reward_event"], totals["usage_report"]) == (0, 0, 0)


async def test_a_clock_that_is_behind_makes_nothing_be_forgotten(opened, make):
    async with opened() as storage:
        before_us = await fill(storage, make)
        first, second = run(storage, partitions)[:2]
        await storage.decisions.append([make.decision(time_of_id_us(first.from_id) - 300 * DAY_US)])
        await storage.partitions.drop(before_us=before_us)
        assert count(storage, "decision") == 3
        # By their ids these two lie among decisions that are in the archive alone: they stay in the database.
        late = [make.decision(time_of_id_us(first.from_id) + days * DAY_US + 2000) for days in (1, -300)]
        await storage.decisions.append(late)
        await storage.rewards.record([make.reward(one.decision_id, 0.5) for one in late], make.judge)
        await learn(storage, make)
        assert await storage.partitions.drop(before_us=before_us) == 0  # nothing is to be deleted one by one
        exported, replayed, *_ = await everything(storage)
        assert (len(exported), len(replayed), count(storage, "archived_part")) == (16, 15, 2)
        for table in ("reward_event", "arm_reward", "usage_report"):
            run(storage, lambda c, t=table: c.execute(text(f"UPDATE {t} SET received_at_us = 1")))
        await storage.partitions.drop(before_us=time_of_id_us(second.to_id) + DAY_US)
        found, *_ = await everything(storage)
        assert [json.loads(row)["decision_id"] for row in sorted(found)] == [
            json.loads(row)["decision_id"] for row in sorted(exported)
        ]
        assert count(storage, "decision") == (await storage.reports.totals())["decision"] == 2


async def test_a_database_and_its_copy_overwrite_none_of_each_others_files(
    opened, make, place, postgres_url, empty_postgres_url
):
    async with opened() as storage:
        before_us = await fill(storage, make)
        copy_database(postgres_url, empty_postgres_url, while_serving=True, progress=lambda *_: None)
        before = await everything(storage)
        await storage.partitions.drop(before_us=before_us)
        async with open_storage(empty_postgres_url, writer_name="second", archive_url=place) as copied:
            run(copied, lambda c: c.execute(text("DELETE FROM usage_report")))
            other = await everything(copied)
            await copied.partitions.drop(before_us=before_us)
            assert await everything(copied) == other
        assert await everything(storage) == before


async def test_a_backup_leaves_out_what_hangs_on_decisions_that_are_gone(opened, make, monkeypatch, tmp_path):
    async with opened(None) as storage:
        before_us = await fill(storage, make)

        async def killed(self, below_id):
            raise InterruptedError

        monkeypatch.setattr(upkeep.SqlPartitions, "_sweep", killed)
        with pytest.raises(InterruptedError):
            await storage.partitions.drop(before_us=before_us)
        assert (count(storage, "decision"), count(storage, "reward_event")) == (3, 13)
        url = storage.database.engine.url.render_as_string(hide_password=False)
        moved = backup(url, tmp_path / "back.db", progress=lambda *_: None)
        assert (moved.rows["decision"], moved.rows["reward_event"]) == (3, 3)


@pytest.mark.parametrize("archived", [True, False])
@pytest.mark.parametrize("database", ["sqlite_url", "postgres_url"])
async def test_sessions_are_forgotten_in_their_time(request, make, place, database, archived, retention, monkeypatch):
    monkeypatch.setattr("banditd.services.upkeep.retention.BATCH", 1)
    url = request.getfixturevalue(database)
    async with open_storage(url, writer_name="first", archive_url=place if archived else None) as storage:
        made = [make.decision(make.now_us + day * DAY_US, session_id=f"s{day}") for day in range(4)]
        await storage.decisions.append(made)
        await retention(storage, lambda: make.now_us + 4 * DAY_US, days=2.5).run()
        arms = [await storage.decisions.session_arm("default", f"s{day}") for day in range(4)]
        assert arms == [None, None, "cheap", "cheap"]
