"""Judges: what one is, an answer that waits for one, and what it said. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from hashlib import sha256
from typing import Final, Literal

from banditd.core.probing import ProbeRule
from banditd.core.types import Price

SOURCE_PREFIX: Final = "judge:"
METRIC: Final = "quality"
"""Of the rewards that verdicts become, as of those of people."""
DEFAULT_RUBRIC: Final = (
    "1 means: it does all that was asked, it is correct as far as you can tell, and nothing needed is missing.\n"
    "0.5 means: it helps, but something needed is missing or wrong.\n"
    "0 means: it is wrong, does not do what was asked, or refuses without need."
)
RewardState = Literal["pending", "counted", "refused", "withheld", "withdrawn"]
"""What became of a verdict as a reward: it is to be one, is one, could not be one (its decision takes none), is none
because its judge is refused, was one and was taken back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeRule:
    """A judge as the operator has configured it.

    kind : ``upstream``: the daemon calls ``model`` of ``upstream``; ``client``: somebody leases its tasks over HTTP.
    share : of the answers, in (0, 1]. policies : whose; empty: of all. people : the sources of rewards that count as
    people's labels. usd_per_day : no call is made where the last 24 hours have cost that; None: no limit.
    max_waiting : answers that wait at most. keep_s : how long one waits at most. lease_s : of one task. probes : what
    other arms answer for it too.
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
        """Of its rewards."""
        return SOURCE_PREFIX + self.name

    @property
    def lease_s(self) -> float:
        """A call that has not ended by then belongs to nobody: whoever comes next may judge the answer."""
        return self.deadline_s + 30.0

    @property
    def version(self) -> str:
        """16 hexadecimal digits that change with what its verdicts mean: trust begins anew."""
        stated = "\x1f".join((self.kind, self.upstream, self.model, self.rubric, repr(sorted(self.params.items()))))
        return sha256(stated.encode()).hexdigest()[:16]

    def judges(self, policy: str) -> bool:
        """Whether answers of that policy are its business."""
        return not self.policies or policy in self.policies


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerToJudge:
    """An answer that a judge's coin has chosen. probability : of that, in (0, 1]. arm : the one that answered.

    version : of the judge at that time; of a leased one, of the judge that has claimed it.
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
    """An answer that is leased to be judged. lease : names this claim of it. attempts : this one included."""

    task_id: str
    lease: str
    attempts: int
    leased_until_us: int
    answer: AnswerToJudge


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeCost:
    """What calls of a judge took."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0

    @classmethod
    def sum(cls, costs: Sequence[JudgeCost]) -> JudgeCost:
        """Of several calls."""
        return cls(**{one.name: sum(getattr(cost, one.name) for cost in costs) for one in fields(cls)})


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredJudgement:
    """A verdict as stored. score : in [0, 1]. probability : with which its answer was judged.

    probed_arm : that gave it without having served, None of the answer that was served.
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
    """Sums of one judge. sampled : answers that its coin chose, and those of probes; dropped : those of them that
    found no room or were waiting too long; failed : those that no call could judge.
    """

    sampled: int = 0
    dropped: int = 0
    judged: int = 0
    failed: int = 0
    cost: JudgeCost = field(default_factory=JudgeCost)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledVerdict:
    """A verdict on a decision. label : mean of what people said of it, in [0, 1]; None where nobody did.

    labelled_at_us : when the first of them came.
    """

    decision_id: str
    arm: str
    score: float
    probability: float
    label: float | None = None
    labelled_at_us: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A judge's version whose verdicts do not count. reason : in words."""

    judge: str
    version: str
    reason: str
    at_us: int
