"""Judges: their rules, the answers waiting for a verdict, and the verdicts. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from hashlib import sha256
from typing import Final, Literal

from banditd.core.probing import ProbeRule
from banditd.core.types import Price

SOURCE_PREFIX: Final = "judge:"
METRIC: Final = "quality"
"""The metric of rewards that come from verdicts; people's rewards use the same one."""
DEFAULT_RUBRIC: Final = (
    "1 means: it does all that was asked, it is correct as far as you can tell, and nothing needed is missing.\n"
    "0.5 means: it helps, but something needed is missing or wrong.\n"
    "0 means: it is wrong, does not do what was asked, or refuses without need."
)
RewardState = Literal["pending", "counted", "refused", "withheld", "withdrawn"]
"""What happened to a verdict's reward. ``pending``: not submitted yet. ``counted``: it is a reward. ``refused``:
the decision takes no reward. ``withheld``: its judge is refused. ``withdrawn``: it was a reward and was taken
back.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeRule:
    """A judge, as configured by the operator.

    kind : ``upstream``: the daemon calls ``model`` at ``upstream``. ``client``: a client leases its tasks over HTTP.
    share : share of the answers that are judged, in (0, 1].
    policies : whose answers are judged; empty: all policies.
    people : sources of rewards that count as people's labels.
    usd_per_day : no call is made once the last 24 hours have cost this much; None: no limit.
    max_waiting : most answers that may wait. keep_s : longest time that one may wait.
    lease_s : of one task.
    probes : rule for judging other arms' answers to the same queries, or None.
    """

    name: str
    kind: Literal["upstream", "client"] = "upstream"
    upstream: str = ""
    model: str = ""
    price: Price = field(default_factory=Price)
    params: Mapping[str, object] = field(default_factory=dict)
    share: float = 0.05
    policies: frozenset[str] = frozenset()
    rubric: str = DEFAULT_RUBRIC
    people: frozenset[str] = frozenset({"human"})
    usd_per_day: float | None = None
    max_waiting: int = 1000
    keep_s: float = 86_400.0
    max_attempts: int = 5
    max_chars: int = 24_000
    concurrency: int = 4
    deadline_s: float = 60.0
    probes: ProbeRule | None = None

    @property
    def source(self) -> str:
        """The source name of its rewards."""
        return SOURCE_PREFIX + self.name

    @property
    def lease_s(self) -> float:
        """How long a claim holds: after that a call counts as lost and others may judge the answer."""
        return self.deadline_s + 30.0

    @property
    def version(self) -> str:
        """16 hexadecimal digits that change whenever the meaning of its verdicts does; trust then has to be earned
        again.
        """
        stated = "\x1f".join((self.kind, self.upstream, self.model, self.rubric, repr(sorted(self.params.items()))))
        return sha256(stated.encode()).hexdigest()[:16]

    def judges(self, policy: str) -> bool:
        """Whether it judges answers of that policy."""
        return not self.policies or policy in self.policies


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerToJudge:
    """An answer that was sampled for a judge.

    probability : with which it was sampled, in (0, 1].
    arm : the arm that answered.
    version : the judge's version when it was sampled or, once leased, the version of the judge that claimed it.
    """

    decision_id: str
    judge: str
    version: str
    policy: str
    arm: str
    probability: float
    question: str
    answer: str
    created_at_us: int
    expires_at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeTask:
    """A leased answer. lease : identifies this claim. attempts : counts this one."""

    task_id: str
    lease: str
    attempts: int
    leased_until_us: int
    answer: AnswerToJudge


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeCost:
    """Calls, tokens and dollars that a judge used."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0

    @classmethod
    def sum(cls, costs: Sequence[JudgeCost]) -> JudgeCost:
        """The sum of several costs."""
        return cls(**{one.name: sum(getattr(cost, one.name) for cost in costs) for one in fields(cls)})


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredJudgement:
    """A verdict as stored.

    score : in [0, 1]. probability : with which the answer was sampled for judging.
    probed_arm : the arm that gave the answer to a probe; None if the answer is the one that was served.
    """

    decision_id: str
    judge: str
    version: str
    policy: str
    score: float
    probability: float
    reward: RewardState
    probed_arm: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeAccount:
    """Totals of one judge.

    sampled : answers that were sampled, including those of probes.
    dropped : sampled answers for which the queue was full, or that waited too long.
    failed : answers for which no call gave a verdict.
    """

    sampled: int = 0
    dropped: int = 0
    judged: int = 0
    failed: int = 0
    cost: JudgeCost = field(default_factory=JudgeCost)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledVerdict:
    """A verdict, with people's opinion of the same decision where there is one.

    label : mean of people's rewards, in [0, 1]; None if there are none.
    labelled_at_us : when the first of them arrived.
    """

    decision_id: str
    arm: str
    score: float
    probability: float
    label: float | None = None
    labelled_at_us: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A judge version whose verdicts do not count. reason : in words."""

    judge: str
    version: str
    reason: str
    at_us: int
