"""Replay with a promise: its JSON, what it is compared with, and that it is kept on a made-up pool."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.unit.replay.conftest import WriteFolder

from banditd.core.errors import InvalidInputError
from banditd.replay.contexts import build_contexts
from banditd.replay.engine import play_seed, run
from banditd.replay.options import ReplayOptions
from banditd.replay.plan import make_plan
from banditd.replay.promise import contextual, mixture, single


def report(folder: Path, **options: object) -> dict[str, object]:
    return run(ReplayOptions(directory=folder, workers=1, **options)).content  # type: ignore[arg-type]


def test_the_promise_stands_in_the_report_and_is_kept(two_topics: Path) -> None:
    content = report(two_topics, keep=0.9, seeds=2)
    promise = content["promise"]
    assert isinstance(promise, dict)
    assert (promise["keep"], promise["baseline"]) == (0.9, "large")
    assert set(promise["quality_ratio"]) == {"mean", "worst_seed", "first_500_worst_seed", "last_third"}
    assert set(promise["cost_share"]) == {"mean", "first_100", "last_third"}
    assert promise["quality_ratio"]["worst_seed"] >= 0.88
    assert promise["cost_share"]["mean"] < 1.0
    assert 0.0 < promise["baseline_share"] < 1.0
    assert promise["held"] in {"yes", "no", "unknown"}
    assert content["objective"] == {"kind": "promise", "keep": 0.9, "baseline": "dearest"}
    for one in promise["per_seed"]:
        assert one["interval"] is None or one["interval"][0] <= one["interval"][1]


def test_without_a_promise_there_is_none(two_topics: Path) -> None:
    assert report(two_topics, cost_weight=0.1, limit=60)["promise"] is None


def test_a_promise_excludes_other_objectives_and_needs_a_known_baseline(two_topics: Path) -> None:
    with pytest.raises(InvalidInputError, match="only --keep"):
        ReplayOptions(directory=two_topics, keep=0.9, cost_weight=0.1)
    with pytest.raises(InvalidInputError, match="only --keep"):
        ReplayOptions(directory=two_topics, keep=0.9, budget_usd=1.0)
    with pytest.raises(InvalidInputError, match=r"0\.5 to 1"):
        ReplayOptions(directory=two_topics, keep=0.2)
    with pytest.raises(InvalidInputError, match="--keep"):
        ReplayOptions(directory=two_topics, baseline="best")
    with pytest.raises(InvalidInputError, match="nobody"):
        make_plan(ReplayOptions(directory=two_topics, keep=0.9, baseline="nobody"))


@pytest.mark.parametrize("baseline", ["dearest", "best", "small"])
def test_the_baseline_is_named_in_three_ways(two_topics: Path, baseline: str) -> None:
    promise = report(two_topics, keep=0.95, baseline=baseline, limit=80)["promise"]
    assert isinstance(promise, dict)
    assert promise["baseline"] == ("small" if baseline == "small" else "large")


def test_references_are_no_dearer_than_less_knowing_ones(two_topics: Path) -> None:
    plan = make_plan(ReplayOptions(directory=two_topics, keep=0.95))
    rows = np.sort(plan.scored)
    baseline = plan.data.arms.index("large")
    one, two = single(plan, rows, baseline), mixture(plan, rows, baseline)
    x = np.stack([np.ones(plan.data.n_rows), plan.data.category.astype(np.float64)], axis=1)
    assert two <= one + 1e-12 <= 1.0 + 2e-12
    found = contextual(plan, rows, baseline, x)
    assert found is not None
    assert found < two  # the topic tells which arm answers


def test_the_cheapest_arm_can_be_the_baseline(two_topics: Path) -> None:
    promise = report(two_topics, keep=0.95, baseline="cheapest", limit=80)["promise"]
    assert isinstance(promise, dict)
    assert promise["baseline"] == "small"
    assert promise["cost_share"]["mean"] <= 1.05


def test_a_limit_plays_the_rows_that_it_draws_and_reads_no_others(two_topics: Path) -> None:
    whole, cut = (make_plan(ReplayOptions(directory=two_topics, keep=0.95, limit=limit)) for limit in (None, 30))
    drawn = np.sort(np.random.default_rng(0).permutation(whole.scored.size)[:30])
    assert cut.data.n_rows == 30
    assert cut.data.prompts == tuple(whole.data.prompts[i] for i in drawn)
    assert cut.scored.tolist() == list(range(30))


@pytest.mark.parametrize(
    ("scores", "costs", "baseline"),
    [
        ((0.0, 0.0), (0.001, 0.01), "dearest"),
        ((1.0, 0.0), (0.0, 0.01), "dearest"),
        ((1.0, 1.0), (0.01, 0.01), "cheapest"),
        ((1.0, None), (0.001, 0.01), "dearest"),
        ((None, 1.0), (0.001, 0.01), "dearest"),
        ((1.0, 0.5), (0.0, 0.0), "cheapest"),
        ((0.5,), (0.01, 0.01), "dearest"),
    ],
)
def test_odd_pools_give_a_report_that_is_json(
    tmp_path: Path, scores: tuple[float | None, ...], costs: tuple[float, float], baseline: str
) -> None:
    """Baselines that earn nothing or were never scored, equal prices, arms that cost nothing, one arm."""
    arms = ["a", "b"][: len(scores)]
    (tmp_path / "prompts.jsonl").write_text("".join(f'{{"prompt": "question {i}"}}\n' for i in range(60)))
    cells = ["" if score is None else str(score) for score in scores] + [str(cost) for cost in costs[: len(arms)]]
    heads = [*arms, *(f"{arm}|cost_usd" for arm in arms)]
    (tmp_path / "outcomes.csv").write_text("\n".join([",".join(heads), *[",".join(cells)] * 60]) + "\n")
    given = ReplayOptions(directory=tmp_path, workers=1, keep=0.95, baseline=baseline, reward_rate=0.5)
    promise = json.loads(run(given).to_json(), parse_constant=pytest.fail)["promise"]
    quality, cost = promise["quality_ratio"]["mean"], promise["cost_share"]["mean"]
    assert quality is None or quality >= 0.9
    assert cost is None or cost <= 1.0 + 1e-9 or baseline == "cheapest"
    assert set(promise["references"]) == {"single", "mixture", "contextual"}


def test_what_may_be_lost_is_lost_where_answers_are_dear(write_folder: WriteFolder) -> None:
    """Both kinds lose the same by the cheap arm, but answers of one are ten times as long."""
    generator = np.random.default_rng(0)
    n = 1500
    long = generator.random(n) < 0.5
    prompts = [
        {"prompt": f"Prove theorem {i} step by step" if one else f"Hello, my name is Anna, customer {i}"}
        for i, one in enumerate(long.tolist())
    ]
    cost_usd = np.where(long, 0.01, 0.001)
    folder = write_folder(
        prompts,
        {
            "small": (generator.random(n) < 0.75).astype(int).tolist(),
            "large": (generator.random(n) < 0.90).astype(int).tolist(),
            "small|cost_usd": (0.05 * cost_usd).tolist(),
            "large|cost_usd": cost_usd.tolist(),
        },
    )
    plan = make_plan(ReplayOptions(directory=folder, keep=0.92, workers=1))
    schema, contexts = build_contexts(plan.data.prompts, with_facts=False)
    shares = []
    for seed in range(3):
        last = play_seed(plan, schema, contexts, seed)
        rows, small = last.rows[n // 2 :], last.chosen[n // 2 :] == plan.data.arms.index("small")
        shares.append((small[long[rows]].mean(), small[~long[rows]].mean()))
    of_long, of_short = np.mean(shares, axis=0)
    assert of_long > 1.5 * of_short, shares
