"""Usage reports of one decision as a state that revisions complete and correct. No I/O.

This is the one place that says whether a report is news: a report is *merged* into what is known, field by field, and
what changes nothing is a duplicate, however often and in whatever order it comes.

* A field that a report gives replaces what was known of it; one that it leaves out stays.
* ``attempts`` replace the attempts before, and with them who served and what failed.
* ``served_arm`` or ``error`` without ``attempts`` replace attempts that say something else.
* Told dollars outrank those that tokens cost at the price list.

An ``Idempotency-Key`` is the concern of the layer above: the same key and body is answered before it comes here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from banditd.core.attempts import Attempt, attempts_of, error_class_of
from banditd.core.rewards import UsageReport

_FIGURES: Final = ("input_tokens", "output_tokens", "cached_input_tokens", "cost_usd", "latency_ms")
REFUSAL_REASONS: Final = frozenset({"content_filter", "refusal"})
"""Finish reasons of answers that decline to answer. The view ``request_log`` has them, too."""
_NOT_STATED: Final = frozenset({"decision_id", "body_hash", "received_at_us", "request_key", "session_key"})
_MERGED: Final = tuple(name for name in UsageReport._fields if name not in _NOT_STATED)


class Settled(NamedTuple):
    """A report merged into what was known of its decision.

    duplicate : it told nothing new, nothing was written. cost_usd : of the whole decision, failed attempts included;
    None while neither tokens nor dollars of the answer are known. revision : 0 for the first report, then one more
    for every one that told something new. arm : served, or was to serve. before, after : all that is known, in normal
    form; before and cost_before_usd are None for the first report.
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
    """The answer that a request gets again under its ``Idempotency-Key``: nothing is looked at, nothing is news."""
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
    """The same report in one form: ``served_arm`` None where the chosen arm served, figures those of the answer.

    Attempts tell who served: the last that answered, else the last of all where it had begun to, and else nobody.
    Where none answered, the last one's failure is ``error``. What an older client says with ``served_arm`` and
    ``error`` becomes two attempts. The attempt that answered (or failed last) has the report's figures, and gives
    those that the report leaves out.
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
    # The arm's own latency counts; the report's is what the caller waited for, and that is the recipe's own.
    if main.latency_ms is not None and main.recipe is None:
        reported["latency_ms"] = main.latency_ms
    reported = {name: getattr(main, name) if value is None else value for name, value in reported.items()}
    answered = main.error is None
    # Whose answer a client left, or saw break off, is who served: what it thinks of it is that arm's.
    gave = answered or main.error == "client_gone" or main.first_token_ms is not None
    return report._replace(
        served_arm=main.served_as if gave and main.served_as != chosen_arm else None,
        error=None if answered else _failure(report.error, main),
        attempts=(*attempts[:index], _with_figures(main, reported), *attempts[index + 1 :]),
        **reported,
    )


def _with_figures(main: Attempt, figures: Mapping[str, Any]) -> Attempt:
    """The attempt that the figures of its report belong to; how long a recipe took is not one call's latency."""
    own = {name: value for name, value in figures.items() if name != "latency_ms" or main.recipe is None}
    return main._replace(**own)


def main_attempt(attempts: tuple[Attempt, ...]) -> int:
    """Which attempt the figures of a report belong to: the last that answered, else the last."""
    return main_of([one.error for one in attempts])


def main_of(errors: Sequence[str | None]) -> int:
    """The same, by how the attempts ended."""
    answered = [i for i, error in enumerate(errors) if error is None]
    return answered[-1] if answered else len(errors) - 1


def merged(before: UsageReport, report: UsageReport, chosen_arm: str) -> UsageReport:
    """What is known after ``report``, given what was known (``before`` : normalised). Normalised.

    Equal to ``before`` in all that a client says where the report is no news (see ``says_the_same``).
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
    """Whether the model declined: as stated, else by the finish reason; None where neither is known."""
    if report.refusal is not None or report.finish_reason is None:
        return report.refusal
    return report.finish_reason in REFUSAL_REASONS


def says_the_same(one: UsageReport, other: UsageReport) -> bool:
    """Whether two normalised reports tell the same of a decision."""
    return all(getattr(one, name) == getattr(other, name) for name in _MERGED)


def news_of(before: UsageReport | None, after: UsageReport, chosen_arm: str) -> tuple[Attempt, ...]:
    """The attempts of ``after`` that ``before`` did not tell of, for breakers: each call counts once."""
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
    """How a decision that nobody answered failed: in the client's words, where they fit its last attempt."""
    return stated if stated is not None and error_class_of(stated) == last.error else last.error


def _agrees(before: UsageReport, report: UsageReport, chosen_arm: str) -> bool:
    """Whether ``served_arm`` and ``error`` of a report without attempts fit the attempts that are known."""
    if report.served_arm is not None and report.served_arm != (before.served_arm or chosen_arm):
        return False
    if report.error is None:
        return True
    if before.error is not None:
        return error_class_of(report.error) == error_class_of(before.error)
    return error_class_of(report.error) in {one.error for one in before.attempts}
