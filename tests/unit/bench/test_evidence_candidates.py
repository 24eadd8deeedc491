from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # bench/ is not installed

from bench.evidence.candidates import WITHOUT_MAIN, CandidateCase, checked, table

CASE = CandidateCase(
    data="d", seed=0, candidate="cost weight .2", truth=-0.02, estimate=-0.03, covers=True, half_width=0.04,
    worth_share=0.2, missed=False, anytime_width=0.06, phase="inconclusive",
)  # fmt: skip
SAME = replace(CASE, candidate="the same", truth=0.0, half_width=0.0, phase="passed")
WITHOUT = replace(CASE, candidate=WITHOUT_MAIN)


def test_a_bound_of_evaluations_that_is_missed_is_said_to_be() -> None:
    assert all(one.met for one in checked([CASE, SAME, WITHOUT]))
    for wrong in (
        [replace(CASE, covers=False), SAME, WITHOUT],
        [replace(CASE, missed=True), SAME, WITHOUT],
        [replace(CASE, phase="passed"), SAME, WITHOUT],  # it is worse by more than the margin
        [replace(CASE, phase="failed", truth=-0.005), SAME, WITHOUT],
        [CASE, replace(SAME, phase="inconclusive"), WITHOUT],
        [CASE, replace(SAME, half_width=0.02), WITHOUT],
        [CASE, SAME, replace(WITHOUT, phase="passed")],
    ):
        assert sum(not one.met for one in checked(wrong)) == 1
    [row, *_] = table([CASE, replace(CASE, covers=False, half_width=0.08), SAME, WITHOUT])
    assert (row.logs, row.covers, row.inconclusive) == (2, 0.5, 1.0)
    assert row.half_width == 0.06
