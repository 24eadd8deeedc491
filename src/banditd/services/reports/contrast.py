"""Mean and variance of a weighted sum of several arms' expected rewards: comparisons over many queries at once.

Not for choosing on one query (``posterior.Posterior.moments`` does that). Letters: ``posterior.py``.
"""

from __future__ import annotations

import numpy as np

from banditd.bandit.posterior.posterior import Posterior
from banditd.core.types import FloatArray


def combination(posterior: Posterior, rows: FloatArray) -> tuple[float, float]:
    """Posterior (mean, variance >= 0) of sum_a rows_a' theta_a, with all covariances between the arms.

    The posterior knows its own shape: with recipes it is no star (``posterior/families.py``). Where the arms
    share a part and the rows cancel (a difference), it cancels here too.

    Parameters
    ----------
    rows : float64, shape (K, d); a row of zeros leaves its arm out. The rows of an arm against a mix of others,
        over contexts x_c of weight w_c: sum_c w_c x_c for the arm, -sum_c w_c s_ca x_c for another of share s_ca.
    """
    mean = float(posterior.centre @ rows[:, 0] + np.vdot(posterior.coefficients(), rows))
    return mean, max(float(posterior.combined_variance(rows[:, None, :])[0]), 0.0)
