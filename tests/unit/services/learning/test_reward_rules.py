"""The rules that decide what becomes of a reward, on facts alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banditd.core.errors import ConflictError, GoneError, InvalidInputError, NotFoundError
from banditd.core.rewards import RewardSubmission
from banditd.ports import DecisionFacts, StoredReward
from banditd.services.learning.folding import noise_of_share
from banditd.services.learning.reward_rules import judge_reward, normalise
from banditd.services.policy import RewardRules, SourceRule

SOURCES = {"human": SourceRule(), "stars": SourceRule(minimum=1, maximum=5), "probe": SourceRule(learn=False)}


def submission(**changes: object) -> RewardSubmission:
    values: dict[str, object] = {
        "decision_id": "d1",
        "identity": "src:d1/quality/human",
        "keyed": False,
        "body_hash": "h1",
        "metric": "quality",
        "source": "human",
        "value": 0.5,
        "retract": False,
        "metadata": {},
        "received_at_us": 1_000,
    }
    return RewardSubmission(**(values | changes))  # type: ignore[arg-type]


def facts(**changes: object) -> DecisionFacts:
    values: dict[str, object] = {
        "decision_id": "d1",
        "policy": "default",
        "arm": "a",
        "created_at_us": 0,
        "expires_at_us": 10_000,
        "deferred": False,
        "activated": False,
    }
    return DecisionFacts(**(values | changes))  # type: ignore[arg-type]


def stored(**changes: object) -> StoredReward:
    values: dict[str, object] = {
        "reward_id": "r1",
        "decision_id": "d1",
        "revision": 0,
        "kind": "reward",
        "status": "recorded",
        "value": 0.5,
        "reward": 0.5,
        "body_hash": "h1",
        "late": False,
    }
    return StoredReward(**(values | changes))  # type: ignore[arg-type]


def judge(sub, fact=None, kept=None, **rules: object):  # type: ignore[no-untyped-def]
    policy_rules = RewardRules(sources=SOURCES, **rules)  # type: ignore[arg-type]
    return judge_reward(sub, facts() if fact is None else fact, kept, {"default": policy_rules})


def test_a_first_reward_is_recorded_on_the_unit_scale() -> None:
    verdict = judge(submission(source="stars", value=4))
    assert (verdict.status, verdict.kind, verdict.revision, verdict.reward) == ("recorded", "reward", 0, 0.75)


def test_a_thumb_means_the_ends_of_its_sources_scale() -> None:
    assert judge(submission(source="stars", value=None, thumb="up")).reward == 1.0
    assert judge(submission(source="stars", value=None, thumb="down")).reward == 0.0


def test_the_same_value_again_is_a_duplicate_even_after_the_window_closed() -> None:
    late = submission(received_at_us=99_000)
    assert judge(late, kept=stored(), late_policy="reject").duplicate_of == stored()


def test_another_value_without_a_key_is_a_correction() -> None:
    verdict = judge(submission(value=0.9), kept=stored(revision=3))
    assert (verdict.error, verdict.revision, verdict.reward) == (None, 4, 0.9)


def test_the_same_key_with_the_same_body_is_a_duplicate_and_with_another_a_conflict() -> None:
    keyed = submission(identity="key:k", keyed=True)
    assert judge(keyed, kept=stored()).duplicate_of == stored()
    verdict = judge(submission(identity="key:k", keyed=True, body_hash="h2"), kept=stored())
    assert isinstance(verdict.error, ConflictError)


def test_an_unknown_decision_is_not_found_but_a_retry_after_retention_is_a_duplicate() -> None:
    rules = {"default": RewardRules(sources=SOURCES)}
    assert isinstance(judge_reward(submission(), None, None, rules).error, NotFoundError)
    assert judge_reward(submission(), None, stored(), rules).duplicate_of == stored()


@pytest.mark.parametrize(("late_policy", "status"), [("learn", "recorded"), ("log", "logged")])
def test_a_late_reward_follows_the_policys_rule(late_policy: str, status: str) -> None:
    verdict = judge(submission(received_at_us=10_001), late_policy=late_policy)
    assert (verdict.status, verdict.late) == (status, True)


def test_a_late_reward_can_be_refused_and_the_last_microsecond_is_not_late() -> None:
    assert isinstance(judge(submission(received_at_us=10_001), late_policy="reject").error, GoneError)
    assert judge(submission(received_at_us=10_000), late_policy="reject").late is False


def test_a_deferred_decision_holds_its_rewards_until_it_is_activated() -> None:
    assert judge(submission(), facts(deferred=True)).status == "held"
    assert judge(submission(), facts(deferred=True, activated=True)).status == "recorded"


def test_unlearned_sources_and_metrics_are_logged() -> None:
    assert judge(submission(source="probe")).status == "logged"
    assert judge(submission(metric="latency"), log_only_metrics=frozenset({"latency"})).status == "logged"


def test_an_unknown_source_names_the_known_ones_and_a_wrong_value_its_scale() -> None:
    error = judge(submission(source="martian")).error
    assert isinstance(error, InvalidInputError)
    assert "human, stars, probe" in error.message
    error = judge(submission(source="stars", value=6)).error
    assert isinstance(error, InvalidInputError)
    assert "1 to 5" in error.message


def test_a_retraction_takes_the_next_revision_and_a_second_one_is_a_duplicate() -> None:
    verdict = judge(submission(value=None, retract=True), kept=stored(revision=1))
    assert (verdict.kind, verdict.revision) == ("retraction", 2)
    gone = stored(kind="retraction", value=None, reward=None)
    assert judge(submission(value=None, retract=True), kept=gone).duplicate_of == gone
    assert isinstance(judge(submission(value=None, retract=True)).error, NotFoundError)


@pytest.mark.parametrize(("newest", "status"), [("recorded", "recorded"), ("logged", "recorded"), ("held", "held")])
def test_a_retraction_unlearns_even_where_the_newest_revision_was_only_logged(newest: str, status: str) -> None:
    verdict = judge(submission(value=None, retract=True), kept=stored(status=newest, revision=1))
    assert verdict.status == status


def test_a_reward_after_its_retraction_counts_again() -> None:
    gone = stored(kind="retraction", value=None, reward=None, revision=1)
    verdict = judge(submission(value=0.5), kept=gone)
    assert (verdict.error, verdict.duplicate_of, verdict.revision) == (None, None, 2)


def test_a_default_is_never_late_and_says_what_it_is() -> None:
    verdict = judge(submission(identity="default:d1", keyed=True, received_at_us=99_000), late_policy="reject")
    assert (verdict.kind, verdict.late, verdict.error) == ("default", False, None)


@given(
    low=st.floats(-1e6, 1e6),
    width=st.floats(1e-3, 1e6),
    share=st.floats(0, 1),
)
def test_normalising_maps_the_scale_onto_the_unit_interval(low: float, width: float, share: float) -> None:
    rule = SourceRule(minimum=low, maximum=low + width)
    value = min(low + share * width, rule.maximum)
    reward = normalise(value, rule)
    assert reward is not None
    assert 0.0 <= reward <= 1.0
    assert reward == pytest.approx(share, abs=1e-6)
    assert normalise(rule.maximum + width, rule) is None


def test_a_share_of_a_task_is_said_again_until_the_task_has_grown() -> None:
    first = judge(submission(steps=4))
    assert (first.kind, first.noise_variance) == ("task", noise_of_share(SOURCES["human"].noise_variance, 4))
    kept = stored(kind="task", noise_variance=first.noise_variance, reward=first.reward, value=submission().value)
    assert judge(submission(steps=4, received_at_us=10**9), kept=kept).duplicate_of is kept  # however late
    again = judge(submission(steps=5), kept=kept)
    assert (again.duplicate_of, again.revision, again.kind) == (None, 1, "task")
    assert again.noise_variance > first.noise_variance
