"""Scenarios on made-up rows: what is disturbed, that it is found, and that the figures are what they say."""

from __future__ import annotations

import numpy as np
import pytest
from bench.scenario_figures import (
    category_means,
    dominated_rows,
    full_information,
    running_share,
    summary,
    trace_figures,
)
from bench.scenario_streams import (
    SCENARIOS,
    Roles,
    Stream,
    Trace,
    bad_newcomer,
    dear_newcomer,
    degradation,
    disappearance,
    newcomer,
    play_stream,
    price_drop,
)

from banditd.core.errors import InvalidInputError
from banditd.core.types import Context, FeatureSchema, Price
from banditd.replay.contexts import build_contexts
from banditd.replay.dataset import ReplayData

PHASE = 120
VAL, TEST = 250, 2 * PHASE + 20
COST = np.array([1e-5, 1e-4, 2e-3])
LEVEL = np.array([0.5, 0.85, 0.7])


@pytest.fixture(scope="module")
def data() -> ReplayData:
    """Three arms of clear quality; the second is best and changes, the third comes later where one does."""
    generator, n = np.random.default_rng(0), VAL + TEST
    return ReplayData(
        name="made up",
        prompts=tuple(f"question {i} about {'cooking' if i % 2 else 'sailing'}" for i in range(n)),
        arms=("cheap", "good", "dear"),
        score=np.clip(LEVEL + 0.1 * generator.normal(size=(n, 3)), 0, 1),
        cost_usd=np.tile(COST, (n, 1)),
        category=np.arange(n) % 2,
        split=("val",) * VAL + ("test",) * TEST,
        prices={},
        features=({},) * n,
    )


@pytest.fixture(scope="module")
def built(data: ReplayData) -> tuple[FeatureSchema, list[Context]]:
    return build_contexts(data.prompts, with_facts=False)


def play(stream: Stream, data: ReplayData, built: tuple[FeatureSchema, list[Context]], budget: float | None) -> Trace:
    return play_stream(stream, data=data, schema=built[0], contexts=built[1], budget_usd=budget, seed=0)


def test_a_degraded_arm_is_found_left_and_taken_back(data, built) -> None:  # type: ignore[no-untyped-def]
    stream = degradation(data, 0, Roles(changing=1), phase=PHASE)
    stream.score[VAL + PHASE : VAL + 2 * PHASE, 1] = 0.3  # clearly worse than both others
    trace = play(stream, data, built, None)
    figures = trace_figures(trace, data.category, None, "good")
    assert figures["found after"] is not None
    assert figures["found after"] < 40
    assert figures["normal share"] > 0.7  # type: ignore[operator]
    assert figures["share once found"] < 0.2  # type: ignore[operator]
    assert figures["recovered after"] is not None
    assert (trace.chosen[-30:] == 1).mean() > 0.6
    assert figures["other alarms"] == 0.0
    assert figures["degraded share, full information"] == 0.0
    assert figures["degraded share where another is clearly better"] == figures["degraded share"]


def test_degradation_touches_one_arm_in_one_phase_and_repeats_the_first(data) -> None:  # type: ignore[no-untyped-def]
    stream = degradation(data, 3, Roles(changing=1), phase=PHASE)
    bad = slice(VAL + PHASE, VAL + 2 * PHASE)
    assert (stream.score[bad, 1] == 0.75).all()
    assert (stream.score[bad][:, [0, 2]] == data.score[stream.rows[bad]][:, [0, 2]]).all()
    assert (stream.cost_usd == data.cost_usd[stream.rows]).all()
    first, third = stream.rows[VAL : VAL + PHASE], stream.rows[VAL + 2 * PHASE :]
    assert sorted(first) == sorted(third)
    assert not np.array_equal(first, third)
    assert set(stream.rows[:VAL]) == set(range(VAL))
    scaled = degradation(data, 3, Roles(changing=1), scaled=True, phase=PHASE)
    assert scaled.score[bad, 1].mean() == pytest.approx(0.75)
    assert scaled.score[bad, 1].std() > 0.05


def test_a_newcomer_is_absent_until_the_scored_part_and_then_adopted(data, built) -> None:  # type: ignore[no-untyped-def]
    roles = Roles(changing=1, newcomer=1)
    trace = play(newcomer(data, 0, roles), data, built, None)
    figures = trace_figures(trace, data.category, None, "good")
    assert figures["onboarding share, full information"] == 1.0
    assert figures["adopted after"] is not None
    assert figures["adopted after"] < 100
    bad = play(bad_newcomer(data, 0, roles), data, built, None)
    assert trace_figures(bad, data.category, None, "good")["final share"] < 0.05  # type: ignore[operator]
    assert (dear_newcomer(data, 0, roles).cost_usd[:, 1] == 10 * COST[1]).all()
    with pytest.raises(InvalidInputError):
        newcomer(data, 0, Roles(changing=1))


def test_an_arm_that_is_switched_off_is_not_chosen(data, built) -> None:  # type: ignore[no-untyped-def]
    stream = disappearance(data, 0, Roles(changing=1), phase=PHASE)
    trace = play(stream, data, built, 5e-4)
    figures = trace_figures(trace, data.category, 5e-4, "good")
    assert figures["gone share"] == 0.0
    assert figures["gone full information"] < figures["there full information"]  # type: ignore[operator]
    assert figures["back share"] > 0.7  # type: ignore[operator]
    assert "found after" not in figures  # it was no secret
    assert "recovered after" not in figures


def test_a_price_that_falls_is_used_at_once_and_let_go_at_once(data, built) -> None:  # type: ignore[no-untyped-def]
    budget, factor = 5e-5, 0.01
    stream = price_drop(data, 0, Roles(changing=1), factor=factor, phase=PHASE)
    assert (stream.cost_usd[VAL + PHASE : VAL + 2 * PHASE, 1] == factor * COST[1]).all()
    assert (stream.cost_usd[VAL + 2 * PHASE :, 1] == COST[1]).all()
    trace = play_stream(
        stream,
        data=data,
        schema=built[0],
        contexts=built[1],
        budget_usd=budget,
        seed=0,
        prices={arm: Price(usd_per_mtok_out=cost / 400 * 1e6) for arm, cost in zip(data.arms, COST, strict=True)},
    )
    good = trace.chosen == 1
    normal, cheap, again = (good[i * PHASE : (i + 1) * PHASE] for i in range(3))
    assert cheap[:20].mean() > 0.85
    assert cheap.mean() > normal.mean()
    for part in range(3):
        assert trace.cost_usd[part * PHASE : (part + 1) * PHASE].mean() <= 1.12 * budget
    assert again.mean() == pytest.approx(normal.mean(), abs=0.15)


def test_a_scenario_needs_rows_enough(data) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InvalidInputError, match="test split"):
        SCENARIOS["degradation"](data, 0, Roles(changing=1))


def test_full_information_is_the_best_table_within_the_budget() -> None:
    means = np.array([[0.5, 0.9], [0.8, 0.9]])
    costs = np.tile([1.0, 3.0], (2, 1))
    free = full_information(means, costs, means, None, watched=1)
    assert (free.reward, free.share) == (pytest.approx(0.9), 1.0)
    tight = full_information(means, costs, means, 2.0, watched=1)  # money for one of both queries
    assert tight.reward == pytest.approx((0.9 + 0.8) / 2, abs=1e-6)
    assert tight.share == pytest.approx(0.5)


def test_an_arm_is_clearly_worse_where_another_is_as_good_and_no_dearer() -> None:
    means = np.array([[0.5, 0.9], [0.9, 0.9], [0.95, 0.9]])
    costs = np.tile([1.0, 3.0], (3, 1))
    assert dominated_rows(means, costs, 1, free=False).tolist() == [False, True, True]
    assert dominated_rows(means, costs, 0, free=False).tolist() == [False, False, False]
    assert dominated_rows(means, costs, 0, free=True).tolist() == [True, True, False]


def test_small_sums() -> None:
    assert running_share(np.array([1.0, 0.0, 1.0, 1.0]), 2).tolist() == [0.5, 0.5, 0.5, 1.0]
    assert category_means(np.array([[1.0], [3.0], [5.0]]), np.array([0, 0, 1])).tolist() == [[2.0], [2.0], [5.0]]
    made = summary([{"a": 1.0, "b": None}, {"a": 3.0, "b": 2.0}])
    assert made["a"]["mean"] == 2.0
    assert made["b"] == {"mean": 2.0, "half_width": None, "median": 2.0, "seeds": 1, "of": 2}


@pytest.mark.parametrize(
    ("values", "median", "mean"),
    [
        ((10.0, None, 30.0), 30.0, None),
        ((10.0, 20.0, 60.0), 20.0, 30.0),
        ((10.0, None, None), None, None),
        ((10.0, None), None, None),
        ((None,), None, None),
    ],
)
def test_a_seed_where_it_never_happened_counts_in_the_median(
    values: tuple[float | None, ...], median: float | None, mean: float | None
) -> None:
    (made,) = summary([{"found after": value} for value in values]).values()
    assert (made["median"], made["mean"]) == (median, mean)
    assert (made["half_width"] is None) == (mean is None)
    assert made["seeds"] == sum(value is not None for value in values)
    assert made["of"] == len(values)


def test_a_seed_where_it_was_not_wanted_does_not_count() -> None:
    made = summary([{"adopted after": 10.0}, {}, {"adopted after": None}, {"adopted after": 12.0}])
    assert made["adopted after"] | {"mean": 0} == {"mean": 0, "half_width": None, "median": 12.0, "seeds": 2, "of": 3}
