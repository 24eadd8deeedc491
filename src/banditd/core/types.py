"""The domain's nouns as values; nobody modifies one that was passed in. No behaviour beyond small properties, no I/O.

Types that every query creates are not frozen, because freezing triples their cost. Times are integers in microseconds
since the Unix epoch, UTC (``*_at_us``): they compare and store alike on every database. Money is in US dollars
(``*_usd``). Rewards are in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from banditd.core.constraint import ArmConstraint
from banditd.core.money import Charge
from banditd.core.origins import NO_ORIGIN, Origin
from banditd.core.recipes import Recipe
from banditd.core.request_keys import RequestKey

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
IntArray = NDArray[np.intp]
BoolArray = NDArray[np.bool_]

DEFAULT_POLICY: Final = "default"
MICROSECONDS_PER_SECOND: Final = 1_000_000
HOUR_US: Final = 3600 * MICROSECONDS_PER_SECOND
DAY_US: Final = 24 * HOUR_US
QualityTier = Literal["economy", "standard", "premium", "frontier"]
QUALITY_TIERS: Final[tuple[str, ...]] = get_args(QualityTier)


@dataclass(frozen=True, slots=True)
class FeatureGroup:
    """A run of columns ``[start, stop)`` of the context vector that share one prior scale.

    ``name`` is ``bias``, ``lexical``, ``embedding``, ``cluster``, ``caller``, or ``tag:`` and a tag's name.
    """

    name: str
    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSchema:
    """The meaning of a context vector. Learned state belongs to one ``hash``, and to schemas that list it in
    ``extends``.

    ``groups`` cover the columns without gaps, the first is ``bias`` (one column, always 1).
    """

    version: int
    hash: str
    groups: tuple[FeatureGroup, ...]
    names: tuple[str, ...]
    encoder_id: str
    embedding_dimension: int
    n_clusters: int
    caller_features: tuple[str, ...] = ()
    extends: tuple[str, ...] = ()  # the longest first

    @property
    def n_features(self) -> int:
        return self.groups[-1].stop


@dataclass(slots=True, eq=False)
class Context:
    """The features of one query.

    x : float64, shape (n_features,), each value exactly representable in float32 (that is how it is
        stored, so a refold of the log sees the very vector that was used).
    cluster : index of the k-means cluster, or -1 when unknown (degraded mode).
    facts : the raw lexical scalars and caller features by name, for ``rules`` policies.
    """

    x: FloatArray
    cluster: int
    facts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Price:
    """List price of an arm. All are >= 0. Input that the provider had cached costs ``usd_per_mtok_cached_in``,
    or like other input when that is None.
    """

    usd_per_mtok_in: float = 0.0
    usd_per_mtok_out: float = 0.0
    usd_per_request: float = 0.0
    usd_per_mtok_cached_in: float | None = None

    def cost_usd(self, input_tokens: float, output_tokens: float, cached_input_tokens: float = 0.0) -> float:
        """Cost in dollars of one call with these token counts; the cached ones are among ``input_tokens``."""
        cached_at = self.usd_per_mtok_in if self.usd_per_mtok_cached_in is None else self.usd_per_mtok_cached_in
        inward = self.usd_per_mtok_in * (input_tokens - cached_input_tokens) + cached_at * cached_input_tokens
        return self.usd_per_request + (inward + self.usd_per_mtok_out * output_tokens) / 1e6


def price_at(history: Sequence[tuple[int, Price]], at_us: int) -> Price | None:
    """The price in force at ``at_us``; the first one for earlier times, None without a history.

    history : (since, price), oldest first, since in microseconds since the epoch.
    """
    in_force = [price for since_us, price in history if since_us <= at_us]
    return in_force[-1] if in_force else history[0][1] if history else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """A routable model, or recipe of models, inside one policy.

    quality_prior : expected reward in [0, 1] before any data, or None for the policy's common prior.
    prior_worth : how many rewards that expectation is worth.
    quality_tier : one of ``QUALITY_TIERS``: how good the operator takes it for, roughly; None: unsaid.
    expected_output_tokens, expected_latency_ms : assumptions until usage reports replace them.
    onboarding_decisions, onboarding_usd : a new arm gets its minimum share until it served or cost so much; 0: off.
    min_share, max_share : least probability of the arm where it is eligible, and cap on its share of the traffic.
    kwh_per_mtok_in, kwh_per_mtok_out : energy. generation : 1, and one more whenever it began anew after a deletion.
    upstream : the configured upstream that the gateway calls; None: clients call the model themselves.
    params, rename_params, first_token_s : of the gateway's calls. recipe : what it is made of; None: it is a model.
    """

    policy: str
    arm: str
    upstream_model: str
    provider: str = ""
    price: Price = Price()
    enabled: bool = True
    capabilities: frozenset[str] = frozenset()
    context_window_tokens: int | None = None
    quality_prior: float | None = None
    prior_worth: float = 10.0
    quality_tier: str | None = None
    expected_output_tokens: float = 400.0
    expected_latency_ms: float | None = None
    min_share: float = 0.0
    max_share: float = 1.0
    kwh_per_mtok_in: float = 0.0
    kwh_per_mtok_out: float = 0.0
    onboarding_decisions: int = 20
    onboarding_usd: float = 1.0
    upstream: str | None = None
    params: Mapping[str, object] = field(default_factory=dict)
    rename_params: Mapping[str, str] = field(default_factory=dict)
    first_token_s: float | None = None
    recipe: Recipe | None = None
    created_at_us: int = 0
    updated_at_us: int = 0
    generation: int = 1


PRICE_FIELDS: Final = tuple(one.name for one in fields(Price))
_OTHERS: Final = {"policy", "arm", "price", "capabilities", "recipe", "created_at_us", "updated_at_us", "generation"}
PLAIN_FIELDS: Final = tuple(one.name for one in fields(Arm) if one.name not in _OTHERS)
"""Fields of an arm that have the same name and form in the configuration, HTTP and SQL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmUsage:
    """Lifetime totals of one arm, maintained in SQL; the cost model and onboarding read them."""

    arm: str
    decisions: int = 0
    usage_reports: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    cost_usd: float = 0.0
    latency_ms_sum: float = 0.0
    latency_reports: int = 0
    errors: int = 0


# ---------------------------------------------------------------- the query walk
class Turn(NamedTuple):
    """Where a query is in its conversation.

    conversation : key under which its arm is kept. open : tools or thinking are under way, so the arm must stay; else
    it is drawn afresh. sent_share : share of the input, in [0, 1], that the conversation has sent before. cache_s :
    how long a model is believed to cache that.
    """

    conversation: str
    open: bool
    sent_share: float = 0.0
    cache_s: float = 0.0


@dataclass(slots=True, kw_only=True)
class Query:
    """One routing request, validated, independent of HTTP. At least one of text and embedding is given.

    quality_confidence : with which the predicted quality must reach ``quality_floor``. keep : its own promise.
    profile : named objectives; its own values come first. request_key : sent again, it gets the same decision.
    reference : as in ``Decision``. turn : position in a conversation of the gateway's; None: the policy decides
    whether the session's arm is kept. template : reads the outline of its system prompt and tools. upstreams : only
    arms behind one of these may answer; a text is the reason why one may not; None: any arm. pinned : ``candidates``
    is the one arm that it names. constraints : those that hold for it. unread_tokens : of tools and their calls.
    """

    policy: str = DEFAULT_POLICY
    text: str | None = None
    embedding: FloatArray | None = None
    turns: int = 1
    tools: int = 0
    features: Mapping[str, float] = field(default_factory=dict)
    candidates: tuple[str, ...] | None = None
    excluded_arms: frozenset[str] = frozenset()
    capabilities: frozenset[str] = frozenset()
    max_cost_usd: float | None = None
    max_latency_ms: float | None = None
    quality_floor: float | None = None
    quality_confidence: float | None = None
    cost_weight: float | None = None
    keep: float | None = None
    profile: str | None = None
    key_name: str | None = None
    expected_output_tokens: float | None = None
    session_id: str | None = None
    new_session_arm: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    dry_run: bool = False
    explain: bool = False
    defer_activation: bool = False
    upstreams: Mapping[str, str | None] | None = None
    pinned: bool = False
    recipes: bool = True
    request_key: RequestKey | None = None
    reference: str | None = None
    turn: Turn | None = None
    template: Callable[[], str | None] | None = None
    constraints: tuple[ArmConstraint, ...] = ()
    origin: Origin = NO_ORIGIN
    unread_tokens: int = 0

    @property
    def session_key(self) -> str | None:
        """Key under which the session's arm is kept, None without a session."""
        return self.session_id if self.turn is None else self.turn.conversation


@dataclass(frozen=True, slots=True, eq=False)
class Blend:
    """The vector to draw from = share x the policy's own + (1 - share) x ``fixed``.

    share : in (0, 1]. fixed : float64, shape (n_eligible,), the fixed-arm mixture.
    """

    share: float
    fixed: FloatArray

    def over(self, own: FloatArray) -> FloatArray:
        """The vector to draw from: float64, shape (n_eligible,), sum 1 where both sum to 1."""
        return np.asarray(self.share * own + (1.0 - self.share) * self.fixed)

    def own(self, blended: FloatArray) -> FloatArray:
        """Recover the policy's own vector from the blended one."""
        own: FloatArray = (blended - (1.0 - self.share) * self.fixed) / self.share
        return own


class Decision(NamedTuple):
    """One routing. Decisions are made column by column, many per turn of the event loop; hence a tuple.

    The vectors ``probability``, ``mean``, ``deviation``, ``cost_usd`` and ``penalty`` are float64 of shape
    (n_eligible,), aligned with ``arms``; ``propensity`` is exactly ``probability`` at ``arm``, and ``arm`` is the
    inverse CDF of ``probability`` at ``uniform``.

    explored : another eligible arm has a higher ``mean - penalty``.
    reason : ``policy`` (drawn by the policy), ``quality_floor`` (least cost above the request's floor), ``session``
    (kept by its session), ``pinned`` (named by the query) or ``shadow`` (decided, not answered); the last three have
    propensity 1 and are left out of off-policy estimates.
    degraded : None, or why the context is missing (``encoder_timeout``, ``encoder_error``).
    epoch : of the segment that its reward is added to. deferred : rewards are held until the client activates it.
    charges : what it charges to accounts. unaffordable_usd : arms that budgets took out -> their predicted cost.
    mixture : the fixed-arm mixture, under budgets; the decision's share of it is 1.
    keep : the promise in force, or None. baseline : arm of the promise or the rollout. promise : state of both.
    own_probability : the policy's own vector, if the baseline was blended into ``probability``.
    release : its side of a release with both vectors (``deciding.release.Parted.facts``), or None.
    key_name : API key of the request, or None. reference : the client's own name for it, in the scope of that key.
    generations : of the policy's arms that have had more than one. session_key : if that is not ``session_id``.
    cache_loss_usd : what each arm would lose of the session arm's prompt cache; None without one.
    request_key : committed with it. duplicate : it was made before for the same key and is returned again.
    """

    decision_id: str
    policy: str
    policy_kind: str
    created_at_us: int
    expires_at_us: int
    arm: str
    upstream_model: str
    propensity: float
    uniform: float
    explored: bool
    reason: str
    degraded: str | None
    arms: tuple[str, ...]
    probability: FloatArray
    mean: FloatArray
    deviation: FloatArray
    cost_usd: FloatArray
    penalty: FloatArray
    exclusions: Mapping[str, str]
    context: Context
    schema_hash: str
    snapshot_version: int
    epoch: int
    cost_weight: float
    input_tokens: int
    input_hash: str | None
    input_text: str | None
    session_id: str | None
    tags: Mapping[str, str]
    deferred: bool
    charges: tuple[Charge, ...] = ()
    mixture: Blend | None = None
    unaffordable_usd: Mapping[str, float] = MappingProxyType({})
    key_name: str | None = None
    request_key: RequestKey | None = None
    duplicate: bool = False
    generations: Mapping[str, int] = MappingProxyType({})
    reference: str | None = None
    session_key: str | None = None
    cache_loss_usd: FloatArray | None = None
    keep: float | None = None
    baseline: str | None = None
    promise: Mapping[str, float | str] | None = None
    own_probability: FloatArray | None = None
    release: Mapping[str, object] | None = None
    origin: Origin = NO_ORIGIN

    @property
    def chosen_index(self) -> int:
        return self.arms.index(self.arm)

    @property
    def predicted_cost_usd(self) -> float:
        """Predicted cost of the arm that was drawn."""
        return float(self.cost_usd[self.chosen_index])
