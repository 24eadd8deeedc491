"""What judging costs, taken off what was saved. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def less_judging(savings: Mapping[str, Any], judged_usd: float) -> dict[str, object]:
    """The fields of ``GET /v1/savings`` that judging changes; none where it has cost nothing.

    savings : the headline. judged_usd : what the judges' calls have cost meanwhile.
    """
    if judged_usd <= 0.0:
        return {}
    saved = savings["saved"]["usd"]
    left = None if saved is None else saved - judged_usd
    sentence = f"Judges cost {_dollars(judged_usd)} beside that"
    if left is not None:
        sentence += f": {_dollars(left)} of what was saved is left" if left >= 0.0 else ": more than was saved"
    return {
        "judges": {"usd": judged_usd, "saved_less_judges_usd": left},
        "words": {**savings["words"], "judges": f"{sentence}."},
    }


def _dollars(usd: float) -> str:
    return f"${usd:,.2f}" if usd >= 0.01 else f"${usd:.2g}"
