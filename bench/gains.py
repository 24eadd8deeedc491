"""Differences of two plays on the same shuffles."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def gain_of(plain: dict[str, Any], other: dict[str, Any], part: str) -> dict[str, Any]:
    """What ``other`` has earned more than ``plain`` in a part of each seed's run, in utility.

    plain, other : contents of two reports of ``banditd.replay`` over the same seeds. part : ``utility``, the whole
    run, or ``last_third``. standard_error : over the seeds; None of one.
    """
    difference = np.array([b[part] - a[part] for a, b in zip(plain["per_seed"], other["per_seed"], strict=True)])
    error = float(difference.std(ddof=1) / math.sqrt(difference.size)) if difference.size > 1 else None
    return {"mean": float(difference.mean()), "standard_error": error, "worst_seed": float(difference.min())}
