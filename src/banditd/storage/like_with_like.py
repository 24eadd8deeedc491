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
    stands where nothing was predicted of that one. Of a recipe it is what its calls cost over what was predicted of
    these very models: that its members agreed makes no other arm cheaper. What attempts beside the answer cost is the
    cost of their own arm.

    Parameters
    ----------
    predicted_usd : when the decision was made, >= 0. drawn : the arm that was to answer. row : its usage
    (``usage_rows``). spent_usd : what it cost, with all attempts.
    """
    answered = figured_arm(row)
    run = [one for one in row["attempts"] if one["recipe"] is not None and one["recipe"] == answered]
    if run and row["cost_usd"] is not None:
        known = [one for one in run if one["arm"] in predicted_usd]
        scale = _over(sum(one["cost_usd"] for one in known), sum(predicted_usd[one["arm"]] for one in known))
        beside = [one for one in row["attempts"] if one["recipe"] != answered]
        answer_usd = spent_usd - sum(one["cost_usd"] for one in beside)
        called = {one["arm"]: one["cost_usd"] for one in run if one["error"] is None}
    else:
        answer_usd = spent_usd - (row["attempts_usd"] or 0.0)
        # Where no figures came, what stands is the estimate of the arm that was drawn, whoever answered.
        scale = _over(answer_usd, predicted_usd.get(drawn if row["cost_usd"] is None else answered, 0.0))
        main = main_place(row)
        beside = [one for ordinal, one in enumerate(row["attempts"]) if ordinal != main]
        called = {}
    found = {arm: called.get(arm, scale * float(usd)) for arm, usd in predicted_usd.items()}
    if answered in found:
        found[answered] = answer_usd
    for one in beside:
        if one["arm"] in found:
            found[one["arm"]] += one["cost_usd"]
    return found


def _over(cost_usd: float, predicted_usd: float) -> float:
    return cost_usd / predicted_usd if predicted_usd > _NOTHING_USD else 1.0


def main_place(row: Row) -> int:
    """Which attempt the figures of a row are of; -1 without attempts."""
    return main_of([one["error"] for one in row["attempts"]]) if row["attempts"] else -1


def figured_arm(row: Row) -> str:
    """The arm whose figures a row has: who failed last may not be who was drawn."""
    return served_as(row["attempts"][main_place(row)]) if row["attempts"] else str(row["arm"])


def served_as(one: Row) -> str:
    """The arm that an attempt's answer and cost count for: a call of a recipe's part is the recipe's."""
    return str(one["recipe"] or one["arm"])
