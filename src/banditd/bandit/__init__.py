"""The learner's pure maths: posteriors from sums, policies, propensities. No clock, no I/O, no generator."""

from banditd.bandit.base import ArmPrior, Choice, Policy, PolicySettings, Scores
from banditd.bandit.evidence import TuningTask
from banditd.bandit.exploration import apply_floors, dollar_floors, draw
from banditd.bandit.hyperparameters import Hyperparameters
from banditd.bandit.prior import Prior
from banditd.bandit.registry import POLICIES
from banditd.bandit.snapshot import Snapshot
from banditd.bandit.state import PolicyState
from banditd.bandit.statistics import ArmSums

__all__ = [
    "POLICIES",
    "ArmPrior",
    "ArmSums",
    "Choice",
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
