"""Slow loss of quality: what a policy is watched by."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from banditd.settings.base import Section
from banditd.settings.judges import JudgeSettings


class GoldenSettings(Section):
    """Prompts that every enabled arm answers daily, for a judge to score."""

    file: Path = Field(description='JSON Lines: {"prompt": "..."} or {"messages": [...]} on each line')
    judge: str = Field(min_length=1, description="who scores the answers: a judge of kind upstream")
    usd_per_day: float = Field(gt=0, description="cap on all these calls per day (UTC)")
    cases: int = Field(50, ge=1, le=500, description="how many of the file's first prompts")


class AnchorSettings(Section):
    """The policy as it was when last good decides a part of the traffic."""

    share: float = Field(0.05, gt=0, le=0.5, description="of the traffic, decided by the anchor; sessions stick")


class DriftSettings(Section):
    """What is watched for a slow loss of quality; see docs/drift.md."""

    worse_by: float = Field(0.01, gt=0, le=0.5, description="how much lower the mean reward may become unnoticed")
    days_per_false_alarm: float = Field(
        1000.0, ge=30, le=100_000, description="least mean days between false alarms, per test"
    )
    anchor: AnchorSettings | None = Field(
        None, description="find what learning or settings have made worse; null: off"
    )
    golden: GoldenSettings | None = Field(
        None, description="find what providers change; null: off, without any call or cost"
    )


def check_drift(drifts: Mapping[str, DriftSettings], judges: Mapping[str, JudgeSettings]) -> None:
    """Refuse a golden set without a judge that can score it. drifts : by policy. Raises ValueError."""
    for policy, drift in drifts.items():
        if drift.golden is None:
            continue
        name, place = drift.golden.judge, f"policies.{policy}.drift.golden.judge"
        if name not in judges:
            raise ValueError(f"{place} names {name}; judges has {', '.join(judges) or 'none'}")
        if judges[name].kind != "upstream":
            raise ValueError(f"{place} names {name}, which clients call: a golden set needs a judge of kind upstream")
