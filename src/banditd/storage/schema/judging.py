"""Judges: answers that wait to be judged, verdicts, what judging costs, judges that are refused."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Double, Index, Table, UniqueConstraint

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
