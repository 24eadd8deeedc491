"""Rows are made for many decisions at once: each is what it would be alone."""

from __future__ import annotations

from tests.contract.conftest import make_decision

from banditd.core.types import Blend
from banditd.storage.schema.record import RECORD, ROW_COLUMNS, decision_of, rows_of


def test_rows_of_many_are_the_rows_of_each() -> None:
    plain = make_decision()
    few = make_decision(arms=("cheap",), degraded="no_text", input_text="a\0b", tags={}, exclusions={})
    promised = make_decision(
        keep=0.95, baseline="dear", promise={"share": 0.5}, own_probability=plain.mean, mixture=Blend(0.5, plain.mean)
    )
    decisions = [plain, few, promised]
    rows = rows_of(decisions)
    assert rows == [row for one in decisions for row in rows_of([one])]
    assert {len(row) for row in rows} == {len(RECORD)} and set(ROW_COLUMNS) == {one.name for one in RECORD}
    assert rows_of([]) == []
    again = decision_of(dict(zip(ROW_COLUMNS, rows[2], strict=True)))
    assert again.keep == 0.95 and again.promise == {"share": 0.5}
    assert again.mean.tolist() == plain.mean.tolist() and again.context.facts == plain.context.facts
