"""Is every operation of the history in the database as often as its client was told? Pure functions.

Acknowledged: exactly once, as answered. Told that nothing was stored: not there. Unknown: once at most.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator

from bench.chaos.check_sums import check_sums
from bench.chaos.history import MARKER_TAG, History, Operation, Outcome, Try
from bench.chaos.kept import Kept, Row, grouped

# Answers below 500 that a load without mistakes may get, by kind of operation.
EXPECTED_REFUSALS = {
    "route": {"BUDGET_EXHAUSTED", "BUDGET_SHORT"},
    "abandon": {"DECISION_REWARDED"},  # the default reward was faster
    "correction": {"INVALID_INPUT"},  # nothing was charged yet that could be taken off
}


def check(history: History, kept: Kept) -> list[str]:
    """Everything that is wrong, one sentence each; empty where the daemon kept its word."""
    rows = stored_rows(history, kept)
    wrong = list(_refusals(history))
    for operation in history.operations("route", "reward", "retract", "usage", "abandon", "patch", "correction"):
        found = rows.get((operation.kind, operation.marker), [])
        wrong += _presence(operation, found)
        wrong += _answers(operation, found)
    wrong += _strangers(history, kept)
    wrong += _newest_rewards(history, kept)
    wrong += _newest_usage(history, kept)
    wrong += _newest_patches(history, kept)
    wrong += _reads(kept)
    return wrong + check_sums(kept)


def stored_rows(history: History, kept: Kept) -> dict[tuple[str, str], list[Row]]:
    """(kind, marker) -> the rows that this operation has left."""
    found: dict[tuple[str, str], list[Row]] = {}

    def put(kind: str, marker: object, row: Row) -> None:
        found.setdefault((kind, str(marker)), []).append(row)

    for row in kept.decisions:
        put("route", row["tags"].get(MARKER_TAG), row)
    for row in kept.rewards:
        put("retract" if row["kind"] == "retraction" else "reward", row["metadata"].get(MARKER_TAG), row)
    for row in kept.usage.values():
        put("usage", row["finish_reason"], row)
    for row in kept.revisions:
        put("usage", row["report"].get("finish_reason"), row)
    for row in kept.corrections:
        put("correction", row["reason"], row)
    abandoned = {row["decision_id"]: row for row in kept.abandoned}
    for operation in history.operations("abandon"):
        if operation.first.subject in abandoned:
            put("abandon", operation.marker, abandoned[operation.first.subject])
    prices = grouped(kept.prices, "policy", "arm", "usd_per_mtok_out")
    for operation in history.operations("patch"):
        one = operation.first
        for row in prices.get((one.policy, one.subject.partition("/")[2], one.body["price"]["usd_per_mtok_out"]), ()):
            put("patch", operation.marker, row)
    return found


def _presence(operation: Operation, rows: list[Row]) -> Iterator[str]:
    name = f"{operation.kind} {operation.marker}"
    if operation.outcome is Outcome.DONE and not rows:
        yield f"{name} was acknowledged and is lost"
    if operation.outcome is Outcome.NOTHING and rows:
        codes = {one.code or one.status for one in operation.tries}
        yield f"{name} was answered {codes}, as if nothing had been stored, and is stored"
    if len(rows) > 1:
        yield f"{name} is stored {len(rows)} times"


def _answers(operation: Operation, rows: list[Row]) -> Iterator[str]:
    """Every acknowledgement says what is stored, and the later ones that they are repetitions."""
    name = f"{operation.kind} {operation.marker}"
    done = operation.done
    for one in done:
        for row in rows[:1]:
            for field, told, stored in _told(one, row):
                if not _same(told, stored):
                    yield f"{name} was answered {field} {told!r}, stored is {stored!r}"
    for before, after in itertools.pairwise(done):
        repeated = before.end_s <= after.start_s
        if after.key is not None and _identity(after) != _identity(before):
            yield f"{name} was answered {_identity(before)}, and again under its key {_identity(after)}"
        elif repeated and _says_done_anew(after):
            yield f"{name} was done again: the repeated request was not told that it is a duplicate"


def _says_done_anew(one: Try) -> bool:
    """Whether the answer says that this very request has changed something."""
    if one.kind == "abandon" and one.key is None:
        return bool(one.answer["abandoned"])
    return not one.answer.get("duplicate", True)


def _told(one: Try, row: Row) -> Iterator[tuple[str, object, object]]:
    """(what, as answered, as stored)."""
    names = {
        "route": ("decision_id", "arm", "policy", "propensity", "predicted_cost_usd"),
        "reward": ("reward_id", "decision_id", "revision", "reward"),
        "retract": ("reward_id", "decision_id", "revision"),
        "usage": ("decision_id", "cost_usd", "revision"),
        "correction": ("usd",),
    }
    for name in names.get(one.kind, ()):
        if name in one.answer and name in row:
            yield name, one.answer[name], row[name]
    if one.kind == "reward" and "value" in one.body:
        yield "value", one.body["value"], row["value"]


def _identity(one: Try) -> object:
    names = ("decision_id", "reward_id", "revision", "arm")
    return {name: one.answer[name] for name in names if name in one.answer}


def _same(told: object, stored: object) -> bool:
    if isinstance(told, float) and isinstance(stored, float | int):
        return math.isclose(told, stored, rel_tol=1e-9, abs_tol=1e-12)
    return told == stored


def _refusals(history: History) -> Iterator[str]:
    """The load makes no mistakes: an answer that blames the request, or a 500, is one."""
    for one in history.tries:
        if one.status is None or one.status < 300 or one.status == 503:
            continue
        if one.code not in EXPECTED_REFUSALS.get(one.kind, set()):
            yield f"{one.kind} {one.marker} was answered {one.status} {one.code}: {one.answer.get('detail')}"


def _strangers(history: History, kept: Kept) -> Iterator[str]:
    """What is stored, and nobody sent."""
    sent = {one.marker for one in history.tries}
    for row in kept.decisions:
        if row["tags"].get(MARKER_TAG) not in sent:
            yield f"decision {row['decision_id']} was never asked for"
    for row in kept.rewards:
        if row["kind"] != "default" and row["metadata"].get(MARKER_TAG) not in sent:
            yield f"reward {row['reward_id']} was never sent"
    for row in kept.usage.values():
        if not row["estimated"] and row["finish_reason"] not in sent:
            yield f"usage of {row['decision_id']} was never sent"


def _newest_rewards(history: History, kept: Kept) -> Iterator[str]:
    by_subject = history.by_subject("reward", "retract")
    subject_of = {one.marker: subject for subject, operations in by_subject.items() for one in operations}
    for identity, rows in grouped(kept.rewards, "identity").items():
        ordered = sorted(rows, key=lambda row: row["revision"])
        if [row["revision"] for row in ordered] != list(range(len(ordered))):
            yield f"reward {identity} has the revisions {[row['revision'] for row in ordered]}"
        subject = subject_of.get(ordered[-1]["metadata"].get(MARKER_TAG))
        if subject is not None:
            yield from _newest(f"reward {identity}", by_subject[subject], ordered[-1]["metadata"][MARKER_TAG])


def _newest_usage(history: History, kept: Kept) -> Iterator[str]:
    for decision_id, operations in history.by_subject("usage").items():
        row = kept.usage.get(decision_id)
        yield from _newest(f"usage of {decision_id}", operations, row and row["finish_reason"])


def _newest_patches(history: History, kept: Kept) -> Iterator[str]:
    arms = {f"{row['policy']}/{row['arm']}": row for row in kept.arms}
    for subject, operations in history.by_subject("patch").items():
        value = {one.marker: float(one.first.body["expected_output_tokens"]) for one in operations}
        stored = arms[subject]["expected_output_tokens"]
        marker = next((marker for marker, sent in value.items() if sent == stored), None)
        yield from _newest(f"arm {subject}", operations, marker)


def _newest(name: str, operations: list[Operation], stored: str | None) -> Iterator[str]:
    """The newest state is that of the last operation known to be done, or of one that may have come later."""
    last = max((i for i, one in enumerate(operations) if one.outcome is Outcome.DONE), default=-1)
    allowed = {one.marker for one in operations[last + 1 :] if one.outcome is Outcome.UNKNOWN}
    allowed |= {one.marker for one in operations if one.may_come_late}
    if last >= 0:
        allowed.add(operations[last].marker)
    elif stored is None:
        return
    if stored not in allowed:
        yield f"{name} says {stored}, and {operations[last].marker if last >= 0 else 'nothing'} was acknowledged last"


def _reads(kept: Kept) -> Iterator[str]:
    """What /v1 shows at the end is what the database has, at every replica."""
    decisions = {row["decision_id"]: row for row in kept.decisions}
    counts = {policy: len(rows) for policy, rows in grouped(kept.decisions, "policy").items()}
    stored = grouped(kept.accounts, "policy", "budget", "account")
    for replica, read in kept.read.items():
        for decision_id, shown in read.get("decisions", {}).items():
            row = decisions.get(decision_id)
            if row is None or row["arm"] != shown["arm"]:
                yield f"{replica} shows decision {decision_id} as {shown['arm']}, stored is {row and row['arm']}"
        for policy, shown in read.get("stats", {}).items():
            wanted = counts.get(policy, 0)
            if shown["decisions"] != wanted:
                yield f"{replica} counts {shown['decisions']} decisions of {policy}, stored are {wanted}"
        for shown in read.get("budgets", ()):
            rows = stored.get((shown["policy"], shown["name"], shown["account"]), [])
            if not _any_same(shown["charged_usd"], (row["charged_usd"] for row in rows)):
                account = f"{shown['name']}/{shown['account']}"
                yield f"{replica} shows {shown['charged_usd']} on {account}, stored is {rows}"


def _any_same(told: float, stored: Iterable[float]) -> bool:
    values = list(stored)
    return any(_same(told, value) for value in values) or (not values and told == 0.0)
