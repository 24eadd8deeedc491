"""ParetoBandit 0.1.1: BanditRouter from a cold start (priors "none"), its forgetting .997, no budget.

Features are its own pipeline: all-MiniLM-L6-v2 through its FeatureService with the PCA-25 that it ships, whitened,
plus a bias (without the MiniLM package: banditd's static embedding with PCA-25 of the case's prompts, whitened).
alpha is .01 as ``create`` sets it; .05 is what its authors found best from a cold start
(config.BEST_K3_TABULA_RASA_HPARAMS), so each has a row.

Money: its own cost penalty at the case's cost weight is a logarithm of list prices, not the mean cost in dollars;
the other way is the utility as the reward (RouterConfig.reward_min below 0) and no penalty. Each alpha has what
served it better. Mean headroom, whole run, of the ten cases with a cost weight (5 and 10 seeds): alpha .01 utility
.47, own penalty .38 (from a cold start it then asks the cheapest arm first and may stay there: paretobandit4 at cost
weight 0.1 .87 against -.30); alpha .05 utility .41, own penalty .44.
"""

from __future__ import annotations

import logging
from functools import lru_cache, partial

import numpy as np

from banditd.core.types import FloatArray
from bench.learning.peers.base import Peer
from bench.learning.prepared import COMPONENTS, Prepared

PACKAGE = "pareto_bandit"
WANTS_MINILM = True


class ParetoBandit(Peer):
    """own_penalty : its own cost penalty and the score as the reward, instead of the utility and no penalty."""

    def __init__(self, prepared: Prepared, seed: int, *, alpha: float, own_penalty: bool) -> None:
        from pareto_bandit import BanditRouter
        from pareto_bandit.feature_service import FeatureService
        from pareto_bandit.types import RouterConfig

        super().__init__(prepared, seed)
        logging.getLogger("pareto_bandit").setLevel(logging.ERROR)
        self._x = _features(prepared)
        self._own_penalty = own_penalty
        self._arm = {f"arm{k}": k for k in range(prepared.n_arms)}
        weight = prepared.case.cost_weight
        self._router = BanditRouter.create(
            model_registry=_registry(prepared),
            priors="none",
            alpha=alpha,
            forgetting_factor=0.997,
            feature_service=FeatureService.for_precomputed(dimension=self._x.shape[1]),
            cost_penalty=weight if own_penalty else 0.0,
            config=RouterConfig(reward_min=0.0 if own_penalty else -weight, reward_max=1.0),
            bandit_seed=seed,
        )
        self._request: dict[int, str] = {}

    def choose(self, row: int) -> int:
        model, log = self._router.route(self._x[row])
        self._request[row] = log.request_id
        return self._arm[model]

    def learn(self, row: int, arm: int, score: float) -> None:
        reward = score if self._own_penalty else self.prepared.utility(arm, score)
        self._router.process_feedback(self._request.pop(row), reward)


def _registry(prepared: Prepared) -> dict[str, dict[str, float]]:
    """Prices as it wants them: list prices where the data has them, else the mean cost of a call as if of 1,000
    tokens."""
    data = prepared.plan.data
    registry = {}
    for k, arm in enumerate(data.arms):
        mean = 1e3 * float(data.cost_usd[:, k].mean())
        price = data.prices.get(arm)
        registry[f"arm{k}"] = {
            "input_cost_per_m": price.usd_per_mtok_in if price else mean,
            "output_cost_per_m": price.usd_per_mtok_out if price else mean,
        }
    return registry


@lru_cache(maxsize=2)
def _features(prepared: Prepared) -> FloatArray:
    from pareto_bandit.config import DEFAULT_PCA_PATH
    from pareto_bandit.feature_service import MAX_PROMPT_LENGTH, FeatureService

    vectors = prepared.minilm()
    if vectors is None:
        # Same layout as its own: whitened components (not over the root of their number), bias last.
        return np.hstack([prepared.pca25[:, 1:] * np.sqrt(COMPONENTS), prepared.pca25[:, :1]])
    known = zip(prepared.plan.data.prompts, vectors.astype(np.float64), strict=True)
    by_prompt = {prompt[:MAX_PROMPT_LENGTH]: vector for prompt, vector in known}  # it cuts longer ones
    service = FeatureService(
        custom_encoder=by_prompt.__getitem__, embedding_dim=vectors.shape[1], pca_path=DEFAULT_PCA_PATH
    )
    return np.stack([service.extract_features(prompt) for prompt in prepared.plan.data.prompts])


POLICIES = {
    "ParetoBandit 0.1.1, alpha .01": partial(ParetoBandit, alpha=0.01, own_penalty=False),
    "ParetoBandit 0.1.1, alpha .05": partial(ParetoBandit, alpha=0.05, own_penalty=True),
}
