from __future__ import annotations

import numpy as np
import pytest

from banditd.core.errors import InvalidInputError
from banditd.replay.feedback import THUMB_NOISE_VARIANCE, Feedback, FeedbackSource
from banditd.settings.rewards import default_sources

ARMS = ("small", "large")


def said(score: float, *texts: str, n: int = 20_000, arm: int = 0, seed: int = 0) -> list[tuple[float, float] | None]:
    feedback = Feedback(
        np.full((n, 2), score), ARMS, sources=[FeedbackSource.parse(text) for text in texts], seed=seed
    )
    return [feedback.of(row, arm) for row in range(n)]


def rewards(rows: list[tuple[float, float] | None]) -> np.ndarray:
    return np.array([row[1] for row in rows if row is not None])


def test_a_source_is_parsed_from_its_text_and_told_its_variance() -> None:
    source = FeedbackSource.parse("judge:rate=0.3, sd=0.1, bias=0.06, arm=small")
    assert source == FeedbackSource(kind="judge", rate=0.3, sd=0.1, bias=0.06, arm="small")
    assert source.reported_variance == pytest.approx(0.01)
    assert FeedbackSource.parse("thumb").reported_variance == THUMB_NOISE_VARIANCE
    assert FeedbackSource.parse("metric:rate=0.5").reported_variance == 0.0
    assert FeedbackSource.parse("judge:sd=0.2,noise=0.25").reported_variance == 0.25


def test_what_is_told_of_thumbs_is_the_daemons_default_for_people() -> None:
    assert default_sources()["human"].noise_variance == THUMB_NOISE_VARIANCE


@pytest.mark.parametrize(
    "text",
    [
        "spell", "judge:rate=0", "judge:rate=1.1", "judge:rate=often", "judge:taste=1", "judge:sd=-1", "judge:bias=2",
        "thumb:sd=0.1", "metric:bias=0.1", "thumb:arm=small", "judge:noise=2", "judge:rate", "judge:sd=nan", "",
    ],
)  # fmt: skip
def test_a_wrong_source_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="feedback source"):
        FeedbackSource.parse(text)


def test_a_judge_errs_by_its_bias_and_deviation_and_weighs_as_the_daemon_weighs_it() -> None:
    rows = said(0.5, "judge:rate=0.3,sd=0.1,bias=0.06")
    heard = rewards(rows)
    assert len(heard) / len(rows) == pytest.approx(0.3, abs=0.015)
    assert heard.mean() == pytest.approx(0.56, abs=0.006)
    assert heard.std() == pytest.approx(0.1, abs=0.005)
    assert {row[0] for row in rows if row is not None} == {0.25 / (0.25 + 0.1**2)}
    assert rewards(said(1.0, "judge:sd=0.2")).max() == 1.0


def test_a_bias_on_one_arm_leaves_the_others_alone() -> None:
    text = "judge:bias=0.06,arm=small"
    assert rewards(said(0.5, text, n=10, arm=0)) == pytest.approx(0.56)
    assert rewards(said(0.5, text, n=10, arm=1)) == pytest.approx(0.5)


def test_thumbs_are_up_with_the_score_as_their_probability() -> None:
    thumbs = rewards(said(0.8, "thumb:rate=0.5"))
    assert set(thumbs) == {0.0, 1.0}
    assert thumbs.mean() == pytest.approx(0.8, abs=0.015)


def test_two_sources_on_one_decision_are_merged_by_precision() -> None:
    (row, *_) = said(0.5, "judge:bias=0.1,noise=0.01", "judge:bias=-0.1,noise=0.03", n=1)
    assert row is not None
    assert row[1] == pytest.approx(0.5 + (0.1 * 100 - 0.1 * 100 / 3) / (100 + 100 / 3))
    assert row[0] == pytest.approx(0.25 / (0.25 + 1 / (100 + 100 / 3)))


def test_missing_scores_and_missing_rewards_teach_nothing() -> None:
    score = np.full((20_000, 2), 0.7)
    score[0, 1] = np.nan
    feedback = Feedback(score, ARMS, reward_rate=0.3, seed=1)
    heard = [feedback.of(row, 0) for row in range(20_000)]
    assert np.mean([one is not None for one in heard]) == pytest.approx(0.3, abs=0.015)
    assert {one for one in heard if one is not None} == {(1.0, 0.7)}
    assert Feedback(score, ARMS, seed=1).of(0, 1) is None


def test_what_is_missing_depends_on_seed_and_row_but_not_on_the_arm() -> None:
    patterns = [[row is None for row in said(0.5, "judge:rate=0.5", n=200, arm=arm)] for arm in (0, 1)]
    assert patterns[0] == patterns[1]
    other = [row is None for row in said(0.5, "judge:rate=0.5", n=200, seed=5)]
    assert other != patterns[0]
