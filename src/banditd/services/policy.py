"""The state of one policy in one process: settings, arms, learned state, current view. It neither draws nor
stores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from banditd.bandit.policies.base import ArmPrior, PolicySettings
from banditd.bandit.snapshot import Snapshot
from banditd.bandit.state import PolicyState
from banditd.budget.amounts import Amounts
from banditd.core.anchor import DriftRule
from banditd.core.errors import NotFoundError
from banditd.core.money import BudgetRule
from banditd.core.recipes import Stage
from banditd.core.tier_table import TierTable
from banditd.core.types import Arm, ArmUsage, FloatArray, Query
from banditd.deciding.constraints import Constraint
from banditd.deciding.keeper import PromiseRule
from banditd.deciding.objectives import Profile, ResourcePrices
from banditd.deciding.recipe_arms import calls_of, resolved
from banditd.deciding.recipes import SettlingRates, last_model
from banditd.deciding.view import TYPICAL_INPUT_TOKENS, RouteView, build_view
from banditd.features.context import ContextBuilder, Described
from banditd.features.outline import PROMPT_TEMPLATE
from banditd.services.template_names import TemplateNames


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRule:
    """Scale and noise of one reward source: ``minimum`` is mapped to 0, ``maximum`` to 1.

    of_judge : the source belongs to a judge of the daemon; clients may not use it.
    """

    minimum: float = 0.0
    maximum: float = 1.0
    noise_variance: float = 0.0
    learn: bool = True
    of_judge: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardRules:
    """When and how rewards count in one policy. late_policy is ``learn``, ``log`` or ``reject``."""

    window_s: float = 604_800.0
    late_policy: str = "learn"
    default_reward: float | None = None
    regeneration_reward: float | None = None
    sources: Mapping[str, SourceRule] = field(default_factory=dict)
    log_only_metrics: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySwitches:
    """What an operator can switch while the daemon runs.

    promise : or None.
    rollout : share of the traffic that the policy decides, in [0, 1]; the baseline answers the rest.
    mode : ``route``; or ``shadow``: the policy decides and logs, the baseline answers.
    """

    promise: PromiseRule | None = None
    rollout: float = 1.0
    mode: str = "route"

    @property
    def idle(self) -> bool:
        """Whether the policy's decisions have no effect."""
        return self.promise is None and self.rollout >= 1.0 and self.mode == "route"

    @property
    def baseline(self) -> str:
        """The arm that answers the rest: ``dearest`` or an arm's name."""
        return "dearest" if self.promise is None else self.promise.baseline


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyConfig:
    """The operator's settings of one policy, as plain values."""

    name: str
    settings: PolicySettings
    cost_weight: float = 0.0
    switches: PolicySwitches = field(default_factory=PolicySwitches)
    budgets: tuple[BudgetRule, ...] = ()
    profiles: dict[str, Profile] = field(default_factory=dict)
    resources: ResourcePrices = field(default_factory=ResourcePrices)
    session_sticky: bool = True
    breaker_errors: int = 5
    breaker_s: float = 30.0
    caller_features: tuple[str, ...] = ()
    context_tags: tuple[str, ...] = ()
    rewards: RewardRules = field(default_factory=RewardRules)
    tier_table: TierTable | None = None
    seed_arms: tuple[Arm, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    drift: DriftRule = field(default_factory=DriftRule)


class GivesTag(Protocol):
    async def tagged(self, query: Query) -> tuple[Query, Mapping[str, float]]:
        """The query, possibly with one more tag, and the facts to record about that. Raises nothing."""


class PolicyRuntime:
    """The mutable state of one policy: routing reads ``view``; the learner and the arm service replace it.

    state : what ``view`` was made from. Only the learner changes it; reports read it. None until the learner has
    started.
    switches : as they are now: the configuration plus later patches.
    template_names : names prompt templates, if the template is a context tag.
    constraints : the configured ones, with embedded utterances once there is an encoder.
    classifier : adds a tag to queries; None if there is none.
    """

    def __init__(self, config: PolicyConfig, builder: ContextBuilder) -> None:
        self.config = config
        self.builder = builder
        self.switches = config.switches
        self.arms: tuple[Arm, ...] = ()
        self.usage: dict[str, ArmUsage] = {}
        self.state: PolicyState | None = None
        self._amounts: Amounts | None = None
        self._rates = SettlingRates()
        self._view: RouteView | None = None
        self.published_at_us = 0
        self.published: Callable[[], None] | None = None  # called with every snapshot
        self.rebind: Callable[[], None] | None = None  # called just before that
        self.template_names: TemplateNames | None = None
        self.constraints = config.constraints
        self.classifier: GivesTag | None = None

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def view(self) -> RouteView:
        if self._view is None:
            raise RuntimeError(f"policy {self.name} has no snapshot yet")
        return self._view

    @property
    def ready(self) -> bool:
        return self._view is not None

    @property
    def learned(self) -> PolicyState:
        if self.state is None:
            raise RuntimeError(f"policy {self.name} has no state yet")
        return self.state

    @property
    def cluster_contexts(self) -> FloatArray | None:
        """Mean context seen per cluster, float64 (n_clusters, n_features)."""
        return None if self.state is None else self.state.cluster_contexts()

    def name_template(self, query: Query) -> None:
        """Add the query's prompt template as a tag, if that is a context tag and the caller has not set it."""
        names = self.template_names
        if names is None or query.template is None or PROMPT_TEMPLATE in query.tags:
            return
        outline = query.template()
        if outline is not None:
            query.tags = {**query.tags, PROMPT_TEMPLATE: names.name(outline)}

    def described(self, query: Query, embedding: FloatArray | None) -> Described:
        """The inputs of a query's features; ``embedding`` None: from its text alone (degraded)."""
        if query.tags and not query.dry_run:
            self.builder.tag_columns.note(query.tags)
        return self.builder.describe(
            text=query.text,
            embedding=embedding,
            turns=query.turns,
            tools=query.tools,
            caller=query.features,
            tags=query.tags,
        )

    def publish(self, snapshot: Snapshot, now_us: int) -> None:
        """Swap in a new snapshot."""
        self._view = self.view_of(snapshot, self.arms)
        self.published_at_us = now_us
        if self.rebind is not None:
            self.rebind()
        if self.published is not None:
            self.published()

    @property
    def may_have_recipes(self) -> bool:
        """Whether any arm is a recipe, among the arms read so far."""
        return not self.arms or any(arm.recipe is not None for arm in self.arms)

    def refresh_usage(self, usage: Mapping[str, ArmUsage]) -> None:
        """Adopt newer usage totals. They affect predicted costs and onboarding, not the statistics."""
        self.usage = dict(usage)
        self._rebuild()

    def adopt_settled(self, counts: Mapping[Stage, tuple[float, float]]) -> None:
        """Adopt, for the next view, how often members of recipes settle a query, which determines what recipes
        cost.
        """
        self._rates = SettlingRates(counts)

    @property
    def billed(self) -> Mapping[str, float]:
        """Arms whose reported cost differs from their price: see ``Amounts.billed``."""
        return {} if self._amounts is None else self._amounts.billed

    def adopt_amounts(self, amounts: Amounts) -> None:
        """Adopt newer models of output tokens and latency."""
        self._amounts = amounts
        self._rebuild()

    def _rebuild(self) -> None:
        if self._view is not None:
            self._view = self.view_of(self._view.snapshot, self.arms)

    def view_of(self, snapshot: Snapshot, arms: Sequence[Arm]) -> RouteView:
        """The view of these arms with a snapshot of theirs, without publishing it."""
        return build_view(snapshot, arms, self.usage, self._amounts, self._rates)

    def tier_of(self, arm: Arm) -> str | None:
        """The arm's quality tier: the operator's statement, else the tier table's for its model, else None."""
        table = self.config.tier_table
        return arm.quality_tier or (None if table is None else table.tier_of(arm.upstream_model))

    def priors(self) -> list[ArmPrior]:
        """The configured priors of the arms. Usage reports never change them, so that they stay fixed.

        A recipe's prior resembles that of the model that is asked last.
        """
        arms = resolved(self.arms, calls_of(self.arms, SettlingRates()))
        recipes = [arm.recipe for arm in arms if arm.recipe is not None]
        return [
            ArmPrior(
                arm=a.arm,
                generation=a.generation,
                quality_prior=a.quality_prior,
                prior_worth=a.prior_worth,
                quality_tier=self.tier_of(a),
                cost_usd=a.price.cost_usd(TYPICAL_INPUT_TOKENS, a.expected_output_tokens) or None,
                like=None if a.recipe is None else last_model(a.recipe, recipes),
            )
            for a in arms
        ]


def runtime_of(runtimes: Mapping[str, PolicyRuntime], policy: str) -> PolicyRuntime:
    """The policy of that name. Raises NotFoundError."""
    runtime = runtimes.get(policy)
    if runtime is None:
        raise NotFoundError(
            f"no such policy: {policy}; this daemon serves {', '.join(runtimes)}",
            code="POLICY_UNKNOWN",
            field="/policy",
        )
    return runtime
