"""What a decision of one policy is asked and told by, beside its view."""

from __future__ import annotations

from dataclasses import dataclass

from banditd.services.anchoring.book import AnchorBook
from banditd.services.eligibility import SoftExclusions
from banditd.services.money.budgets import BudgetBook
from banditd.services.promising.book import PromiseBook
from banditd.services.releasing.book import ReleaseBook


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyBooks:
    """guard : breakers and caps. The others hold what is promised, budgeted, released and held on to."""

    guard: SoftExclusions
    budget: BudgetBook
    promise: PromiseBook
    release: ReleaseBook
    anchor: AnchorBook
