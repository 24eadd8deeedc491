"""One frame of ``banditd top``: pure functions from what the daemon says to what is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from banditd.cli.show import table
from banditd.cli.tables import away_words, delays, dollars, interval, milliseconds, number, percent, with_interval

if TYPE_CHECKING:
    from rich.console import RenderableType

BAR_WIDTH = 16
# Shares above which something is worth a line; the alert rules of deploy/ use the same.
DEGRADED_SHARE = 0.01
ERROR_SHARE = 0.1
ENOUGH_DECISIONS = 20
MOST_BUDGETS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What was asked for at one moment.

    at_s : seconds, of a clock that only goes forward.
    readiness, arms, budgets, savings : ``/health/readiness``, ``/v1/arms``, ``/v1/budgets`` and ``/v1/savings``.
    life, recent : ``/v1/stats`` over the policy's life and over the last ``recent["window_s"]`` seconds.
    """

    at_s: float
    readiness: Mapping[str, Any]
    life: Mapping[str, Any]
    recent: Mapping[str, Any]
    arms: Sequence[Mapping[str, Any]]
    budgets: Sequence[Mapping[str, Any]] = ()
    savings: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {
            "readiness": self.readiness,
            "life": self.life,
            "recent": self.recent,
            "arms": list(self.arms),
            "budgets": list(self.budgets),
            "savings": self.savings,
            "alarms": alarms(self),
        }


def frame(url: str, sample: Sample, before: Sample | None, trouble: str | None = None) -> RenderableType:
    """A whole frame. ``before`` gives the rate; ``trouble`` says why the sample is an old one."""
    from rich.console import Group
    from rich.text import Text

    life = sample.life
    version = sample.readiness.get("policies", {}).get(life["policy"], {}).get("version")
    status = trouble or str(sample.readiness.get("status", "unknown"))
    place = f"  {url}  policy {life['policy']}  version {'-' if version is None else version}  "
    mood = "green" if status == "ready" else "bold red"
    head = Text.assemble(("banditd top", "bold"), place, (status, mood))
    found = alarms(sample)
    lines = [Text(f"! {line}", style="bold red") for line in found] or [Text("no alarms", style="dim")]
    if not life["decisions"]:
        mend = "no decisions yet: send one with 'banditd route \"...\"', or traffic with 'banditd simulate'"
        lines.append(Text(mend, style="yellow"))
    money = [_budgets(sample)] if sample.budgets else []
    headline = [Text(sample.savings["headline"], style="bold")] if sample.savings else []
    return Group(head, *headline, _numbers(sample, before), _arms(sample), *money, *lines)


def _numbers(sample: Sample, before: Sample | None) -> RenderableType:
    life, recent = sample.life, sample.recent
    entropy = recent["selection_entropy"]
    rows = [
        ("decisions", f"{recent['decisions']:,}", f"{life['decisions']:,}", rate_text(sample, before)),
        ("exploration rate", percent(recent["exploration_rate"]), percent(life["exploration_rate"]), ""),
        ("selection entropy", number(entropy["realised"]), number(life["selection_entropy"]["realised"]),
         f"at most {number(entropy['maximum'])}"),
        ("mean reward (95 %)", with_interval(recent["mean_reward"], recent["interval"]),
         with_interval(life["mean_reward"], life["interval"]), ""),
        ("rewarded", percent(recent["coverage"]["share"]), percent(life["coverage"]["share"]),
         f"after {delays(life['coverage'])}"),
        ("spend", dollars(recent["spend_usd"]), dollars(life["spend_usd"]), ""),
    ]  # fmt: skip
    hours = f"last {recent['window_s'] / 3600:g} h"
    return table(None, ("", hours, "all", ""), rows)


def _arms(sample: Sample) -> RenderableType:
    settings = {arm["arm"]: arm for arm in sample.arms}
    rows = []
    for arm in sorted(sample.recent["arms"], key=lambda row: (-row["decisions"], row["arm"])):
        share = arm["share"]
        rows.append(
            (
                arm["arm"],
                arm_state(settings.get(arm["arm"]), arm),
                bar(share or 0.0),
                percent(share),
                arm["explored"],
                number(arm["mean_reward"]),
                interval(arm["interval"]),
                dollars(arm["spend_usd"]),
                milliseconds(arm["mean_latency_ms"]),
                arm["errors"],
            )
        )
    columns = ("arm", "state", "traffic", "", "explored", "reward", "95 %", "spent", "latency", "errors")
    return table(None, columns, rows)


def _budgets(sample: Sample) -> RenderableType:
    rows = [
        (
            row["name"],
            f"{dollars(row['limit_usd'])} per {row['per']}",
            row["account"],
            dollars(row["charged_usd_per_decision"] if row["remaining_usd"] is None else row["charged_usd"]),
            dollars(row["remaining_usd"]),
            row["window_ends_at"],
        )
        for row in sample.budgets[:MOST_BUDGETS]
    ]
    return table(None, ("budget", "limit", "account", "charged", "left", "until"), rows)


def arm_state(settings: Mapping[str, Any] | None, row: Mapping[str, Any]) -> str:
    """One word or two for what an arm is going through."""
    if settings is None or not row.get("present", True):
        return "deleted"
    if not settings["enabled"]:
        return "disabled"
    if row.get("away"):
        return str(row["away"]["reason"]).replace("_", " ")
    if row.get("change"):
        return f"changed ({row['change']['direction']})"
    if settings["onboarding"]["active"]:
        return "onboarding"
    return "on"


def alarms(sample: Sample) -> list[str]:
    """Everything that somebody should look at, most urgent first; docs/operations.md says what to do."""
    readiness, recent = sample.readiness, sample.recent
    found = []
    for name in ("database", "encoder"):
        part = readiness.get(name, {})
        if not part.get("ok", True):
            found.append(f"the {name} fails: {part.get('error', 'no reason given')}")
    for name, policy in readiness.get("policies", {}).items():
        if not policy["ready"]:
            found.append(f"policy {name} has no snapshot yet")
    if readiness.get("draining"):
        found.append("this replica is stopping")
    if "learner" in readiness and readiness["learner"]["holder"] is None:
        found.append("no replica learns: rewards are kept and wait")
    found += [f"the job {job['job']} failed: {job['error']}" for job in readiness.get("jobs", ()) if job["error"]]
    decisions = recent["decisions"]
    if decisions and recent["degraded"] / decisions > DEGRADED_SHARE:
        found.append(f"{percent(recent['degraded'] / decisions)} of the decisions were made without a context")
    found += [
        f"the budget {row['name']} of {row['account']} is used up: {row['at_stop']}"
        for row in sample.budgets
        if row["stopped"]
    ]
    found += [away_words(arm) for arm in recent["arms"] if arm.get("away")]
    for arm in recent["arms"]:
        if arm["decisions"] >= ENOUGH_DECISIONS and arm["errors"] / arm["decisions"] > ERROR_SHARE:
            found.append(f"{arm['errors']:,} calls of {arm['arm']} failed, of {arm['decisions']:,} decisions for it")
        if change := arm.get("change"):
            levels = f"{change['old_level']:.2f} before, {change['new_level']:.2f} now"
            moved = ", and so have the queries" if change.get("queries_moved") else ""
            found.append(f"the rewards of {arm['arm']} have changed: {levels}{moved}")
    return found


def bar(share: float) -> str:
    """A share in [0, 1] as a bar of fixed width."""
    filled = round(BAR_WIDTH * min(1.0, max(0.0, share)))
    return "█" * filled + "·" * (BAR_WIDTH - filled)


def rate_text(sample: Sample, before: Sample | None) -> str:
    """Decisions per second since the former sample."""
    if before is None or sample.at_s <= before.at_s:
        return ""
    made = sample.life["decisions"] - before.life["decisions"]
    return f"{made / (sample.at_s - before.at_s):.1f} / s"
