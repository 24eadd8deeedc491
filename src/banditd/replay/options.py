"""What a replay is asked to do: plain values, checked. No reading and no running here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from banditd.bandit.policies.base import PolicySettings
from banditd.bandit.posterior.prior import Prior
from banditd.core.errors import InvalidInputError
from banditd.core.tier_table import TierTable
from banditd.core.types import Price
from banditd.replay.feedback import FeedbackSource
from banditd.replay.signals import AnswerKind

ORDERS: Final = ("shuffle", "source")
BASELINES: Final = ("dearest", "best", "cheapest")  # or an arm's name
WARMUP_POLICIES: Final = ("uniform", "same")
MAX_CALLS: Final = 3  # of a chain
MOST_CALLS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOptions:
    """The options of ``banditd replay`` (they are a contract).

    directory : a folder in the replay format. pool : named pool, arms with commas, or None for all.
    split, warmup_split : labels; rows of the warm-up split are played first and not scored.
    policy : kind; policy_options, floor, forgetting : its settings.
    cost_weight : L of utility = score - L * mean cost / dearest mean cost. budget_usd : per decision.
        At most one of both.
    keep : share of the baseline's quality to be kept at the least cost, in [0.5, 1]; excludes both. baseline :
        one of ``BASELINES`` or an arm.
    max_shares : caps on the arms' shares of the decisions, by name.
    prices : list prices by arm, over those of the folder; under a budget they are what is known of costs in advance.
    context_tags : labels of the rows that the policy sees as the caller's tags.
    recipes : arms made of the pool's models, ``a+b>c,d|e`` or ``auto:N`` (``plan.with_recipes``).
        answers : how their texts are compared, None for the classes of the data set.
    cascade : after an answer its signals are seen, and it is kept or another arm is called; at most ``max_calls``
        calls. Every seed is played without chains as well.
    limit : keep so many scored rows, drawn once with seed 0. seeds : play with seeds 0 .. seeds - 1.
    order : ``shuffle`` by seed, or ``source``. reward_delay : queries until a reward is learned.
    reward_rate : probability that a decision has a reward at all. feedback : simulated sources instead of the
        score; each has a rate of its own, so not together with ``reward_rate``.
    probes : share in [0, 1] of the rows on which every arm's score is reported, as a reward of that arm, when the
        served one's is due; by seed and row, whoever plays.
    warmup_rows : share in [0, 1) of every seed's order that is played first and not scored; references are of
        the rest.
    warmup_policy : ``uniform`` draws the arms of those rows at random, ``same`` plays the policy.
    prior : to start from instead of cold; prior_worth : the rewards it counts as, None for its default.
    tiers : a tier table, whose guesses of models by name come before those from prices.
    keep_prior : give what seed 0 has learned at its end as the report's ``prior``.
    workers : processes; None takes two where there are several seeds and much to play.

    Raises
    ------
    InvalidInputError : a value out of range, or two objectives.
    """

    directory: Path
    pool: str | None = None
    split: str | None = None
    warmup_split: str | None = None
    policy: str = "thompson"
    policy_options: Mapping[str, object] = field(default_factory=dict)
    floor: float | None = None
    forgetting: float | None = None
    cost_weight: float | None = None
    budget_usd: float | None = None
    keep: float | None = None
    baseline: str = "dearest"
    max_shares: Mapping[str, float] = field(default_factory=dict)
    prices: Mapping[str, Price] = field(default_factory=dict)
    context_tags: tuple[str, ...] = ()
    recipes: str | None = None
    answers: AnswerKind | None = None
    cascade: bool = False
    max_calls: int = MAX_CALLS
    limit: int | None = None
    seeds: int = 1
    order: str = "shuffle"
    reward_delay: int = 0
    reward_rate: float = 1.0
    feedback: tuple[FeedbackSource, ...] = ()
    probes: float = 0.0
    warmup_rows: float = 0.0
    warmup_policy: str = "uniform"
    prior: Prior | None = None
    prior_worth: float | None = None
    tiers: TierTable | None = None
    keep_prior: bool = False
    workers: int | None = None

    def __post_init__(self) -> None:
        self._check_objective()
        if self.seeds < 1 or self.reward_delay < 0 or (self.limit is not None and self.limit < 1):
            raise InvalidInputError("seeds and limit start at 1, reward_delay at 0.")
        if len(set(self.context_tags)) != len(self.context_tags) or "" in self.context_tags:
            raise InvalidInputError("context_tags are labels, each named once.", field="/context_tags")
        self._check_cascade()
        if self.answers is not None and self.recipes is None and not self.cascade:
            raise InvalidInputError(
                "Answers are compared for recipes and in a cascade: give one of them too.", field="/answers"
            )
        if self.order not in ORDERS:
            raise InvalidInputError(f"order is one of {', '.join(ORDERS)}.", field="/order")
        if self.warmup_split is not None and self.warmup_split == self.split:
            raise InvalidInputError("The warm-up split must not be the scored split.", field="/warmup_split")
        if not 0.0 < self.reward_rate <= 1.0:
            raise InvalidInputError("reward_rate lies in (0, 1].", field="/reward_rate")
        if self.feedback and self.reward_rate < 1.0:
            raise InvalidInputError(
                "Give every feedback source its own rate instead of reward_rate.", field="/feedback"
            )
        if self.prior_worth is not None and (self.prior is None or not self.prior_worth > 0.0):
            raise InvalidInputError("prior_worth is a positive number and needs a prior.", field="/prior_worth")
        if not 0.0 <= self.probes <= 1.0:
            raise InvalidInputError("probes is a share in [0, 1].", field="/probes")
        if not 0.0 <= self.warmup_rows < 1.0:
            raise InvalidInputError("warmup_rows is a share in [0, 1).", field="/warmup_rows")
        if self.warmup_policy not in WARMUP_POLICIES:
            raise InvalidInputError(f"warmup_policy is one of {', '.join(WARMUP_POLICIES)}.", field="/warmup_policy")

    def check_shares(self, arms: Sequence[str]) -> None:
        """Raise InvalidInputError where a cap is of no arm, none at all, or they leave decisions to nobody."""
        for arm, share in self.max_shares.items():
            if arm not in arms or not 0.0 < share <= 1.0:
                raise InvalidInputError(
                    f"max_shares are of the pool's arms ({', '.join(arms)}), each in (0, 1]: got {arm}={share:g}.",
                    field="/max_shares",
                )
        if sum(self.max_shares.get(arm, 1.0) for arm in arms) < 1.0:
            raise InvalidInputError("The max_shares add up to less than 1.", field="/max_shares")

    def _check_cascade(self) -> None:
        if not self.cascade:
            if self.max_calls != MAX_CALLS:
                raise InvalidInputError("max_calls is of a cascade: give that too.", field="/max_calls")
            return
        if not 2 <= self.max_calls <= MOST_CALLS:
            raise InvalidInputError(f"A chain has 2 to {MOST_CALLS} calls.", field="/max_calls")
        for name, given in (
            ("a budget", self.budget_usd is not None),
            ("a promise (keep)", self.keep is not None),
            ("recipes", self.recipes is not None),
            ("probes", self.probes > 0.0),
            ("caps (max_shares)", bool(self.max_shares)),
        ):
            if given:
                raise InvalidInputError(
                    f"A cascade is played with a cost weight and models alone: leave {name} out.", field="/cascade"
                )

    def _check_objective(self) -> None:
        if self.cost_weight is not None and self.budget_usd is not None:
            raise InvalidInputError("Give a cost weight or a budget, not both.", field="/budget")
        if self.keep is not None and (self.cost_weight is not None or self.budget_usd is not None):
            raise InvalidInputError("A promise replaces a cost weight and a budget: give only --keep.", field="/keep")
        if self.keep is not None and not 0.5 <= self.keep <= 1.0:
            raise InvalidInputError(
                "keep is the share of the baseline's quality to be kept: 0.5 to 1.", field="/keep"
            )
        if self.keep is None and self.baseline != "dearest":
            raise InvalidInputError("A baseline is what a promise is about: give --keep with it.", field="/baseline")
        if self.cost_weight is not None and not 0.0 <= self.cost_weight < math.inf:
            raise InvalidInputError("A cost weight is a finite number, and not negative.", field="/cost_weight")
        if self.budget_usd is not None and not self.budget_usd > 0:
            raise InvalidInputError("A budget must be positive.", field="/budget")

    def settings(self) -> PolicySettings:
        """Settings of the policy; what is not given here is the daemon's default."""
        defaults = PolicySettings()
        return PolicySettings(
            kind=self.policy,
            options=self.policy_options,
            floor=defaults.floor if self.floor is None else self.floor,
            forgetting=self.forgetting,
            prior=self.scaled_prior(),
        )

    def scaled_prior(self) -> Prior | None:
        return None if self.prior is None else self.prior.rescaled(self.prior_worth, half_life=self.forgetting)

    def objective(self) -> dict[str, object]:
        if self.keep is not None:
            return {"kind": "promise", "keep": self.keep, "baseline": self.baseline}
        if self.budget_usd is not None:
            return {"kind": "budget", "budget_usd": self.budget_usd}
        return {"kind": "cost_weight", "cost_weight": self.cost_weight or 0.0}

    def conditions(self) -> dict[str, object]:
        """What is simulated around the policy: ``conditions`` of the report."""
        prior = self.scaled_prior()
        return {
            "context_tags": list(self.context_tags),
            "reward_delay": self.reward_delay,
            "reward_rate": self.reward_rate,
            "feedback": [source.fields() for source in self.feedback],
            "probes": self.probes,
            "warmup_rows": self.warmup_rows,
            "warmup_policy": self.warmup_policy if self.warmup_rows else None,
            "tiers_as_of": None if self.tiers is None else self.tiers.as_of.isoformat(),
            "prior": None if prior is None else {"source": prior.source, "worth_rewards": prior.rewards},
        }
