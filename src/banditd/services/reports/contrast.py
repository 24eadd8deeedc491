"""Mean and variance of a weighted sum of several arms' expected rewards: comparisons over many queries at once.

Not for choosing on one query (``posterior.Posterior.moments`` does that). Letters: ``posterior.py``.
"""

from __future__ import annotations

import numpy as np

from banditd.bandit.posterior.posterior import Posterior
from banditd.core.types import FloatArray


def combination(posterior: Posterior, rows: FloatArray) -> tuple[float, float]:
    """Posterior (mean, variance >= 0) of sum_a rows_a' theta_a, with all covariances between the arms.

    The posterior knows its own structure: with recipes it is not a star (``posterior/families.py``). A part that all
    arms share cancels if the rows do (as in a difference).

    Parameters
    ----------
    rows : float64, shape (K, d); a row of zeros leaves its arm out. The rows of an arm against a mix of others, over
    contexts x_c of weight w_c: sum_c w_c x_c for the arm, -sum_c w_c s_ca x_c for another of share s_ca.
    """
    mean = float(posterior.centre @ rows[:, 0] + np.vdot(posterior.coefficients(), rows))
    return mean, max(float(posterior.combined_variance(rows[:, None, :])[0]), 0.0)
