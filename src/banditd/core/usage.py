"""Usage reports of one decision: the state that later reports complete and correct. No I/O.

This is the one place that says whether a report is news. A report is *merged* into what is known, field by field; one
that changes nothing is a duplicate, however often and in whatever order it arrives.

* A field that a report gives replaces the known value; a field that it leaves out stays.
* ``attempts`` replace the earlier attempts, and with them who served and what failed.
* ``served_arm`` or ``error`` without ``attempts`` replace attempts that contradict them.
* Reported dollars take precedence over tokens times list price.

An ``Idempotency-Key`` is handled one layer up: the same key and body is answered before it gets here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from banditd.core.attempts import Attempt, attempts_of, error_class_of
from banditd.core.rewards import UsageReport

_FIGURES: Final = ("input_tokens", "output_tokens", "cached_input_tokens", "cost_usd", "latency_ms")
REFUSAL_REASONS: Final = frozenset({"content_filter", "refusal"})
"""Finish reasons of answers that decline to answer. The SQL view ``request_log`` lists them too."""
_NOT_STATED: Final = frozenset({"decision_id", "body_hash", "received_at_us", "request_key", "session_key"})
_MERGED: Final = tuple(name for name in UsageReport._fields if name not in _NOT_STATED)


class Settled(NamedTuple):
    """A report merged into what was known of its decision.

    duplicate : whether it said nothing new, so that nothing was written.
    cost_usd : of the whole decision, failed attempts included; None while neither tokens nor dollars of the answer
    are known.
    revision : 0 for the first report, plus one for each that said something new.
    arm : the arm that served, or was to serve.
    before, after : everything known, normalised; before and cost_before_usd are None for the first report.
    """

    duplicate: bool
    cost_usd: float | None
    revision: int
    policy: str
    chosen_arm: str
    arm: str
    before: UsageReport | None
    after: UsageReport
    cost_before_usd: float | None


def repeated(report: UsageReport, *, cost_usd: float | None, revision: int) -> Settled:
    """The answer to a request repeated under its ``Idempotency-Key``: always a duplicate."""
    return Settled(
        duplicate=True,
        cost_usd=cost_usd,
        revision=revision,
        policy="",
        chosen_arm="",
        arm="",
        before=report,
        after=report,
        cost_before_usd=cost_usd,
    )


def normalised(report: UsageReport, chosen_arm: str) -> UsageReport:
    """The same report in normal form: ``served_arm`` None if the chosen arm served, figures those of the answer.

    Attempts determine who served: the last that answered; else the last of all if it had begun to; else nobody. If
    none answered, ``error`` is the last one's. An older client's ``served_arm`` and ``error`` become two attempts.
    The report's figures are copied to the attempt that answered (or failed last), and missing ones are taken from it.
    """
    attempts = report.attempts
    if not attempts and report.error is not None and report.served_arm not in (None, chosen_arm):
        attempts = attempts_of((), chosen_arm=chosen_arm, served_arm=report.served_arm, error=report.error)
    if not attempts:
        served = None if report.served_arm == chosen_arm else report.served_arm
        return report._replace(served_arm=served)
    index = main_attempt(attempts)
    main = attempts[index]
    reported = {name: getattr(report, name) for name in _FIGURES}
    # The attempt's own latency counts, except for a recipe: there the report's latency is what the caller waited for.
    if main.latency_ms is not None and main.recipe is None:
        reported["latency_ms"] = main.latency_ms
    reported = {name: getattr(main, name) if value is None else value for name, value in reported.items()}
    answered = main.error is None
    # An arm whose answer broke off, or whose client left, has served: rewards for that answer belong to it.
    gave = answered or main.error == "client_gone" or main.first_token_ms is not None
    return report._replace(
        served_arm=main.served_as if gave and main.served_as != chosen_arm else None,
        error=None if answered else _failure(report.error, main),
        attempts=(*attempts[:index], _with_figures(main, reported), *attempts[index + 1 :]),
        **reported,
    )


def _with_figures(main: Attempt, figures: Mapping[str, Any]) -> Attempt:
    """The main attempt with its report's figures, except a recipe's latency, which is not that of one call."""
    own = {name: value for name, value in figures.items() if name != "latency_ms" or main.recipe is None}
    return main._replace(**own)


def main_attempt(attempts: tuple[Attempt, ...]) -> int:
    """Index of the attempt that a report's figures belong to: the last that answered, else the last."""
    return main_of([one.error for one in attempts])


def main_of(errors: Sequence[str | None]) -> int:
    """``main_attempt``, given only the attempts' errors."""
    answered = [i for i, error in enumerate(errors) if error is None]
    return answered[-1] if answered else len(errors) - 1


def merged(before: UsageReport, report: UsageReport, chosen_arm: str) -> UsageReport:
    """What is known after ``report``, given what was known before (normalised). Returns it normalised.

    If the report is no news, the result equals ``before`` in everything that a client says (see ``says_the_same``).
    """
    new = normalised(report, chosen_arm)
    given = {name: value for name in _MERGED if (value := getattr(new, name)) not in (None, ())}
    if new.attempts:
        return normalised(before._replace(**{"served_arm": None, "error": None, **given}), chosen_arm)
    if report.served_arm is not None:  # the chosen arm too, which is None in normal form
        given["served_arm"] = report.served_arm
    if before.attempts and not _agrees(before, report, chosen_arm):
        before = before._replace(attempts=(), error=None)
    elif before.attempts:
        index = main_attempt(before.attempts)
        main = _with_figures(before.attempts[index], {name: given[name] for name in _FIGURES if name in given})
        given["attempts"] = (*before.attempts[:index], main, *before.attempts[index + 1 :])
        given.pop("served_arm", None)
        given.pop("error", None)
    return normalised(before._replace(**given), chosen_arm)


def refused(report: UsageReport) -> bool | None:
    """Whether the model declined: as reported, else by the finish reason; None if neither is known."""
    if report.refusal is not None or report.finish_reason is None:
        return report.refusal
    return report.finish_reason in REFUSAL_REASONS


def says_the_same(one: UsageReport, other: UsageReport) -> bool:
    """Whether two normalised reports say the same about a decision."""
    return all(getattr(one, name) == getattr(other, name) for name in _MERGED)


def news_of(before: UsageReport | None, after: UsageReport, chosen_arm: str) -> tuple[Attempt, ...]:
    """The attempts in ``after`` that were not in ``before``, so that breakers count each call once."""
    reported = _reported(after, chosen_arm)
    if before is None:
        return reported
    known = [(one.arm, one.error) for one in _reported(before, chosen_arm)]
    first = 0
    while first < min(len(known), len(reported)) and known[first] == (reported[first].arm, reported[first].error):
        first += 1
    return reported[first:]


def _reported(report: UsageReport, chosen_arm: str) -> tuple[Attempt, ...]:
    return attempts_of(report.attempts, chosen_arm=chosen_arm, served_arm=report.served_arm, error=report.error)


def _failure(stated: str | None, last: Attempt) -> str | None:
    """The error of a decision that nobody answered: the client's words, if they fit its last attempt."""
    return stated if stated is not None and error_class_of(stated) == last.error else last.error


def _agrees(before: UsageReport, report: UsageReport, chosen_arm: str) -> bool:
    """Whether a report's ``served_arm`` and ``error``, given without attempts, agree with the known attempts."""
    if report.served_arm is not None and report.served_arm != (before.served_arm or chosen_arm):
        return False
    if report.error is None:
        return True
    if before.error is not None:
        return error_class_of(report.error) == error_class_of(before.error)
    return error_class_of(report.error) in {one.error for one in before.attempts}
