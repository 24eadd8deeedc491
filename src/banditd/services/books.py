"""The per-process records that a policy's decisions consult and update, next to its view."""

from __future__ import annotations

from dataclasses import dataclass

from banditd.services.anchoring.book import AnchorBook
from banditd.services.eligibility import SoftExclusions
from banditd.services.money.budgets import BudgetBook
from banditd.services.promising.book import PromiseBook
from banditd.services.releasing.book import ReleaseBook


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyBooks:
    """guard : breakers and caps. The others keep promises, budgets, releases and anchors."""

    guard: SoftExclusions
    budget: BudgetBook
    promise: PromiseBook
    release: ReleaseBook
    anchor: AnchorBook
