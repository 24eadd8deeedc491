"""Releases as plain values: what is asked of one, what decisions and outcomes carry of it. No behaviour, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

Phase = Literal["running", "paused", "promoted", "aborted", "rolled_back", "error"]
Measure = Literal["error", "refusal", "latency", "cost", "output_length", "regeneration", "escalation"]
Unit = Literal["session", "key"]
OPEN: Final[frozenset[str]] = frozenset({"running", "paused"})
"""Phases in which a part of the traffic is the candidate's."""
REWARD: Final = "reward"
REPORTED: Final = "reported"
FOLLOWED: Final = "followed"
"""Outcomes that come after the answer: whether it was asked for again, or another took over."""
FOLLOWED_AFTER_S: Final = 600
"""So long after a decision it is looked at what has followed."""
LIMITED: Final[frozenset[str]] = frozenset({"latency", "cost", "output_length"})
"""Measures that need a limit."""
STEPS: Final = (0.01, 0.05, 0.2, 0.5, 1.0)
LEAST_UNITS: Final = (30, 100, 300, 1000)
GUARDRAIL_ALPHA: Final = 1e-4
SPLIT_ALPHA: Final = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """Rewards that are compared: of one metric, or (None) of a decision all together, as they are learned.

    worse_by : by how much the candidate's may be lower. alpha : chance of a false alarm, over the whole release.
    """

    metric: str | None = None
    worse_by: float = 0.02
    alpha: float = 0.01

    @property
    def name(self) -> str:
        return REWARD if self.metric is None else f"{REWARD}:{self.metric}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guardrail:
    """What usage reports say of a decision, as yes or no.

    limit : of ``latency`` in milliseconds, of ``cost`` in dollars, of ``output_length`` in tokens; None of the
    others. worse_by : by how much the share of yes may be higher on the candidate's side.
    """

    measure: Measure
    limit: float | None = None
    worse_by: float = 0.02

    @property
    def name(self) -> str:
        return self.measure

    @property
    def outcome(self) -> str:
        """The kind of outcome that tells of it: ``REPORTED`` or ``FOLLOWED``."""
        return FOLLOWED if self.measure in {"regeneration", "escalation"} else REPORTED


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseTerms:
    """How a candidate is released.

    steps : shares of the traffic, growing, the last one 1. least_units : rated units of the candidate that each step
    takes at least; the last number stands for the rest. unit : what stays on a side: a session, else a
    decision (``session``), or a session, else an API key, else a decision (``key``). promote : ``manual``: the next
    step is proposed; ``auto``: it is taken. windowed : also taken back by the rule of windows of 15 minutes, with the
    false alarms that it has (``deciding/release_windows.py``).
    """

    steps: tuple[float, ...] = STEPS
    least_units: tuple[int, ...] = LEAST_UNITS
    unit: Unit = "session"
    metrics: tuple[Metric, ...] = (Metric(),)
    guardrails: tuple[Guardrail, ...] = (Guardrail(measure="error"), Guardrail(measure="refusal"))
    promote: Literal["manual", "auto"] = "manual"
    windowed: bool = False

    def least(self, step: int) -> int:
        """Rated units that this step takes."""
        return self.least_units[min(step, len(self.least_units) - 1)]

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def of_plain(cls, kept: Mapping[str, Any]) -> ReleaseTerms:
        """Raises KeyError, TypeError, ValueError for what was never kept."""
        return cls(
            steps=tuple(kept["steps"]),
            least_units=tuple(kept["least_units"]),
            unit=kept["unit"],
            metrics=tuple(Metric(**one) for one in kept["metrics"]),
            guardrails=tuple(Guardrail(**one) for one in kept["guardrails"]),
            promote=kept["promote"],
            windowed=bool(kept.get("windowed", False)),
        )


@dataclass(frozen=True, slots=True)
class ReleasePart:
    """On which side of a release a query is. unit : hash of it. share : of the traffic that is the candidate's.

    anchor : the candidate is a policy's anchor, and ``release_id`` that of the anchor.
    """

    release_id: str
    unit: str
    share: float
    candidate: bool
    anchor: bool = False

    @classmethod
    def at(cls, release_id: str, place: float, share: float, *, anchor: bool = False) -> ReleasePart:
        """That of a unit which lies at this place in [0, 1)."""
        return cls(release_id, f"{int(place * 2.0**64):016x}", share, place < share, anchor)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitOutcome:
    """What was seen of one decision under a release.

    measure : a metric's name, ``reported`` or ``followed``. differ : whether the sides drew from what they do not
    have in common. values : in [0, 1], more is better, by metric or guardrail. decided_at_us : when the
    decision was made.
    """

    release_id: str
    decision_id: str
    measure: str
    unit: str
    candidate: bool
    share: float
    differ: bool
    values: Mapping[str, float] = field(default_factory=dict)
    decided_at_us: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RatedSides:
    """Decisions of a release that are old enough to be rated, from ``after_id`` to ``until_id``.

    candidate, incumbent : (rated, decided) of each side.
    """

    after_id: str
    until_id: str
    candidate: tuple[int, int]
    incumbent: tuple[int, int]
