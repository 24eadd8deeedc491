"""One decision for many queries at once, against the same in plain numbers and against itself one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from tests.unit.deciding import plain

from banditd.bandit.policies.base import ArmPrior, PolicySettings
from banditd.bandit.state import PolicyState
from banditd.core.money import ALL, AccountKey, AccountTotals, BudgetRule
from banditd.core.types import Arm, Context, FeatureGroup, FeatureSchema, Price, Query
from banditd.deciding.account import Account
from banditd.deciding.decide import Case, Decided, Situation, decide
from banditd.deciding.view import RouteView, build_view

N_FEATURES, N_CLUSTERS = 21, 4
SCHEMA = FeatureSchema(
    version=1,
    hash="decide",
    groups=(
        FeatureGroup("bias", 0, 1),
        FeatureGroup("lexical", 1, 5),
        FeatureGroup("embedding", 5, 17),
        FeatureGroup("cluster", 17, N_FEATURES),
    ),
    names=tuple(f"f{i}" for i in range(N_FEATURES)),
    encoder_id="test",
    embedding_dimension=8,
    n_clusters=N_CLUSTERS,
)
STATES, QUERIES = 50, 50  # 2,100 queries: fewer where there are many arms
FLOOR = 0.005


def context(rng: np.random.Generator) -> Context:
    x = np.zeros(N_FEATURES)
    x[0] = 1.0
    x[1:17] = rng.normal(size=16) / 3.0
    cluster = int(rng.integers(N_CLUSTERS))
    x[17 + cluster] = 1.0
    return Context(x=x.astype(np.float32).astype(np.float64), cluster=cluster)


def random_view(rng: np.random.Generator, n_arms: int, rewards: int, model: str = "pooled") -> RouteView:
    """Arms of random prices and shares, and what some rewards have taught about them."""
    names = [f"a{k}" for k in range(n_arms)]
    settings = PolicySettings(options={"model": model})
    state = PolicyState(schema=SCHEMA, settings=settings, arms=[ArmPrior(name) for name in names])
    slopes = rng.normal(0.0, rng.choice([0.02, 0.1, 0.25]), (n_arms, N_FEATURES))
    for _ in range(rewards):
        one, arm = context(rng), int(rng.integers(n_arms))
        reward = float(np.clip(0.5 + slopes[arm] @ one.x + rng.normal(0.0, 0.1), 0.0, 1.0))
        state.fold(arm=names[arm], epoch=state.epoch, x=one.x, weight=1.0, reward=reward)
        if state.tune_due():
            state.adopt(state.tuning().run())
    arms = [
        Arm(
            policy="default",
            arm=name,
            upstream_model=name,
            price=Price(*(rng.choice([0.0, 0.1, 1.0, 10.0], 2) * rng.random(2)).tolist()),
            min_share=float(rng.choice([0.0, 0.0, 0.01])),
        )
        for name in names
    ]
    return build_view(state.snapshot(), arms, {})


def random_query(rng: np.random.Generator, names: Sequence[str]) -> Query:
    some = tuple(name for name in names if rng.random() < 0.6) or (names[0],)
    return Query(
        candidates=some if rng.random() < 0.3 else None,
        excluded_arms=frozenset({names[-1]}) if len(some) > 1 and rng.random() < 0.3 else frozenset(),
        cost_weight=float(rng.choice([0.0, 0.1, 2.0])),
        expected_output_tokens=float(rng.integers(1, 900)) if rng.random() < 0.3 else None,
    )


def by_hand(situation: Situation, case: Case, uniform: float) -> tuple[dict[str, float], str]:
    """Probability by arm, and the arm drawn, in plain numbers."""
    view, query = situation.view, case.query
    tokens_out = query.expected_output_tokens or 400.0
    arms, cost, penalty = [], [], []
    for i, arm in enumerate(view.arms):
        if (query.candidates is not None and arm.arm not in query.candidates) or arm.arm in query.excluded_arms:
            continue
        arms.append(i)
        cost.append(arm.price.cost_usd(case.input_tokens, tokens_out))
        dearest = max(other.price.cost_usd(300.0, 400.0) for other in view.arms)
        weight = situation.cost_weight if query.cost_weight is None else query.cost_weight
        penalty.append(weight * cost[-1] / dearest if dearest > 0.0 else 0.0)
    posterior = view.snapshot.posterior
    belief = plain.believe(posterior, case.context.x, arms, penalty)
    learnable = [c / (c + float(posterior.noise[arm])) for c, arm in zip(belief.contrast, arms, strict=True)]
    p = plain.directed(belief.utility, [0.6 * c**0.5 for c in belief.contrast], learnable)
    p = plain.mixed(p, plain.dollar_floors(cost, situation.exploration_floor))
    p = plain.mixed(p, [view.arms[arm].min_share for arm in arms])
    named = [view.arms[arm].arm for arm in arms]
    return dict(zip(named, p, strict=True)), named[plain.drawn(p, uniform)]


@pytest.mark.parametrize("part", range(4))
def test_probabilities_are_those_of_the_formulas_in_plain_numbers(part: int) -> None:
    """2,100 random queries on 50 random states, 2 to 40 arms, pooled and disjoint."""
    for seed in range(part, STATES, 4):
        rng = np.random.default_rng(seed)
        n_arms, rewards = [2, 3, 5, 5, 8, 10, 14, 15, 20, 40][seed % 10], int(rng.choice([0, 1, 10, 100, 400]))
        view = random_view(rng, n_arms, rewards, "disjoint" if seed % 4 == 3 else "pooled")
        situation = Situation(view=view, now_us=0, exploration_floor=FLOOR, cost_weight=0.2)
        names = [arm.arm for arm in view.arms]
        count = QUERIES if n_arms < 20 else QUERIES // 5
        cases = [
            Case(query=random_query(rng, names), context=context(rng), input_tokens=float(rng.integers(1, 2000)))
            for _ in range(count)
        ]
        uniforms = rng.random(count)
        decided = decide(situation, cases, uniforms)
        assert not decided.refused
        for row, (case, uniform) in enumerate(zip(cases, uniforms.tolist(), strict=True)):
            expected, arm = by_hand(situation, case, uniform)
            for i, name in enumerate(names):
                assert decided.draw.probability[row, i] == pytest.approx(expected.get(name, 0.0), abs=1e-9)
            assert names[decided.draw.index[row]] == arm
            assert decided.draw.propensity[row] == decided.draw.probability[row, decided.draw.index[row]]


def account(usd: float, *, charged: float = 0.0, per: str = "day", at_stop: str = "cheapest") -> Account:
    from banditd.budget.pacer import Pacer

    rule = BudgetRule(name=f"{per}-{usd:g}", usd=usd, per=per, at_stop=at_stop)
    key = AccountKey("default", rule.name, ALL, 0)
    pacer = Pacer(usd if rule.is_rate else usd / 1000.0)
    return Account(rule, key, 10**15, 0, AccountTotals(decisions=10, charged_usd=charged), pacer)


Change = Callable[[np.random.Generator, Case], Case]


def anything(rng: np.random.Generator, case: Case, names: Sequence[str]) -> Case:
    """The case with a session's arm, a quality floor or budgets, or with what refuses it."""
    kind = int(rng.integers(7))
    query = case.query
    floored = Query(quality_floor=float(rng.uniform(0.3, 0.8)), quality_confidence=float(rng.uniform(0.5, 0.95)))
    changes: list[Case] = [
        case,
        Case(query=query, context=case.context, input_tokens=case.input_tokens, session_arm=str(rng.choice(names))),
        Case(query=floored, context=case.context, input_tokens=case.input_tokens),
        Case(
            query=query,
            context=case.context,
            input_tokens=case.input_tokens,
            accounts=(account(0.01), account(2e-4, per="decision")),
        ),
        Case(
            query=query,
            context=case.context,
            input_tokens=case.input_tokens,
            accounts=(account(0.01, charged=0.01, at_stop=str(rng.choice(["reject", "cheapest", "a1"]))),),
        ),
        Case(query=Query(candidates=("nobody",)), context=case.context, input_tokens=case.input_tokens),
        Case(query=Query(max_latency_ms=1.0, max_cost_usd=-1.0), context=case.context, input_tokens=1.0),
    ]
    return changes[kind]


def same(batch: Decided, row: int, alone: Decided) -> None:
    assert np.abs(batch.draw.probability[row] - alone.draw.probability[0]).max() < 1e-12
    assert batch.draw.index[row] == alone.draw.index[0]
    assert (batch.draw.arms[row] == alone.draw.arms[0]).all()
    assert (batch.draw.reason[row], batch.draw.explored[row]) == (alone.draw.reason[0], alone.draw.explored[0])
    assert batch.draw.uniform[row] == alone.draw.uniform[0]
    assert batch.exclusions[row] == alone.exclusions[0]
    assert (batch.eligible[row] == alone.eligible[0]).all()
    assert batch.admissions[row].stopped == alone.admissions[0].stopped
    assert batch.priced.cost_usd[row] == pytest.approx(alone.priced.cost_usd[0])
    assert batch.priced.penalty[row] == pytest.approx(alone.priced.penalty[0])


@pytest.mark.parametrize("seed", range(12))
def test_a_batch_is_decided_as_its_queries_one_by_one(seed: int) -> None:
    rng = np.random.default_rng([seed, 1])
    view = random_view(rng, [2, 3, 5, 9][seed % 4], 60)
    names = [arm.arm for arm in view.arms]
    soft = {names[0]: "breaker_open"} if seed % 3 == 0 else {}
    situation = Situation(view=view, now_us=5, exploration_floor=FLOOR, cost_weight=0.2, soft=soft)
    cases = [
        anything(rng, Case(query=random_query(rng, names), context=context(rng), input_tokens=100.0), names)
        for _ in range(40)
    ]
    uniforms = rng.random(len(cases))
    batch = decide(situation, cases, uniforms)
    rows = {i: row for row, i in enumerate(batch.rows.tolist())}
    stopped = []
    for i, case in enumerate(cases):
        alone = decide(situation, [case], uniforms[i : i + 1])
        stopped += alone.stopped
        if i in rows:
            same(batch, rows[i], alone)
        else:
            assert type(batch.refused[i]) is type(alone.refused[0])
            assert str(batch.refused[i]) == str(alone.refused[0])
    assert list(batch.stopped) == stopped
    assert set(batch.refused) | set(rows) == set(range(len(cases)))


def test_every_query_refused_is_no_error_of_the_batch() -> None:
    view = random_view(np.random.default_rng(2), 3, 0)
    situation = Situation(view=view, now_us=0, exploration_floor=FLOOR)
    case = Case(query=Query(candidates=("nobody",)), context=context(np.random.default_rng(0)), input_tokens=1.0)
    decided = decide(situation, [case, case], np.zeros(2))
    assert (sorted(decided.refused), decided.rows.size) == ([0, 1], 0)


def test_a_session_keeps_its_arm_only_where_it_may_answer() -> None:
    rng = np.random.default_rng(3)
    situation = Situation(view=random_view(rng, 3, 30), now_us=0, exploration_floor=FLOOR)
    free = Case(query=Query(), context=context(rng), input_tokens=1.0, session_arm="a2")
    barred = Case(
        query=Query(excluded_arms=frozenset({"a2"})), context=free.context, input_tokens=1.0, session_arm="a2"
    )
    decided = decide(situation, [free, barred], np.array([0.3, 0.3]))
    assert decided.draw.reason == ["session", "policy"]
    assert (decided.draw.index[0], decided.draw.propensity[0], decided.draw.uniform[0]) == (2, 1.0, 0.0)
    assert decided.draw.index[1] != 2
