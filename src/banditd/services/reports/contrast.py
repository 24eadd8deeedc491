"""Mean and variance of a weighted sum of several arms' expected rewards: comparisons over many queries at once.

Not for choosing on one query (``posterior.Posterior.moments`` does that). Letters: ``posterior.py``.
"""

from __future__ import annotations

import numpy as np

from banditd.bandit.posterior.posterior import Posterior
from banditd.core.types import FloatArray


def combination(posterior: Posterior, rows: FloatArray) -> tuple[float, float]:
    """Posterior (mean, variance >= 0) of sum_a rows_a' theta_a, with all covariances between the arms.

    With theta_a = A_a^-1 (b_a / s2_a + V1^-1 beta) + e_a, e_a ~ N(0, A_a^-1), and g = sum_a A_a^-1 rows_a:
    mean = sum_a (centre_a rows_a0 + own_a' rows_a) + g' V1^-1 m0,
    variance = sum_a rows_a' A_a^-1 rows_a + g' V1^-1 Lambda^-1 V1^-1 g.
    Where the arms share a part and the rows cancel (a difference), it cancels here too.

    Parameters
    ----------
    rows : float64, shape (K, d); a row of zeros leaves its arm out. The rows of an arm against a mix of others,
        over contexts x_c of weight w_c: sum_c w_c x_c for the arm, -sum_c w_c s_ca x_c for another of share s_ca.
    """
    mean = float(posterior.centre @ rows[:, 0] + np.vdot(posterior.own, rows))
    variance = 0.0
    total = np.zeros(rows.shape[1])
    for inverse, row in zip(posterior.inverse, rows, strict=True):
        if row.any():
            product = inverse @ row
            variance += float(row @ product)
            total += product
    if posterior.shared_spread is not None:
        mean += float(total @ posterior.shared_pull)
        variance += float(total @ posterior.shared_spread @ total)
    return mean, max(variance, 0.0)
