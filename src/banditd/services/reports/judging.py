"""Deducts the cost of judges, probes and classifiers from savings; the only place that does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from banditd.ports.classifying import ClassifierStore
from banditd.ports.judging import JudgingStore
from banditd.ports.probing import ProbeStore
from banditd.services.reports.headline import dollars_in_words


class Beside(NamedTuple):
    """Dollars spent in addition to the traffic: on judges, probes and the classifier."""

    judges_usd: float
    probes_usd: float
    classifier_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BesideReader:
    """Reads the accounts of that spending."""

    judging: JudgingStore
    probing: ProbeStore
    classifying: ClassifierStore

    async def spent(self, policy: str, since_us: int | None, until_us: int | None) -> Beside:
        """What was spent, by whole hours."""
        judges_usd = await self.judging.spent_usd(policy, since_us, until_us)
        probes_usd = await self.probing.spent_usd(policy, since_us, until_us)
        return Beside(judges_usd, probes_usd, await self.classifying.spent_usd(policy, since_us, until_us))


def less_judging(savings: Mapping[str, Any], beside: Beside) -> dict[str, object]:
    """The fields of ``GET /v1/savings`` that change by it; empty if nothing was spent. savings : the headline."""
    beside_usd = sum(beside)
    if beside_usd <= 0.0:
        return {}
    saved = savings["saved"]["usd"]
    left = None if saved is None else saved - beside_usd
    sentence = f"{_who(beside)} beside the traffic"
    if left is not None:
        still = f": {dollars_in_words(left)} of what was saved is left"
        sentence += still if left >= 0.0 else ": more than was saved"
    return {
        "judges": {
            "usd": beside.judges_usd,
            "probes_usd": beside.probes_usd,
            "classifier_usd": beside.classifier_usd,
            "saved_less_judges_usd": left,
        },
        "words": {**savings["words"], "judges": f"{sentence}."},
        "headline": f"{savings['headline']} {sentence}.",
    }


def _who(beside: Beside) -> str:
    spent = zip(("judges", "probes", "the classifier"), beside, strict=True)
    [(who, usd), *others] = [(who, dollars_in_words(usd)) for who, usd in spent if usd > 0.0]
    parts = [f"{who[0].upper()}{who[1:]} cost {usd}", *(f"{who} {usd}" for who, usd in others)]
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))
