"""stub"""

from __future__ import annotations

from banditd.bandit.policies.base import PolicySettings
from banditd.bandit.policies.registry import policy_factory
from banditd.bandit.policies.view import PolicyView
from banditd.bandit.snapshot import Snapshot
from banditd.bandit.state import PolicyState


def rebound(state: PolicyState, settings: PolicySettings) -> Snapshot:
    now = state.snapshot(state.version)
    policy = policy_factory(settings).bind(PolicyView(now.posterior, now.arms, None, None))
    return Snapshot(
        version=now.version,
        epoch=now.epoch,
        arms=now.arms,
        posterior=now.posterior,
        probe_share=now.probe_share,
        policy=policy,
    )
