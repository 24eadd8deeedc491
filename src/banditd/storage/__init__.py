"""Storage: SQLAlchemy Core over SQLite and PostgreSQL, one implementation of every storage port.

``open_storage`` is the way in. It does not migrate (``migrate`` does) and knows no policy and no HTTP.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from banditd.storage.accounts import SqlBudgetStore
from banditd.storage.anchors import SqlAnchorStore
from banditd.storage.archived.files import ArchiveFolder
from banditd.storage.archived.reading import WholeLearningStore, WholeLog
from banditd.storage.archived.writing import ArchiveWriter
from banditd.storage.arms import SqlArmStore
from banditd.storage.candidates import SqlCandidateStore
from banditd.storage.classifying import SqlClassifierStore
from banditd.storage.comparing import SqlComparisonStore
from banditd.storage.context_values import SqlContextValues
from banditd.storage.decisions import SqlDecisionLog
from banditd.storage.engine import Database
from banditd.storage.evaluations import SqlEvaluationStore
from banditd.storage.follow_ups import SqlFollowUps
from banditd.storage.golden import SqlGoldenStore
from banditd.storage.jobs import SqlJobStore
from banditd.storage.journal import SumJournal
from banditd.storage.judging import SqlJudgingStore
from banditd.storage.leases import SqlLeaseStore
from banditd.storage.maintenance import SqlMaintenance
from banditd.storage.map_reader import SqlDashboardReader
from banditd.storage.migrate import check_revision, head_revision, migrate
from banditd.storage.outcomes import SqlRecentOutcomes
from banditd.storage.partitions.upkeep import SqlPartitions
from banditd.storage.probing import SqlProbeStore
from banditd.storage.releases import SqlReleaseStore
from banditd.storage.reports import SqlReportReader
from banditd.storage.rewards import SqlRewardLog
from banditd.storage.secrets import load_secrets
from banditd.storage.shadows import SqlShadowStore
from banditd.storage.switches import SqlSwitchStore
from banditd.storage.tag_reader import SqlTagReader
from banditd.storage.watch import Deadlines

__all__ = ["Deadlines", "Storage", "head_revision", "load_secrets", "migrate", "open_storage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """Every store over one open database."""

    database: Database
    decisions: SqlDecisionLog
    rewards: SqlRewardLog
    learning: WholeLearningStore
    arms: SqlArmStore
    leases: SqlLeaseStore
    jobs: SqlJobStore
    budgets: SqlBudgetStore
    maintenance: SqlMaintenance
    partitions: SqlPartitions
    recent: SqlRecentOutcomes
    reports: SqlReportReader
    dashboard: SqlDashboardReader
    journal: SumJournal
    switches: SqlSwitchStore
    tags: SqlTagReader
    context_values: SqlContextValues
    judging: SqlJudgingStore
    classifying: SqlClassifierStore
    probing: SqlProbeStore
    comparing: SqlComparisonStore
    candidates: SqlCandidateStore
    evaluations: SqlEvaluationStore
    whole_log: WholeLog
    releases: SqlReleaseStore
    shadows: SqlShadowStore
    follow_ups: SqlFollowUps
    golden: SqlGoldenStore
    anchors: SqlAnchorStore


@asynccontextmanager
async def open_storage(
    url: str,
    *,
    writer_name: str,
    deadlines: Deadlines | None = None,
    readers: int = 2,
    archive_url: str | None = None,
) -> AsyncIterator[Storage]:
    """Open the database; on leaving, everything handed in is committed and all connections are closed.

    Parameters
    ----------
    url : ``sqlite:///path/to/file.db`` or ``postgresql://user@host/name``, migrated already.
    writer_name : names this process among the replicas, whose counters stay apart; it should outlive a
        restart (a host name does).
    deadlines : how long to wait for locks, connections and answers.
    readers : threads and connections for reads.
    archive_url : where old decisions go, and are read from; None: they are deleted.

    Raises ConfigurationError when the schema is not this release's, StorageUnavailableError when the
    database does not answer.
    """
    async with Database(url, deadlines=deadlines, readers=readers) as database:
        await database.read(check_revision)
        journal = SumJournal(database, writer_name=writer_name)
        folder = None if archive_url is None else ArchiveFolder(archive_url)
        whole_log = WholeLog(database, folder)
        archive = None if folder is None else ArchiveWriter(database, folder)
        partitions = SqlPartitions(database, writer_name=writer_name, archive=archive)
        yield Storage(
            database=database,
            decisions=SqlDecisionLog(database, journal, writer_name=writer_name),
            rewards=SqlRewardLog(database, writer_name=writer_name),
            learning=WholeLearningStore(database, whole_log, writer_name=writer_name),
            arms=SqlArmStore(database, journal),
            leases=SqlLeaseStore(database),
            jobs=SqlJobStore(database),
            budgets=SqlBudgetStore(database),
            maintenance=SqlMaintenance(database, partitions, writer_name=writer_name),
            partitions=partitions,
            recent=SqlRecentOutcomes(database),
            reports=SqlReportReader(database, journal),
            dashboard=SqlDashboardReader(database),
            journal=journal,
            switches=SqlSwitchStore(database),
            tags=SqlTagReader(database, journal),
            context_values=SqlContextValues(database),
            judging=SqlJudgingStore(database),
            classifying=SqlClassifierStore(database),
            probing=SqlProbeStore(database),
            comparing=SqlComparisonStore(database),
            candidates=SqlCandidateStore(database),
            evaluations=SqlEvaluationStore(database),
            whole_log=whole_log,
            releases=SqlReleaseStore(database),
            shadows=SqlShadowStore(database),
            follow_ups=SqlFollowUps(database),
            golden=SqlGoldenStore(database),
            anchors=SqlAnchorStore(database),
        )
