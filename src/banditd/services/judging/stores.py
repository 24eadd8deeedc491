"""The stores that judging uses, passed around together."""

from __future__ import annotations

from dataclasses import dataclass

from banditd.ports.comparing import ComparisonStore
from banditd.ports.judging import JudgingStore
from banditd.ports.probing import ProbeStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """Stores of answers and verdicts, of probes, and of comparisons."""

    judging: JudgingStore
    probing: ProbeStore
    comparing: ComparisonStore
