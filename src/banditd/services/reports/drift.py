"""Slow loss of quality: its likely cause, since when, how certain it is, and what to do."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from banditd.core.anchor import FIRST_REWARDS, Anchor, DriftRule
from banditd.core.golden import GoldenRule, GoldenWatch
from banditd.core.times import iso_time
from banditd.core.types import DAY_US
from banditd.obs.proving import DriftMetrics
from banditd.ope.drops import AnchorTest, GoldenTest
from banditd.ope.level import LIMIT, Level, level_of
from banditd.ports import Clock, ReportReader
from banditd.ports.anchors import AnchorStore
from banditd.ports.golden import GoldenStore
from banditd.services.anchoring.keeping import AnchorKeeping
from banditd.services.learning.changes import changes_of
from banditd.services.policy import PolicyRuntime, runtime_of
from banditd.services.reports import drift_words as words

logger = logging.getLogger(__name__)
EVENTS: Final = 10
LEVEL_DAYS: Final = 90
"""Number of days over which the level of rewards is tested; the first of them are its baseline."""
LEAST_REWARDS: Final = 5.0
"""Rewards that a day needs to have a mean."""
_DAY_S: Final = 86_400
MOST_LOG: Final = 300.0


class DriftReports:
    """Reports drift. golden_rules : by policy, of those that have a golden set."""

    def __init__(
        self,
        *,
        runtimes: Mapping[str, PolicyRuntime],
        golden_rules: Mapping[str, GoldenRule],
        golden: GoldenStore,
        keeping: AnchorKeeping,
        anchors: AnchorStore,
        reader: ReportReader,
        clock: Clock,
        metrics: DriftMetrics,
    ) -> None:
        self._runtimes = runtimes
        self._golden_rules = golden_rules
        self._golden = golden
        self._keeping = keeping
        self._anchors = anchors
        self._reader = reader
        self._clock = clock
        self._metrics = metrics

    async def run(self) -> None:
        """Update the metrics of drift."""
        for name in self._runtimes:
            found: Any = await self.drift(name)
            # An alarm stays, even if its evidence decreases later.
            arms = [(one["arm"], max(one["evidence"], float(one["alarm"]))) for one in found["provider"]["arms"]]
            self._metrics.show(name, "provider", arms)
            own = found["own"]
            self._metrics.show(name, "own", [] if own is None else [("", max(own["evidence"], float(own["alarm"])))])
            level = found["level"]
            self._metrics.show(name, "level", [] if level is None else [("", level["evidence"])])

    async def drift(self, policy: str) -> Mapping[str, object]:
        """The policy's state. Raises NotFoundError."""
        runtime = runtime_of(self._runtimes, policy)
        rule = runtime.config.drift
        parts: dict[str, Any] = {
            "provider": await self._provider(runtime),
            "own": await self._own(runtime),
            "level": await self._level(runtime),
            "traffic": _traffic(runtime),
        }
        causes = [name for name, part in parts.items() if part is not None and part["alarm"]]
        return {
            "policy": policy,
            "worse_by": rule.worse_by,
            "days_per_false_alarm": rule.days_per_false_alarm,
            "causes": causes,
            "words": words.whole(parts, causes),
            **parts,
        }

    async def _provider(self, runtime: PolicyRuntime) -> dict[str, Any]:
        policy, rule, now_us = runtime.name, self._golden_rules.get(runtime.name), self._clock.now_us()
        present = {arm.arm for arm in runtime.arms if arm.enabled}
        found = [] if rule is None else await self._golden.watches(policy)
        arms = [_arm(runtime, one) for one in found if one.arm in present]
        changed, _ = changes_of(runtime.learned)
        lower = [
            {
                "arm": arm,
                "old_level": event.old_level,
                "new_level": event.new_level,
                "at": None if event.at_us is None else iso_time(event.at_us),
            }
            for arm, event in changed.items()
            if arm in present and event.direction == "down" and not event.queries_moved
        ]
        golden = None
        if rule is not None:
            day = now_us // DAY_US
            golden = {
                "judge": rule.judge,
                "prompts": len(rule.prompts),
                "today": dict(await self._golden.states(policy, day)),
                "spend_day_usd": await self._golden.spent_usd(rule, day),
                "usd_per_day": rule.usd_per_day,
            }
        part = {
            "alarm": bool(lower) or any(one["alarm"] for one in arms), "golden": golden, "arms": arms,
            "lower_rewards": lower,
        }  # fmt: skip
        return part | {"words": words.provider(part, runtime.config.drift)}

    async def _own(self, runtime: PolicyRuntime) -> dict[str, Any] | None:
        book, rule = self._keeping.book(runtime.name), runtime.config.drift
        if book.share <= 0.0:
            return None
        anchor = (await self._anchors.anchors()).get(runtime.name)
        events = await self._anchors.events(runtime.name, EVENTS)
        part = own_part(anchor, rule) | {
            "share": book.share,
            "problem": book.problem,
            "deciding": self._keeping.decides(runtime.name),
            "first_after": FIRST_REWARDS if anchor is None else None,
            "events": [
                {
                    "event": one.event, "anchor_id": one.anchor_id, "at": iso_time(one.at_us), "reason": one.reason,
                    "key_name": one.key_name,
                }
                for one in events
            ],
        }  # fmt: skip
        return part | {"words": words.own(part, rule)}

    async def _level(self, runtime: PolicyRuntime) -> dict[str, Any] | None:
        today = self._clock.now_us() // DAY_US  # excluded, since it is not over
        since_us, until_us = (today - LEVEL_DAYS) * DAY_US, today * DAY_US
        rows = await self._reader.timeseries(runtime.name, since_us=since_us, until_us=until_us, step_s=_DAY_S)
        days = daily_means(rows)
        level = level_of([mean for _, mean in days])
        if level is None:
            return None
        since = None if level.since is None else words.date_of(days[level.since][0])
        part = {
            "alarm": level.sum >= LIMIT,
            "evidence": level.sum / LIMIT,
            "since": since,
            "days": len(days),
            "mean": level.mean,
            "deviation": level.deviation,
            "recent_mean": _recent(days, level),
        }
        return part | {"words": words.level(part)}


def daily_means(rows: Sequence[Mapping[str, Any]]) -> list[tuple[int, float]]:
    """(day since 1970, mean reward) of days with enough rewards, oldest first. rows : sums by bucket and arm."""
    sums: dict[int, tuple[float, float]] = {}
    for row in rows:
        day = int(row["bucket_at_us"]) // DAY_US
        weight, reward = sums.get(day, (0.0, 0.0))
        sums[day] = weight + float(row["weight"]), reward + float(row["weighted_reward"])
    return [(day, reward / weight) for day, (weight, reward) in sorted(sums.items()) if weight >= LEAST_REWARDS]


def _recent(days: Sequence[tuple[int, float]], level: Level) -> float:
    """Mean of the days since the level fell, else of the last seven."""
    last = days[level.since :] if level.since is not None else days[-7:]
    return sum(mean for _, mean in last) / len(last)


def parts_of_an_alarm(log_evidence: float, log_needed: float) -> float:
    """Evidence as a fraction of what raises an alarm; 1 or more is an alarm."""
    return math.exp(min(log_evidence - log_needed, MOST_LOG))


def _arm(runtime: PolicyRuntime, watch: GoldenWatch) -> dict[str, Any]:
    try:
        test = GoldenTest.of_json(json.loads(watch.test))
    except (KeyError, TypeError, ValueError):
        logger.exception("golden.damaged", extra={"policy": runtime.name, "arm": watch.arm})
        test = GoldenTest()
    rule, detector = runtime.config.drift, test.detector
    number = sum(day.prompts for day in test.recent)
    mean, baseline, flips = (
        sum(getattr(day, name) * day.prompts for day in test.recent) / number if number else None
        for name in ("mean", "baseline", "flips")
    )
    alarmed = watch.alarm_day is not None
    since = detector.since_day if alarmed else None
    part = {
        "arm": watch.arm,
        "alarm": alarmed,
        "evidence": parts_of_an_alarm(detector.log_evidence, rule.log_needed) if detector.days else 0.0,
        "alarmed_on": None if watch.alarm_day is None else words.date_of(watch.alarm_day),
        "since": None if since is None else words.date_of(since),
        "days": detector.days,
        "baseline_days_left": test.waits,
        "mean": mean,
        "baseline": baseline,
        "flips": flips,
    }
    return part | {"words": words.arm(part)}


def own_part(anchor: Anchor | None, rule: DriftRule) -> dict[str, Any]:
    """The result of an anchor's test. The difference is over all traffic: live minus anchor."""
    test = AnchorTest()
    if anchor is not None:
        try:
            test = AnchorTest.of_json(json.loads(anchor.test))
        except (KeyError, TypeError, ValueError):
            logger.exception("anchor.damaged", extra={"policy": anchor.policy})
    alarmed = anchor is not None and anchor.alarm_day is not None
    differs, interval, detector = test.differs, test.interval(), test.detector
    over_all = differs if differs is not None else 1.0
    live, anchored = test.units
    since = detector.since_day if alarmed else None
    alarm_day = None if anchor is None else anchor.alarm_day
    return {
        "alarm": alarmed,
        "evidence": parts_of_an_alarm(detector.log_evidence, rule.log_needed) if detector.days else 0.0,
        "alarmed_on": None if alarm_day is None else words.date_of(alarm_day),
        "since": None if since is None else words.date_of(since),
        "anchor_id": None if anchor is None else anchor.anchor_id,
        "taken_at": None if anchor is None else iso_time(anchor.taken_at_us),
        "version": None if anchor is None else anchor.version,
        "reason": None if anchor is None else anchor.reason,
        "units": {"live": live, "anchor": anchored},
        "differs": differs,
        "difference": None if not test.comparisons else test.total / test.comparisons * over_all,
        "interval": None if interval is None else [bound * over_all for bound in interval],
    }


def _traffic(runtime: PolicyRuntime) -> dict[str, Any]:
    drift = runtime.learned.arm_changes.drift
    part = {"alarm": drift.moved, "height": drift.height}
    return part | {"words": words.traffic(part)}
