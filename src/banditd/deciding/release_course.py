"""The life of a release: what every command and every outcome does to it. Values in, values out. Pure.

It is open while ``running`` or ``paused``: the candidate gets part of the traffic. It ends ``promoted`` (the
candidate became the incumbent), ``aborted`` (by hand), ``rolled_back`` (a test found it worse) or ``error`` (the
comparison is not valid). Only ``promoted`` changes the policy's settings.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from banditd.core.candidate import Candidate
from banditd.core.errors import ConflictError
from banditd.core.release import OPEN, Phase, ReleaseTerms, UnitOutcome
from banditd.deciding.release_tests import Alarm, ReleaseTests, needed
from banditd.deciding.release_windows import IN_A_ROW, TIMES

ENDED_BY: Final[dict[str, Phase]] = {
    "worse": "rolled_back", "guardrail": "rolled_back", "windows": "rolled_back", "split": "error",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A candidate on its way to becoming the incumbent.

    step : index of the present step in ``terms.steps``.
    due : the step has everything it needs, and the next one is proposed.
    reason : why it ended or was paused.
    step_at_us : when the step began.
    key_name : API key that started it.
    """

    release_id: str
    policy: str
    candidate: Candidate
    terms: ReleaseTerms
    tests: ReleaseTests
    phase: Phase = "running"
    step: int = 0
    due: bool = False
    reason: str | None = None
    created_at_us: int = 0
    step_at_us: int = 0
    ended_at_us: int | None = None
    key_name: str | None = None

    @property
    def open(self) -> bool:
        return self.phase in OPEN

    @property
    def share(self) -> float:
        """Share of the traffic that goes to the candidate, in [0, 1]."""
        return self.terms.steps[self.step] if self.open else float(self.phase == "promoted")

    @property
    def evidence(self) -> dict[str, float]:
        """By measure, the evidence against the candidate as a fraction of what would end the release."""
        tests = self.tests.tests.items()
        return {name: math.exp(min(test.log_evidence - needed(self.terms, name), 0.0)) for name, test in tests}

    @property
    def last_step(self) -> bool:
        return self.step == len(self.terms.steps) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseEvent:
    """An entry in a release's history. event : what was done. key_name : API key that did it; None: the daemon."""

    event: str
    at_us: int
    step: int
    share: float
    reason: str | None = None
    key_name: str | None = None


@dataclass(frozen=True, slots=True)
class Author:
    """Who asks for a change, and why. key_name : None without API keys, or for the daemon itself."""

    at_us: int
    key_name: str | None = None
    reason: str | None = None


Step = tuple[Release, list[ReleaseEvent]]


def _event(event: str, release: Release, by: Author, reason: str | None = None) -> ReleaseEvent:
    return ReleaseEvent(
        event=event, at_us=by.at_us, step=release.step, share=release.share, reason=reason or by.reason,
        key_name=by.key_name,
    )  # fmt: skip


def started(release: Release, by: Author) -> Step:
    """A new release at its first step."""
    return release, [_event("started", release, by)]


def observed(release: Release, outcomes: Iterable[UnitOutcome], at_us: int) -> Step:
    """The release after these outcomes; each is the first of its kind for its unit.

    Its tests are modified in place.
    """
    for outcome in outcomes:
        release.tests.add(release.terms, outcome, at_us)
        alarm = release.tests.alarm(release.terms)
        if alarm is not None:
            ended, events = finished(release, ENDED_BY[alarm.kind], Author(at_us, reason=alarm_words(release, alarm)))
            return ended, events
    return release, []


def looked_at(release: Release, at_us: int) -> Step:
    """Propose or take the next step, if the present one has everything it needs."""
    if release.phase != "running" or (release.due and release.terms.promote == "manual"):
        return release, []
    if wants(release):
        return release, []
    if release.terms.promote == "auto":
        return promoted(replace(release, due=True), Author(at_us, reason="the step has what it takes"))
    due = replace(release, due=True)
    return due, [_event("step_due", due, Author(at_us))]


def promoted(release: Release, by: Author, *, force: bool = False) -> Step:
    """Take the next step or, after the last one, finish: the candidate becomes the incumbent.

    Raises ConflictError if the release has ended, or if the step is not over and ``force`` is False.
    """
    _must_be_open(release)
    wanted = wants(release)
    if wanted and not force:
        raise ConflictError(
            f"the step of {100.0 * release.share:.3g} % is not over: it needs {' and '.join(wanted)}; "
            'wait, or send {"force": true} (banditd release promote --force)',
            code="RELEASE_NOT_DUE",
        )
    if release.last_step:
        return finished(release, "promoted", by)
    release.tests.begin_step()
    after = replace(release, step=release.step + 1, due=False, step_at_us=by.at_us)
    return after, [_event("promoted", after, by)]


def wants(release: Release) -> list[str]:
    """What the present step still needs, in words; empty if nothing."""
    tests, terms = release.tests, release.terms
    found = [
        f"{number:,} more rated units of the candidate ({name})"
        for name, number in tests.missing(terms, release.step).items()
    ]
    found += [
        f"{wanted:,} of the candidate's units compared with the incumbent's ({name}: {compared:,} were, and at 100 % "
        "nothing is left to compare with, so that only you can decide)"
        for name, (compared, wanted) in tests.uncompared(terms, release.step).items()
    ]
    found += [f"less evidence against its {name}" for name in tests.suspected(terms)]
    apart = tests.rated_apart
    if apart is not None and not release.last_step:
        found.append(
            f"both sides to be rated alike ({apart[0]:.0%} of the candidate's decisions are, {apart[1]:.0%} of the "
            "incumbent's: by a judge, for example)"
        )
    return found


def measured(release: Release, by: Mapping[str, str], at_us: int) -> Step:
    """Restart the tests if a judge, its rubric or a price has changed. by : what each of them is now."""
    before = release.tests.measured_by
    if before is None or before == by:
        release.tests.measured_by = dict(by)
        return release, []
    changed = [name for name in sorted(before.keys() | by.keys()) if _is_other(name, before, by)]
    if not changed:
        release.tests.measured_by = dict(by)
        return release, []
    fresh = ReleaseTests.of(release.terms)
    fresh.measured_by, fresh.matures_us = dict(by), release.tests.matures_us
    after = replace(release, tests=fresh, due=False, step_at_us=at_us)
    why = f"{', '.join(changed)} changed: earlier measurements are not comparable, so the tests start again"
    return after, [_event("measurement_changed", after, Author(at_us, reason=why))]


def _is_other(name: str, before: Mapping[str, str], by: Mapping[str, str]) -> bool:
    """Whether it counts as a change: adding or removing an arm does not; changing a judge does."""
    return before.get(name) != by.get(name) and (name.startswith("judge ") or (name in before and name in by))


def arm_disabled(release: Release, arm: str, by: Author) -> Step:
    """An operator disabled an arm: the candidate may no longer enable it."""
    fields = release.candidate.arms.get(arm, {})
    if not release.open or not fields.get("enabled"):
        return release, []
    arms = {**release.candidate.arms, arm: {**fields, "enabled": False}}
    after = replace(release, candidate=replace(release.candidate, arms=arms))
    return after, [_event("arm_disabled", after, by, f"{arm} was disabled: the candidate continues without it")]


def paused(release: Release, by: Author) -> Step:
    """Stay at this step. Tests continue and may end the release. Pausing again changes nothing."""
    _must_be_open(release)
    if release.phase == "paused":
        return release, []
    after = replace(release, phase="paused", reason=by.reason)
    return after, [_event("paused", after, by)]


def resumed(release: Release, by: Author) -> Step:
    """Continue after a pause."""
    _must_be_open(release)
    if release.phase == "running":
        return release, []
    after = replace(release, phase="running", reason=None)
    return after, [_event("resumed", after, by)]


def aborted(release: Release, by: Author) -> Step:
    """Give all traffic back to the incumbent. Aborting again changes nothing."""
    if release.phase == "aborted":
        return release, []
    _must_be_open(release)
    return finished(release, "aborted", by)


def finished(release: Release, phase: Phase, by: Author) -> Step:
    """End the release in this phase."""
    after = replace(release, phase=phase, due=False, reason=by.reason, ended_at_us=by.at_us)
    return after, [_event("finished" if phase == "promoted" else phase, after, by)]


def _must_be_open(release: Release) -> None:
    if not release.open:
        raise ConflictError(
            f"release {release.release_id} has ended ({release.phase}); start another one", code="RELEASE_ENDED"
        )


def alarm_words(release: Release, alarm: Alarm) -> str:
    """The reason why the release ended, as a sentence."""
    if alarm.kind == "windows":
        return (
            f"the candidate's {alarm.measure} was lower by more than {TIMES:g} times the noise in {IN_A_ROW} windows "
            "of 15 minutes in a row"
        )
    if alarm.kind == "split":
        split = release.tests.splits[alarm.measure]
        return (
            f"of {split.units:,} units counted by {alarm.measure} {split.candidate:,} are the candidate's, and "
            f"{split.expected:,.0f} should be: outcomes of one side are lost or come less often, so that nothing can "
            "be compared"
        )
    interval = release.tests.tests[alarm.measure].interval()
    between = "" if interval is None else f"; where the two differ, {difference_words(alarm.measure, interval)}"
    return f"the candidate's {alarm.measure} is worse than tolerated (evidence {alarm.evidence:,.0f} to 1){between}"


def difference_words(measure: str, interval: tuple[float, float]) -> str:
    """The interval of candidate minus incumbent, in words.

    Guardrails are stated as the share without an error, refusal, ...
    """
    low, high = interval
    return f"candidate less incumbent lies between {low:+.3f} and {high:+.3f} ({measure}, more is better)"
