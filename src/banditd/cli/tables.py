"""The daemon's reports as tables for people. The JSON has more; these show the essentials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from banditd.cli.show import print_table

TYPICAL_WORDS = 4
AWAY: Final = {
    "breaker_open": "its breaker is open after errors of its calls",
    "breaker_probe": "its breaker waits for what becomes of one probe",
    "cooling_down": "its upstream asked to be left alone for a while",
}
_PROMISE_STATES = {
    "learning": "too little is known yet",
    "keeping": "at the least cost that is expected to keep it",
    "no_rewards": "no rewards come, so nothing is known",
    "nothing_to_save": "nothing cheaper is good enough",
    "broken": "quality fell below it",
    "baseline_away": "that model may not answer now",
    "baseline_changed": "that model earns other rewards than it did",
    "budget_rules": "a budget allows less than it needs",
}


def print_arms(answer: Mapping[str, Any]) -> None:
    """``GET /v1/arms``."""
    columns = ("arm", "enabled", "$/Mtok in", "$/Mtok out", "decisions", "spent $", "rewards", "mean", "95 %")
    rows = []
    for view in answer["arms"]:
        price, usage, known = view["price"], view["usage"], view["statistics"]
        rows.append(
            (
                view["arm"],
                view["enabled"],
                price["usd_per_mtok_in"],
                price["usd_per_mtok_out"],
                usage["decisions"],
                usage["cost_usd"],
                known.get("rewards"),
                known.get("mean_reward"),
                interval(known.get("interval")),
            )
        )
    print_table(f"arms of policy {answer['policy']}", columns, rows)
    _print_onboarding(answer["arms"])


def _print_onboarding(views: Sequence[Mapping[str, Any]]) -> None:
    """What became of the arms that were granted a quota, where there are any."""
    rows = []
    for view in views:
        report = view.get("onboarding", {})
        if report.get("state") is None:
            continue
        gap, clusters = report["difference"], report["clusters"]
        rows.append(
            (
                view["arm"],
                report["state"].replace("_", " "),
                f"{report['decisions']} / {report['decisions_quota']}",
                f"{dollars(report['cost_usd'])} / {dollars(report['cost_usd_quota'])}",
                None if gap is None else f"{gap['mean']:+z.3f}",
                None if gap is None else interval(gap["interval"]),
                None if clusters is None else f"{clusters['contends']} / {clusters['seen']}",
                report["recommendation"],
            )
        )
    if rows:
        columns = (
            "arm",
            "state",
            "decisions",
            "spent",
            "reward against incumbents",
            "95 %",
            "may be best in clusters",
            "what to do",
        )
        print_table("new arms", columns, rows)


def print_headline(answer: Mapping[str, Any]) -> None:
    """``GET /v1/savings``: the headline, then a sentence on each of its parts."""
    click.echo(answer["headline"])
    for sentence in answer["words"].values():
        click.echo(f"  {sentence}")
    click.echo()


def print_stats(answer: Mapping[str, Any]) -> None:
    """``GET /v1/stats``, after its ``headline`` where it has one."""
    if "headline" in answer:
        print_headline(answer["headline"])
    coverage, entropy = answer["coverage"], answer["selection_entropy"]
    print_table(
        f"policy {answer['policy']}" + (f", last {answer['window_s']} s" if answer.get("window_s") else ""),
        ("", ""),
        [
            ("decisions", answer["decisions"]),
            ("rewards", answer["rewards"]),
            ("mean reward (95 %)", with_interval(answer["mean_reward"], answer["interval"])),
            ("rewarded share of the decisions", percent(coverage["share"])),
            ("reward delay, median / 90 % / 99 %", delays(coverage)),
            ("exploration rate (decisions not greedy)", percent(answer["exploration_rate"])),
            (
                "selection entropy, realised / largest",
                f"{number(entropy['realised'])} / {number(entropy['maximum'])}",
            ),
            ("spend", dollars(answer["spend_usd"])),
            ("decisions without context", answer["degraded"]),
        ],
    )
    columns = ("arm", "decisions", "share", "explored", "mean reward", "95 %", "spent", "if always", "latency")
    print_table(
        "arms ('if always': what this arm would have cost on every decision)",
        columns,
        [
            (
                arm["arm"],
                arm["decisions"],
                percent(arm["share"]),
                arm["explored"],
                arm["mean_reward"],
                interval(arm["interval"]),
                dollars(arm["spend_usd"]),
                _if_always(arm["fixed"], answer["decisions"]),
                milliseconds(arm["mean_latency_ms"]),
            )
            for arm in answer["arms"]
        ],
    )
    for arm in answer["arms"]:
        if arm.get("away"):
            click.echo(away_words(arm))
    if "savings" in answer:
        _print_savings(answer["savings"])
    if answer.get("judges"):
        print_judges(answer["judges"])


def away_words(arm: Mapping[str, Any]) -> str:
    """That an arm gets nothing, why, and until when; arm : a row of ``/v1/stats``."""
    away = arm["away"]
    return f"{arm['arm']} gets no queries until {away['until']}: {AWAY[away['reason']]}"


def _if_always(fixed: Mapping[str, Any], decisions: int) -> str:
    """What an arm would have cost, and of how many decisions where not of all."""
    whole = fixed["on_decisions"] in {0, decisions}
    return dollars(fixed["would_have_cost_usd"]) + ("" if whole else f" on {fixed['on_decisions']:,}")


def print_judges(judges: Sequence[Mapping[str, Any]]) -> None:
    """The rows of ``GET /v1/judges``, and a sentence for each."""
    columns = ("judge", "share", "judged", "waiting", "dropped", "failed", "spent", "mean score", "labels", "agrees")
    print_table(
        "judges",
        columns,
        [
            (
                one["judge"],
                percent(one["share"]),
                one["judged"],
                one["waiting"],
                one["dropped"],
                one["failed"],
                dollars(one["spend_usd"]),
                one["mean_score"],
                one["labels"],
                percent(one["agreement"]),
            )
            for one in judges
        ],
    )
    for one in judges:
        click.echo(one["words"])
        if one["probes"] is not None:
            click.echo(one["probes"]["words"])
        for compared in one["comparisons"]:
            click.echo(compared["words"])


def _print_savings(savings: Mapping[str, Any]) -> None:
    """Routing against every arm alone and against the best mix of two, per decision."""
    mixture = savings["mixture"]
    mix = " + ".join(f"{part['share']:.0%} {part['arm']}" for part in mixture["arms"])
    rows = [(one["arm"], one, one["saved_usd_per_decision"]) for one in savings["arms"]]
    rows.append((f"best mix at our cost: {mix or '-'}", mixture, None))
    print_table(
        "routing against (costs and rewards per decision, rewards estimated from the log)",
        ("always", "costs", "saved", "would earn", "ours minus that", "95 %", "verdict"),
        [
            (
                name,
                dollars(one["cost_usd_per_decision"]),
                dollars(saved),
                None if one["reward"] is None else number(one["reward"]["mean"]),
                None if one["reward_difference"] is None else f"{one['reward_difference']['mean']:+z.3f}",
                None if one["reward_difference"] is None else interval(one["reward_difference"]["interval"]),
                _verdict(one),
            )
            for name, one, saved in rows
        ],
    )
    for one in savings["arms"]:
        click.echo(one["words"])


def _verdict(one: Mapping[str, Any]) -> str:
    """Of routing, with its costs where they compare."""
    cheaper = {True: "cheaper, ", False: "not cheaper, ", None: ""}[one.get("cheaper")]
    return f"{cheaper}{one['verdict']}" if one["verdict"] else str(one["reason"])


def print_contexts(answer: Mapping[str, Any]) -> None:
    """``GET /v1/stats/contexts``: a row per cluster, an arm per column."""
    clusters = sorted(answer["clusters"], key=lambda cluster: -cluster["decisions"])
    if not clusters:
        click.echo("no decisions yet, so there are no contexts to show")
        return
    arms = sorted({arm["arm"] for cluster in clusters for arm in cluster["arms"]})
    rows = []
    for cluster in clusters:
        means = {arm["arm"]: arm for arm in cluster["arms"]}
        words = ", ".join((cluster.get("words") or ())[:TYPICAL_WORDS])
        rows.append(
            (cluster["cluster"], words, cluster["decisions"], *(mean_and_count(means.get(arm)) for arm in arms))
        )
    print_table(
        f"contexts of policy {answer['policy']}: mean reward (rewards) of every arm",
        ("cluster", "typical words", "decisions", *arms),
        rows,
    )


def mean_and_count(arm: Mapping[str, Any] | None) -> str:
    if arm is None or arm.get("mean_reward") is None:
        return "-"
    return f"{arm['mean_reward']:.2f} ({arm['rewards']})"


def promise_in_words(promise: Mapping[str, Any] | None) -> str:
    """``promise`` of an answer to ``/v1/route``: what is to be kept of whom, how that stands, whose side decided."""
    if promise is None:
        return "none"
    parts, state = [], promise.get("state")
    if promise.get("keep") is not None:
        kept = f"keep {100.0 * promise['keep']:.4g} % of {promise['baseline']}'s quality"
        parts.append(kept if state is None else f"{kept}: {state}, {_PROMISE_STATES.get(state, '')}".rstrip(", "))
    if promise.get("side") == "shadow":
        parts.append("in shadow mode")
    elif promise.get("side") is not None:
        parts.append(f"on the {promise['side']} side of a rollout of {100.0 * (promise['rollout'] or 0.0):.4g} %")
    return "; ".join(parts) or "none"


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:z.3f}"


def percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:z.1f} %"


def dollars(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{'-' if round(value, 4) < 0.0 else ''}${abs(value):,.4f}"


def milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f} ms"


def interval(bounds: Any) -> str:
    return f"{bounds[0]:z.3f} .. {bounds[1]:z.3f}" if bounds else "-"


def with_interval(value: float | None, bounds: Any) -> str:
    return number(value) + (f" ({interval(bounds)})" if bounds else "")


def delays(coverage: Mapping[str, Any]) -> str:
    parts = [coverage[f"delay_{name}_s"] for name in ("p50", "p90", "p99")]
    return "-" if parts[0] is None else " / ".join(f"{part:.3g} s" for part in parts)
