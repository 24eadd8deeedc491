"""Judges: models, or clients, that score a share of the gateway's answers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from pydantic import Field, model_validator

from banditd.settings.arms import PriceSettings
from banditd.settings.base import NAME_PATTERN, Section
from banditd.settings.gateway import GatewaySettings, UpstreamSettings
from banditd.settings.rewards import RewardSettings

MAX_NAME: Final = 64
_OF_CALLS: Final = frozenset({"price", "params", "usd_per_day", "concurrency", "deadline_s"})
"""Settings that only matter if the daemon calls the judge."""


class ProbeSettings(Section):
    """Other arms answer some queries too, only for the judge."""

    share: float = Field(
        0.01,
        gt=0,
        le=1,
        description="of the answers, at most the judge's own share",
    )
    usd_per_day: float = Field(gt=0, description="cap on these calls in any 24 hours")
    arms: int = Field(1, ge=1, le=16, description="most other arms for one query")
    compare: bool = Field(False, description="learn how often the baseline's answer is better")


class JudgeSettings(Section):
    """One judge; see docs/judges.md."""

    kind: Literal["upstream", "client"] = Field(
        "upstream", description="upstream: the daemon calls the model; client: you lease tasks"
    )
    upstream: str | None = Field(None, description="where the model is")
    model: str | None = Field(None, min_length=1, max_length=256, description="its name there")
    price: PriceSettings = Field(default_factory=PriceSettings, description="what it costs; not an arm's")
    params: dict[str, Any] = Field(default_factory=dict, description="such as {temperature: 0, max_tokens: 200}")
    share: float = Field(0.05, gt=0, le=1, description="of the answers")
    policies: tuple[str, ...] = Field((), description="whose answers; empty: all")
    rubric: str | None = Field(
        None, min_length=1, max_length=8000, description="what 0 and 1 mean; see docs/judges.md"
    )
    noise_variance: float = Field(0.1, ge=0, description="variance of its error in reward units")
    people: tuple[str, ...] = Field(
        ("human",),
        min_length=1,
        description="sources of people who may contradict it",
    )
    usd_per_day: float | None = Field(None, gt=0, description="cap on its calls in any 24 hours")
    probes: ProbeSettings | None = Field(None, description="see docs/judges.md")
    max_waiting: int = Field(1000, ge=1, le=100_000, description="most answers that may wait; more are dropped")
    keep_s: float = Field(86_400.0, ge=1, description="an answer not judged by then is deleted")
    max_attempts: int = Field(5, ge=1, le=20, description="most attempts for one answer")
    max_chars: int = Field(24_000, ge=200, description="of question and answer each; more is cut")
    concurrency: int = Field(4, ge=1, le=64, description="calls at once on each replica")
    deadline_s: float = Field(60.0, ge=1, description="for one call")

    @model_validator(mode="after")
    def _callable(self) -> JudgeSettings:
        if self.kind == "upstream" and (self.upstream is None or self.model is None):
            raise ValueError("a judge of kind upstream needs upstream and model; kind: client has neither")
        if self.kind == "client" and (self.upstream is not None or self.model is not None):
            raise ValueError("a judge of kind client is called by you: it has no upstream and no model")
        unused = sorted(_OF_CALLS & self.model_fields_set) if self.kind == "client" else []
        if unused:
            raise ValueError(f"a judge of kind client is called by you: {', '.join(unused)} would do nothing")
        if self.probes is not None and self.probes.share > self.share:
            raise ValueError(
                f"probes.share is {self.probes.share:g} and the judge's own share {self.share:g}: for each probe it "
                "also scores the served answer, so raise share, or lower probes.share"
            )
        return self


def check_judges(
    judges: Mapping[str, JudgeSettings],
    upstreams: Mapping[str, UpstreamSettings],
    gateway: GatewaySettings,
    rewards: Mapping[str, RewardSettings],
) -> None:
    """Refuse judges that name something which does not exist. rewards : by policy. Raises ValueError."""
    if judges and (not upstreams or gateway.enabled is False):
        raise ValueError("judges score the gateway's answers, but it is off: name an endpoint below upstreams")
    for name, judge in judges.items():
        if not re.match(NAME_PATTERN, name) or len(name) > MAX_NAME:
            raise ValueError(f"judges: {name!r} cannot be a name: letters, digits and . _ : / @ + -")
        if judge.upstream is not None and judge.upstream not in upstreams:
            raise ValueError(f"judges.{name} names the upstream {judge.upstream}; there is {', '.join(upstreams)}")
        _check_policies(name, judge, rewards)


def _check_policies(name: str, judge: JudgeSettings, rewards: Mapping[str, RewardSettings]) -> None:
    for policy in judge.policies:
        if policy not in rewards:
            raise ValueError(f"judges.{name} names the policy {policy}; policies has {', '.join(rewards)}")
    for policy in judge.policies or rewards:
        known = rewards[policy].sources
        unknown = sorted(set(judge.people) - set(known))
        if unknown and not set(judge.people) & set(known):
            raise ValueError(
                f"judges.{name}.people names {', '.join(unknown)}, which is not a source of rewards of the policy "
                f"{policy}: it has {_listed(known)}"
            )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
