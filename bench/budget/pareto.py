"""ParetoBandit 0.1.1 with its budget pacer as published: shipped warm priors, its ADAPTIVE mode, its own features.

Everything is at its defaults (alpha .01, forgetting .997, priors worth 1,163.9), true costs are told with the
rewards, prices are its shipped registry's, and a price change is told as ``update_model_pricing``. Its embeddings
are all-MiniLM-L6-v2 through its own FeatureService with the PCA that it ships; without that package it is left out.
"""

from __future__ import annotations

import logging
import warnings
from functools import lru_cache
from importlib.util import find_spec

import numpy as np

from banditd.core.types import FloatArray, Price
from bench.budget.setting import ARMS, PRICES
from bench.learning import minilm
from bench.learning.prepared import minilm_file

MODELS = ("meta-llama/llama-3.1-8b-instruct", "mistralai/mistral-large-2512", "google/gemini-2.5-pro")


def missing() -> str | None:
    """Why it cannot be played, or None."""
    if find_spec("pareto_bandit") is None:
        return "paretobandit is not installed (make bench-budget installs it into BENCH_VENV)"
    return None if minilm.available() else "the MiniLM package is not installed"


class Pareto:
    """One pass of it over rows of the setting."""

    def __init__(self, x: FloatArray, budget_usd: float, seed: int) -> None:
        from pareto_bandit import BanditRouter
        from pareto_bandit.budget_pacer import BudgetPacer, PacingMode
        from pareto_bandit.feature_service import FeatureService
        from pareto_bandit.storage import EphemeralContextStore

        for name in ("pareto_bandit", "pareto_bandit.router", "pareto_bandit.policy"):
            logging.getLogger(name).setLevel(logging.ERROR)
        self._x = x
        registry = {
            model: {"input_cost_per_m": p.usd_per_mtok_in, "output_cost_per_m": p.usd_per_mtok_out}
            for model, p in zip(MODELS, PRICES.values(), strict=True)
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._router = BanditRouter.create(
                model_registry=registry,
                feature_service=FeatureService.for_precomputed(x.shape[1]),
                context_store=EphemeralContextStore(),
                priors="warmup",
                cost_penalty=0.0,
                budget_pacer=BudgetPacer(budget_usd, mode=PacingMode.ADAPTIVE),
                bandit_seed=seed,
            )

    def play(self, row: int, score: FloatArray, cost_usd: FloatArray) -> int:
        """Choose for a row and learn what came of it: the arm."""
        model, log = self._router.route(self._x[row])
        arm = MODELS.index(model)
        log.cost_usd = float(cost_usd[arm])
        self._router.process_feedback(log.request_id, reward=float(score[arm]))
        return arm

    def change_price(self, arm: int, price: Price) -> None:
        self._router.update_model_pricing(
            MODELS[arm], input_cost_per_m=price.usd_per_mtok_in, output_cost_per_m=price.usd_per_mtok_out
        )


@lru_cache(maxsize=1)
def features(prompts: tuple[str, ...]) -> FloatArray:
    """Its context vectors, float64 (n, 26); ``minilm.ensure`` must have been called for these prompts."""
    from pareto_bandit.config import DEFAULT_PCA_PATH
    from pareto_bandit.feature_service import MAX_PROMPT_LENGTH, FeatureService

    vectors = np.load(minilm_file(prompts)).astype(np.float64)
    by_prompt = {prompt[:MAX_PROMPT_LENGTH]: vector for prompt, vector in zip(prompts, vectors, strict=True)}
    service = FeatureService(
        custom_encoder=by_prompt.__getitem__, embedding_dim=vectors.shape[1], pca_path=DEFAULT_PCA_PATH
    )
    return np.stack([service.extract_features(prompt) for prompt in prompts])


assert len(MODELS) == len(ARMS)
