from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bench.promise import company, tables, tagged
from bench.promise.__main__ import play_all
from bench.promise.cache import Cache
from bench.promise.cases import COMPANY, POOLS, Case, cases
from bench.promise.musts import musts
from bench.promise.play import Figures, Hindsight, by_task
from rich.console import Console

from banditd.replay.promise import baseline_arm, mixture


def figures(**given: object) -> Figures:
    fields: dict[str, object] = {
        "seed": 100, "quality": 0.99, "quality_100": 0.99, "quality_500": 0.99, "quality_last": 0.99, "cost": 0.6,
        "cost_100": 0.9, "cost_500": 0.8, "cost_last": 0.4, "baseline": 0.5,
        "baseline_last": 0.3, "noise": 0.008, "noise_500": 0.02, "earns": 0.8, "held": "yes",
        "covers": True, "wrong": False,
    }  # fmt: skip
    return Figures(**{**fields, **given})  # type: ignore[arg-type]


HINDSIGHT = Hindsight(one=1.0, coin=0.5, by_task=0.6, weight=0.3)


def missed(pool: str, *runs: Figures, baseline: str = "dearest", keep: float = 0.98) -> set[str]:
    (case,) = cases([pool], [baseline], [keep], [1.0])
    return {must.what.split(": ")[-1] for must in musts({case: runs}, {case: HINDSIGHT}) if not must.met}


def test_a_good_run_misses_nothing() -> None:
    assert missed("mid10", figures()) == set()


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"quality": 0.969}, "quality, worst seed"),
        ({"quality_500": 0.949}, "quality, first 500, worst seed"),
        ({"cost": 1.03}, "cost, worst seed"),
        ({"cost_last": 0.55}, "cost, last third"),
        ({"wrong": True}, "held or broken said wrongly, of 2 runs"),
        ({"covers": False}, "interval of the ratio covers the truth, of 2 runs"),
    ],
)
def test_one_bad_seed_is_seen(given: dict[str, object], what: str) -> None:
    assert what in missed("mid10", figures(cost_last=0.46), figures(**given))


def test_a_baseline_that_earns_little_is_judged_by_its_noise() -> None:
    assert "quality, worst seed" in missed("mid8", figures(quality=0.968))
    assert "quality, worst seed" not in missed("mid8", figures(quality=0.968, earns=0.45))
    assert "quality, worst seed" in missed("mid8", figures(quality=0.96, earns=0.45))


def test_the_cheapest_baseline_may_cost_a_little_more() -> None:
    assert "cost, worst seed" not in missed("mid10", figures(cost=1.04), baseline="cheapest")
    assert "cost, worst seed" in missed("mid10", figures(cost=1.06), baseline="cheapest")


def test_the_company_is_the_same_for_one_seed_and_its_dearest_model_is_the_best() -> None:
    one, again, other = (company.plan(0.95, "dearest", seed) for seed in (3, 3, 4))
    assert one.data.prompts == again.data.prompts != other.data.prompts
    np.testing.assert_array_equal(one.data.cost_usd, again.data.cost_usd)
    assert one.data.cost_usd.mean(axis=0).argmax() == one.data.score.mean(axis=0).argmax() == 0


def test_the_company_has_its_own_rewards_and_every_pool_all_of_them() -> None:
    found = cases([COMPANY, *POOLS], ["dearest", "best"], [0.98, 0.95], [1.0, 0.3])
    assert len(found) == len(set(found)) == 2 + 8 * len(POOLS)
    heads = tables.sheets({found[0]: [figures()]}, {found[0]: HINDSIGHT}, [], {})[0]
    assert all(len(row) == len(heads[1]) for row in heads[2])


def test_the_best_table_by_task_is_no_dearer_than_a_coin_or_a_rule_at_the_same_quality() -> None:
    plan = company.plan(0.95, "dearest", 0, queries=300)
    rows, b = plan.scored, baseline_arm(plan)
    coin = mixture(plan, rows, b)
    assert coin is not None
    costs = [tagged.table_cost(plan, rows, quality) for quality in (0.8, 0.95, 1.0, 1.5)]
    assert costs == sorted(costs)
    assert costs[1] < min(coin, by_task(plan, b))
    assert costs[2] < 1.0  # one task has an arm as good as the dearest
    assert costs[3] == pytest.approx(costs[2], abs=0.03)  # no table earns more than the best arm of every task


def test_a_pass_that_is_kept_is_played_again_only_for_another_seed_case_or_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "kept" / "passes.jsonl"
    one, other = cases(["first_day"], ["dearest"], [0.98, 0.95], [1.0])
    Cache(file).put(one, 200, figures(seed=200, covers=None))
    Cache(file).put(other, 201, figures(seed=201))
    with file.open("a", encoding="utf-8") as lines:
        lines.write('{"pass": "cut sho')  # the machine went down here
    kept = Cache(file)
    assert kept.get(one, 200) == figures(seed=200, covers=None)
    assert kept.get(one, 201) is kept.get(other, 200) is None
    monkeypatch.setattr("bench.promise.cache._code", lambda: "changed")
    assert Cache(file).get(one, 200) is None


def test_a_run_that_was_stopped_plays_only_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[int] = []

    def play(case: Case, seed: int) -> Figures:
        played.append(seed)
        return figures(seed=seed)

    monkeypatch.setattr("bench.promise.__main__.play", play)
    monkeypatch.setattr("bench.promise.__main__.hindsight", lambda case: HINDSIGHT)
    (case,) = cases(["first_day"], ["dearest"], [0.95], [1.0])
    cache = Cache(tmp_path / "passes.jsonl")
    cache.put(case, 201, figures(seed=201))
    found, known = play_all([case], range(200, 203), Console(quiet=True), cache)
    assert played == [200, 202]
    assert [run.seed for run in found[case]] == [200, 201, 202]
    assert known == {case: HINDSIGHT}
