"""The table: what grew over the second half of a soak, at most, and what a decision leaves in the database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bench.soak.measures import Sample, Stored
from bench.soak.trend import Trend, trend
from bench.table import Row

ROWS_SHOWN: Final = 0.005
"""Tables with fewer rows a decision are counted with all others only."""
_SAME_PERCENT: Final = 3.0


@dataclass(frozen=True, slots=True)
class _Measure:
    """limit : what it may grow over the second half in per cent, or, of memory, in MB in a million decisions."""

    name: str
    unit: str
    limit: float
    of: Callable[[Sample], float]
    of_a_million: bool = False


_MEASURES: Final = (
    _Measure("memory", "MB", 20.0, lambda one: one.resident_mb, of_a_million=True),
    _Measure("threads", "", 5.0, lambda one: float(one.threads)),
    _Measure("open files", "", 5.0, lambda one: float(one.files)),
    _Measure("processor time of a request", "ms", 10.0, lambda one: one.processor_ms),
    _Measure("POST /v1/route, median", "ms", 20.0, lambda one: one.route_p50_ms),
    _Measure("POST /v1/route, p99", "ms", 50.0, lambda one: one.route_p99_ms),
    _Measure("POST /v1/rewards, median", "ms", 20.0, lambda one: one.reward_p50_ms),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Soak:
    """What a run measured. samples : by replica. stored : at the start, at the half and at the end."""

    name: str
    seconds: float
    samples: Sequence[Sequence[Sample]]
    stored: Sequence[Stored]
    failures: dict[str, int]

    @property
    def decisions(self) -> int:
        return self.stored[-1].decisions


def rows_of(soak: Soak) -> tuple[list[Row], list[str]]:
    """(the table, what grows for certain or failed)."""
    rows, wrong = [_load(soak)], [f"{count} times {what}" for what, count in soak.failures.items()]
    for number, samples in enumerate(soak.samples, start=1):
        for measure in _MEASURES:
            row, grows = _grown(soak.name, f"replica {number}: growth of {measure.name}", measure, samples)
            rows.append(row)
            wrong += [row.name] if grows else []
    stored, more = _stored(soak)
    return rows + stored, wrong + more


def _load(soak: Soak) -> Row:
    failed = sum(soak.failures.values())
    return Row(
        section=soak.name, name="requests that failed", value=failed, unit="", target=0,
        note=f"{soak.decisions:,} decisions and their rewards in {soak.seconds:,.0f} s, "
        f"{soak.decisions / soak.seconds:,.0f} a second",
    )  # fmt: skip


def _grown(section: str, name: str, measure: _Measure, samples: Sequence[Sample]) -> tuple[Row, bool]:
    """(the row, whether it grows by more than it may even at the lower end of the interval)."""
    half = samples[len(samples) // 2 :]
    found: Trend = trend([measure.of(one) for one in half])
    span = half[-1].decisions - half[0].decisions
    scale = 1e6 / max(span, 1) if measure.of_a_million else found.share(1.0)
    least = scale * (found.growth - found.error)
    row = Row(
        section=section, name=name, value=_rounded(scale * (found.growth + found.error)),
        unit="MB a million" if measure.of_a_million else "%", target=measure.limit,
        note=f"at least {least:,.0f}; mean {found.mean:,.4g} {measure.unit}".strip(), detail=not measure.of_a_million,
    )  # fmt: skip
    return row, least > measure.limit


def _rounded(value: float) -> float:
    """Without what is left of sums of floating numbers, and without a minus before 0."""
    return round(value, 6) + 0.0


def _stored(soak: Soak) -> tuple[list[Row], list[str]]:
    """What a decision of the second half leaves, in rows by table and in bytes, beside one of the first."""
    start, half, end = soak.stored

    def rate(of: Callable[[Stored], int], since: Stored, until: Stored) -> float:
        return (of(until) - of(since)) / (until.decisions - since.decisions)

    kinds: list[tuple[str, Callable[[Stored], int]]] = [("all tables", lambda one: sum(one.rows.values()))]
    kinds += [(name, lambda one, name=name: one.rows[name]) for name in sorted(end.rows)]  # type: ignore[misc]
    rows, wrong = [], []
    for name, of in kinds:
        first, second = rate(of, start, half), rate(of, half, end)
        most = first * (1.0 + _SAME_PERCENT / 100.0) + ROWS_SHOWN
        if second >= ROWS_SHOWN:
            named = f"rows a decision, {name}"
            rows.append(_of_half(soak, named, second, first, "", target=most))
            wrong += [named] if second > most else []
    sizes = [rate(lambda one: one.size_bytes, *two) for two in ((start, half), (half, end))]
    rows.append(_of_half(soak, "disk a decision", sizes[1], sizes[0], "B"))
    rows.append(_of_half(soak, "all learned and added up after", end.waited_s, half.waited_s, "s"))
    alone = [one.unlearned / one.waited_s if one.waited_s else 0.0 for one in (end, half)]
    rows.append(_of_half(soak, "decisions learned meanwhile, with no other load", alone[0], alone[1], "/s"))
    return rows, wrong


def _of_half(soak: Soak, name: str, second: float, first: float, unit: str, *, target: float | None = None) -> Row:
    note = f"first half {first:.4g} {unit}".strip()
    detail = target is not None and not name.endswith("all tables")
    return Row(section=soak.name, name=name, value=second, unit=unit, target=target, note=note, detail=detail)
