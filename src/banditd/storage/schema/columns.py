"""The metadata that all tables share, and the kinds of columns."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, Column, Double, ForeignKey, Integer, MetaData, Text, text

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def text_column(name: str, **options: Any) -> Column[Any]:
    return Column(name, Text, nullable=options.pop("nullable", False), **options)


def text_columns(*names: str, **options: Any) -> list[Column[Any]]:
    return [text_column(name, **options) for name in names]


def time_column(name: str, **options: Any) -> Column[Any]:
    return Column(name, BigInteger, nullable=options.pop("nullable", False), **options)


def decision_key(**options: Any) -> Column[Any]:
    return Column("decision_id", Text, ForeignKey("decision.decision_id"), nullable=False, **options)


def dependent_key(*, primary_key: bool = True) -> Column[Any]:
    """First part of a primary key; its rows go with the decision, also where an older replica prunes the log."""
    reference = ForeignKey("decision.decision_id", ondelete="CASCADE")
    return Column("decision_id", Text, reference, primary_key=primary_key, nullable=False)


def claim_columns() -> list[Column[Any]]:
    """Of a row that waits until somebody claims it."""
    return [
        # When it may be claimed: from the first, after a pause, or when a claim has run out.
        time_column("due_at_us"),
        Column("attempts", Integer, nullable=False, server_default=text("0")),
        text_column("lease", nullable=True),
    ]


def sum_columns(integers: tuple[str, ...], floats: tuple[str, ...]) -> list[Column[Any]]:
    zero = text("0")
    return [Column(name, BigInteger, nullable=False, server_default=zero) for name in integers] + [
        Column(name, Double, nullable=False, server_default=zero) for name in floats
    ]
