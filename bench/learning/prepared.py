"""A case made ready: its plan, its contexts, and the feature vectors that peers take. Nothing is learned here.

Feature maps are fitted on prompts alone. Everything is computed once per process and case; the time it takes
is no part of any policy's time.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Final

import numpy as np

from banditd.core.types import Context, FeatureSchema, FloatArray, IntArray
from banditd.encoders.static import load_static_encoder
from banditd.replay.contexts import build_contexts
from banditd.replay.options import ReplayOptions
from banditd.replay.plan import Plan, make_plan
from bench.learning.cases import ROOT, Case

COMPONENTS: Final = 25  # of "PCA-25 + bias", as in the design study
OUT: Final = ROOT / "out" / "learning"


class FirstTenth(Plan):
    """The first tenth of every shuffle is played first and not scored."""

    def order(self, seed: int) -> tuple[IntArray, IntArray]:
        _, rows = super().order(seed)
        cut = rows.size // 10
        return rows[:cut], rows[cut:]


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """plan : cut to the rows that are played. contexts : one per row, as the daemon would have built them."""

    case: Case
    plan: Plan
    schema: FeatureSchema
    contexts: list[Context]
    embeddings: FloatArray

    @property
    def n_arms(self) -> int:
        return len(self.plan.data.arms)

    @property
    def penalty(self) -> FloatArray:
        """Utility taken off each arm, float64 (K,), known in advance; in [0, cost weight]."""
        return self.plan.penalty

    def utility(self, arm: int, score: float) -> float:
        """score - penalty, in [-cost weight, 1]: the reward of a peer that knows nothing of money."""
        return score - float(self.plan.penalty[arm])

    def unit_utility(self, arm: int, score: float) -> float:
        """The same, moved and scaled into [0, 1]."""
        weight = self.case.cost_weight
        return (self.utility(arm, score) + weight) / (1.0 + weight)

    @cached_property
    def x64(self) -> FloatArray:
        """banditd's own context vectors, float64 (n, 64); column 0 is the bias."""
        return np.ascontiguousarray(np.stack([context.x for context in self.contexts]))

    @cached_property
    def pca25(self) -> FloatArray:
        """Bias and 25 whitened components over sqrt(25) of the static embedding, float64 (n, 26)."""
        centred = self.embeddings - self.embeddings.mean(axis=0)
        _, singular, axes = np.linalg.svd(centred, full_matrices=False)
        spread = singular[:COMPONENTS] / np.sqrt(len(centred))
        signs = np.where(axes[:COMPONENTS].sum(axis=1) < 0.0, -1.0, 1.0)  # SVD leaves them open
        scores = centred @ (axes[:COMPONENTS] * signs[:, None]).T / spread / np.sqrt(COMPONENTS)
        return np.hstack([np.ones((len(scores), 1)), scores])

    def minilm(self) -> FloatArray | None:
        """all-MiniLM-L6-v2 embeddings, float32 (n, 384), or None where ``minilm.ensure`` did not make them."""
        file = minilm_file(self.plan.data.prompts)
        return np.load(file) if file.exists() else None

    def with_options(
        self, *, reward_delay: int = 0, first_tenth: bool = False, in_source_order: bool = False
    ) -> Plan:
        """The plan with another delay, another share that is scored, or another order."""
        order = "source" if in_source_order else self.plan.options.order
        plan = replace(self.plan, options=replace(self.plan.options, reward_delay=reward_delay, order=order))
        if first_tenth:
            plan = FirstTenth(**{one.name: getattr(plan, one.name) for one in fields(plan)})
        return plan


def minilm_file(prompts: tuple[str, ...]) -> Path:
    digest = hashlib.sha256("\0".join(prompts).encode()).hexdigest()[:16]
    return OUT / "minilm" / f"{digest}.npy"


@lru_cache(maxsize=6)
def plan_of(case: Case) -> Plan:
    """The rows of a case, and no others. The shuffles are those of ``banditd replay`` with the same options."""
    plan = make_plan(
        ReplayOptions(directory=case.folder, pool=case.pool, cost_weight=case.cost_weight, limit=case.limit)
    )
    data = plan.data.take(plan.scored)
    return replace(plan, data=data, scored=np.arange(data.n_rows, dtype=np.intp))


@lru_cache(maxsize=2)
def _encoded(prompts: tuple[str, ...]) -> tuple[FeatureSchema, list[Context], FloatArray]:
    schema, contexts = build_contexts(prompts, with_facts=False)
    encoder = load_static_encoder()
    embeddings = np.stack([np.asarray(encoder.encode_now(prompt), dtype=np.float64) for prompt in prompts])
    norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return schema, contexts, embeddings / np.maximum(norms, 1e-12)


@lru_cache(maxsize=2)
def prepare(case: Case) -> Prepared:
    plan = plan_of(case)
    schema, contexts, embeddings = _encoded(plan.data.prompts)
    return Prepared(case=case, plan=plan, schema=schema, contexts=contexts, embeddings=embeddings)
