"""The checker of `make chaos` finds each kind of wrong in a history made up for it, and nothing in a right one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from bench.chaos.check import check
from bench.chaos.check_sums import CLUSTER_SUMS, FLOATS, INTEGERS, expected_contributions, expected_sums
from bench.chaos.history import History, Outcome, Try
from bench.chaos.kept import Kept

DAY_US = 1_000_000
ACCOUNT = {"policy": "p", "budget": "day", "account": "all", "window_at_us": DAY_US}


class World:
    """A history and what the database holds after it; sums are made to fit by ``settle``."""

    def __init__(self) -> None:
        self.tries: list[Try] = []
        self.decisions: list[dict[str, Any]] = []
        self.rewards: list[dict[str, Any]] = []
        self.usage: dict[str, dict[str, Any]] = {}
        self.revisions: list[dict[str, Any]] = []
        self.attempts: list[dict[str, Any]] = []
        self.prices: list[dict[str, Any]] = []
        self.corrections: list[dict[str, Any]] = []
        self.abandoned: list[dict[str, Any]] = []
        self.arms = [{"policy": "p", "arm": "small", "expected_output_tokens": 300.0}]
        self.limit_usd = 1.0
        self.at_s = 0.0

    def sent(self, kind: str, marker: str, *, status: int | None = 200, **more: Any) -> Try:
        self.at_s += 1.0
        times = {"start_s": self.at_s, "end_s": self.at_s + 0.5}
        one = Try(kind=kind, marker=marker, policy="p", replica=0, status=status, **times, **more)
        self.tries.append(one)
        return one

    def decide(self, marker: str, *, arm: str = "small", usd: float = 0.25) -> dict[str, Any]:
        row = {
            "decision_id": f"d-{marker}",
            "policy": "p",
            "arm": arm,
            "propensity": 0.5,
            "predicted_cost_usd": usd,
            "explored": False,
            "degraded": None,
            "cluster": 3,
            "schema_hash": "s",
            "epoch": 7,
            "tags": {"op": marker},
            "charges": [["day", "all", DAY_US]],
        }
        self.decisions.append(row)
        return {"decision_id": row["decision_id"], "arm": arm, "propensity": 0.5, "duplicate": False}

    def reward(self, marker: str, decision: str, value: float | None, revision: int = 0) -> dict[str, Any]:
        row = {
            "reward_id": f"r-{marker}",
            "decision_id": decision,
            "identity": f"src:{decision}/judge",
            "revision": revision,
            "kind": "reward" if value is not None else "retraction",
            "status": "recorded",
            "value": value,
            "reward": value,
            "noise_variance": 0.25,
            "metadata": {"op": marker},
        }
        self.rewards.append(row)
        names = ("reward_id", "decision_id", "revision", "reward")
        return {"duplicate": False, **{name: row[name] for name in names}}

    def report(self, marker: str, decision: str, usd: float, revision: int = 0) -> dict[str, Any]:
        if decision in self.usage:
            before = self.usage[decision]
            report = {"finish_reason": before["finish_reason"]}
            names = ("decision_id", "revision", "cost_usd")
            self.revisions.append({"report": report, **{name: before[name] for name in names}})
        self.usage[decision] = {
            "decision_id": decision,
            "arm": "small",
            "served_arm": None,
            "input_tokens": 10,
            "output_tokens": 20,
            "cached_input_tokens": None,
            "cost_usd": usd,
            "attempts_usd": 0.0,
            "latency_ms": None,
            "error": None,
            "estimated": False,
            "finish_reason": marker,
            "revision": revision,
        }
        return {"decision_id": decision, "cost_usd": usd, "revision": revision, "duplicate": False}

    def kept(self) -> Kept:
        """What a daemon that made no mistake would hold."""
        kept = Kept(
            decisions=self.decisions,
            rewards=self.rewards,
            usage=self.usage,
            revisions=self.revisions,
            attempts=self.attempts,
            abandoned=self.abandoned,
            corrections=self.corrections,
            prices=self.prices,
            arms=self.arms,
            limits={("p", "day"): (self.limit_usd, "reject")},
            read={"replica 0": {"stats": {"p": {"decisions": len(self.decisions)}}}},
        )
        kept.contributions = [
            {"decision_id": made["decision_id"], **one} for made, one in expected_contributions(kept)
        ]
        charged = sum(row["usd"] for row in self.corrections)
        for made in self.decisions:
            charged += self.usage.get(made["decision_id"], {}).get("cost_usd", made["predicted_cost_usd"])
        kept.accounts = [{**ACCOUNT, "charged_usd": charged, "decisions": len(self.decisions)}]
        by_arm, by_cluster = expected_sums(kept)
        none = dict.fromkeys(INTEGERS + FLOATS, 0.0)
        kept.rollups = [{**none, "policy": key[0], "arm": key[1], **sums} for key, sums in by_arm.items()]
        kept.arm_totals = [dict(row) for row in kept.rollups]
        names = ("policy", "schema_hash", "cluster", "arm")
        none = dict.fromkeys(CLUSTER_SUMS, 0.0)
        kept.clusters = [{**none, **dict(zip(names, key, strict=True)), **sums} for key, sums in by_cluster.items()]
        rows = {"decision": self.decisions, "reward_event": self.rewards, "usage_report": self.usage}
        kept.row_counts = [{"name": name, "writer": "w", "rows": len(of)} for name, of in rows.items()]
        return kept


@pytest.fixture
def world() -> World:
    """Every kind of operation: acknowledged, repeated, corrected, refused, unknown."""
    world = World()
    answer = world.decide("a")
    world.sent("route", "a", key="a", answer=answer)
    world.sent("route", "a", key="a", answer=answer | {"duplicate": True})
    world.sent("route", "b", answer=world.decide("b", arm="large", usd=0.5))
    world.sent("route", "refused", status=429, code="BUDGET_EXHAUSTED")
    world.sent("route", "denied", status=503, code="STORAGE_UNAVAILABLE")
    world.sent("route", "unknown-kept", status=None)
    world.decide("unknown-kept", usd=0.125)
    world.sent("route", "unknown-lost", status=503, code="OUTCOME_UNKNOWN")
    judged = {"subject": "d-a/judge"}
    world.sent("reward", "w1", body={"value": 0.5}, answer=world.reward("w1", "d-a", 0.5), **judged)
    world.sent("reward", "w2", body={"value": 0.75}, answer=world.reward("w2", "d-a", 0.75, 1), **judged)
    world.sent("reward", "w3", body={"value": 1.0}, answer=world.reward("w3", "d-b", 1.0), subject="d-b/judge")
    world.sent("retract", "w4", answer=world.reward("w4", "d-b", None, 1), subject="d-b/judge")
    world.sent("usage", "u1", answer=world.report("u1", "d-a", 0.125), subject="d-a")
    world.sent("usage", "u2", answer=world.report("u2", "d-a", 0.375, 1), subject="d-a")
    world.sent("abandon", "x", status=409, code="DECISION_REWARDED", subject="d-a")
    body = {"price": {"usd_per_mtok_out": 2.0}, "expected_output_tokens": 310}
    world.sent("patch", "p1", subject="p/small", body=body)
    world.prices.append({"policy": "p", "arm": "small", "usd_per_mtok_out": 2.0})
    world.arms[0]["expected_output_tokens"] = 310.0
    return world


def found(world: World, kept: Kept) -> list[str]:
    return check(History(world.tries), kept)


def test_nothing_is_found_where_nothing_is_wrong(world: World) -> None:
    assert found(world, world.kept()) == []


def test_an_outcome_is_what_a_client_can_know() -> None:
    def outcome(**more: Any) -> Outcome:
        return Try(kind="route", marker="m", policy="p", replica=0, start_s=0.0, end_s=1.0, **more).outcome

    assert outcome(status=207) is Outcome.DONE
    assert outcome(status=None) is Outcome.UNKNOWN
    assert outcome(status=503, code="OUTCOME_UNKNOWN") is Outcome.UNKNOWN
    assert outcome(status=503, code="STORAGE_UNAVAILABLE") is Outcome.NOTHING
    assert outcome(status=None, sent=False) is Outcome.NOTHING


def test_what_the_log_adds_up_to(world: World) -> None:
    """The sums as figures worked out by hand, not by the code that checks."""
    world.usage["d-a"] |= {"cost_usd": 0.375, "attempts_usd": 0.25, "served_arm": "large", "arm": "large"}
    tokens = {"input_tokens": 1, "output_tokens": 2, "cached_input_tokens": None}
    world.attempts = [
        {"decision_id": "d-a", "ordinal": 0, "arm": "small", "error": "server", "cost_usd": 0.25, **tokens},
        {"decision_id": "d-a", "ordinal": 1, "arm": "large", "error": None, "cost_usd": 0.125, **tokens},
    ]
    by_arm, by_cluster = expected_sums(world.kept())
    small, large = by_arm["p", "small"], by_arm["p", "large"]
    assert (small["decisions"], small["usage_reports"], small["errors"], small["spend_usd"]) == (2, 0, 1, 0.25)
    assert (large["decisions"], large["usage_reports"], large["errors"], large["spend_usd"]) == (1, 1, 0, 0.125)
    assert (small["input_tokens"], large["input_tokens"]) == (1, 10)
    assert (small["rewards"], large["rewards"], large["weight"], large["weighted_reward"]) == (0, 1, 0.5, 0.375)
    assert (small["predicted_spend_usd"], large["predicted_spend_usd"]) == (0.375, 0.5)
    assert by_cluster["p", "s", 3, "large"]["spend_usd"] == 0.125


def lose_decision(world: World) -> None:
    world.decisions = [row for row in world.decisions if row["decision_id"] != "d-b"]


def lose_reward(world: World) -> None:
    world.rewards = [row for row in world.rewards if row["reward_id"] != "r-w3"]


def repeat_decision(world: World) -> None:
    world.decide("a")


def repeat_unknown(world: World) -> None:
    world.decide("unknown-kept")


def repeat_reward(world: World) -> None:
    world.reward("w2", "d-a", 0.75, 2)


def repeat_usage(world: World) -> None:
    world.revisions.append({"decision_id": "d-a", "revision": 9, "cost_usd": 0.1, "report": {"finish_reason": "u2"}})


def repeat_patch(world: World) -> None:
    world.prices.append(dict(world.prices[0]))


def deny_what_is_stored(world: World) -> None:
    world.decide("denied")


def deny_a_budgets_decision(world: World) -> None:
    world.decide("refused")


def deny_a_patch(world: World) -> None:
    body = {"price": {"usd_per_mtok_out": 3.0}, "expected_output_tokens": 310}
    world.sent("patch", "p2", status=503, code="STORAGE_UNAVAILABLE", subject="p/small", body=body)
    world.prices.append({"policy": "p", "arm": "small", "usd_per_mtok_out": 3.0})


def deny_an_abandonment(world: World) -> None:
    world.abandoned.append({"decision_id": "d-a"})


def answer_another_decision(world: World) -> None:
    answer = world.tries[0].answer
    world.tries[1] = replace(world.tries[1], answer={**answer, "decision_id": "d-b", "duplicate": True})


def answer_no_duplicate(world: World) -> None:
    world.tries[1] = replace(world.tries[1], answer={**world.tries[1].answer, "duplicate": False})


def answer_another_arm(world: World) -> None:
    world.decisions[0]["arm"] = "large"


def store_another_value(world: World) -> None:
    world.rewards[1]["value"] = 0.25


def answer_another_cost(world: World) -> None:
    world.usage["d-a"]["cost_usd"] = 0.5


def skip_a_revision(world: World) -> None:
    world.rewards[1]["revision"] = 2


def forget_a_correction(world: World) -> None:
    world.rewards[0]["revision"], world.rewards[1]["revision"] = 1, 0


def forget_the_last_report(world: World) -> None:
    world.usage["d-a"]["finish_reason"], world.revisions[0]["report"]["finish_reason"] = "u1", "u2"


def forget_the_last_patch(world: World) -> None:
    world.arms[0]["expected_output_tokens"] = 300.0


def invent_a_decision(world: World) -> None:
    world.decide("nobody")


def invent_a_reward(world: World) -> None:
    world.reward("nobody", "d-b", 0.5, 2)


def invent_usage(world: World) -> None:
    world.report("nobody", "d-b", 0.5)


def blame_the_request(world: World) -> None:
    world.sent("reward", "w9", status=404, code="DECISION_NOT_FOUND", answer={"detail": "no decision"})


def fail_inside(world: World) -> None:
    world.sent("route", "w9", status=500, code="INTERNAL_ERROR")


def pass_a_limit(world: World) -> None:
    world.limit_usd = 0.5  # $1.0 is charged, $0.25 of it rose after the commit


WRONG: list[tuple[Callable[[World], None], str]] = [
    (lose_decision, "route b was acknowledged and is lost"),
    (lose_reward, "reward w3 was acknowledged and is lost"),
    (repeat_decision, "route a is stored 2 times"),
    (repeat_unknown, "route unknown-kept is stored 2 times"),
    (repeat_reward, "reward w2 is stored 2 times"),
    (repeat_usage, "usage u2 is stored 2 times"),
    (repeat_patch, "patch p1 is stored 2 times"),
    (deny_what_is_stored, "route denied was answered {'STORAGE_UNAVAILABLE'}, as if nothing had been stored"),
    (deny_a_budgets_decision, "route refused was answered {'BUDGET_EXHAUSTED'}, as if nothing had been stored"),
    (deny_a_patch, "patch p2 was answered {'STORAGE_UNAVAILABLE'}, as if nothing had been stored"),
    (deny_an_abandonment, "abandon x was answered {'DECISION_REWARDED'}, as if nothing had been stored"),
    (answer_another_decision, "and again under its key {'decision_id': 'd-b'"),
    (answer_no_duplicate, "route a was done again"),
    (answer_another_arm, "route a was answered arm 'small', stored is 'large'"),
    (store_another_value, "reward w2 was answered value 0.75, stored is 0.25"),
    (answer_another_cost, "usage u2 was answered cost_usd 0.375, stored is 0.5"),
    (skip_a_revision, "reward src:d-a/judge has the revisions [0, 2]"),
    (forget_a_correction, "reward src:d-a/judge says w1, and w2 was acknowledged last"),
    (forget_the_last_report, "usage of d-a says u1, and u2 was acknowledged last"),
    (forget_the_last_patch, "arm p/small says None, and p1 was acknowledged last"),
    (invent_a_decision, "decision d-nobody was never asked for"),
    (invent_a_reward, "reward r-nobody was never sent"),
    (invent_usage, "usage of d-b was never sent"),
    (blame_the_request, "reward w9 was answered 404 DECISION_NOT_FOUND: no decision"),
    (fail_inside, "route w9 was answered 500 INTERNAL_ERROR"),
    (pass_a_limit, "under a limit of $0.5, in flight were $0.25"),
]


@pytest.mark.parametrize(("break_it", "sentence"), WRONG, ids=[break_it.__name__ for break_it, _ in WRONG])
def test_what_is_wrong_is_found(world: World, break_it: Callable[[World], None], sentence: str) -> None:
    break_it(world)
    wrong = found(world, world.kept())
    assert any(sentence in one for one in wrong), wrong


def miscount(table: str, column: str, by: float) -> Callable[[Kept], None]:
    def change(kept: Kept) -> None:
        getattr(kept, table)[0][column] += by

    return change


def lose_contribution(kept: Kept) -> None:
    kept.contributions = []


def invent_contribution(kept: Kept) -> None:
    kept.contributions = [*kept.contributions, {**kept.contributions[0], "decision_id": "d-b"}]


def lose_account(kept: Kept) -> None:
    kept.accounts = []


def leave_a_queue(kept: Kept) -> None:
    kept.queued = ["d-a", "d-b"]


def show_other_counts(kept: Kept) -> None:
    kept.read = {"replica 1": {"stats": {"p": {"decisions": 99}}}}


def show_other_decision(kept: Kept) -> None:
    kept.read = {"replica 1": {"decisions": {"d-a": {"arm": "large"}}}}


def show_other_charge(kept: Kept) -> None:
    kept.read = {"replica 1": {"budgets": [{"policy": "p", "name": "day", "account": "all", "charged_usd": 7.0}]}}


MISCOUNTED: list[tuple[str, Callable[[Kept], None], str]] = [
    ("account", miscount("accounts", "charged_usd", 2e-9), "its decisions cost"),
    ("decisions of an account", miscount("accounts", "decisions", 1), "counts 4 decisions instead of 3"),
    ("account lost", lose_account, "is missing, with 3 decisions"),
    ("roll-up", miscount("rollups", "decisions", 1), "rollup ('p', 'small') has decisions"),
    ("spend", miscount("rollups", "spend_usd", 1e-8), "rollup ('p', 'small') has spend_usd"),
    ("total", miscount("arm_totals", "usage_reports", -1), "arm_total ('p', 'small') has usage_reports"),
    ("cluster", miscount("clusters", "rewards", 1), "cluster_stat ('p', 's', 3, 'small') has rewards"),
    ("contribution", miscount("contributions", "reward", 1e-6), "its rewards merge to"),
    ("epoch", miscount("contributions", "epoch", 1), "its rewards merge to"),
    ("contribution lost", lose_contribution, "decision d-a contributes None"),
    ("contribution invented", invent_contribution, "decision d-b contributes"),
    ("queue", leave_a_queue, "2 decisions in the learner's queue were never folded, d-a"),
    ("rows", miscount("row_counts", "rows", 1), "4 rows of decision are counted, 3 are there"),
    ("statistics shown", show_other_counts, "replica 1 counts 99 decisions of p"),
    ("decision shown", show_other_decision, "replica 1 shows decision d-a as large"),
    ("account shown", show_other_charge, "replica 1 shows 7.0 on day/all"),
]


@pytest.mark.parametrize(("what", "break_it", "sentence"), MISCOUNTED, ids=[one[0] for one in MISCOUNTED])
def test_what_does_not_add_up_is_found(
    world: World, what: str, break_it: Callable[[Kept], None], sentence: str
) -> None:
    kept = world.kept()
    break_it(kept)
    wrong = found(world, kept)
    assert any(sentence in one for one in wrong), (what, wrong)


def test_what_was_in_flight_may_pass_a_limit(world: World) -> None:
    world.limit_usd = 0.75
    assert found(world, world.kept()) == []


def test_a_request_that_may_have_come_late_may_be_the_newest(world: World) -> None:
    world.rewards[0]["revision"], world.rewards[1]["revision"] = 1, 0
    index = next(i for i, one in enumerate(world.tries) if one.marker == "w1")
    world.tries.insert(index, replace(world.tries[index], status=None, answer={}))
    wrong = found(world, world.kept())
    assert not any("acknowledged last" in one for one in wrong)
