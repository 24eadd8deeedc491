"""Is everything that is counted, charged or learned the sum of the log? Pure functions, written anew for this.

Money of an account is what its decisions cost or are estimated to; roll-ups, totals and clusters are exact; every
rewarded decision contributes what its rewards merge to. ``banditd rebuild`` compares the learned sums besides.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bench.chaos.kept import Kept, Row, Rows, grouped

TOLERANCE = 1e-9
Sums = dict[Any, dict[str, float]]
INTEGERS = (
    "decisions",
    "explored",
    "degraded",
    "rewards",
    "usage_reports",
    "input_tokens",
    "output_tokens",
    "cached_input_tokens",
    "latency_reports",
    "errors",
)
FLOATS = ("predicted_spend_usd", "spend_usd", "latency_ms_sum", "weight", "weighted_reward", "weighted_square")
CLUSTER_SUMS = ("decisions", "rewards", "latency_reports", "spend_usd", "latency_ms_sum", "weight", "weighted_reward")


def check_sums(kept: Kept) -> list[str]:
    return [
        *_accounts(kept),
        *_limits(kept),
        *_contributions(kept),
        *_counters(kept),
        *_row_counts(kept),
    ]


# ---------------------------------------------------------------- money


def charge_of(made: Row, usage: Row | None) -> float:
    """Dollars that a decision puts on its accounts: settled, or estimated."""
    if usage is None:
        return float(made["predicted_cost_usd"])
    if usage["cost_usd"] is not None:
        return float(usage["cost_usd"])
    return float(made["predicted_cost_usd"] + (usage["attempts_usd"] or 0.0))


def _on_accounts(kept: Kept) -> dict[Any, list[Row]]:
    """Decisions by the account (policy, budget, account, window) that they are charged to."""
    found: dict[Any, list[Row]] = defaultdict(list)
    for made in kept.decisions:
        for budget, account, window_at_us in made["charges"]:
            found[made["policy"], budget, account, window_at_us].append(made)
    return found


def _corrections(kept: Kept) -> Mapping[Any, list[float]]:
    keys = ("policy", "budget", "account", "window_at_us")
    return {key: [row["usd"] for row in rows] for key, rows in grouped(kept.corrections, *keys).items()}


def _accounts(kept: Kept) -> Iterator[str]:
    charged, corrected = _on_accounts(kept), _corrections(kept)
    stored = {(row["policy"], row["budget"], row["account"], row["window_at_us"]): row for row in kept.accounts}
    for key in sorted(charged.keys() | corrected.keys() | stored.keys()):
        decisions = charged.get(key, [])
        wanted = math.fsum(charge_of(made, kept.usage.get(made["decision_id"])) for made in decisions)
        wanted += math.fsum(corrected.get(key, ()))
        row = stored.get(key)
        if row is None:
            yield f"account {key} is missing, with {len(decisions)} decisions and ${wanted}"
            continue
        if not _close(row["charged_usd"], wanted):
            yield f"account {key} has ${row['charged_usd']!r}, its decisions cost ${wanted!r}"
        if row["decisions"] != len(decisions):
            yield f"account {key} counts {row['decisions']} decisions instead of {len(decisions)}"


def _limits(kept: Kept) -> Iterator[str]:
    """A window that rejects is passed by no more than what was in flight: what charges rose by after their commit."""
    charged, corrected = _on_accounts(kept), _corrections(kept)
    before = grouped(kept.revisions, "decision_id")
    for row in kept.accounts:
        usd, at_stop = kept.limits.get((row["policy"], row["budget"]), (math.inf, ""))
        if at_stop != "reject":
            continue
        key = (row["policy"], row["budget"], row["account"], row["window_at_us"])
        rises = []
        for made in charged.get(key, []):
            usage = kept.usage.get(made["decision_id"])
            revised = [one["cost_usd"] for one in before.get(made["decision_id"], ()) if one["cost_usd"] is not None]
            rises.append(charge_of(made, usage) - min([charge_of(made, usage), made["predicted_cost_usd"], *revised]))
        in_flight = math.fsum(rises) + math.fsum(one for one in corrected.get(key, ()) if one > 0.0)
        if row["charged_usd"] > usd + in_flight + TOLERANCE:
            yield f"account {key} has ${row['charged_usd']} under a limit of ${usd}, in flight were ${in_flight}"


# ---------------------------------------------------------------- what is learned


def _contributions(kept: Kept) -> Iterator[str]:
    late = late_defaults(kept)
    never = set(kept.queued) - late
    if never:
        yield f"{len(never)} decisions in the learner's queue were never folded, {min(never)} for one"
    wanted = {made["decision_id"]: one for made, one in expected_contributions(kept)}
    stored = {row["decision_id"]: row for row in kept.contributions}
    for decision_id in sorted((wanted.keys() | stored.keys()) - late):
        want, row = wanted.get(decision_id), stored.get(decision_id)
        if want is None or row is None:
            yield f"decision {decision_id} contributes {row and row['reward']}, its rewards merge to {want}"
            continue
        same = row["arm"] == want["arm"] and row["epoch"] == want["epoch"]
        if not same or any(not _close(row[name], want[name]) for name in ("weight", "reward")):
            yield f"decision {decision_id} contributes {dict(row)}, its rewards merge to {want}"


def late_defaults(kept: Kept) -> set[str]:
    """Decisions that the job of default rewards has queued after the learner was seen to have nothing to do."""
    defaulted = {row["decision_id"] for row in kept.rewards if row["kind"] == "default"}
    return set(kept.queued) & defaulted


def expected_contributions(kept: Kept) -> Iterator[tuple[Row, dict[str, Any]]]:
    """(decision, its observation): the precision-weighted mean of the newest revision of each of its rewards."""
    events = grouped(kept.rewards, "decision_id")
    for made in kept.decisions:
        newest: dict[str, Row] = {}
        for row in sorted(events.get(made["decision_id"], ()), key=lambda row: row["revision"]):
            if row["status"] == "recorded":
                newest[row["identity"]] = row
        standing = [row for row in newest.values() if row["kind"] != "retraction"]
        standing = [row for row in standing if row["kind"] != "default"] or standing
        if not standing:
            continue
        precisions = [1.0 / max(row["noise_variance"], 1e-4) for row in standing]
        total = math.fsum(precisions)
        variance = standing[0]["noise_variance"] if len(standing) == 1 else 1.0 / total
        usage = kept.usage.get(made["decision_id"])
        yield (
            made,
            {
                "arm": (usage and usage["served_arm"]) or made["arm"],
                "epoch": made["epoch"],
                "weight": 0.25 / (0.25 + variance),
                "reward": math.fsum(p * row["reward"] for p, row in zip(precisions, standing, strict=True)) / total,
            },
        )


# ---------------------------------------------------------------- what is counted


def _counters(kept: Kept) -> Iterator[str]:
    by_arm, by_cluster = expected_sums(kept)
    for name, rows in (("rollup", kept.rollups), ("arm_total", kept.arm_totals)):
        stored = _add_up(rows, ("policy", "arm"), INTEGERS + FLOATS)
        yield from _differences(name, stored, by_arm, INTEGERS + FLOATS)
    keys = ("policy", "schema_hash", "cluster", "arm")
    yield from _differences("cluster_stat", _add_up(kept.clusters, keys, CLUSTER_SUMS), by_cluster, CLUSTER_SUMS)


def expected_sums(kept: Kept) -> tuple[Sums, Sums]:
    """What the log adds up to, by (policy, arm) and by (policy, schema, cluster, arm)."""
    by_arm: Sums = defaultdict(lambda: defaultdict(float))
    by_cluster: Sums = defaultdict(lambda: defaultdict(float))
    put = {row["decision_id"]: row for row in kept.contributions}
    attempts = grouped(kept.attempts, "decision_id")

    def add(made: Row, arm: str, **values: float) -> None:
        cluster = (made["policy"], made["schema_hash"], made["cluster"], arm)
        for name, value in values.items():
            by_arm[made["policy"], arm][name] += value
            by_cluster[cluster][name] += value

    for made in kept.decisions:
        decision_id = made["decision_id"]
        add(
            made,
            made["arm"],
            decisions=1,
            explored=made["explored"],
            degraded=made["degraded"] is not None,
            predicted_spend_usd=made["predicted_cost_usd"],
        )
        usage = kept.usage.get(decision_id)
        if usage is not None:
            own_usd = charge_of(made, usage) - (usage["attempts_usd"] or 0.0)
            own = _call(usage, own_usd, usage["latency_ms"])
            add(made, usage["arm"], usage_reports=not usage["estimated"], **own)
            for one in _beside_the_answer(attempts.get(decision_id, [])):
                add(made, one["arm"], **_call(one, one["cost_usd"] or 0.0, None))
        row = put.get(decision_id)
        if row is not None:
            w, r = row["weight"], row["reward"]
            add(made, row["arm"], rewards=1, weight=w, weighted_reward=w * r, weighted_square=w * r * r)
    return by_arm, by_cluster


def _call(row: Row, cost_usd: float, latency_ms: float | None) -> dict[str, float]:
    return {
        "input_tokens": row["input_tokens"] or 0,
        "output_tokens": row["output_tokens"] or 0,
        "cached_input_tokens": row["cached_input_tokens"] or 0,
        "errors": row["error"] is not None,
        "latency_reports": latency_ms is not None,
        "latency_ms_sum": latency_ms or 0.0,
        "spend_usd": cost_usd,
    }


def _beside_the_answer(attempts: Rows) -> Iterator[Row]:
    """All attempts but the last that answered, or, where none did, the last."""
    ordered = sorted(attempts, key=lambda one: one["ordinal"])
    answered = [i for i, one in enumerate(ordered) if one["error"] is None]
    main = answered[-1] if answered else len(ordered) - 1
    return (one for i, one in enumerate(ordered) if i != main)


def _add_up(rows: Rows, keys: tuple[str, ...], names: Iterable[str]) -> Sums:
    sums: Sums = {}
    for key, group in grouped(rows, *keys).items():
        sums[key] = {name: math.fsum(row[name] for row in group) for name in names}
    return sums


def _differences(table: str, stored: Sums, wanted: Sums, names: Iterable[str]) -> Iterator[str]:
    for key in sorted(stored.keys() | wanted.keys()):
        for name in names:
            has, should = stored.get(key, {}).get(name, 0.0), wanted.get(key, {}).get(name, 0.0)
            if has != should if name in INTEGERS else not _close(has, should):
                yield f"{table} {key} has {name} {has!r}, the log adds up to {should!r}"


def _row_counts(kept: Kept) -> Iterator[str]:
    lengths = {"decision": len(kept.decisions), "reward_event": len(kept.rewards), "usage_report": len(kept.usage)}
    for name, rows in grouped(kept.row_counts, "name").items():
        counted = sum(row["rows"] for row in rows)
        if name in lengths and counted != lengths[name]:
            yield f"{counted} rows of {name} are counted, {lengths[name]} are there"


def _close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
