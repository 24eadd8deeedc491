"""The learner's pure maths: posteriors from sums, policies, propensities. No clock, no I/O, no generator."""

from banditd.bandit.policies.base import ArmPrior, Policy, PolicySettings, Scores
from banditd.bandit.policies.exploration import apply_floors, dollar_floors, draw
from banditd.bandit.policies.registry import POLICIES
from banditd.bandit.posterior.evidence import TuningTask
from banditd.bandit.posterior.hyperparameters import Hyperparameters
from banditd.bandit.posterior.prior import Prior
from banditd.bandit.posterior.statistics import ArmSums
from banditd.bandit.snapshot import Snapshot
from banditd.bandit.state import PolicyState

__all__ = [
    "POLICIES",
    "ArmPrior",
    "ArmSums",
    "Hyperparameters",
    "Policy",
    "PolicySettings",
    "PolicyState",
    "Prior",
    "Scores",
    "Snapshot",
    "TuningTask",
    "apply_floors",
    "dollar_floors",
    "draw",
]
