"""The services that the web layer calls; ``daemon.open`` creates them."""

from __future__ import annotations

from dataclasses import dataclass

from banditd.services.anchoring.keeping import AnchorKeeping
from banditd.services.arms import ArmService
from banditd.services.candidates.evaluating import EvaluationService
from banditd.services.candidates.service import CandidateService
from banditd.services.conversation_names import ConversationNames
from banditd.services.feedback import FeedbackService
from banditd.services.gateway.gateway import Gateway
from banditd.services.judging.desk import JudgeDesk
from banditd.services.money.corrections import BudgetCorrections
from banditd.services.promising.reports import PromiseReports
from banditd.services.releasing.service import ReleaseService
from banditd.services.reports.abilities import AbilityReports
from banditd.services.reports.budgets import BudgetReports
from banditd.services.reports.dashboard import DashboardReads
from banditd.services.reports.drift import DriftReports
from banditd.services.reports.health import HealthService
from banditd.services.reports.reports import ReportService
from banditd.services.reports.tags import TagReports
from banditd.services.walks import Rewards, Routing


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything that a request handler may call. ``gateway`` is None if it is off, ``judges`` if there are none."""

    routing: Routing
    rewards: Rewards
    arms: ArmService
    reports: ReportService
    tags: TagReports
    budgets: BudgetReports
    corrections: BudgetCorrections
    dashboard: DashboardReads
    abilities: AbilityReports
    health: HealthService
    promises: PromiseReports
    gateway: Gateway | None = None
    conversations: ConversationNames | None = None
    feedback: FeedbackService | None = None
    judges: JudgeDesk | None = None
    candidates: CandidateService | None = None
    evaluations: EvaluationService | None = None
    releases: ReleaseService | None = None
    drift: DriftReports | None = None
    anchors: AnchorKeeping | None = None
