"""The parts on their own, in process: choose and update at 10 arms, encode 60 tokens, build a context."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np

from banditd.bandit.policies.base import ArmPrior, PolicySettings
from banditd.bandit.policies.exploration import dollar_floors, draw
from banditd.bandit.state import PolicyState
from banditd.core.contexts import Contexts
from banditd.core.types import Context
from banditd.encoders.static import SHIPPED_FOLDER, load_static_encoder
from banditd.features.context import ContextBuilder
from banditd.features.maps import load_feature_maps
from bench.queries import texts
from bench.table import Row

SECTION = "Parts, in process, one thread"
ARMS = 10
FOLDS = 2000


def measure(*, quick: bool) -> list[Row]:
    encoder = load_static_encoder()
    builder = ContextBuilder(encoder_id=encoder.encoder_id, maps=load_feature_maps(SHIPPED_FOLDER))
    prompts = texts(500 if quick else 2000, seed=1)
    vectors = [encoder.encode_now(text) for text in prompts]
    contexts = [builder.build(text=t, embedding=v) for t, v in zip(prompts, vectors, strict=True)]
    # Fresh texts, so that no cache of whole texts could help; words repeat, as they do in traffic.
    fresh = texts(500 if quick else 2000, seed=2)
    tuned, slow_us, choose, fold = _learner(builder, contexts)
    size = f"{ARMS} arms, {builder.schema.n_features} features"
    return [
        Row(
            section=SECTION,
            name="encode a 60-token query, median",
            value=_median_us(encoder.encode_now, fresh),
            unit="us",
            target=200,
            aim=50,
        ),
        Row(
            section=SECTION,
            name="context from text and embedding, median",
            value=_median_us(
                lambda pair: builder.build(text=pair[0], embedding=pair[1]), list(zip(prompts, vectors, strict=True))
            ),
            unit="us",
            aim=60,
            detail=True,
        ),
        Row(
            section=SECTION,
            name=f"choose, probabilities included ({size}), median",
            value=choose,
            unit="us",
            target=100,
            aim=50,
        ),
        Row(
            section=SECTION,
            name=f"fold a reward, new snapshot ({size}), median",
            value=fold,
            unit="us",
            target=100,
            aim=50,
            note=f"the slowest 1 % (refactorisation): {slow_us:,.0f} us",
        ),
        Row(
            section=SECTION,
            name=f"evidence refit from the sums ({size})",
            value=tuned,
            unit="ms",
            aim=50,
            detail=True,
        ),
    ]


def _learner(builder: ContextBuilder, contexts: list[Context]) -> tuple[float, float, float, float]:
    """(refit ms, slowest fold us, median choose us, median fold us) of a policy that has learned."""
    names = [f"arm-{k}" for k in range(ARMS)]
    state = PolicyState(schema=builder.schema, settings=PolicySettings(), arms=[ArmPrior(arm=name) for name in names])
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 0.25, (ARMS, builder.schema.n_features))
    everyone, penalty = np.ones((1, ARMS), dtype=bool), np.linspace(0.0, 0.1, ARMS)[None, :]
    floors = dollar_floors(np.linspace(0.001, 0.01, ARMS)[None, :], everyone, 0.005)
    folds, choices = [], []
    for step in range(FOLDS):
        context = contexts[step % len(contexts)]
        snapshot = state.snapshot()
        began = time.perf_counter_ns()
        scores = snapshot.scores(Contexts.of([context]), penalty=penalty, allowed=everyone, floors=floors)
        arm = int(draw(scores.probability, rng.random(1))[0])
        choices.append(time.perf_counter_ns() - began)
        reward = float(np.clip(0.5 + truth[arm] @ context.x + rng.normal(0, 0.1), 0, 1))
        began = time.perf_counter_ns()
        state.fold(arm=names[arm], epoch=state.epoch, x=context.x, weight=1.0, reward=reward)
        state.snapshot()
        folds.append(time.perf_counter_ns() - began)
        if state.tune_due():
            state.adopt(state.tuning().run())
    began_s = time.perf_counter()
    state.tuning().run()
    tuned_ms = (time.perf_counter() - began_s) * 1e3
    late = sorted(folds[FOLDS // 2 :])
    slow_us = statistics.mean(late[-max(1, len(late) // 100) :]) / 1e3
    return tuned_ms, slow_us, statistics.median(choices[FOLDS // 2 :]) / 1e3, statistics.median(late) / 1e3


def _median_us(call: Callable, inputs: list) -> float:  # type: ignore[type-arg]
    seen = []
    for value in inputs:
        began = time.perf_counter_ns()
        call(value)
        seen.append(time.perf_counter_ns() - began)
    return statistics.median(seen) / 1e3
