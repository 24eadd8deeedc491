from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.unit.replay.conftest import WriteFolder

from banditd.bandit.policies.registry import POLICIES
from banditd.core.errors import ConfigurationError, InvalidInputError, InvariantError
from banditd.core.types import Price
from banditd.replay.decider import Row, Served
from banditd.replay.engine import run, run_with
from banditd.replay.feedback import FeedbackSource
from banditd.replay.options import ReplayOptions
from banditd.replay.plan import make_plan
from banditd.replay.plot import plot_curve
from banditd.replay.prices import Tariff
from banditd.replay.table import report_table

KEYS = {
    "dataset", "pool", "arms", "policy", "objective", "rows", "seeds", "utility", "reward", "cost", "references",
    "headroom_score", "microseconds_per_decision", "per_seed",
}  # fmt: skip


class Always:
    """A decider that plays one arm and remembers what it was told."""

    def __init__(self, arm: int) -> None:
        self.arm = arm
        self.choose_us: list[float] = []
        self.update_us: list[float] = []
        self.log: list[tuple[str, object]] = []

    async def decide(self, row: Row) -> Served:
        self.log.append(("decide", row.index))
        return Served(self.arm if row.warmup_arm is None else row.warmup_arm, row.index)

    async def reward(self, served: Served, *, reward: float | None, cost_usd: float) -> None:
        self.log.append(("reward", served.token))

    async def begin_scoring(self) -> None:
        self.log.append(("scoring", None))

    async def close(self) -> None:
        self.log.append(("close", None))


def test_the_report_has_the_keys_of_the_contract(two_topics: Path, tmp_path: Path) -> None:
    seen = []
    report = run(
        ReplayOptions(directory=two_topics, seeds=2, cost_weight=0.1, workers=1), lambda done, _all: seen.append(done)
    )
    content = json.loads(report.to_json())
    assert set(content) >= KEYS
    assert set(content["utility"]) == {"mean", "sd", "first_500", "last_third"}
    assert set(content["references"]) == {
        "uniform", "best_fixed", "best_per_category", "oracle", "fixed_mixture_at_cost"
    }  # fmt: skip
    assert set(content["references"]["best_fixed"]) == {"arm", "utility"}
    assert set(content["headroom_score"]) == {"all", "first_500", "last_third"}
    assert set(content["microseconds_per_decision"]) == {"choose", "update"}
    assert content["cost"]["over_budget"] is None
    assert [one["seed"] for one in content["per_seed"]] == [0, 1]
    assert seen == sorted(seen)
    assert seen[-1] == 1200
    report.write_json(tmp_path / "report.json")
    plot_curve(report, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "report.json").read_text()) == content
    assert report_table(report).row_count > 5


def test_thompson_learns_which_arm_answers_what(two_topics: Path) -> None:
    content = run(ReplayOptions(directory=two_topics, pool="good", seeds=2, workers=1)).content
    assert content["headroom_score"]["last_third"] > 0.6  # type: ignore[index]
    assert content["utility"]["last_third"] > content["references"]["best_fixed"]["utility"]  # type: ignore[index]


def test_a_capped_arm_answers_its_share_where_it_gains_most(two_topics: Path) -> None:
    capped = ReplayOptions(directory=two_topics, pool="good", seeds=2, workers=1, max_shares={"large": 0.3})
    report = run(capped)
    [large] = report.content["max_shares"]  # type: ignore[misc]
    assert (large["arm"], large["max_share"]) == ("large", 0.3)
    assert 0.25 <= large["share"]["last_third"] <= 0.31
    assert report.content["utility"]["last_third"] > large["coin"] + 0.02  # type: ignore[index]
    assert run(replace(capped, max_shares={}, limit=50)).content["max_shares"] is None
    assert report_table(report).row_count > 5


@pytest.mark.parametrize(
    ("shares", "why"),
    [
        ({"nobody": 0.3}, "of the pool's arms"),
        ({"large": 0.0}, r"\(0, 1\]"),
        ({"large": 0.3, "small": 0.3}, "less than 1"),
    ],
)
def test_caps_that_cannot_be_held_are_refused(two_topics: Path, shares: dict[str, float], why: str) -> None:
    with pytest.raises(InvalidInputError, match=why):
        run(ReplayOptions(directory=two_topics, pool="good", max_shares=shares))


@pytest.mark.parametrize("kind", sorted(POLICIES))
def test_every_policy_plays(two_topics: Path, kind: str) -> None:
    options = {"fixed": {"arm": "large"}, "rules": {"default": "small"}}.get(kind, {})
    content = run(
        ReplayOptions(directory=two_topics, policy=kind, policy_options=options, limit=60, floor=0.0)
    ).content
    pulls = content["per_seed"][0]["pulls"]  # type: ignore[index]
    assert sum(pulls.values()) == content["rows"] == 60
    if kind == "fixed":
        assert pulls["large"] == 60
    if kind == "rules":
        assert pulls["small"] == 60


def test_the_same_seed_gives_the_same_run_in_any_number_of_processes(two_topics: Path) -> None:
    runs = [
        run(ReplayOptions(directory=two_topics, seeds=2, limit=120, workers=workers)).content for workers in (1, 2)
    ]
    assert [one["pulls"] for one in runs[0]["per_seed"]] == [one["pulls"] for one in runs[1]["per_seed"]]  # type: ignore[attr-defined]


def test_a_budget_is_held_without_knowing_costs_in_advance(two_topics: Path) -> None:
    content = run(ReplayOptions(directory=two_topics, pool="good", budget_usd=0.0004, seeds=2, workers=1)).content
    assert content["objective"] == {"kind": "budget", "budget_usd": 0.0004}
    assert 0.8 < content["cost"]["over_budget"] <= 1.02  # type: ignore[index]
    assert content["budget"]["worst_over_budget"] >= content["cost"]["over_budget"]  # type: ignore[index]
    assert content["budget"]["fixed_mixture"] <= content["references"]["best_fixed"]["utility"]  # type: ignore[index]
    assert content["headroom_score"]["all"] > 0.0  # type: ignore[index]
    assert content["reward"]["mean"] > content["references"]["fixed_mixture_at_cost"] - 0.02  # type: ignore[index]
    assert run(ReplayOptions(directory=two_topics, limit=50, workers=1)).content["budget"] is None


def test_list_prices_are_what_is_known_of_costs_in_advance(two_topics: Path) -> None:
    data = make_plan(ReplayOptions(directory=two_topics, pool="good")).data
    price = Price(usd_per_mtok_in=0.0, usd_per_mtok_out=2.0)
    known = Tariff.of_list({"large": price}, data.arms, data.prompts, guess_usd=0.002)
    assert [known.mean_cost_usd(arm) for arm in range(2)] == [None, pytest.approx(0.0008)]  # 400 tokens are assumed
    assert known.prices[0].cost_usd(100.0, 400.0) == pytest.approx(0.002)
    with pytest.raises(InvalidInputError, match="no arm"):
        make_plan(ReplayOptions(directory=two_topics, prices={"nobody": price}))


def test_a_warm_up_split_is_played_first_and_not_scored(two_topics: Path) -> None:
    plan = make_plan(ReplayOptions(directory=two_topics, split="test", warmup_split="train", order="source"))
    assert plan.warmup.tolist() == list(range(200))
    assert plan.scored.tolist() == list(range(200, 600))
    cold = run(ReplayOptions(directory=two_topics, split="test", seeds=2, workers=1)).content
    warm = run(ReplayOptions(directory=two_topics, split="test", warmup_split="train", seeds=2, workers=1)).content
    assert warm["rows"] == cold["rows"] == 400
    wasted = [sum(one["pulls"]["bad"] for one in content["per_seed"]) for content in (cold, warm)]  # type: ignore[attr-defined]
    assert wasted[1] < wasted[0]  # the arm that never answers was found out during the warm-up


async def test_rewards_come_after_the_delay_and_all_of_them(two_topics: Path) -> None:
    deciders = []

    def make(_seed: int) -> Always:
        deciders.append(Always(1))
        return deciders[-1]

    plan = make_plan(ReplayOptions(directory=two_topics, limit=10, reward_delay=3, order="source"))
    report = await run_with(plan, make)
    log = deciders[0].log
    rows = plan.scored.tolist()
    assert [token for kind, token in log if kind == "reward"] == rows
    assert log.index(("reward", rows[0])) == log.index(("decide", rows[3])) + 1
    assert log[0] == ("scoring", None)
    assert log[-1] == ("close", None)
    expected = float(np.nanmean(plan.data.score[plan.scored, 1]))
    assert report.content["utility"]["mean"] == pytest.approx(expected)  # type: ignore[index]


async def test_the_first_rows_are_played_at_random_and_only_the_rest_is_scored(two_topics: Path) -> None:
    plan = make_plan(ReplayOptions(directory=two_topics, warmup_rows=0.1, seeds=2))
    report = await run_with(plan, lambda _seed: Always(0))
    content = report.content
    assert content["rows"] == 540
    assert content["conditions"]["warmup_policy"] == "uniform"  # type: ignore[index]
    for seed, one in enumerate(content["per_seed"]):  # type: ignore[arg-type]
        warmup, scored = plan.order(seed)
        assert [*warmup, *scored] == plan_order(two_topics, seed)  # the shuffle is that of a replay without warm-up
        assert one["pulls"]["small"] == 540
        assert one["rewards"] == 600
        arms = list(plan.warmup_arms(seed).values())
        assert len(arms) == 60
        assert set(arms) == {0, 1, 2}
    fixed = np.mean([plan.data.score[plan.order(seed)[1], 1].mean() for seed in (0, 1)])
    assert content["references"]["best_fixed"] == {"arm": "large", "utility": pytest.approx(fixed)}  # type: ignore[index]


def plan_order(folder: Path, seed: int) -> list[int]:
    return make_plan(ReplayOptions(directory=folder)).order(seed)[1].tolist()


async def test_a_warm_up_by_the_policy_itself_forces_no_arm(two_topics: Path) -> None:
    plan = make_plan(ReplayOptions(directory=two_topics, warmup_rows=0.5, warmup_policy="same", limit=20))
    assert plan.warmup_arms(0) == {}
    decider = Always(2)
    report = await run_with(plan, lambda _seed: decider)
    assert report.content["rows"] == 10
    assert decider.log.index(("scoring", None)) == 20  # ten decisions with their rewards before


async def test_a_decider_that_disobeys_the_warm_up_is_found_out(two_topics: Path) -> None:
    class Stubborn(Always):
        async def decide(self, row: Row) -> Served:
            return Served(self.arm, row.index)

    plan = make_plan(ReplayOptions(directory=two_topics, warmup_rows=0.5, limit=40))
    with pytest.raises(InvariantError, match="warm-up"):
        await run_with(plan, lambda _seed: Stubborn(0))


def test_a_randomised_warm_up_makes_the_start_better(two_topics: Path) -> None:
    cold = run(ReplayOptions(directory=two_topics, seeds=4, limit=150, workers=1)).content
    warm = run(ReplayOptions(directory=two_topics, seeds=4, limit=300, warmup_rows=0.5, workers=1)).content
    assert warm["rows"] == cold["rows"] == 150
    assert warm["headroom_score"]["all"] > cold["headroom_score"]["all"] + 0.1  # type: ignore[index]


def test_missing_rewards_and_noisy_sources_are_learned_from_and_reported(two_topics: Path) -> None:
    rare = run(ReplayOptions(directory=two_topics, pool="good", reward_rate=0.3)).content
    assert 140 < rare["per_seed"][0]["rewards"] < 220  # type: ignore[index]
    sources = (FeedbackSource(kind="judge", rate=0.5, sd=0.1), FeedbackSource(kind="thumb", rate=0.1))
    content = run(ReplayOptions(directory=two_topics, pool="good", seeds=2, workers=1, feedback=sources)).content
    kinds = [source["kind"] for source in content["conditions"]["feedback"]]  # type: ignore[index]
    assert kinds == ["judge", "thumb"]
    assert content["headroom_score"]["last_third"] > 0.3  # type: ignore[index]
    assert json.loads(json.dumps(content)) == content


def test_probes_teach_every_arm_and_are_counted_apart(two_topics: Path) -> None:
    plain = ReplayOptions(directory=two_topics, seeds=2, workers=1, reward_rate=0.3)
    without, probed = run(plain).content, run(replace(plain, probes=0.2)).content
    assert (without["probes"], without["conditions"]["probes"]) == (None, 0.0)  # type: ignore[index]
    for before, after in zip(without["per_seed"], probed["per_seed"], strict=True):  # type: ignore[call-overload]
        assert before["probe_rewards"] == 0
        assert 0.15 < after["probe_rewards"] / (600 * 2) < 0.25  # two of three arms do not serve
        assert before["rewards"] < after["rewards"]  # the served arm's score is reported there as well
    assert probed["probes"]["rewards"] == np.mean([one["probe_rewards"] for one in probed["per_seed"]])  # type: ignore[index]
    assert probed["headroom_score"]["all"] > without["headroom_score"]["all"]  # type: ignore[index]
    with pytest.raises(InvalidInputError, match="probes"):
        replace(plain, probes=1.5)


async def test_a_constant_decider_gets_exactly_the_best_fixed_utility(two_topics: Path) -> None:
    plan = make_plan(ReplayOptions(directory=two_topics, cost_weight=0.3))
    report = await run_with(plan, lambda _seed: Always(0))
    means = (plan.data.score - plan.penalty).mean(axis=0)
    assert report.content["utility"]["mean"] == pytest.approx(means[0])  # type: ignore[index]
    assert report.content["references"]["best_fixed"]["utility"] == pytest.approx(means.max())  # type: ignore[index]


def test_limit_draws_the_same_rows_for_every_seed_and_keeps_source_order(two_topics: Path) -> None:
    plan = make_plan(ReplayOptions(directory=two_topics, limit=50))
    again = make_plan(ReplayOptions(directory=two_topics, limit=50, seeds=3))
    assert plan.scored.tolist() == again.scored.tolist() == sorted(plan.scored.tolist())
    assert plan.order(0)[1].tolist() != plan.order(1)[1].tolist()


def test_wrong_options_are_refused(two_topics: Path) -> None:
    with pytest.raises(InvalidInputError, match="not both"):
        ReplayOptions(directory=two_topics, cost_weight=0.1, budget_usd=0.1)
    for weight in (float("nan"), float("inf"), -0.1):
        with pytest.raises(InvalidInputError, match="cost weight"):
            ReplayOptions(directory=two_topics, cost_weight=weight)
    with pytest.raises(InvalidInputError, match="split 'dev'"):
        make_plan(ReplayOptions(directory=two_topics, split="dev"))
    for wrong in ({"reward_rate": 0.0}, {"warmup_rows": 1.0}, {"warmup_policy": "nobody"}):
        with pytest.raises(InvalidInputError, match=next(iter(wrong))):
            ReplayOptions(directory=two_topics, **wrong)  # type: ignore[arg-type]
    judge = FeedbackSource(kind="judge", bias=0.1, arm="nobody")
    with pytest.raises(InvalidInputError, match="its own rate"):
        ReplayOptions(directory=two_topics, feedback=(judge,), reward_rate=0.5)
    with pytest.raises(InvalidInputError, match="no arm 'nobody'"):
        make_plan(ReplayOptions(directory=two_topics, feedback=(judge,)))
    with pytest.raises(ConfigurationError, match="Unknown policy"):
        run(ReplayOptions(directory=two_topics, policy="magic", limit=2))


def test_one_row_one_arm_and_missing_scores_still_give_a_report(write_folder) -> None:
    folder = write_folder([{"prompt": "only one"}], {"a": [1]})
    content = run(ReplayOptions(directory=folder)).content
    assert content["utility"]["mean"] == 1.0  # type: ignore[index]
    assert content["headroom_score"]["all"] is None  # type: ignore[index]  # nothing to choose between
    sparse = write_folder(
        [{"prompt": f"question {i}", "category": "x" if i % 2 else "y"} for i in range(40)],
        {"a": [1 if i % 3 else "" for i in range(40)], "b": [0 if i % 3 == 0 else "" for i in range(40)]},
    )
    report = run(ReplayOptions(directory=sparse, seeds=2, workers=1, reward_delay=100))
    assert json.loads(report.to_json())["rows"] == 40
    assert "NaN" not in report.to_json()


def test_labels_are_what_a_caller_says_and_no_text_shows(write_folder: WriteFolder) -> None:
    generator = np.random.default_rng(0)
    team = generator.integers(0, 2, 500)
    folder = write_folder(
        [{"prompt": f"Answer number {i}", "category": f"team {t}"} for i, t in enumerate(team.tolist())],
        {
            name: (generator.random(500) < np.where(team == best, 0.9, 0.3)).astype(int).tolist()
            for best, name in enumerate(("one", "other"))
        },
        {},
    )
    headroom = {}
    for tags in ((), ("category",)):
        content = run(ReplayOptions(directory=folder, workers=1, context_tags=tags)).content
        assert content["conditions"]["context_tags"] == list(tags)  # type: ignore[index]
        headroom[tags] = content["headroom_score"]["last_third"]  # type: ignore[index]
    assert headroom["category",] > 0.8
    assert headroom[()] < 0.4
    with pytest.raises(InvalidInputError, match="No row has the label 'user'; labels here: category"):
        run(ReplayOptions(directory=folder, context_tags=("user",)))
    with pytest.raises(InvalidInputError, match="each named once"):
        ReplayOptions(directory=folder, context_tags=("category", "category"))
