"""A small feature schema and contexts of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from banditd.core.types import Context, FeatureGroup, FeatureSchema

N_CLUSTERS = 4


@pytest.fixture
def schema() -> FeatureSchema:
    groups = (
        FeatureGroup("bias", 0, 1),
        FeatureGroup("lexical", 1, 4),
        FeatureGroup("embedding", 4, 8),
        FeatureGroup("cluster", 8, 8 + N_CLUSTERS),
    )
    return FeatureSchema(
        version=1,
        hash="test",
        groups=groups,
        names=tuple(f"f{i}" for i in range(12)),
        encoder_id="test",
        embedding_dimension=8,
        n_clusters=N_CLUSTERS,
    )


@pytest.fixture
def draw_context() -> Callable[[np.random.Generator], Context]:
    def make(generator: np.random.Generator) -> Context:
        x = np.zeros(12)
        x[0] = 1.0
        x[1:4] = generator.normal(size=3) / np.sqrt(3)
        x[4:8] = generator.normal(size=4) / 2
        cluster = int(generator.integers(N_CLUSTERS))
        x[8 + cluster] = 1.0
        return Context(x=x.astype(np.float32).astype(np.float64), cluster=cluster, facts={"words": float(x[1] * 10)})

    return make
