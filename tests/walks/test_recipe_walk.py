"""A recipe through the whole daemon: decided, reported call by call, charged once, learned as one arm."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from tests.walks.conftest import OpenDaemon, leads, make_settings
from tests.walks.test_repair import refolded

from banditd.core.attempts import Attempt
from banditd.core.errors import BanditdError, ConfigurationError, ConflictError, InvalidInputError
from banditd.core.recipes import Recipe
from banditd.core.rewards import UsageReport
from banditd.core.types import Arm, Price, Query
from banditd.daemon.open import Daemon
from banditd.services.walks import RewardInput
from banditd.settings import Settings

MODELS: list[dict[str, Any]] = [
    {"arm": "a", "price": {"usd_per_request": 1.0}},
    {"arm": "b", "price": {"usd_per_request": 2.0}},
    {"arm": "c", "price": {"usd_per_request": 40.0}, "capabilities": ["vision"], "context_window_tokens": 900},
]
DUO: dict[str, Any] = {"arm": "duo", "recipe": {"kind": "agree", "members": ["a", "b"], "else": "c"}}
ONLY: dict[str, Any] = {"arms": [*MODELS, DUO], "kind": "fixed", "options": {"arm": "duo"}, "exploration_floor": 0.0}
BUDGET = {"name": "day", "usd": 1000.0, "per": "day"}


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    while not await true():  # noqa: ASYNC110 - what is waited for is in a database
        await asyncio.sleep(0.01)


def calls(*told: tuple[str, str | None]) -> tuple[Attempt, ...]:
    return tuple(Attempt(arm=arm, error=error, input_tokens=10, output_tokens=5) for arm, error in told)  # type: ignore[arg-type]


async def reported(daemon: Daemon, decision_id: str, *told: tuple[str, str | None], **more: Any) -> Any:
    report = UsageReport(decision_id=decision_id, attempts=calls(*told), **more)
    return await daemon.services.rewards.report_usage(report)


async def test_one_decision_is_charged_its_calls_and_teaches_the_recipe(
    open_daemon: OpenDaemon,
) -> None:
    async with open_daemon(budgets=[BUDGET], **ONLY) as daemon:
        await leads(daemon)
        routing = daemon.services.routing
        decision = await routing.route(Query(text="one"))
        # Before any play the members are taken to differ on every second query.
        assert (decision.arm, decision.predicted_cost_usd) == ("duo", pytest.approx(1.0 + 2.0 + 0.5 * 40.0))
        assert routing.recipes_of(decision)["duo"] == {
            "kind": "agree",
            "members": [{"arm": "a", "upstream_model": "a"}, {"arm": "b", "upstream_model": "b"}],
            "else": {"arm": "c", "upstream_model": "c"},
            "answers": "auto",
        }
        assert [prior.like for prior in daemon.runtimes["default"].priors()] == [None, None, None, "c"]
        settled = await reported(daemon, decision.decision_id, ("a", None), ("b", None), latency_ms=70.0)
        assert settled.cost_usd == pytest.approx(3.0)
        again = await reported(daemon, decision.decision_id, ("a", None), ("b", None), latency_ms=70.0)
        assert (again.duplicate, again.cost_usd) == (True, pytest.approx(3.0))
        shown: Any = await daemon.services.budgets.budgets("default")
        assert [row["charged_usd"] for row in shown["budgets"]] == [pytest.approx(3.0)]
        await daemon.services.rewards.submit(
            [RewardInput(decision_id=decision.decision_id, value=1.0, body_hash="r")]
        )

        async def learned() -> bool:
            whole = await daemon.services.reports.decision(decision.decision_id)
            return bool(whole["contribution"])

        await until(learned)
        whole: Any = await daemon.services.reports.decision(decision.decision_id)
        assert whole["contribution"]["arm"] == "duo"
        assert (whole["usage"]["served_arm"], whole["usage"]["latency_ms"]) == (None, 70.0)
        assert [(one["arm"], one["recipe"]) for one in whole["attempts"]] == [("a", "duo"), ("b", "duo")]
        arms = {view.arm.arm: view for view in await daemon.services.arms.list("default")}
        assert (arms["duo"].usage.decisions, arms["duo"].usage.cost_usd) == (1, pytest.approx(3.0))
        assert {arms[model].usage.cost_usd for model in "abc"} == {0.0}


async def test_what_members_did_moves_the_price_and_survives_a_restart(
    open_daemon: OpenDaemon,
) -> None:
    told: list[list[tuple[str, str | None]]] = [
        [("a", None), ("b", None)],
        [("a", None), ("b", None), ("c", None)],
        [("a", "timeout"), ("b", None), ("c", None)],
        [("a", "timeout"), ("c", "server"), ("b", None)],
        [("a", None), ("b", "client_gone")],  # tells nothing
    ]
    async with open_daemon(breaker_errors=0, **ONLY) as daemon:
        for run in told:
            decision = await daemon.services.routing.route(Query(text="x"))
            await reported(daemon, decision.decision_id, *run)
    async with open_daemon(**ONLY) as daemon:
        decision = await daemon.services.routing.route(Query(text="x"))
        assert decision.predicted_cost_usd == pytest.approx(3.0 + (2.0 + 3.0) / (4.0 + 4.0) * 40.0)


async def test_a_refold_of_the_log_and_the_calls_in_it_give_what_was_learned(
    open_daemon: OpenDaemon, database_url: str
) -> None:
    async with open_daemon(arms=ONLY["arms"], exploration_floor=0.5) as daemon:
        await leads(daemon)
        agreed: list[tuple[str, str | None]] = [("a", None), ("b", None)]
        open_ = played = 0
        for number in range(12):
            candidates = ("duo",) if number < 4 else None  # however the others are drawn
            decision = await daemon.services.routing.route(Query(text=f"query {number}", candidates=candidates))
            if decision.arm == "duo":
                await reported(daemon, decision.decision_id, *agreed, *[("c", None)][: number % 2])
                played, open_ = played + 1, open_ + number % 2
            reward = RewardInput(decision_id=decision.decision_id, value=number % 3 / 2, body_hash=str(number))
            await daemon.services.rewards.submit([reward])
        await daemon.learner.drained()
        assert await daemon.storage.arms.settled("default") == {("agree", ("a", "b")): (played, open_)}
        assert played > 0
    assert (await refolded(database_url)).agrees


async def test_models_learn_what_they_take_from_the_calls_of_recipes(open_daemon: OpenDaemon) -> None:
    async with open_daemon(**ONLY) as daemon:
        decision = await daemon.services.routing.route(Query(text="x"))
        await reported(daemon, decision.decision_id, ("a", None), ("b", "timeout"), ("c", None))
        found = await daemon.storage.recent.usage("default", decision.schema_hash, 10, 10)
        took = sorted((one.arm, one.output_tokens) for one in found)
        assert took == [("a", 5), ("c", 5), ("duo", 5)]  # the recipe's own is that of the answer that counts


async def test_a_correction_takes_back_what_the_first_report_told_of_the_members(
    open_daemon: OpenDaemon, database_url: str
) -> None:
    async with open_daemon(**ONLY) as daemon:
        decision = await daemon.services.routing.route(Query(text="x"))
        await reported(daemon, decision.decision_id, ("a", None), ("b", None))
        settled = await reported(daemon, decision.decision_id, ("a", None), ("b", None), ("c", None))
        assert (settled.revision, settled.cost_usd) == (1, pytest.approx(43.0))
    engine = create_engine(database_url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT kind, members, reached, unsettled FROM settling")).all()
    engine.dispose()
    assert [tuple(row) for row in rows] == [("agree", '["a", "b"]', 1, 1)]


async def test_a_call_of_the_recipe_itself_is_none(open_daemon: OpenDaemon) -> None:
    """Beside the calls of its parts it would leave the estimate standing and be charged on top of them."""
    async with open_daemon(budgets=[BUDGET], **ONLY) as daemon:
        decision = await daemon.services.routing.route(Query(text="x"))
        with pytest.raises(InvalidInputError, match="report the calls of a, b, c") as refused:
            await reported(daemon, decision.decision_id, ("a", None), ("b", None), ("duo", None))
        assert refused.value.field == "/attempts/2/arm"
        settled = await reported(daemon, decision.decision_id, ("duo", "transport"), ("a", None), ("b", None))
        assert settled.cost_usd == pytest.approx(3.0)


async def test_no_other_recipe_has_served(open_daemon: OpenDaemon) -> None:
    other = {"arm": "other", "recipe": {"kind": "fallback", "members": ["a", "c"]}}
    async with open_daemon(**{**ONLY, "arms": [*MODELS, DUO, other]}) as daemon:
        decision = await daemon.services.routing.route(Query(text="one"))
        report = daemon.services.rewards.report_usage
        with pytest.raises(InvalidInputError, match="report the calls of a, c") as refused:
            await report(UsageReport(decision_id=decision.decision_id, served_arm="other"))
        assert (refused.value.code, refused.value.field) == ("ARM_IS_RECIPE", "/served_arm")
        await report(UsageReport(decision_id=decision.decision_id, served_arm="duo", latency_ms=70.0))


async def test_a_recipe_goes_with_its_parts(open_daemon: OpenDaemon) -> None:
    """It can do what they all can, and is left alone with any of them."""
    async with open_daemon(breaker_errors=1, **ONLY) as daemon:
        routing, arms = daemon.services.routing, daemon.services.arms
        decision = await routing.route(Query(text="x", capabilities=frozenset({"vision"})))
        assert (decision.arm, decision.exclusions["duo"]) == ("c", "capability_missing")
        decision = await routing.route(Query(text="x", excluded_arms=frozenset({"b"})))
        assert decision.exclusions == {"b": "excluded_by_request", "duo": "excluded_by_request"}
        failed = await routing.route(Query(text="x", candidates=("b",)))
        await reported(daemon, failed.decision_id, ("b", "timeout"))
        assert (await routing.route(Query(text="x"))).exclusions["duo"] == "breaker_open"
        await arms.patch("default", "c", {"enabled": False})
        assert (await routing.route(Query(text="x"))).exclusions["duo"] == "member_disabled:c"
        await arms.delete("default", "c")
        assert (await routing.route(Query(text="x"))).exclusions["duo"] == "member_deleted:c"
        with pytest.raises(BanditdError, match="member_deleted:c"):
            await routing.route(Query(text="x", candidates=("duo",)))


async def test_a_recipe_is_added_and_stays_what_it_is(open_daemon: OpenDaemon) -> None:
    async with open_daemon(arms=MODELS) as daemon:
        arms = daemon.services.arms
        made = Recipe(arm="trio", kind="best_of", members=("a", "b", "c"))
        new = Arm(policy="default", arm="trio", upstream_model="trio", recipe=made)
        assert (await arms.add(new)).arm.recipe == made
        assert [view.arm.recipe for view in await arms.list("default")] == [None, None, None, made]
        for changes in ({"recipe": Recipe(arm="trio", kind="fallback", members=("a", "b"))}, {"price": Price(1.0)}):
            with pytest.raises(InvalidInputError, match="trio"):
                await arms.patch("default", "trio", changes)
        nested = Recipe(arm="nest", kind="fallback", members=("a", "trio"))
        with pytest.raises(InvalidInputError, match="itself a recipe"):
            await arms.add(Arm(policy="default", arm="nest", upstream_model="nest", recipe=nested))
        await arms.delete("default", "trio")
        with pytest.raises(ConflictError, match="another name"):
            await arms.add(Arm(policy="default", arm="trio", upstream_model="trio"))
        assert (await arms.add(new)).arm.generation == 2


@pytest.mark.parametrize(
    ("recipe", "more", "named"),
    [
        (
            {"kind": "agree", "members": ["a", "x"], "else": "c"},
            {},
            r"arms.3.recipe.members.1: .*which is not an arm of this policy",
        ),
        ({"kind": "agree", "members": ["a", "b"], "else": "duo"}, {}, r"arms.3.recipe.else: .*itself a recipe"),
        ({"kind": "agree", "members": ["a", "b"]}, {}, r"arms.3.recipe: .*needs the arm to ask"),
        ({"kind": "best_of", "members": ["a", "b"]}, {}, r"arms.3.recipe: .*needs at least 3 members"),
        ({"kind": "fallback", "members": ["a", "b"]}, {"price": {"usd_per_request": 1}}, r"arms.3.price: .*no price"),
        ({"kind": "fallback", "members": ["a", "b"]}, {"capabilities": ["x"]}, r"arms.3.capabilities: "),
    ],
)
def test_a_configuration_that_cannot_be_played_names_the_line(recipe: Any, more: Any, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        make_settings("sqlite://", arms=[*MODELS, {"arm": "duo", "recipe": recipe, **more}])


def test_a_baseline_is_a_model() -> None:
    with pytest.raises(ValueError, match="a baseline is the one model"):
        make_settings("sqlite://", arms=ONLY["arms"], promise={"keep": 0.98, "baseline": "duo"})
    assert issubclass(ConfigurationError, BanditdError)
    assert isinstance(make_settings("sqlite://", arms=ONLY["arms"]), Settings)
