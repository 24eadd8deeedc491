"""What a settled decision would have cost with one arm alone: the one method behind what is said to be saved. Pure.

What was spent rests on the tokens that were really used, so what another arm would have cost must rest on them too,
and not on the tokens that were expected when the decision was made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from banditd.core.usage import main_of

Row = Mapping[str, Any]
_NOTHING_USD: Final = 1e-12  # a prediction below it is none: nothing can be scaled by it


def would_have_cost_usd(
    predicted_usd: Mapping[str, float], drawn: str, row: Row, spent_usd: float
) -> dict[str, float]:
    """Dollars of every arm with a prediction: exactly what was spent with the arm that answered, else like with like.

    Another arm's prediction is scaled by what the answer cost over what was predicted of the arm that gave it; it
    stands where nothing was predicted of that one. What attempts beside the answer cost is the cost of their own arm.

    Parameters
    ----------
    predicted_usd : when the decision was made, >= 0. drawn : the arm that was to answer. row : its usage
    (``usage_rows``). spent_usd : what it cost, with all attempts.
    """
    answered, answer_usd = figured_arm(row), spent_usd - (row["attempts_usd"] or 0.0)
    # Where no figures came, what stands is the estimate of the arm that was drawn, whoever answered.
    predicted = predicted_usd.get(drawn if row["cost_usd"] is None else answered, 0.0)
    scale = answer_usd / predicted if predicted > _NOTHING_USD else 1.0
    found = {arm: scale * float(usd) for arm, usd in predicted_usd.items()}
    if answered in found:
        found[answered] = answer_usd
    main = main_place(row)
    for ordinal, one in enumerate(row["attempts"]):
        if ordinal != main and one["arm"] in found:
            found[one["arm"]] += one["cost_usd"]
    return found


def main_place(row: Row) -> int:
    """Which attempt the figures of a row are of; -1 without attempts."""
    return main_of([one["error"] for one in row["attempts"]]) if row["attempts"] else -1


def figured_arm(row: Row) -> str:
    """The arm whose figures a row has: who failed last may not be who was drawn."""
    return str(row["attempts"][main_place(row)]["arm"] if row["attempts"] else row["arm"])
