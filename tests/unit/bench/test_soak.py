"""What `make soak` calls flat, and what it calls growing."""

from __future__ import annotations

import random

import pytest
from bench.soak.measures import Sample, Stored
from bench.soak.report import Soak, rows_of
from bench.soak.traffic import Traffic
from bench.soak.trend import trend

N = 200


def sample(index: int, **more: float) -> Sample:
    usual = {
        "resident_mb": 180.0, "threads": 12, "files": 30, "processor_ms": 1.2, "route_p50_ms": 4.0,
        "route_p99_ms": 12.0, "reward_p50_ms": 3.0,
    }  # fmt: skip
    return Sample(decisions=5_000 * (index + 1), **(usual | more))  # type: ignore[arg-type]


def soaked(samples: list[Sample], rows_at_end: int = 40_000, failures: dict[str, int] | None = None) -> Soak:
    stored = [
        Stored(decisions, {"decision": decisions, "log": rows, "lease": 1}, 1000 * rows, 0.1)
        for decisions, rows in ((0, 0), (5_000, 20_000), (10_000, rows_at_end))
    ]
    return Soak(name="s", seconds=10.0, samples=[samples], stored=stored, failures=failures or {})


def noisy(rng: random.Random, index: int) -> Sample:
    return sample(index, resident_mb=180.0 + rng.gauss(0, 0.3), route_p50_ms=rng.lognormvariate(1.4, 0.1))


def test_noise_is_flat_and_the_growth_of_the_first_half_does_not_count() -> None:
    rng = random.Random(1)
    warm = [sample(index, resident_mb=90.0 + index) for index in range(N // 2)]
    rows, wrong = rows_of(soaked(warm + [noisy(rng, index) for index in range(N // 2, N)]))
    assert wrong == []
    assert [row.name for row in rows if row.met is False] == []


@pytest.mark.parametrize(
    ("name", "grown"),
    [
        ("memory", {"resident_mb": (180.0, 0.3)}),
        ("threads", {"threads": (12, 0.05)}),
        ("open files", {"files": (30, 0.05)}),
        ("processor time of a request", {"processor_ms": (1.2, 0.005)}),
        ("POST /v1/route, median", {"route_p50_ms": (4.0, 0.03)}),
    ],
)
def test_what_goes_on_growing_is_named(name: str, grown: dict[str, tuple[float, float]]) -> None:
    rng = random.Random(2)
    samples = [
        sample(index, **{key: rng.gauss(at + step * index, step) for key, (at, step) in grown.items()})
        for index in range(N)
    ]
    _, wrong = rows_of(soaked(samples))
    assert wrong == [f"replica 1: growth of {name}"]


def test_rows_that_a_later_decision_has_more_of_are_named_by_table() -> None:
    steady = [sample(index) for index in range(N)]
    assert rows_of(soaked(steady))[1] == []
    rows, wrong = rows_of(soaked(steady, rows_at_end=45_000))
    assert wrong == ["rows a decision, all tables", "rows a decision, log"]
    by_name = {row.name: row for row in rows}
    assert by_name["rows a decision, log"].value == 5.0
    assert "rows a decision, lease" not in by_name


def test_failed_requests_are_never_right() -> None:
    rows, wrong = rows_of(soaked([sample(index) for index in range(N)], failures={"/v1/route: 503 busy": 3}))
    assert rows[0].met is False
    assert wrong == ["3 times /v1/route: 503 busy"]


def test_the_error_of_a_slope_covers_it_as_often_as_it_says() -> None:
    rng = random.Random(3)
    covered = 0
    for _ in range(300):
        values = [10.0 + 2.0 * index / 100 + rng.gauss(0, 1) for index in range(100)]
        found = trend(values)
        covered += abs(found.growth - 2.0) <= found.error
    assert 0.91 <= covered / 300 <= 0.985


def test_too_few_values_have_no_trend() -> None:
    with pytest.raises(ValueError, match="10 values"):
        trend([1.0] * 9)


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_every_number_is_sent_once_in_batches_of_the_size_asked_for(batch: int) -> None:
    traffic = Traffic(["http://a", "http://b"], {}, connections=1, batch=batch, on_decision=lambda: None)
    sent: list[int] = []
    for until in (50, 131):
        while taken := traffic.claim(until):
            assert len(taken) == batch or taken.stop == until
            sent += taken
    assert sent == list(range(131))
