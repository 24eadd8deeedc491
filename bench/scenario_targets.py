"""What the scenarios are to reach, and whether they do. Plays nothing, draws no table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bench.scenario_figures import UNTIL

Figure = Mapping[str, float | int | None]  # mean, half_width, median, seeds, of


@dataclass(frozen=True, slots=True)
class Result:
    """Figures of one scenario in one case, by name, as ``scenario_figures.summary`` makes them."""

    scenario: str
    case: str
    figures: Mapping[str, Figure]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A limit of one figure, in that figure's own unit.

    text : for people. scenarios : where it counts. at_most : the figure may be ``limit`` or less; otherwise or more.
    counted : which of the figure's numbers, ``mean`` or ``median`` over the seeds. unless_unplayed : share of full
    information on the arm, a figure's name; at ``UNPLAYED`` or less the target does not apply.
    """

    text: str
    figure: str
    scenarios: tuple[str, ...]
    limit: float
    at_most: bool
    counted: str = "mean"
    unless_unplayed: str | None = None

    def judge(self, result: Result) -> Verdict | None:
        """None where it is not that scenario's target."""
        figure = result.figures.get(self.figure)
        if result.scenario not in self.scenarios or figure is None:
            return None
        value = figure[self.counted]
        met: bool | None = value is not None and (value <= self.limit if self.at_most else value >= self.limit)
        reason = ""
        if self.unless_unplayed is not None:
            share = result.figures[self.unless_unplayed]["mean"]
            if share is not None and share <= UNPLAYED:
                met, reason = None, NOT_APPLICABLE
        return Verdict(self, result.scenario, result.case, figure, value, met, reason)


@dataclass(frozen=True, slots=True)
class Verdict:
    """value : None where the median is infinite. met : None where the target does not apply, for the ``reason``."""

    target: Target
    scenario: str
    case: str
    figure: Figure
    value: float | int | None
    met: bool | None
    reason: str

    def shown(self) -> str:
        """The figure with yes or no, or why it does not count."""
        if self.met is None:
            return self.reason
        return f"{figure_text(self.target.figure, self.figure)}: {'yes' if self.met else 'no'}"

    def content(self) -> dict[str, object]:
        """For JSON."""
        return {
            "target": self.target.text,
            "scenario": self.scenario,
            "case": self.case,
            "figure": self.target.figure,
            "value": self.value,
            "seeds": self.figure["seeds"],
            "of": self.figure["of"],
            "limit": self.target.limit,
            "met": self.met,
            "reason": self.reason,
        }


UNPLAYED: Final = 0.01
NOT_APPLICABLE: Final = "-, full information neither"
_DEGRADED: Final = ("degradation", "degradation-scaled")
TARGETS: Final[tuple[Target, ...]] = (
    Target(
        text="share left on the degraded arm where another is clearly better: 15 % at most",
        figure="degraded share where another is clearly better",
        scenarios=_DEGRADED,
        limit=0.15,
        at_most=True,
    ),
    Target(
        text="recovery ratio: .985 at least",
        figure="recovery ratio",
        scenarios=_DEGRADED,
        limit=0.985,
        at_most=False,
    ),
    Target(
        text="the new good arm is adopted (published definition) within 100 requests, median over all seeds",
        figure="adopted after (published)",
        scenarios=("new-good-arm",),
        limit=100.0,
        at_most=True,
        counted="median",
        unless_unplayed="onboarding share, full information",
    ),
)


def judge(results: Sequence[Result]) -> list[Verdict]:
    """Every target in every case where it counts: by target, then by scenario and case as they were played."""
    return [verdict for target in TARGETS for result in results if (verdict := target.judge(result)) is not None]


def figure_text(name: str, values: Figure | None) -> str:
    """A figure as text; of decisions until something happens the median, and in how many seeds it did."""
    if values is None:
        return "-"
    if UNTIL in name:
        return _until(values)
    if values["mean"] is None:
        return "-"
    mean, half = float(values["mean"]), values["half_width"]
    if "share" in name:
        return f"{100 * mean:.1f} %"
    spread = f" ± {half:.3f}" if half is not None and half >= 0.0005 else ""
    return f"{mean:.3f}{spread}" if "alarms" not in name else f"{mean:.2f}"


def _until(values: Figure) -> str:
    if not values["of"]:
        return "-"
    median = values["median"]
    return f"{'never' if median is None else f'{median:.0f}'} ({values['seeds']} of {values['of']} seeds)"
