from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.one_query import predict

from banditd.bandit.policies.base import ArmPrior, PolicySettings
from banditd.bandit.state import PolicyState
from banditd.core.errors import InvalidInputError
from banditd.replay.contexts import build_contexts
from banditd.replay.dataset import ReplayData, load_dataset
from banditd.replay.evaluation import evaluation_prior

PROMPTS = tuple(
    f"Write a Python function that sorts list number {i}." if i % 2 else f"Tell me a story about a fox and {i} geese."
    for i in range(80)
)


def an_evaluation(score: np.ndarray, *arms: str) -> ReplayData:
    n = len(score)
    return ReplayData(
        name="mine",
        prompts=PROMPTS[:n],
        arms=arms,
        score=score,
        cost_usd=np.tile(np.arange(1.0, 1.0 + len(arms)), (n, 1)),
        category=np.zeros(n, dtype=np.intp),
        split=("",) * n,
        prices={},
        features=({},) * n,
    )


def test_every_score_counts_once_and_a_missing_one_not_at_all() -> None:
    generator = np.random.default_rng(0)
    score = generator.random((80, 3))
    score[generator.random((80, 3)) < 0.3] = np.nan
    data = an_evaluation(score, "a", "b", "c")
    schema, contexts = build_contexts(data.prompts, with_facts=False)
    told: list[int] = []
    prior = evaluation_prior(data, schema, iter(contexts), source="mine", progress=told.append)
    X = np.stack([context.x for context in contexts])
    for i, arm in enumerate("abc"):
        known = np.isfinite(score[:, i])
        sums = prior.arms[arm]
        assert sums.n == known.sum()
        np.testing.assert_allclose(sums.gram, X[known].T @ X[known], atol=1e-9)
        np.testing.assert_allclose(sums.xr, X[known].T @ score[known, i], atol=1e-9)
    assert prior.schema_hash == schema.hash
    assert prior.source == "mine"
    assert told == sorted(told)
    assert told[-1] == 80


def test_a_policy_that_starts_from_it_knows_at_once_which_arm_is_good_at_what() -> None:
    code = np.arange(80) % 2 == 1
    data = an_evaluation(np.column_stack([code, ~code]).astype(float), "coder", "teller")
    schema, contexts = build_contexts(data.prompts, with_facts=False)
    prior = evaluation_prior(data, schema, contexts, source="mine")
    state = PolicyState(
        schema=schema, settings=PolicySettings(prior=prior.rescaled()), arms=[ArmPrior("coder"), ArmPrior("teller")]
    )
    _, (asks, tells) = build_contexts(
        ("Write a Python function that reverses a list.", "Tell me a story about a fox and a bear."), with_facts=False
    )
    for context, best in ((asks, 0), (tells, 1)):
        mean, _ = predict(state.snapshot(), context)
        assert mean.argmax() == best
        assert mean[best] - mean[1 - best] > 0.3


def test_without_any_score_there_is_no_prior() -> None:
    data = an_evaluation(np.full((5, 2), np.nan), "a", "b")
    schema, contexts = build_contexts(data.prompts, with_facts=False)
    with pytest.raises(InvalidInputError, match="No row has a score"):
        evaluation_prior(data, schema, contexts, source="mine")


def test_caller_features_are_read_with_the_prompts_and_checked(tmp_path: Path) -> None:
    (tmp_path / "outcomes.csv").write_text("id,a\n0,1\n1,0\n", encoding="utf-8")
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompt": "x", "features": {"urgent": 1}}\n{"prompt": "y"}\n', encoding="utf-8")
    data = load_dataset(tmp_path)
    assert data.features == ({"urgent": 1}, {})
    assert data.take(np.array([1], dtype=np.intp)).features == ({},)
    for wrong in ('"high"', '{"urgent": "yes"}', '{"urgent": true}'):
        prompts.write_text(f'{{"prompt": "x"}}\n{{"prompt": "y", "features": {wrong}}}\n', encoding="utf-8")
        with pytest.raises(InvalidInputError, match="row 2"):
            load_dataset(tmp_path)
