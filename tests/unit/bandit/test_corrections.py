"""Many corrections at once: an arm that lost weight is rebuilt when it is looked at, not at every subtraction."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from banditd.bandit.policies.base import ArmPrior, PolicySettings
from banditd.bandit.posterior import families, ridge
from banditd.bandit.state import PolicyState
from banditd.core.types import Context, FeatureSchema

Row = tuple[str, np.ndarray, float, float]

STAR = [ArmPrior("a"), ArmPrior("b"), ArmPrior("c", quality_prior=0.7, prior_worth=3.0)]
FAMILY = [ArmPrior("a"), ArmPrior("b", like="a"), ArmPrior("c", like="a"), ArmPrior("d")]
KINDS = [(STAR, "thompson"), (STAR, "linucb"), (FAMILY, "thompson")]


@pytest.mark.parametrize(("arms", "kind"), KINDS)
@pytest.mark.parametrize("discount", [None, 40.0])
def test_corrections_in_one_batch_are_worth_what_they_are_one_by_one(
    schema: FeatureSchema,
    draw_context: Callable[..., Context],
    arms: list[ArmPrior],
    kind: str,
    discount: float | None,
) -> None:
    settings = PolicySettings(kind=kind, forgetting=discount, epoch_decisions=50, change_detection=False)
    at_once, one_by_one = (PolicyState(schema=schema, settings=settings, arms=arms) for _ in range(2))
    rows = drawn(arms, draw_context, 60)
    for state in (at_once, one_by_one):
        for arm, x, weight, reward in rows:
            state.fold(arm=arm, epoch=0, x=x, weight=weight, reward=reward)
        state.snapshot()
    for place, (arm, x, weight, reward) in enumerate(rows):
        for sign, worth in ((-1.0, reward), (1.0, 1.0 - reward)):
            if sign > 0 and place % 3 == 0:
                continue  # retracted
            for state in (at_once, one_by_one):
                state.fold(arm=arm, epoch=0, x=x, weight=sign * weight, reward=worth, first=False)
            one_by_one.snapshot()
        other = arms[place % len(arms)].arm  # amid corrections, of an arm that has lost something or not
        for state in (at_once, one_by_one):
            state.fold(arm=other, epoch=0, x=x, weight=0.5, reward=reward, first=False, served=False)
    x = np.stack([row[1] for row in drawn(arms, draw_context, 9)])
    for got, expected in zip(at_once.snapshot().predict(x), one_by_one.snapshot().predict(x), strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-9)
    if discount is None:
        counts = [state.snapshot().posterior.counts for state in (at_once, one_by_one)]
        np.testing.assert_allclose(*counts, rtol=0, atol=1e-9)
    assert at_once.inverse_error() < 1e-9


@pytest.mark.parametrize("arms", [STAR, FAMILY])
def test_a_batch_of_corrections_inverts_each_arm_once(
    schema: FeatureSchema, draw_context: Callable[..., Context], arms: list[ArmPrior], monkeypatch: pytest.MonkeyPatch
) -> None:
    state = PolicyState(schema=schema, settings=PolicySettings(), arms=arms)
    rows = drawn(arms, draw_context, 100)
    for arm, x, weight, reward in rows:
        state.fold(arm=arm, epoch=0, x=x, weight=weight, reward=reward)
    state.snapshot()
    inverted, invert = 0, ridge.spd_inverse

    def counting(matrix: np.ndarray) -> np.ndarray:
        nonlocal inverted
        inverted += 1
        return invert(matrix)

    monkeypatch.setattr(ridge, "spd_inverse", counting)
    monkeypatch.setattr(families, "spd_inverse", counting)
    for arm, x, weight, reward in rows:
        state.fold(arm=arm, epoch=0, x=x, weight=-weight, reward=reward)
        state.fold(arm=arm, epoch=0, x=x, weight=weight, reward=1.0 - reward, first=False)
    pieces = sum(1 for _ in state.refreshing())
    state.snapshot()
    assert len(arms) < inverted <= len(arms) + 1  # each once, and what they share
    assert pieces >= len(arms)  # with a pause after each


def drawn(arms: list[ArmPrior], draw_context: Callable[..., Context], count: int) -> list[Row]:
    generator = np.random.default_rng(3)
    names = [arm.arm for arm in arms]
    return [
        (
            names[int(generator.integers(len(names)))],
            draw_context(generator).x,
            float(generator.uniform(0.2, 1)),
            float(generator.random()),
        )
        for _ in range(count)
    ]
