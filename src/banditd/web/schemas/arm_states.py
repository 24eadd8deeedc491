"""Schemas of what an arm goes through: its rewards have changed, or it is left alone."""

from __future__ import annotations

from typing import Literal

from banditd.web.schemas.base import AnswerModel, Time


class Change(AnswerModel):
    """An arm's rewards have changed, or are back at their old level."""

    arm: str
    kind: str
    """``changed`` or ``recovered``."""
    direction: str
    """Of the change: ``down`` or ``up``."""
    at: Time | None
    old_level: float
    """Mean reward before, as predicted for the same queries; of an arm's ``change``, before its first alarm."""
    new_level: float
    """Mean reward after."""
    rewards: int
    """How many rewards showed it."""
    queries_moved: bool
    """The queries had changed too: the arm may only have been asked something else."""


class Away(AnswerModel):
    """An arm that is left alone after errors of its calls, or as its upstream asked."""

    reason: Literal["breaker_open", "breaker_probe", "cooling_down"]
    until: Time
    """When it is tried again, at the latest."""
