"""A rollout and a shadow on the walk of a query: sides that stick, exact marginals, and the way out at once."""

from __future__ import annotations

import pytest
from tests.walks.conftest import OpenDaemon
from tests.walks.test_promise_walk import PROMISE, ask, live, reward, standing

from banditd.core.errors import ConflictError, InvalidInputError
from banditd.core.request_keys import RequestKey
from banditd.core.types import Price


async def test_a_part_of_the_sessions_is_the_policys_and_stays_so(open_daemon: OpenDaemon) -> None:
    async with open_daemon(rollout=0.3, session_sticky=False) as daemon:
        first = {i: await ask(daemon, i, session_id=f"s{i}") for i in range(100)}
        sides = {i: one.promise["side"] for i, one in first.items() if one.promise is not None}
        assert 15 <= sum(side == "policy" for side in sides.values()) <= 45
        for i, one in first.items():
            assert one.baseline == "large"
            assert one.keep is None
            assert one.promise is not None
            assert sides[i] == "policy" or one.arm == "large"
            # The marginal over the sides, and the inverse CDF of it at the logged number.
            own = one.own_probability
            assert own is not None
            marginal = 0.3 * own
            marginal[one.arms.index("large")] += 0.7
            assert one.probability == pytest.approx(marginal, abs=1e-12)
            assert one.propensity == one.probability[one.chosen_index]
            below = one.probability[: one.chosen_index].sum()
            assert below - 1e-9 <= one.uniform <= below + one.propensity + 1e-9
        again = [await ask(daemon, i, session_id=f"s{i}") for i in range(20)]
        assert [one.promise["side"] for one in again if one.promise is not None] == [sides[i] for i in range(20)]
        # A larger share moves sessions one way only.
        await daemon.services.promises.change("default", {"rollout": 0.6})
        more = [await ask(daemon, i, session_id=f"s{i}") for i in range(100)]
        moved = [one.promise["side"] for one in more if one.promise is not None]
        assert all(now == "policy" for now, i in zip(moved, range(100), strict=True) if sides[i] == "policy")
        assert moved.count("policy") > list(sides.values()).count("policy")


async def test_rollout_0_sends_everything_to_the_baseline_at_once_sessions_too(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon, open_daemon() as other:
        held = await ask(daemon, session_id="s", candidates=("small",))
        assert held.arm == "small"
        shown = await daemon.services.promises.change("default", {"rollout": 0.0})
        assert shown["rollout"] == 0.0
        assert "large" in str(shown["words"]) or not shown["on"]
        for query in ({"session_id": "s"}, {}, {"cost_weight": 5.0}, {"quality_floor": 0.0}):
            assert (await ask(daemon, **query)).arm == "large", query
        assert (await ask(daemon, candidates=("small",))).arm == "small"  # the baseline may not answer
        assert (await ask(daemon, candidates=("small",), pinned=True)).arm == "small"
        while (await ask(other, 7)).promise is None:
            await other.promises.step()
        shown = await daemon.services.promises.change("default", {"rollout": 1.0})
        assert shown["overrides"] == {}
    async with open_daemon(rollout=0.0) as daemon:
        assert (await ask(daemon)).arm == "large"


async def test_a_way_out_that_leads_nowhere_says_so(open_daemon: OpenDaemon) -> None:
    async with open_daemon(promise={"baseline": "large", "keep": 0.95}, rollout=0.0) as daemon:
        unheeded = "the policy answers every query, whatever rollout and mode say"
        assert standing(daemon)["words"] == "All traffic goes to large: the rollout is 0."
        await daemon.services.arms.patch("default", "large", {"enabled": False})
        assert (await ask(daemon)).arm != "large"
        assert unheeded in standing(daemon)["words"]
        with pytest.raises(ConflictError, match="large is the baseline, and rollout 0 leaves the rest to it"):
            await daemon.services.arms.delete("default", "large")
        await daemon.services.promises.change("default", {"rollout": 1.0})
        await daemon.services.arms.delete("default", "large")
        gone = "the baseline large is none of the arms; name another with PATCH /v1/promise"
        assert gone in standing(daemon)["words"]
        saved = await daemon.services.reports.savings("default")
        assert gone in str(saved["words"])
        assert "None" not in str(saved["headline"])


@pytest.mark.parametrize("held", [{"rollout": 0.05}, {"mode": "shadow"}])
async def test_the_arm_that_the_rest_of_the_traffic_goes_to_is_not_deleted(
    open_daemon: OpenDaemon, held: dict[str, object]
) -> None:
    async with open_daemon(promise={"baseline": "large", "keep": 0.95}) as daemon:
        arms, switch = daemon.services.arms, daemon.services.promises.change
        await arms.delete("default", "vision")
        await switch("default", held)
        with pytest.raises(ConflictError) as refused:
            await arms.delete("default", "large")
        assert refused.value.code == "ARM_IS_BASELINE"
        assert (await ask(daemon, session_id="of the rest")).baseline == "large"
        await switch("default", {"promise": {"baseline": "small"}})
        key = RequestKey(key="once", key_name="", operation="delete_arm", request_hash="large")
        assert await arms.delete("default", "large", key) is False
        # Its repeat is answered as it was, whatever arm is the baseline now.
        assert await arms.delete("default", "large", key) is True
        made = [await ask(daemon, i, session_id=f"s{i}") for i in range(5)]
        assert {(one.arm, one.baseline) for one in made} == {("small", "small")}


async def test_the_baselines_side_counts_as_the_reference(open_daemon: OpenDaemon) -> None:
    async with open_daemon(**PROMISE, rollout=0.5) as daemon:
        made = await live(daemon, 100)
        quality = standing(daemon)["quality"]
        assert quality["rated"] == 100
        assert quality["worth"] > 40.0
        for one in made:
            assert one.probability[one.arms.index("large")] >= 0.5


async def test_a_shadow_decides_and_logs_while_the_baseline_answers_and_is_learned(open_daemon: OpenDaemon) -> None:
    async with open_daemon(mode="shadow") as daemon:
        made = [await ask(daemon, i, session_id="s") for i in range(20)]
        assert {one.arm for one in made} == {"large"}
        assert {one.reason for one in made} == {"shadow"}
        assert {one.propensity for one in made} == {1.0}
        own = [one.own_probability for one in made]
        assert any(vector is not None and vector.max() < 1.0 for vector in own)
        await reward(daemon, made)
        stats = await daemon.services.reports.stats("default", None)
        assert [row["arm"] for row in stats["arms"] if row["rewards"]] == ["large"]  # type: ignore[attr-defined]
        assert stats["promise"]["mode"] == "shadow"  # type: ignore[index]
        assert "large" in standing(daemon)["words"]


async def test_what_was_switched_beats_the_file_and_is_said(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        await daemon.services.promises.change("default", {"rollout": 0.25, "mode": "shadow"})
    async with open_daemon(rollout=0.5) as daemon:
        assert standing(daemon)["overrides"] == {
            "mode": {"configured": "route", "stored": "shadow"},
            "rollout": {"configured": 0.5, "stored": 0.25},
        }
        assert (await ask(daemon)).reason == "shadow"


async def test_a_price_that_makes_another_arm_the_dearest_moves_the_control(open_daemon: OpenDaemon) -> None:
    async with open_daemon(rollout=0.0) as daemon:
        await daemon.services.arms.patch("default", "vision", {"price": Price(50.0, 500.0)})
        assert (await ask(daemon)).arm == "vision"


async def test_the_way_out_holds_where_the_stored_promise_can_no_longer_be_kept(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        promises = daemon.services.promises
        await promises.change("default", {"rollout": 0.0, "promise": {"baseline": "large", "keep": 0.9}})
    async with open_daemon(cost_weight=0.1) as daemon:
        assert not standing(daemon)["on"]
        assert standing(daemon)["rollout"] == 0.0
        assert {(await ask(daemon)).arm for _ in range(10)} == {"large"}
        await daemon.services.promises.change("default", {"rollout": 0.5})
        assert standing(daemon)["rollout"] == 0.5
    async with open_daemon() as daemon:  # as it was switched last, and the promise as it was made
        assert (standing(daemon)["rollout"], standing(daemon)["keep"]) == (0.5, 0.9)


@pytest.mark.parametrize("switched", [{"rollout": 0.0}, {"mode": "shadow"}])
async def test_a_capped_baseline_answers_all_that_is_sent_to_it(
    open_daemon: OpenDaemon, switched: dict[str, object]
) -> None:
    async with open_daemon() as daemon:
        await daemon.services.arms.patch("default", "large", {"max_share": 0.1})
        await daemon.services.promises.change("default", switched)
        assert {(await ask(daemon)).arm for _ in range(100)} == {"large"}
        await daemon.services.promises.change("default", {"rollout": 1.0, "mode": "route"})
        drawn = [(await ask(daemon)).arm for _ in range(400)]
        assert 0 < drawn.count("large") <= 60  # it repays a burst, and not all that it answered


async def test_the_baseline_of_a_promise_gets_no_cap(open_daemon: OpenDaemon) -> None:
    async with open_daemon(promise={"baseline": "large", "keep": 0.95}) as daemon:
        with pytest.raises(InvalidInputError, match="must be able to answer everything"):
            await daemon.services.arms.patch("default", "large", {"max_share": 0.5})
        await daemon.services.arms.patch("default", "large", {"max_share": 1.0, "min_share": 0.1})


async def test_a_promise_that_was_taken_off_begins_again_as_it_is_configured(open_daemon: OpenDaemon) -> None:
    async with open_daemon(promise={"baseline": "small", "keep": 0.9, "precision": 0.05}) as daemon:
        await daemon.services.promises.change("default", {"promise": None})
        shown = await daemon.services.promises.change("default", {"promise": {"keep": 0.97}})
        assert (shown["baseline"], shown["keep"], shown["precision"]) == ("small", 0.97, 0.05)
        assert shown["overrides"] == {"promise.keep": {"configured": 0.9, "stored": 0.97}}
