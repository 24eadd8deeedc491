"""A release in words, and then in figures. Pure."""

from __future__ import annotations

import math
from typing import Any, Final

from banditd.core.release import Guardrail, Metric
from banditd.deciding.release_course import Release, ReleaseEvent, wants
from banditd.deciding.release_points import ReleasePoint
from banditd.deciding.release_tests import needed
from banditd.deciding.release_windows import false_alarms_per_month
from banditd.ope.betting import evidence_of


def release_answer(release: Release) -> dict[str, Any]:
    """A release as the API shows it, except for times."""
    terms = release.terms
    return {
        "release_id": release.release_id,
        "policy": release.policy,
        "candidate": release.candidate.name,
        "candidate_id": release.candidate.candidate_id,
        "phase": release.phase,
        "words": words(release),
        "share": release.share,
        "step": release.step + 1,
        "steps": list(terms.steps),
        "least_units": list(terms.least_units),
        "unit": terms.unit,
        "promote": terms.promote,
        "due": release.due,
        "missing_units": release.tests.missing(terms, release.step) if release.open else {},
        "matures_s": release.tests.matures_us / 1e6,
        "rated_share": _rated_share(release),
        "windowed": terms.windowed,
        "false_alarms_per_month": false_alarms_per_month(release.share) if terms.windowed else None,
        "differs": release.tests.differs,
        "metrics": [_measure(release, one) | {"metric": one.metric, "alpha": one.alpha} for one in terms.metrics],
        "guardrails": [
            _measure(release, one) | {"measure": one.measure, "limit": one.limit} for one in terms.guardrails
        ],
        "splits": [
            {"of": name, "candidate": split.candidate, "expected": split.expected, "units": split.units}
            for name, split in release.tests.splits.items()
        ],
        "reason": release.reason,
        "key_name": release.key_name,
        "created_at_us": release.created_at_us,
        "step_at_us": release.step_at_us,
        "ended_at_us": release.ended_at_us,
    }


def event_answer(event: ReleaseEvent) -> dict[str, Any]:
    """An entry of a release's history as the API shows it, except for times."""
    return {
        "event": event.event,
        "at_us": event.at_us,
        "step": event.step + 1,
        "share": event.share,
        "reason": event.reason,
        "key_name": event.key_name,
    }


def point_answer(point: ReleasePoint) -> dict[str, Any]:
    """A recorded point of a release as the API shows it, except for times."""
    return {
        "at_us": point.at_us,
        "step": point.step + 1,
        "share": point.share,
        "differs": point.differs,
        "measures": {
            name: {
                "evidence": evidence_of(one.log_evidence),
                "difference": one.difference,
                "interval": None if one.interval is None else list(one.interval),
                "units": {"candidate": one.units[0], "incumbent": one.units[1]},
            }
            for name, one in point.measures.items()
        },
    }


def _measure(release: Release, one: Metric | Guardrail) -> dict[str, Any]:
    test = release.tests.tests[one.name]
    split = release.tests.splits[one.name if isinstance(one, Metric) else one.outcome]
    interval = test.interval()
    return {
        "worse_by": one.worse_by,
        "evidence": evidence_of(test.log_evidence),
        "needed": math.exp(needed(release.terms, one.name)),
        "units": {"candidate": split.candidate, "incumbent": split.units - split.candidate},
        "differing_units": {"candidate": test.units[0], "incumbent": test.units[1]},
        "difference": test.total / test.comparisons if test.comparisons else None,
        "interval": None if interval is None else list(interval),
    }


def words(release: Release) -> str:
    """A summary in sentences, most important first."""
    name = release.candidate.name
    if release.phase == "promoted":
        return f"{name} passed every step and is the incumbent."
    if not release.open:
        ended = {"aborted": "was aborted", "rolled_back": "was taken back", "error": "was stopped"}[release.phase]
        return f"The release of {name} {ended}{f': {release.reason}' if release.reason else ''}."
    paused = " It is paused: no step is taken until it is resumed." if release.phase == "paused" else ""
    step = f"step {release.step + 1} of {len(release.terms.steps)}"
    sentences = [f"{name} decides {_percent(release.share)} of the traffic ({step})."]
    sentences += [_metric_words(release, one) for one in release.terms.metrics]
    sentences += _window_words(release)
    sentences += [one for guardrail in release.terms.guardrails if (one := _guardrail_words(release, guardrail))]
    return " ".join(sentences) + paused + " " + _next_words(release)


def _percent(share: float) -> str:
    return f"{100.0 * share:.3g} %"


def _metric_words(release: Release, metric: Metric) -> str:
    test, split = release.tests.tests[metric.name], release.tests.splits[metric.name]
    where = "" if release.tests.differs is None else f"; the two differ on {_percent(release.tests.differs)}"
    rated = f"{split.candidate:,} rated units of the candidate, {split.units - split.candidate:,} of the incumbent"
    interval = test.interval()
    if interval is None:
        return f"Nothing is known of its {metric.name} yet ({rated}{where})."
    low, high = interval
    wanted = math.exp(needed(release.terms, metric.name))
    return (
        f"Where the two differ, its {metric.name} lies between {low:+.3f} and {high:+.3f} of the incumbent's; "
        f"evidence that it is worse than tolerated: {evidence_of(test.log_evidence):,.2g} of {wanted:,.0f} "
        f"({rated}{where})."
    )


_WORDS: Final = {
    "output_length": "share of long answers",
    "regeneration": "share of answers that are asked for again",
    "escalation": "share of answers that are escalated",
}


def _guardrail_words(release: Release, guardrail: Guardrail) -> str:
    """A sentence, once there is evidence against it; else empty."""
    test = release.tests.tests[guardrail.name]
    if test.log_evidence < 1.0:
        return ""
    evidence, wanted = math.exp(test.log_evidence), math.exp(needed(release.terms, guardrail.name))
    what = _WORDS.get(guardrail.measure, f"{guardrail.measure} rate")
    return f"Its {what} may be too high: evidence {evidence:,.2g} of {wanted:,.0f}."


def _window_words(release: Release) -> list[str]:
    """If the rule of windows is on: how often it is wrong."""
    if not release.terms.windowed:
        return []
    alarms, failed = false_alarms_per_month(release.share), release.tests.windows.failed
    last = " The last window has failed." if failed else ""
    return [f"Two windows of 15 minutes would end it; with an equal candidate {alarms:.2g} times a month.{last}"]


def _rated_share(release: Release) -> dict[str, float] | None:
    counted = release.tests.rated
    if not all(decided for _, decided in counted.values()):
        return None
    return {side: rated / decided for side, (rated, decided) in counted.items()}


def _next_words(release: Release) -> str:
    terms = release.terms
    after = "it becomes the incumbent"
    if not release.last_step:
        after = f"{_percent(terms.steps[release.step + 1])} come next"
    wanted = wants(release)
    if wanted:
        return f"Before {after}, this step wants {'; '.join(wanted)}."
    return f"The step has what it takes: {after}{' on promote' if terms.promote == 'manual' else ''}."
