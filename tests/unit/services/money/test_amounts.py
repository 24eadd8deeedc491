"""Output tokens and latency by query: from usage reports to what routing predicts."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from banditd.core.types import Arm, FeatureGroup, FeatureSchema, Price
from banditd.ports import UsageOutcome
from banditd.services.money.amounts import billed, fit_amounts

SCHEMA = FeatureSchema(
    version=1,
    hash="s",
    groups=(
        FeatureGroup("bias", 0, 1), FeatureGroup("lexical", 1, 3), FeatureGroup("embedding", 3, 6),
        FeatureGroup("cluster", 6, 8),
    ),
    names=("bias", "length", "code", "e0", "e1", "e2", "c0", "c1"),
    encoder_id="e", embedding_dimension=3, n_clusters=2,
)  # fmt: skip
ARMS = [
    Arm(policy="default", arm="terse", upstream_model="m", expected_output_tokens=400.0, expected_latency_ms=1000.0),
    Arm(policy="default", arm="chatty", upstream_model="m", expected_output_tokens=400.0),
    Arm(policy="default", arm="new", upstream_model="m", expected_output_tokens=200.0),
]


def outcomes(n: int, seed: int = 0) -> list[UsageOutcome]:
    """Answers grow with the second feature on every arm; the chatty one says five times as much."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(n):
        x = np.concatenate([[1.0], rng.normal(0, 0.5, 2), rng.normal(0, 1, 3), [float(i % 2), float(1 - i % 2)]])
        arm = ("terse", "chatty")[int(rng.random() < 0.5)]
        tokens = (100.0 if arm == "terse" else 500.0) * np.exp(x[2] + rng.normal(0, 0.4) - 0.08)
        latency_ms = 10.0 * tokens if arm == "terse" else None
        made.append(UsageOutcome(arm, x, 1000 + i, 20, int(tokens) + 1, None, latency_ms))
    return made


def test_tokens_follow_the_query_and_the_arm() -> None:
    amounts = fit_amounts(outcomes(1500), ARMS, SCHEMA)
    fresh = outcomes(1500, seed=1)
    assert amounts.output_tokens is not None
    for index, arm in enumerate(("terse", "chatty")):
        rows = [one for one in fresh if one.arm == arm]
        predicted = np.array([amounts.output_tokens.predict(one.x)[index] for one in rows])
        actual = np.array([one.output_tokens for one in rows])
        assert predicted.sum() / actual.sum() == pytest.approx(1.0, abs=0.08)
        assert np.corrcoef(predicted, actual)[0, 1] > 0.6


def tagged(n: int, *, tells: bool, seed: int = 0) -> tuple[FeatureSchema, list[UsageOutcome]]:
    """The same with one of four values of a tag, which either tell how long answers are or tell nothing."""
    rng = np.random.default_rng([seed, 7])
    made = []
    for one in outcomes(n, seed):
        value = int(rng.integers(4))
        x = np.concatenate([one.x, np.eye(4)[value]])
        factor = np.exp(value / 1.5 - 1.0) if tells else 1.0
        made.append(dataclasses.replace(one, x=x, output_tokens=int((one.output_tokens or 1) * factor) + 1))
    groups = (*SCHEMA.groups, FeatureGroup("tag:task", 8, 12))
    return dataclasses.replace(SCHEMA, groups=groups, names=(*SCHEMA.names, *"wxyz")), made


def error_of(schema: FeatureSchema, learned: list[UsageOutcome], fresh: list[UsageOutcome]) -> float:
    """Mean absolute error of the logarithm of the tokens of the terse arm."""
    model = fit_amounts(learned, ARMS, schema).output_tokens
    assert model is not None
    rows = [one for one in fresh if one.arm == "terse"]
    return float(np.mean([abs(np.log(model.predict(one.x)[0] / (one.output_tokens or 1))) for one in rows]))


def test_a_tag_of_the_caller_tells_how_long_answers_are() -> None:
    schema, learned = tagged(400, tells=True)
    _, fresh = tagged(800, tells=True, seed=1)
    blind = dataclasses.replace(schema, groups=(*SCHEMA.groups, FeatureGroup("caller", 8, 12)))
    assert error_of(schema, learned, fresh) < 0.8 * error_of(blind, learned, fresh)


def test_a_tag_that_tells_nothing_costs_nothing() -> None:
    schema, learned = tagged(400, tells=False)
    _, fresh = tagged(800, tells=False, seed=1)
    blind = dataclasses.replace(schema, groups=(*SCHEMA.groups, FeatureGroup("caller", 8, 12)))
    assert error_of(schema, learned, fresh) < 1.03 * error_of(blind, learned, fresh)


def test_an_arm_without_reports_shares_what_the_others_have_shown() -> None:
    amounts = fit_amounts(outcomes(1500), ARMS, SCHEMA)
    assert amounts.output_tokens is not None
    short, long = np.zeros(8), np.zeros(8)
    short[0] = long[0] = 1.0
    short[2], long[2] = -1.0, 1.0
    ratio = amounts.output_tokens.predict(long)[2] / amounts.output_tokens.predict(short)[2]
    assert ratio == pytest.approx(np.exp(2.0), rel=0.4)


def test_latency_is_unknown_where_nobody_has_said_or_seen_any() -> None:
    amounts = fit_amounts(outcomes(200), ARMS, SCHEMA)
    assert amounts.latency_ms is not None
    latency = amounts.latency_ms.predict(outcomes(1)[0].x)
    assert latency[0] > 0.0
    assert np.isnan(latency[1:]).all()


def test_without_reports_there_is_no_model() -> None:
    nothing = fit_amounts([], ARMS, SCHEMA)
    assert (nothing.output_tokens, nothing.latency_ms) == (None, None)
    unknown = [dataclasses.replace(one, arm="gone") for one in outcomes(5)]
    assert fit_amounts(unknown, ARMS, SCHEMA).output_tokens is None


def test_models_follow_their_arms_into_another_order() -> None:
    amounts = fit_amounts(outcomes(300), ARMS, SCHEMA)
    assert amounts.output_tokens is not None
    x = outcomes(1, seed=5)[0].x
    before = amounts.output_tokens.predict(x)
    moved = amounts.output_tokens.aligned(amounts.arms, ("chatty", "newer", "terse"), np.array([1.0, 7.0, 3.0]))
    assert moved.predict(x) == pytest.approx([before[1], 7.0, before[0]])


def test_dollars_without_tokens_tell_the_tokens_at_the_price_of_their_time() -> None:
    prices = {arm.arm: [(0, Price(1.0, 10.0, 0.001)), (1500, Price(1.0, 40.0, 0.001))] for arm in ARMS}
    told, paid = outcomes(1000), []
    for one in told:
        price = prices[one.arm][int(one.decided_at_us >= 1500)][1]
        cost = price.cost_usd(one.input_tokens, one.output_tokens or 0)
        paid.append(dataclasses.replace(one, output_tokens=None, cost_usd=cost))
    by_tokens, by_dollars = (fit_amounts(some, ARMS, SCHEMA, prices).output_tokens for some in (told, paid))
    assert by_tokens is not None
    assert by_dollars is not None
    assert by_dollars.typical == pytest.approx(by_tokens.typical)


def test_dollars_that_no_token_price_explains_say_nothing_of_tokens() -> None:
    flat = {arm.arm: [(0, Price(usd_per_request=0.01))] for arm in ARMS}
    paid = [dataclasses.replace(one, output_tokens=None, cost_usd=0.01) for one in outcomes(50)]
    assert fit_amounts(paid, ARMS, SCHEMA, flat).output_tokens is None
    assert fit_amounts(paid, ARMS, SCHEMA).output_tokens is None


def test_reported_tokens_replace_the_assumption_gradually() -> None:
    few, many = (fit_amounts(outcomes(n), ARMS, SCHEMA).output_tokens for n in (4, 800))
    assert few is not None
    assert many is not None
    # Assumed are 400 of both; the terse arm says 100 on average, the chatty one 500.
    assert 100 < few.typical[0] < 400
    assert many.typical[:2] == pytest.approx([100 * np.exp(0.125), 500 * np.exp(0.125)], rel=0.12)


def wild(**changes: object) -> list[UsageOutcome]:
    """Forty-two honest reports, and one in the middle that is not."""
    made = outcomes(43)
    return [*made[:20], dataclasses.replace(made[20], **changes), *made[21:]]  # type: ignore[arg-type]


PRICED = {arm.arm: [(0, Price(1.0, 10.0))] for arm in ARMS}


@pytest.mark.parametrize(
    "changes",
    [
        {"output_tokens": 10**9}, {"output_tokens": 100_000}, {"output_tokens": 0}, {"output_tokens": 1},
        {"output_tokens": None, "cost_usd": 1e6}, {"output_tokens": None, "cost_usd": 0.2},
        {"output_tokens": None, "cost_usd": 0.0}, {"output_tokens": None, "cost_usd": 1e-9},
        {"latency_ms": 1e9}, {"latency_ms": 0.0}, {"latency_ms": 1e-6}, {"latency_ms": 3e6},
        {"input_tokens": 10**9}, {"input_tokens": 0}, {"input_tokens": 1},
        {"output_tokens": None, "cost_usd": 0.01, "input_tokens": 10**9},
    ],
    ids=str,
)  # fmt: skip
def test_one_wild_report_moves_no_amount_far(changes: dict[str, object]) -> None:
    honest, moved = (fit_amounts(some, ARMS, SCHEMA, PRICED) for some in (outcomes(43), wild(**changes)))
    for name in ("output_tokens", "latency_ms"):
        before, after = getattr(honest, name).typical, getattr(moved, name).typical
        ratio = (after / before)[np.isfinite(before)]
        assert (ratio > 0.7).all(), name
        assert (ratio < 1.45).all(), name
    assert honest.input_tokens is not None
    assert moved.input_tokens == pytest.approx(honest.input_tokens, rel=0.1)


def test_a_first_report_is_not_believed_alone() -> None:
    """What a call is assumed to take moves by a small factor, whatever its first report says."""
    [one] = outcomes(1)
    for said in ({"output_tokens": 10**9}, {"output_tokens": 20_000}, {"output_tokens": 0}, {"latency_ms": 1e9}):
        amounts = fit_amounts([dataclasses.replace(one, **said)], ARMS, SCHEMA)  # type: ignore[arg-type]
        if amounts.output_tokens is not None:
            assert 400 / 3 < amounts.output_tokens.typical[0] < 400 * 4
        if amounts.latency_ms is not None:
            assert 300 < amounts.latency_ms.typical[0] < 4000


@pytest.mark.parametrize(
    ("factor", "found"), [(1.0, {}), (1.2, {}), (0.85, {}), (10.0, {"terse": 10.0}), (0.5, {"terse": 0.5})]
)
def test_an_arm_whose_dollars_its_price_does_not_explain_is_found(factor: float, found: dict[str, float]) -> None:
    price = Price(usd_per_mtok_in=2.0, usd_per_mtok_out=8.0, usd_per_mtok_cached_in=0.5)

    def reported(n: int, at: float = 1.0) -> list[UsageOutcome]:
        cost_usd = at * price.cost_usd(100, 40, 60)
        return [UsageOutcome("terse", np.ones(8), 1000 + i, 100, 40, cost_usd, None, 60) for i in range(n)]

    prices = {"terse": [(0, price)]}
    assert billed(reported(12, factor), prices) == pytest.approx(found)
    assert billed(reported(9, factor), prices) == {}, "too few to tell"
    estimated = [dataclasses.replace(one, cached_input_tokens=None) for one in reported(12, factor)]
    assert billed(estimated, prices) == {}, "the tokens of the input are a guess"
    corrected = {"terse": [(0, price), (1012, Price(usd_per_mtok_in=2.0 * factor, usd_per_mtok_out=8.0 * factor))]}
    newer = dataclasses.replace(reported(1)[0], decided_at_us=1012)
    assert billed([*reported(12, factor), newer], corrected) == {}, "the price was corrected since"
