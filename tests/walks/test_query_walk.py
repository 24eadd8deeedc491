"""The walk of a query through the real parts, from text to the committed row."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest
from tests.walks.conftest import OpenDaemon

from banditd.core.errors import (
    EmbeddingShapeError,
    EncoderUnavailableError,
    InvalidInputError,
    NoEligibleArmError,
    NotFoundError,
    StorageUnavailableError,
)
from banditd.core.money import AccountKey
from banditd.core.rewards import UsageReport
from banditd.core.types import Decision, Query
from banditd.ports import Committed
from banditd.services.input_hash import InputHash


async def test_a_decision_is_durable_and_holds_all_that_made_it(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        decision = await daemon.services.routing.route(Query(text="What is 17 * 23?", tags={"team": "maths"}))
    async with open_daemon() as daemon:
        row = await daemon.storage.decisions.get(decision.decision_id)
    assert row is not None
    assert row["arm"] == decision.arm
    assert row["probability"] == decision.probability.tolist()
    assert decision.propensity == decision.probability[decision.chosen_index]
    assert row["tags"] == {"team": "maths"}
    assert row["x"] == decision.context.x.tolist()
    assert row["input_text"] is None


async def test_the_arm_is_the_inverse_cdf_of_the_logged_vector_at_the_logged_uniform(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        decisions = [await daemon.services.routing.route(Query(text=f"query {i}")) for i in range(40)]
    for d in decisions:
        assert d.probability.sum() == pytest.approx(1.0)
        cdf = np.cumsum(d.probability)
        assert d.arms[int(np.searchsorted(cdf, d.uniform * cdf[-1], side="right"))] == d.arm


async def test_a_dry_run_leaves_no_trace(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        decision = await daemon.services.routing.route(Query(text="hello", dry_run=True))
        assert await daemon.storage.decisions.get(decision.decision_id) is None


async def test_constraints_mask_before_the_probabilities(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        routing = daemon.services.routing
        seen = await routing.route(Query(text="describe this", capabilities=frozenset({"vision"})))
        assert (seen.arm, seen.propensity) == ("vision", 1.0)
        assert set(seen.exclusions) == {"small", "large"}
        with pytest.raises(NoEligibleArmError):
            await routing.route(Query(text="hi", max_cost_usd=1e-12))
        with pytest.raises(InvalidInputError, match="no such arm"):
            await routing.route(Query(text="hi", candidates=("nobody",)))
        with pytest.raises(NotFoundError, match="default, other"):
            await routing.route(Query(text="hi", policy="nowhere"))


async def test_a_session_keeps_its_arm_across_a_restart_unless_told_otherwise(open_daemon: OpenDaemon) -> None:
    async with open_daemon(kind="uniform") as daemon:
        first = await daemon.services.routing.route(Query(text="one", session_id="s"))
    async with open_daemon(kind="uniform") as daemon:
        routing = daemon.services.routing
        later = [await routing.route(Query(text=f"turn {i}", session_id="s")) for i in range(12)]
        assert {d.arm for d in later} == {first.arm}
        assert {d.reason for d in later} == {"session"}
        assert all(d.propensity == 1.0 for d in later)
        fresh = [await routing.route(Query(text="x", session_id="s", new_session_arm=True)) for _ in range(20)]
        assert {d.reason for d in fresh} == {"policy"}
        elsewhere = await routing.route(Query(text="x", session_id="s", excluded_arms=frozenset({fresh[-1].arm})))
        assert elsewhere.arm != fresh[-1].arm


async def test_replicas_keep_a_session_on_the_arm_that_any_of_them_drew_last(open_daemon: OpenDaemon) -> None:
    async with open_daemon(kind="uniform") as here, open_daemon(kind="uniform") as there:
        first = await here.services.routing.route(Query(text="one", session_id="s"))
        others = frozenset({first.arm})
        moved = await there.services.routing.route(
            Query(text="two", session_id="s", new_session_arm=True, excluded_arms=others)
        )
        assert moved.arm != first.arm
        for daemon in (here, there, here):
            kept = await daemon.services.routing.route(Query(text="three", session_id="s"))
            assert (kept.arm, kept.reason) == (moved.arm, "session")


async def test_what_was_not_committed_keeps_no_session_and_uses_up_no_share(
    open_daemon: OpenDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    arms = [{"arm": "small"}, {"arm": "large", "max_share": 0.3}]
    async with open_daemon(kind="uniform", arms=arms) as daemon:
        routing = daemon.services.routing

        async def fail(_decisions: list[Decision], _committing: object) -> Committed:
            raise StorageUnavailableError("not now")

        with monkeypatch.context() as patch:
            patch.setattr(routing._decisions, "append", fail)
            with pytest.raises(StorageUnavailableError):
                await routing.route(Query(text="x", session_id="s", candidates=("large",)))
            with pytest.raises(StorageUnavailableError):
                await routing.route_batch([Query(text="x", candidates=("large",))] * 3)
        again = await routing.route(Query(text="x", session_id="s"))
        assert again.reason == "policy"
        assert again.arms == ("small", "large"), "the cap counts a decision that was never made"


async def test_the_queries_of_a_session_in_one_batch_keep_its_arm(open_daemon: OpenDaemon) -> None:
    async with open_daemon(kind="uniform") as daemon:
        routing = daemon.services.routing
        for i in range(5):
            turns = [Query(text=f"turn {n}", session_id=f"s{i}") for n in range(6)]
            turns[3] = Query(text="afresh", session_id=f"s{i}", new_session_arm=True)
            other = Query(text="a try", session_id=f"s{i}", new_session_arm=True, dry_run=True)
            made = [one for one in await routing.route_batch([other, *turns]) if isinstance(one, Decision)][1:]
            assert [one.reason for one in made] == ["policy", "session", "session", "policy", "session", "session"]
            assert len({one.arm for one in made[:3]}) == len({one.arm for one in made[3:]}) == 1
            assert await daemon.storage.decisions.session_arm("default", f"s{i}") == made[-1].arm


async def test_a_session_whose_batch_is_refused_is_drawn_again_as_one(
    open_daemon: OpenDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_daemon(kind="uniform") as daemon:
        routing = daemon.services.routing
        append = routing._decisions.append

        async def refuse_batches(decisions: list[Decision], _committing: object) -> Committed:
            if len(decisions) == 1:
                return await append(decisions)
            return Committed({made.decision_id: AccountKey("default", "cap", "all", 0) for made in decisions})

        monkeypatch.setattr(routing._decisions, "append", refuse_batches)
        for i in range(5):
            made = await routing.route_batch([Query(text=f"turn {n}", session_id=f"s{i}") for n in range(6)])
            assert [one.reason for one in made if isinstance(one, Decision)] == ["policy"] + ["session"] * 5


async def test_a_batch_answers_each_query_by_itself(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        results = await daemon.services.routing.route_batch(
            [Query(text="fine"), Query(text="x", policy="nowhere"), Query(text="fine too", policy="other")]
        )
        assert isinstance(results[0], Decision)
        assert isinstance(results[1], NotFoundError)
        assert isinstance(results[2], Decision)
        assert await daemon.storage.decisions.get(results[2].decision_id) is not None


async def test_an_embedding_replaces_the_text_and_must_fit(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        dimension = daemon.runtimes["default"].builder.schema.embedding_dimension
        vector = np.random.default_rng(0).normal(size=dimension)
        decision = await daemon.services.routing.route(Query(embedding=vector))
        assert decision.context.cluster >= 0
        with pytest.raises(EmbeddingShapeError, match=str(dimension)):
            await daemon.services.routing.route(Query(embedding=np.ones(dimension + 1)))


async def test_an_encoder_that_fails_gives_a_flagged_context_free_decision(
    open_daemon: OpenDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_daemon() as daemon:

        async def late(text: str) -> None:
            raise EncoderUnavailableError("too late", code="ENCODER_TIMEOUT")

        monkeypatch.setattr(daemon.services.routing._encoder, "encode", late)
        decision = await daemon.services.routing.route(Query(text="hello"))
        assert decision.degraded == "encoder_timeout"
        assert decision.context.cluster == -1
        assert b'banditd_degraded_total{policy="default",reason="encoder_timeout"} 1.0' in daemon.metrics.render()


async def test_upstream_errors_open_a_breaker_and_do_not_teach_quality(open_daemon: OpenDaemon) -> None:
    async with open_daemon(kind="uniform", breaker_errors=2) as daemon:
        routing, rewards = daemon.services.routing, daemon.services.rewards
        failed = 0
        while failed < 2:
            decision = await routing.route(Query(text="x"))
            if decision.arm == "large":
                failed += 1
                await rewards.report_usage(UsageReport(decision_id=decision.decision_id, error="upstream 500"))
        after = [await routing.route(Query(text="x")) for _ in range(20)]
        assert all(d.arm != "large" and d.exclusions["large"] == "breaker_open" for d in after)
        assert await daemon.storage.learning.queue_depth() == 0


async def test_concurrent_routes_are_all_logged_once(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        decisions = await asyncio.gather(
            *(daemon.services.routing.route(Query(text=f"query number {i}")) for i in range(200))
        )
        assert len({d.decision_id for d in decisions}) == 200
        assert (await daemon.storage.reports.totals())["decision"] == 200


async def test_text_is_stored_only_when_configured(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        decision = await daemon.services.routing.route(Query(text="a secret"))
        assert decision.input_text is None
        daemon.services.routing._decider.input_record._store_text = True
        decision = await daemon.services.routing.route(Query(text="not a secret"))
        row = await daemon.storage.decisions.get(decision.decision_id)
    assert row is not None
    assert row["input_text"] == "not a secret"


async def test_a_long_text_is_hashed_off_the_event_loop_and_to_the_same_hash(
    open_daemon: OpenDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_daemon() as daemon:
        hash_input = daemon.services.routing._decider.input_record._hash_input
        short, long = "a question", "a long one " * 2_000
        expected, hashed, of_text = [hash_input(text) for text in (short, long, long)], [], type(hash_input).__call__

        def noting(self: InputHash, text: str) -> str:
            hashed.append((len(text), threading.current_thread() is threading.main_thread()))
            return of_text(self, text)

        monkeypatch.setattr(InputHash, "__call__", noting)
        alone = [await daemon.services.routing.route(Query(text=text)) for text in (short, long)]
        together = await daemon.services.routing.route_batch([Query(text=long), Query()])
        made = [one for one in (*alone, *together) if isinstance(one, Decision)]
    assert [one.input_hash for one in made] == [*expected, None]
    assert hashed == [(len(short), True), (len(long), False), (len(long), False)]
