"""What judging and probing cost, taken off what was saved: the one place where that is done. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from banditd.services.reports.headline import dollars_in_words


def less_judging(savings: Mapping[str, Any], judged_usd: float, probed_usd: float) -> dict[str, object]:
    """The fields of ``GET /v1/savings`` that judging and probing change; none where they have cost nothing.

    savings : the headline. judged_usd, probed_usd : what the judges' calls, and probes', have cost meanwhile.
    """
    beside_usd = judged_usd + probed_usd
    if beside_usd <= 0.0:
        return {}
    saved = savings["saved"]["usd"]
    left = None if saved is None else saved - beside_usd
    sentence = f"{_who(judged_usd, probed_usd)} beside the traffic"
    if left is not None:
        still = f": {dollars_in_words(left)} of what was saved is left"
        sentence += still if left >= 0.0 else ": more than was saved"
    return {
        "judges": {"usd": judged_usd, "probes_usd": probed_usd, "saved_less_judges_usd": left},
        "words": {**savings["words"], "judges": f"{sentence}."},
        "headline": f"{savings['headline']} {sentence}.",
    }


def _who(judged_usd: float, probed_usd: float) -> str:
    if not probed_usd:
        return f"Judges cost {dollars_in_words(judged_usd)}"
    if not judged_usd:
        return f"Probes cost {dollars_in_words(probed_usd)}"
    return f"Judges cost {dollars_in_words(judged_usd)} and probes {dollars_in_words(probed_usd)}"
