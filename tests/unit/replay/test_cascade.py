"""Chains in a replay: signals of a data set, one reward per chain, all calls paid, and the report beside routing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tests.unit.replay.conftest import WriteFolder

from banditd.cli import commands
from banditd.core.errors import InvalidInputError
from banditd.deciding.chains import guard
from banditd.deciding.chains.learner import Move
from banditd.replay.cascade import ChainDecider
from banditd.replay.chain_references import FullInformation, chain_references, oracle_cascade, ranked
from banditd.replay.chain_signals import ChainSignals
from banditd.replay.contexts import build_contexts
from banditd.replay.decider import InProcessDecider
from banditd.replay.engine import play, play_seed, run
from banditd.replay.feedback import FeedbackSource
from banditd.replay.options import ReplayOptions
from banditd.replay.plan import make_plan
from banditd.replay.table import report_table

ROWS = 40


@pytest.fixture
def exam(write_folder: WriteFolder) -> Path:
    """``small`` is right where its log-probability is high, ``large`` always; a second look at small's costs."""
    rng = np.random.default_rng(0)
    sure = rng.random(ROWS) < 0.5
    looks = np.where(np.arange(ROWS) % 3 == 0, "", "0.001")
    columns: dict[str, list[object]] = {
        "small": sure.astype(int).tolist(),
        "large": [1] * ROWS,
        "small|cost_usd": [0.05] * ROWS,
        "large|cost_usd": [1.0] * ROWS,
        "small|verify_cost_usd": looks.tolist(),
        "small|signal_logprob": np.where(sure, -0.1, -2.0).tolist(),
        "small|signal_verify_score": np.where(looks == "", "", np.where(sure, "0.9", "0.2")).tolist(),
        "small|answer": ["yes" if one else "no" for one in sure],
        "large|answer": ["yes"] * ROWS,
    }
    return write_folder([{"prompt": f"Question {i} of many", "category": "all"} for i in range(ROWS)], columns)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chains are tried from the start and never judged."""
    monkeypatch.setattr(guard, "LEARNING", 1)


def test_costly_signals_are_hidden_until_they_are_asked_for(exam: Path) -> None:
    signals = ChainSignals.of(make_plan(ReplayOptions(directory=exam, cascade=True)))
    assert set(signals.names) == {"logprob", "verify_score", "answer_chars"}
    assert signals.costly_names == ("verify_score",)
    place = signals.names.index("verify_score")
    assert np.isnan(signals.free[:, :, place]).all()
    asked = signals.costs_usd > 0.0
    assert np.array_equal(np.isfinite(signals.full[:, :, place]), asked)
    assert asked[:, 0].sum() == ROWS - len(range(0, ROWS, 3))
    assert not asked[:, 1].any()
    assert signals.same is not None
    assert signals.same[:, 0, 1].tolist() == [text == "yes" for text in _answers(exam)]


def _answers(exam: Path) -> list[str | None]:
    signals = make_plan(ReplayOptions(directory=exam)).data.signals
    assert signals is not None
    return list(signals.texts["small"])


def _played(exam: Path) -> tuple[ChainDecider, InProcessDecider, object]:
    plan = make_plan(ReplayOptions(directory=exam, cascade=True, cost_weight=0.1))
    schema, contexts = build_contexts(plan.data.prompts, with_facts=False)
    inner = InProcessDecider(
        schema=schema, settings=plan.options.settings(), arms=plan.data.arms, contexts=contexts, seed=0,
        tariff=plan.tariff(),
    )  # fmt: skip
    chains = ChainDecider(plan, inner, ChainSignals.of(plan), schema=schema, seed=0)
    played = asyncio.run(play(plan, chains, 0, lambda _done: None))
    return chains, inner, chains.record(ROWS, played)


@pytest.mark.usefixtures("soon")
def test_rewards_of_later_calls_never_train_the_first_stages_own_model_of_an_arm(
    exam: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Move, "drawn", lambda move, _uniform: move.actions[-1])  # on and on
    _chains, inner, record = _played(exam)
    first, called = record.first, record.called  # type: ignore[attr-defined]
    assert called.all(axis=1).sum() > ROWS // 2  # or nothing is tested
    for arm, name in enumerate(("small", "large")):
        assert inner.state.sums(name).n == (first == arm).sum()


@pytest.mark.usefixtures("soon")
def test_all_calls_are_paid_and_the_kept_answer_has_the_reward(exam: Path) -> None:
    plan = make_plan(ReplayOptions(directory=exam, cascade=True, cost_weight=0.1))
    schema, contexts = build_contexts(plan.data.prompts, with_facts=False)
    played = play_seed(plan, schema, contexts, 0)
    chains = played.chains
    assert chains is not None
    rows = np.arange(ROWS)
    assert chains.called[rows, played.chosen].all()
    assert chains.called[rows, chains.first].all()
    usd = chains.called @ np.array([0.05, 1.0]) + chains.signals_usd
    assert plan.spent_usd(played) == pytest.approx(usd)
    kept = plan.data.score[played.rows, played.chosen]
    assert plan.earned(played) == pytest.approx(kept - 0.1 * usd)
    assert played.rewards == ROWS  # one per chain
    assert chains.routing.chains is None
    assert np.array_equal(chains.routing.rows, played.rows)
    alone = play_seed(make_plan(ReplayOptions(directory=exam, cost_weight=0.1)), schema, contexts, 0)
    assert np.array_equal(alone.chosen, chains.routing.chosen)  # routing is what it is without --cascade


@pytest.mark.usefixtures("soon")
def test_the_report_has_chains_beside_routing_and_what_hindsight_could_have(exam: Path) -> None:
    report = run(ReplayOptions(directory=exam, cascade=True, cost_weight=0.1, max_calls=2, warmup_rows=0.2))
    content = json.loads(report.to_json())
    cascade = content["cascade"]
    assert cascade["max_calls"] == 2
    assert cascade["agreement"] is True
    assert content["utility"]["mean"] - cascade["routing"]["mean"] == pytest.approx(cascade["gain"]["all"]["mean"])
    assert 1.0 <= cascade["calls"]["mean"]["all"] <= 2.0
    assert cascade["guard"][0]["state"] == "trial"
    references = cascade["references"]
    assert references["best_fixed"]["arm"] == "large"
    assert references["stop"] > references["routed"] + 0.01  # half of the calls of large are saved
    assert references["oracle"] >= references["stop"] - 1e-9
    assert content["recipes"] is None
    assert report_table(report).row_count > 15
    assert run(ReplayOptions(directory=exam, limit=5)).content["cascade"] is None


@pytest.mark.usefixtures("soon")
def test_late_missing_and_weighted_rewards_are_learned_from_as_without_chains(exam: Path) -> None:
    late = run(
        ReplayOptions(directory=exam, cascade=True, cost_weight=0.1, reward_delay=10, reward_rate=0.5, limit=30)
    )
    [seed] = late.content["per_seed"]  # type: ignore[misc]
    assert 5 < seed["rewards"] < 25
    judge = FeedbackSource.parse("judge:rate=0.5,sd=0.1")
    assert run(ReplayOptions(directory=exam, cascade=True, feedback=(judge,), limit=20)).content["cascade"]


def test_the_best_stop_rule_is_found_where_signals_tell_everything() -> None:
    rng = np.random.default_rng(0)
    n = 400
    right = rng.random((n, 2)) < (0.6, 0.9)
    signals = np.where(right, 50.0, 1.0)[:, :, None]
    full = FullInformation(
        x=np.c_[np.ones(n), rng.normal(size=n)],
        score=right.astype(float),
        signals=ranked(signals),
        same=None,
        call=np.array([0.01, 0.3]),
        ask=np.zeros((n, 2)),
    )
    found = chain_references(full, 2)
    best = right[:, 0] - 0.01 + ~right[:, 0] * (right[:, 1] - 0.3)
    assert found["stop"] == pytest.approx(best.mean(), abs=0.02)
    assert found["oracle"] == pytest.approx(best.mean())
    assert chain_references(full, 3)["stop"] == found["stop"]  # there is no third arm
    few = FullInformation(
        x=full.x[:3], score=full.score[:3], signals=signals[:3], same=None, call=full.call, ask=full.ask[:3]
    )
    assert chain_references(few, 2)["stop"] is None


def test_ranks_are_among_the_same_arms_signals() -> None:
    signals = np.array([[1.0, np.nan], [5.0, np.nan], [3.0, np.nan]])[:, :, None]
    found = ranked(signals)
    assert found[:, 0, 0] == pytest.approx([-2 / 3, 2 / 3, 0.0])
    assert np.isnan(found[:, 1]).all()


def test_the_oracle_cascade_has_no_foresight_and_needs_no_scores_of_right_and_wrong() -> None:
    score = np.array([[1.0, 1.0], [0.0, 1.0], [0.0, 0.0]])
    assert oracle_cascade(score, np.array([0.1, 0.4]), 2) == pytest.approx(2 / 3 - 0.1 - 2 / 3 * 0.4)
    assert oracle_cascade(score, np.array([0.1, 0.2]), 2) == pytest.approx(2 / 3 - 0.2)  # one call alone
    assert oracle_cascade(np.full((2, 2), np.nan), np.zeros(2), 2) is None
    graded = np.random.default_rng(0).random((50, 3))
    best = oracle_cascade(graded, np.full(3, 0.01), 3)
    assert best is not None
    assert graded.mean(axis=0).max() - 0.01 < best <= graded.max(axis=1).mean()


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"budget_usd": 0.1}, "leave a budget out"),
        ({"keep": 0.9}, "leave a promise"),
        ({"recipes": "small+large>large"}, "leave recipes out"),
        ({"probes": 0.1}, "leave probes out"),
        ({"max_calls": 1}, "2 to 8 calls"),
        ({"cascade": False, "max_calls": 2}, "is of a cascade"),
    ],
)
def test_what_does_not_go_with_a_cascade_is_refused(given: dict[str, object], why: str) -> None:
    with pytest.raises(InvalidInputError, match=why):
        ReplayOptions(**{"directory": Path("nowhere"), "cascade": True, **given})  # type: ignore[arg-type]


def test_data_without_signals_and_signals_with_negative_costs_are_refused_by_name(
    two_topics: Path, write_folder: WriteFolder
) -> None:
    with pytest.raises(InvalidInputError, match="signal_NAME"):
        run(ReplayOptions(directory=two_topics, cascade=True))
    with pytest.raises(InvalidInputError, match="nobody to call"):
        run(ReplayOptions(directory=two_topics, pool="small", cascade=True))
    folder = write_folder(
        [{"prompt": "a"}], {"m": [1], "n": [0], "m|verify_cost_usd": [-1], "m|signal_verify": [0.5]}
    )
    with pytest.raises(InvalidInputError, match=r"verify_cost_usd is negative"):
        run(ReplayOptions(directory=folder, cascade=True))


def test_a_cascade_is_on_the_command_line(exam: Path) -> None:
    def shown(*options: str) -> tuple[int, str]:
        result = CliRunner().invoke(commands, ["replay", str(exam), "--limit", "10", *options])
        return result.exit_code, result.output

    code, text = shown("--cascade", "--max-calls", "2", "--cost-weight", "0.1", "--answers", "text")
    assert code == 0, text
    assert "gain of chains" in text
    assert "needs --cascade" in shown("--max-calls", "2")[1]
    assert "played in process" in shown("--cascade", "--url", "http://127.0.0.1:1")[1]
