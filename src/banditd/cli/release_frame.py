"""What ``banditd release status`` draws: a release in words, its measures as lines, the way of its evidence. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

WIDTH: Final = 41  # of the drawn intervals, in characters; odd, so that one of them is in the middle
REACH: Final = 0.5  # of the axis to both sides
WAY_WIDTH: Final = 60
LEAST_LOG: Final = -2.0  # less evidence than 1 to 100 is drawn as that
_LEVELS: Final = "▁▂▃▄▅▆▇█"


def lines_of(release: Mapping[str, Any]) -> Iterator[str]:
    """How it stands: a head, words, and a line for each measure."""
    yield f"release {release['release_id']} of {release['candidate']} ({release['phase']})"
    yield str(release["words"])
    for name, one in _measures(release):
        yield _drawn(name, one)


def event_lines(events: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Its history, a line for each."""
    for event in events:
        by = f" by {event['key_name']}" if event["key_name"] else ""
        why = f": {event['reason']}" if event["reason"] else ""
        yield f"  {event['at']}  {event['event']}{by} at {event['share']:.3g}{why}"


def way_lines(release: Mapping[str, Any], points: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The share of the traffic and the evidence of each measure since the start, the newest on the right.

    Evidence is drawn by its logarithm, and fills a character where it takes the candidate back.
    """
    shown = _spread(points, WAY_WIDTH)
    if not shown:
        return
    shares = "".join(_level(point["share"]) for point in shown)
    steps = " ".join(f"[{one:.3g}]" if i + 1 == release["step"] else f"{one:.3g}" for i, one in _steps(release))
    yield f"  {'share':<12} {shares:<{WAY_WIDTH}}  {release['share']:.3g} now, steps {steps}"
    for name, one in _measures(release):
        of_measure = [point["measures"][name]["evidence"] for point in shown if name in point["measures"]]
        drawn = "".join(_level(_part(evidence, one["needed"])) for evidence in of_measure)
        yield f"  {name:<12} {drawn:<{WAY_WIDTH}}  evidence {one['evidence']:.3g} of {one['needed']:,.0f}"


def _measures(release: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for one in release["metrics"]:
        yield (f"reward:{one['metric']}" if one["metric"] else "reward"), one
    for one in release["guardrails"]:
        yield one["measure"], one


def _steps(release: Mapping[str, Any]) -> Iterator[tuple[int, float]]:
    yield from enumerate(release["steps"])


def _spread(points: Sequence[Mapping[str, Any]], most: int) -> list[Mapping[str, Any]]:
    """At most so many of them, evenly, the last one among them."""
    if len(points) <= most:
        return list(points)
    return [points[round(i * (len(points) - 1) / (most - 1))] for i in range(most)]


def _part(evidence: float, needed: float) -> float:
    """How far evidence is from the least that is drawn to what is needed, by logarithms, in [0, 1]."""
    logarithm = math.log10(evidence) if evidence > 0.0 else LEAST_LOG
    return (logarithm - LEAST_LOG) / (math.log10(needed) - LEAST_LOG)


def _level(part: float) -> str:
    return _LEVELS[min(max(int(part * len(_LEVELS)), 0), len(_LEVELS) - 1)]


def _drawn(name: str, one: Mapping[str, Any]) -> str:
    """A line: the interval of candidate less incumbent round 0, and how much of an alarm there is."""
    axis = [" "] * WIDTH
    interval = one["interval"]
    if interval is not None:
        low, high = (_place(bound) for bound in interval)
        axis[low : high + 1] = "-" * (high - low + 1)
        axis[_place(one["difference"])] = "o"
    middle = WIDTH // 2
    axis[middle] = "|" if axis[middle] == " " else "+"
    against = f"{min(one['evidence'] / one['needed'], 1.0):.1%} of an alarm"
    if one["difference"] is None:  # the bet stands as it began
        against = "none: nothing is known yet"
    return f"  {name:<12} worse [{''.join(axis)}] better   evidence against it {against}"


def _place(value: float) -> int:
    return round((max(-REACH, min(REACH, value)) / REACH + 1.0) / 2.0 * (WIDTH - 1))
