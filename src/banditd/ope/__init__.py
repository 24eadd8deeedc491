"""Off-policy evaluation: what another policy would have earned, from a log with true propensities. Pure maths."""

from banditd.ope.diagnostics import Diagnostics, diagnose
from banditd.ope.estimators import Estimate, clipped_ips, importance_weights, ips, snips

__all__ = ["Diagnostics", "Estimate", "clipped_ips", "diagnose", "importance_weights", "ips", "snips"]
