"""Another rule over the same sums: a snapshot that differs only in how it decides."""

from __future__ import annotations

from collections.abc import Generator

from banditd.bandit.policies.base import PolicySettings
from banditd.bandit.policies.registry import policy_factory
from banditd.bandit.policies.view import PolicyView
from banditd.bandit.snapshot import Snapshot
from banditd.bandit.state import PolicyState


def shares_posterior(settings: PolicySettings, other: PolicySettings) -> bool:
    """Whether ``other`` decides from the same posterior that ``settings`` derive from the sums.

    Not if only one of them has a part that all arms share, or looks at clusters alone.
    """
    wanted = policy_factory(other)
    return policy_factory(settings).pooled == wanted.pooled and not wanted.needs_clusters


def rebound(snapshot: Snapshot, state: PolicyState, settings: PolicySettings) -> Snapshot:
    """A snapshot of the state that decides by other settings with the same posterior; this is cheap.

    snapshot : the published one, if the state belongs to a learner, because building another would change that state.
    """
    learned = tuple(arm.learned_as for arm in state.arms)
    watching = state.settings.change_detection and state.arm_changes.changed
    curious = state.arm_changes.curiosity(learned, state.folded) if watching else None
    view = PolicyView(snapshot.posterior, snapshot.arms, None, curious)
    return Snapshot(
        version=snapshot.version,
        epoch=snapshot.epoch,
        arms=snapshot.arms,
        policy=policy_factory(settings).bind(view),
        posterior=snapshot.posterior,
        probe_share=snapshot.probe_share,
    )


def restating(state: PolicyState, settings: PolicySettings) -> Generator[None, None, PolicyState]:
    """A state of the same sums with other settings' posterior, in pieces: one factorisation per arm."""
    other = PolicyState(schema=state.schema, settings=settings, arms=state.arms)
    yield from other.applying(
        state.segments(),
        version=max(state.version, 1),
        hyperparameters=state.hyperparameters_json(),
        learner=state.learner_json(),
    )
    return other
