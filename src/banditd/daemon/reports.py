"""Floor 6: the services that only look."""

from __future__ import annotations

from collections.abc import Mapping

from banditd.ports import Clock
from banditd.services.breakers import Breakers
from banditd.services.policy import PolicyRuntime
from banditd.services.promising.reports import PromiseReports
from banditd.services.reports.abilities import AbilityReports
from banditd.services.reports.judging import BesideReader
from banditd.services.reports.reports import ReportService
from banditd.services.reports.tags import TagReports
from banditd.storage import Storage


def make_reports(
    storage: Storage,
    runtimes: Mapping[str, PolicyRuntime],
    promises: PromiseReports,
    clock: Clock,
    breakers: Mapping[str, Breakers],
) -> ReportService:
    return ReportService(
        runtimes=runtimes,
        reader=storage.reports,
        decisions=storage.decisions,
        learning=storage.learning,
        arms=storage.arms,
        clock=clock,
        promises=promises,
        away=lambda policy, now_us: breakers[policy].away(now_us) if policy in breakers else {},
    )


def make_tag_reports(
    storage: Storage, runtimes: Mapping[str, PolicyRuntime], reports: ReportService, clock: Clock
) -> TagReports:
    return TagReports(
        runtimes=runtimes,
        reports=reports,
        reader=storage.reports,
        tags=storage.tags,
        names=storage.tags,
        clock=clock,
        beside=BesideReader(judging=storage.judging, probing=storage.probing, classifying=storage.classifying),
    )


def make_ability_reports(storage: Storage, reports: ReportService, tags: TagReports) -> AbilityReports:
    return AbilityReports(reports=reports, reader=storage.reports, naming=tags.naming)
