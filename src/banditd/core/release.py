"""Releases as values: their terms, and what decisions and outcomes record about them. No behaviour, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

Phase = Literal["running", "paused", "promoted", "aborted", "rolled_back", "error"]
Measure = Literal["error", "refusal", "latency", "cost", "output_length", "regeneration", "escalation"]
Unit = Literal["session", "key"]
OPEN: Final[frozenset[str]] = frozenset({"running", "paused"})
"""Phases in which the candidate gets part of the traffic."""
REWARD: Final = "reward"
REPORTED: Final = "reported"
FOLLOWED: Final = "followed"
"""Outcomes that happen after the answer: the client asked again, or another arm took over."""
FOLLOWED_AFTER_S: Final = 600
"""How long after a decision its follow-up outcomes are read."""
LIMITED: Final[frozenset[str]] = frozenset({"latency", "cost", "output_length"})
"""Measures that need a limit."""
STEPS: Final = (0.01, 0.05, 0.2, 0.5, 1.0)
LEAST_UNITS: Final = (30, 100, 300, 1000)
GUARDRAIL_ALPHA: Final = 1e-4
SPLIT_ALPHA: Final = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A reward that is compared. metric None: all rewards of a decision together, as they are learned.

    worse_by : how much lower the candidate's mean may be.
    alpha : probability of a false alarm over the whole release.
    """

    metric: str | None = None
    worse_by: float = 0.02
    alpha: float = 0.01

    @property
    def name(self) -> str:
        return REWARD if self.metric is None else f"{REWARD}:{self.metric}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guardrail:
    """A yes-or-no measure read from usage reports.

    limit : ``latency`` in milliseconds, ``cost`` in dollars, ``output_length`` in tokens; None for the others.
    worse_by : how much higher the share of "yes" may be on the candidate's side.
    """

    measure: Measure
    limit: float | None = None
    worse_by: float = 0.02

    @property
    def name(self) -> str:
        return self.measure

    @property
    def outcome(self) -> str:
        """The kind of outcome that it is read from: ``REPORTED`` or ``FOLLOWED``."""
        return FOLLOWED if self.measure in {"regeneration", "escalation"} else REPORTED


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseTerms:
    """How a candidate is released.

    steps : growing shares of the traffic; the last one is 1.
    least_units : rated units of the candidate that each step needs; the last number holds for all further steps.
    unit : what stays on one side: a session, else a decision (``session``); or a session, else an API key, else a
    decision (``key``).
    promote : ``manual``: the next step is proposed; ``auto``: it is taken.
    windowed : also roll back by the rule of 15-minute windows, with its false alarms
    (``deciding/release_windows.py``).
    """

    steps: tuple[float, ...] = STEPS
    least_units: tuple[int, ...] = LEAST_UNITS
    unit: Unit = "session"
    metrics: tuple[Metric, ...] = (Metric(),)
    guardrails: tuple[Guardrail, ...] = (Guardrail(measure="error"), Guardrail(measure="refusal"))
    promote: Literal["manual", "auto"] = "manual"
    windowed: bool = False

    def least(self, step: int) -> int:
        """Rated units that this step needs."""
        return self.least_units[min(step, len(self.least_units) - 1)]

    def plain(self) -> dict[str, Any]:
        """JSON-compatible values."""
        return asdict(self)

    @classmethod
    def of_plain(cls, kept: Mapping[str, Any]) -> ReleaseTerms:
        """Inverse of ``plain``. Raises KeyError, TypeError or ValueError for anything else."""
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
    """Which side of a release a query is on.

    unit : hash of the unit. share : share of the traffic that goes to the candidate.
    anchor : True if the candidate is the policy's anchor; ``release_id`` is then the anchor's id.
    """

    release_id: str
    unit: str
    share: float
    candidate: bool
    anchor: bool = False

    @classmethod
    def at(cls, release_id: str, place: float, share: float, *, anchor: bool = False) -> ReleasePart:
        """The part of a unit at this position in [0, 1)."""
        return cls(release_id, f"{int(place * 2.0**64):016x}", share, place < share, anchor)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitOutcome:
    """An outcome of one decision under a release.

    measure : a metric's name, ``reported`` or ``followed``.
    differ : whether the drawn arm came from the part where the two probability vectors do not overlap.
    values : metric or guardrail -> value in [0, 1]; more is better.
    decided_at_us : when the decision was made.
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
    """Decisions of a release that are old enough to have been rated, from ``after_id`` to ``until_id``.

    candidate, incumbent : (rated, decided) on each side.
    """

    after_id: str
    until_id: str
    candidate: tuple[int, int]
    incumbent: tuple[int, int]
