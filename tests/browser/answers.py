"""What a daemon with judges and a release says, made by the code that says it: pages can be seen without waiting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from banditd.core.candidate import Candidate
from banditd.core.comparing import Compared
from banditd.core.judging import JudgeAccount, JudgeCost, JudgeRule, LabelledVerdict
from banditd.core.probing import ProbeAccount, ProbeRule, ProbeTally
from banditd.core.release import REPORTED, REWARD, Guardrail, ReleaseTerms, UnitOutcome
from banditd.core.times import iso_time
from banditd.deciding.release_course import (
    Author,
    Release,
    looked_at,
    observed,
    paused,
    promoted,
    resumed,
    started,
)
from banditd.deciding.release_points import point_of
from banditd.deciding.release_tests import ReleaseTests
from banditd.services.judging.comparison_state import comparison_state
from banditd.services.judging.desk import judge_fields
from banditd.services.judging.probe_state import ProbeStates
from banditd.services.judging.trust import standing_of
from banditd.services.releasing.words import event_answer, point_answer, release_answer
from banditd.web.schemas.candidates import CandidatesAnswer
from banditd.web.schemas.judging import JudgesAnswer
from banditd.web.schemas.releases import ReleaseEventsAnswer, ReleasePointsAnswer, ReleasesAnswer

ID = "01900000-0000-7000-8000-000000000001"
MINUTE_US = 60_000_000
MINUTES = 150
ARMS = ("small-general", "medium-general", "large-reasoner")


def answering(body: Mapping[str, Any]) -> Callable[[Any], None]:
    """What a page's route is answered with, as ``body`` is at that time."""
    return lambda route: route.fulfill(json=body)


def judges() -> dict[str, Any]:
    """A judge that is trusted, with probes and comparisons."""
    generator = np.random.default_rng(5)
    probes = ProbeRule(share=0.01, usd_per_day=2.0, compare=True)
    rule = JudgeRule(name="quality", upstream="openai", model="gpt-5.2-mini", usd_per_day=5.0, probes=probes)
    verdicts = []
    for i in range(900):
        arm = int(generator.choice(3, p=[0.6, 0.3, 0.1]))
        good = generator.random() < 0.7 + 0.1 * arm
        score = float(np.clip((0.9 if good else 0.3) + generator.normal(0.0, 0.1), 0.0, 1.0))
        label = float(good) if i % 6 == 0 else None
        verdicts.append(
            LabelledVerdict(decision_id=f"{i:04}", arm=ARMS[arm], score=score, probability=0.05, label=label)
        )
    verdicts.sort(key=lambda one: one.label is None)
    better = generator.random(60) < 0.08
    compared = [
        Compared(
            policy="default", arm=ARMS[2], outcome="baseline" if one else ("served", "same", "same")[i % 3],
            served_chars=400 + 7 * i, answer_chars=int((400 + 7 * i) * generator.uniform(1.0, 2.4)),
        )
        for i, one in enumerate(better)
    ]  # fmt: skip
    account = JudgeAccount(sampled=934, judged=900, failed=4, dropped=6, cost=JudgeCost(
        calls=912, input_tokens=810_000, output_tokens=41_000, cost_usd=2.31,
    ))  # fmt: skip
    tallies = [
        ProbeTally(judge="quality", arm=arm, drawn=90 // i, answered=88 // i, cost_usd=0.02 * i)
        for i, arm in enumerate(ARMS, 1)
    ]
    state = ProbeStates(
        {"quality": ProbeAccount(drawn=165, answered=160, dropped=3, calls=162, cost_usd=1.2)},
        {"quality": ProbeAccount(cost_usd=0.4)}, {"quality": 2}, tallies,
    )  # fmt: skip
    found = judge_fields(rule, account, standing_of(verdicts), None) | {
        "waiting": 24, "leased": 3, "spend_day_usd": 0.31, "usd_per_day": 5.0, "probes": state.of(rule),
        "comparisons": comparison_state(rule, compared, 2),
    }  # fmt: skip
    answer = {"judges": [found]}
    JudgesAnswer.model_validate(answer)
    return answer


def candidates() -> dict[str, Any]:
    """One that was evaluated and is shadowed, and one that cannot be applied any more."""
    figures = {
        "rated": 1200, "differs": 0.12, "estimate": 0.008, "interval": [-0.004, 0.021], "cost_usd": 0.001,
        "other_cost_usd": 0.002,
    }  # fmt: skip
    at = "2026-09-21T04:13:20Z"
    shadow = {
        **figures, "running": True, "started_at": at, "stopped_at": None, "since": at, "until": at,
        "slices": [{**figures, "slice": "cluster:7"}, {**figures, "slice": "tag:team=legal", "interval": None}],
        "words": "On 12 % of 1,200 rated decisions it would have answered otherwise.",
    }  # fmt: skip
    one = {
        "candidate_id": ID, "policy": "default", "name": "thriftier", "settings": {"cost_weight": 0.2}, "arms": {},
        "created_at": at, "key_name": None, "class": "A", "problem": None,
        "difference": ["kind: thompson -> linucb", 'options: {} -> {"alpha": 0.5}', "cost_weight: 0.1 -> 0.2"],
        "words": "", "shadow": shadow,
    }  # fmt: skip
    other = one | {"candidate_id": f"{ID[:-1]}2", "problem": "arm gpt-9 is gone", "difference": [], "shadow": None}
    answer = {"policy": "default", "candidates": [one, other]}
    CandidatesAnswer.model_validate(answer)
    return answer


def release(now_us: int, *, drop: float) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Pages of releases, of points and of events, of one whose candidate is worse by ``drop``."""
    generator = np.random.default_rng(3)
    terms = ReleaseTerms(
        steps=(0.05, 0.2, 0.5, 1.0),
        guardrails=(Guardrail(measure="error"), Guardrail(measure="latency", limit=8000.0)),
    )
    candidate = Candidate(candidate_id=ID, policy="default", name="thriftier", settings={"cost_weight": 0.2})
    begun_us = now_us - MINUTES * MINUTE_US
    at = Release(
        release_id=ID, policy="default", candidate=candidate, terms=terms, tests=ReleaseTests.of(terms),
        created_at_us=begun_us, step_at_us=begun_us, key_name="ops",
    )  # fmt: skip
    at, events = started(at, Author(begun_us, "ops"))
    at.tests.differs = 0.22
    points = [point_of(at, begun_us)]
    for minute in range(1, MINUTES):
        now = begun_us + minute * MINUTE_US
        outcomes = [
            _unit(generator, minute, i, at.share, drop, kind) for i in range(20) for kind in (REWARD, REPORTED)
        ]
        at, more = observed(at, outcomes, now)
        events += more
        if not at.open:
            break
        if minute in {50, 55}:
            at, more = (paused if minute == 50 else resumed)(at, Author(now, "ops", "lunch"))
            events += more
        at, more = looked_at(at, now)
        events += more
        if at.due and minute % 50 == 0 and not at.last_step:
            at, more = promoted(at, Author(now, "ops", "looked at it"))
            events += more
        if minute % 2 == 0 or more:
            points.append(point_of(at, now))
    points.append(point_of(at, now_us))
    found = (
        {"releases": [_timed(release_answer(at) | {"promises": []})]},
        {"points": [_timed(point_answer(one)) for one in points]},
        {"events": [_timed(event_answer(one)) for one in events]},
    )
    for model, answer in zip((ReleasesAnswer, ReleasePointsAnswer, ReleaseEventsAnswer), found, strict=True):
        model.model_validate(answer)
    return found


def _unit(generator: Any, minute: int, i: int, share: float, drop: float, kind: str) -> UnitOutcome:
    mine = bool(generator.random() < share)
    good = float(generator.random() < 0.9 - drop * mine)
    values = {REWARD: good} if kind == REWARD else {"error": float(generator.random() < 0.99), "latency": 1.0}
    return UnitOutcome(
        release_id=ID, decision_id=f"{minute}.{i}", measure=kind, unit=f"{minute}.{i}.{mine}", candidate=mine,
        share=share, differ=bool(generator.random() < 0.3), values=values,
    )  # fmt: skip


def _timed(found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name.removesuffix("_us"): iso_time(value) if name.endswith("at_us") and value is not None else value
        for name, value in found.items()
    }
