"""Judges: what waits for them (answers, pairs, golden cases, probes), what they said, what it costs."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Integer, Table, UniqueConstraint, false, text

from banditd.storage.schema.columns import (
    claim_columns,
    dependent_key,
    metadata,
    sum_columns,
    text_column,
    text_columns,
    time_column,
)


def answers_to_judge(name: str, *key: str) -> Table:
    """A queue of answers that a judge has not looked at. key : what each of them is once of.

    The only tables that hold texts of clients without ``privacy.store_input``: rows go when they are judged.
    """
    return Table(
        name,
        metadata,
        text_column("task_id", primary_key=True),
        dependent_key(primary_key=False),
        *text_columns("judge", "version", "policy", "arm"),
        Column("probability", Double, nullable=False),
        *text_columns("question", "answer"),
        time_column("created_at_us"),
        time_column("expires_at_us"),
        *claim_columns(),
        UniqueConstraint(*key),
        Index(None, "judge", "due_at_us"),
    )


def verdicts_of_judges(name: str, *, of_each_arm: bool) -> Table:
    """What judges have said. of_each_arm : of several answers to a query, else of the one that was served."""
    return Table(
        name,
        metadata,
        dependent_key(),
        text_column("judge", primary_key=True),
        text_column("arm", primary_key=of_each_arm),
        *text_columns("task_id", "version", "policy"),
        Column("probability", Double, nullable=False),
        Column("score", Double, nullable=False),
        text_column("reason"),
        Column("cost_usd", Double, nullable=False),
        time_column("judged_at_us"),
        text_column("reward"),
        Index(None, "judge", "reward", "decision_id"),
        Index(None, "judge", "version", "decision_id"),
        UniqueConstraint("task_id"),
    )


judge_task: Final = answers_to_judge("judge_task", "decision_id", "judge")
judgement: Final = verdicts_of_judges("judgement", of_each_arm=False)

JUDGE_COUNTS: Final = ("sampled", "dropped", "judged", "failed", "calls", "input_tokens", "output_tokens")
JUDGE_SUMS: Final = (*JUDGE_COUNTS, "cost_usd")

judge_account: Final = Table(
    "judge_account",
    metadata,
    *text_columns("judge", "policy", primary_key=True),
    Column("hour_at_us", BigInteger, primary_key=True, autoincrement=False),
    *sum_columns(JUDGE_COUNTS, ("cost_usd",)),
)

judge_refusal: Final = Table(
    "judge_refusal",
    metadata,
    *text_columns("judge", "version", primary_key=True),
    text_column("reason"),
    time_column("refused_at_us"),
)


# The answer is deleted when it is scored; the row some days after its day was counted.
golden_case: Final = Table(
    "golden_case",
    metadata,
    text_column("policy", primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    *text_columns("arm", "prompt_id", primary_key=True),
    text_column("version"),
    Column("position", Integer, nullable=False),
    text_column("state"),
    text_column("answer", nullable=True),
    Column("score", Double, nullable=True),
    Column("reserve_usd", Double, nullable=False),
    Column("cost_usd", Double, nullable=False, server_default=text("0")),
    # When it may be claimed: from the first, or after a pause; of a claimed one, when the claim runs out.
    time_column("due_at_us"),
    time_column("claimed_at_us", nullable=True),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    text_column("lease", nullable=True),
    Column("counted", Boolean, nullable=False, server_default=false()),
    Index(None, "policy", "state", "due_at_us"),
)

golden_watch: Final = Table(
    "golden_watch",
    metadata,
    *text_columns("policy", "arm", primary_key=True),
    *text_columns("version", "test"),
    Column("alarm_day", BigInteger, nullable=True),
    time_column("updated_at_us"),
)


comparison_task: Final = Table(
    "comparison_task",
    metadata,
    text_column("task_id", primary_key=True),
    dependent_key(primary_key=False),
    *text_columns("judge", "policy", "arm", "served_arm"),
    Column("probability", Double, nullable=False),
    *text_columns("question", "served_answer", "answer"),
    time_column("created_at_us"),
    time_column("expires_at_us"),
    *claim_columns(),
    UniqueConstraint("decision_id", "judge", "arm"),
    Index(None, "judge", "due_at_us"),
)

comparison: Final = Table(
    "comparison",
    metadata,
    dependent_key(),
    *text_columns("judge", "arm", primary_key=True),
    *text_columns("served_arm", "version", "policy"),
    Column("probability", Double, nullable=False),
    # baseline, served, same or inconsistent.
    text_column("outcome"),
    Column("cost_usd", Double, nullable=False),
    time_column("compared_at_us"),
    # Null of comparisons that are older than these columns: the task that it was, what was said with either answer
    # first (first, second or same), and the lengths of the answers as they were compared, in characters.
    *text_columns("task_id", "served_first", "baseline_first", nullable=True),
    Column("served_chars", Integer, nullable=True),
    Column("answer_chars", Integer, nullable=True),
    Index(None, "judge", "version", "compared_at_us"),
    Index(None, "task_id"),
)


# A row stays with its decision; the request is deleted when the call has ended or cannot be made.
probe: Final = Table(
    "probe",
    metadata,
    text_column("probe_id", primary_key=True),
    dependent_key(primary_key=False),
    *text_columns("judge", "policy", "arm"),
    Column("probability", Double, nullable=False),
    *text_columns("state", "surface"),
    *text_columns("body", "headers", "served_arm", "served_answer", nullable=True),
    Column("input_tokens", BigInteger, nullable=False),
    Column("reserve_usd", Double, nullable=False),
    Column("cost_usd", Double, nullable=False, server_default=text("0")),
    time_column("created_at_us"),
    time_column("expires_at_us"),
    # When it may be claimed: from the first, or after a pause; of a claimed one, when the claim runs out.
    time_column("due_at_us"),
    time_column("claimed_at_us", nullable=True),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    text_column("lease", nullable=True),
    UniqueConstraint("decision_id", "judge", "arm"),
    Index(None, "state", "judge", "due_at_us"),
)

probe_answer: Final = answers_to_judge("probe_answer", "decision_id", "judge", "arm")
probe_judgement: Final = verdicts_of_judges("probe_judgement", of_each_arm=True)

PROBE_COUNTS: Final = (
    "drawn", "dropped", "answered", "failed", "lost", "calls", "input_tokens", "output_tokens",
)  # fmt: skip
PROBE_SUMS: Final = (*PROBE_COUNTS, "cost_usd")

probe_account: Final = Table(
    "probe_account",
    metadata,
    *text_columns("judge", "policy", primary_key=True),
    Column("hour_at_us", BigInteger, primary_key=True, autoincrement=False),
    *sum_columns(PROBE_COUNTS, ("cost_usd",)),
)
