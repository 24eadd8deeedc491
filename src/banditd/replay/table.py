"""A replay's report for people: one rich table. Adds no figure that the JSON has not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from banditd.replay.prices import free_note

if TYPE_CHECKING:
    from banditd.replay.report import ReplayReport


def report_table(report: ReplayReport) -> Table:
    """Utility and headroom against the references, spend and times."""
    content = report.content
    utility, headroom = _mapping(content["utility"]), _mapping(content["headroom_score"])
    references, cost = _mapping(content["references"]), _mapping(content["cost"])
    fixed = _mapping(references["best_fixed"])
    table = Table(
        title=f"{content['dataset']} / {content['pool']}: {content['rows']} rows x {content['seeds']} seeds"
    )
    for heading in ("", "all", "first 500", "last third"):
        table.add_column(heading, justify="left" if not heading else "right")
    table.caption = _conditions(_mapping(content["conditions"]))
    table.add_row(
        f"{content['policy']}: utility",
        f"{_number(utility['mean'])} ± {_number(utility['sd'])}",
        _number(utility["first_500"]),
        _number(utility["last_third"]),
    )
    held = content["budget"]
    ends = "cheapest arm, 1 fixed mixture in budget" if held else "random, 1 best per category"
    table.add_row(
        f"headroom (0 {ends})",
        *(_number(headroom[phase], 3) for phase in ("all", "first_500", "last_third")),
    )
    table.add_section()
    table.add_row("fixed mixture at this cost", _number(references["fixed_mixture_at_cost"]))
    if isinstance(held, dict):  # references that do not look at costs would mislead here; the JSON has them
        table.add_row("fixed mixture at the budget", _number(held["fixed_mixture"]))
    else:
        table.add_row("uniform", _number(references["uniform"]))
        table.add_row(f"best fixed: {fixed['arm']}", _number(fixed["utility"]))
        table.add_row("best per category", _number(references["best_per_category"]))
        table.add_row("oracle", _number(references["oracle"]))
    table.add_section()
    table.add_row("reward", _number(_mapping(content["reward"])["mean"]))
    table.add_row("cost, $ per decision", _number(cost["mean"], 6))
    table.add_row("RouterArena's score", _number(_mapping(content["arena_score"])["score"], 4))
    if cost["over_budget"] is not None:
        table.add_row("cost over budget", _number(cost["over_budget"], 3))
    if isinstance(held, dict):
        table.add_row("the same, worst seed", _number(held["worst_over_budget"], 3))
    for one in content["max_shares"] if isinstance(content["max_shares"], list) else ():
        _add_share(table, one)
    if isinstance(content["promise"], dict):
        _add_promise(table, content["promise"])
    if isinstance(content["recipes"], dict):
        _add_recipes(table, content["recipes"])
    if isinstance(content["cascade"], dict):
        _add_cascade(table, content["cascade"])
    return table


def _add_share(table: Table, capped: Mapping[str, Any]) -> None:
    """What a capped arm answered, beside a coin."""
    table.add_section()
    shares = [_number(capped["share"][phase], 3) for phase in ("all", "first_500", "last_third")]
    table.add_row(f"share of {capped['arm']} (at most {capped['max_share']:g})", *shares)
    table.add_row("utility, a coin tossed for that share", _number(capped["coin"]))


def _add_promise(table: Table, promise: Mapping[str, object]) -> None:
    """What was kept and what was saved, beside what hindsight could have had."""
    quality, cost = _mapping(promise["quality_ratio"]), _mapping(promise["cost_share"])
    references = _mapping(promise["references"])
    table.add_section()
    table.add_row(
        f"quality kept of {promise['baseline']} (promised {promise['keep']}; held: {promise['held']})",
        f"{_number(quality['mean'], 3)} (worst seed {_number(quality['worst_seed'], 3)})",
        f"{_number(quality['first_500_worst_seed'], 3)} (worst)",
        _number(quality["last_third"], 3),
    )
    table.add_row("cost, share of the baseline's", _number(cost["mean"], 3), "", _number(cost["last_third"], 3))
    for name, words in (
        ("single", "one arm"),
        ("mixture", "a coin toss between two"),
        ("contextual", "a linear model"),
    ):
        table.add_row(f"the same, possible in hindsight with {words}", _number(references[name], 3))


def closing_words(report: ReplayReport) -> str | None:
    """Where a promise was made, what would have been saved and lost, in two sentences; and the notes.

    What makes a saving doubtful stands before it. None where there is nothing to say.
    """
    content: Mapping[str, Any] = report.content
    notes, promise = [f"Note: {note}" for note in content["notes"]], content["promise"]
    if promise is None:
        return "\n".join(notes) or None
    free = {f"Note: {free_note(arm, is_sheet=True)}" for arm in promise["counted_as_free"]}
    doubts = [note for note in notes if note in free]
    return "\n".join([*doubts, _saved_and_lost(content), *(note for note in notes if note not in free)])


def _saved_and_lost(content: Mapping[str, Any]) -> str:
    promise = content["promise"]
    ratio, share, baseline = promise["quality_ratio"], promise["cost_share"], promise["baseline"]
    if not share["mean"] or not ratio["mean"]:
        return f"What {baseline} costs or earns here is nothing: there is nothing to save or to keep."
    reward, spent = content["reward"]["mean"], content["cost"]["mean"] * content["rows"]
    quality, shuffles = reward / ratio["mean"], f"{content['seeds']} shuffle{'s' if content['seeds'] > 1 else ''}"
    lost = "Won" if reward - quality >= 0.0005 else "Lost"  # what is shown as 0.0 points was not won
    return (
        f"Saved: {1 - share['mean']:.0%}, ${spent:.4g} instead of ${spent / share['mean']:.4g} for these "
        f"{content['rows']} queries ({1 - share['last_third']:.0%} in their last third).\n"
        f"{lost}: {100 * abs(quality - reward):.1f} points, {reward:.3f} instead of {quality:.3f} of {baseline}: "
        f"{ratio['mean']:.1%} of it is kept, {ratio['worst_seed']:.1%} in the worst of {shuffles}, "
        f"{promise['keep']:.1%} was promised."
    )


def _add_recipes(table: Table, recipes: Mapping[str, object]) -> None:
    """What models alone could have had, and what each recipe was chosen for."""
    references = _mapping(recipes["references"])
    table.add_section()
    fixed = _mapping(references["best_fixed_model"])
    table.add_row(f"best fixed model: {fixed['arm']}", _number(fixed["utility"]))
    for name, words in (("routed_models", "models"), ("routed", "models and recipes")):
        table.add_row(f"routed with full information, {words}", _number(references[name]))
    table.add_row("oracle, models", _number(references["oracle_models"]))


def _add_cascade(table: Table, cascade: Mapping[str, Any]) -> None:
    """Chains beside routing without them, and what they could have had in hindsight."""
    routing, gain, calls = cascade["routing"], cascade["gain"], cascade["calls"]
    columns = ("all", "first_500", "last_third")
    table.add_section()
    table.add_row(
        "routed, without chains",
        f"{_number(routing['mean'])} ± {_number(routing['sd'])}",
        *(_number(routing[phase]) for phase in columns[1:]),
    )
    table.add_row(
        "gain of chains (± standard error)",
        *(f"{gain[p]['mean']:+.4f} ± {_number(gain[p]['standard_error'])}" for p in columns),
    )
    table.add_row("calls per decision", _number(calls["mean"]["all"], 2), "", _number(calls["mean"]["last_third"], 2))
    table.add_row(
        "first answer not kept", _number(calls["changed"]["all"], 3), "", _number(calls["changed"]["last_third"], 3)
    )
    states = [one["state"] for one in cascade["guard"]]
    share = [_mean([one["share_of_chains"][phase] for one in cascade["guard"]]) for phase in ("all", "last_third")]
    named = ", ".join(
        f"{state} in {states.count(state)}" for state in ("learning", "trial", "on", "off") if state in states
    )
    table.add_row(f"share of chains (guard: {named})", _number(share[0], 2), "", _number(share[1], 2))
    words = (
        ("routed", "routed"),
        ("stop", "keep or call"),
        ("joint", "start, keep or call"),
        ("oracle", "oracle cascade"),
    )
    for name, text in words:
        table.add_row(f"with full information, {text}", _number(cascade["references"][name]))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def recipe_table(report: ReplayReport) -> Table | None:
    """What each recipe was chosen for; None for a pool without any."""
    recipes = report.content["recipes"]
    if not isinstance(recipes, dict):
        return None
    table = Table(title="What recipes were chosen for", caption="gain: utility there beside the model it ends in")
    for heading in ("recipe", "share", "calls", "settled", "gain", "of the queries of"):
        table.add_column(heading, justify="left" if heading in {"recipe", "of the queries of"} else "right")
    for one in recipes["arms"]:
        busiest = sorted(one["share_of_category"].items(), key=lambda item: -item[1])[:3]
        table.add_row(
            one["arm"],
            _number(one["share"], 3),
            _number(one["calls"], 2),
            _number(one["settled"], 2),
            _number(one["gain_over_like"]),
            ", ".join(f"{category} {share:.0%}" for category, share in busiest if category),
        )
    return table


def off_policy_table(report: ReplayReport) -> Table:
    """What the log says of other policies; one line where it has no propensities."""
    content = _mapping(report.content["off_policy"])
    policies = content.get("policies")
    table = Table(title="From this log alone: mean reward of other policies")
    for heading in ("", "SNIPS", "IPS", "effective rounds", "ground truth", "verdict"):
        table.add_column(heading, justify="left" if heading in {"", "verdict"} else "right")
    if not isinstance(policies, list):
        table.caption = "the decider does not hand out its probability vectors"
        return table
    table.caption = f"{content['rounds']} rounds; agrees: within 3 standard errors"
    for one in policies:
        verdict = one["reason"] or {True: "agrees", False: "disagrees"}.get(one["agrees"], "-")
        table.add_row(
            one["policy"],
            *(_with_error(_mapping(one[name])) for name in ("snips", "ips")),
            _number(one["effective_sample_size"], 0),
            _number(one["ground_truth"]),
            verdict,
        )
    return table


def _with_error(estimate: Mapping[str, object]) -> str:
    return f"{_number(estimate['value'])} ± {_number(estimate['standard_error'])}" if estimate else "-"


def _conditions(conditions: Mapping[str, object]) -> str | None:
    """What was simulated, in words; None for a plain replay."""
    stated = []
    if conditions["reward_delay"]:
        stated.append(f"rewards {conditions['reward_delay']} queries late")
    if conditions["reward_rate"] != 1.0:
        stated.append(f"{conditions['reward_rate']:.0%} of decisions rewarded")
    sources = conditions["feedback"]
    if isinstance(sources, list):
        stated.extend(f"{source['kind']} on {source['rate']:.0%}" for source in sources)
    if conditions["probes"]:
        stated.append(f"every arm's score reported on {conditions['probes']:.0%} of the rows")
    if conditions["warmup_rows"]:
        stated.append(f"{conditions['warmup_policy']} play on the first {conditions['warmup_rows']:.0%}, not scored")
    if isinstance(prior := conditions["prior"], Mapping):
        stated.append(f"from a prior worth {prior['worth_rewards']:.0f} rewards")
    return "; ".join(stated) or None


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _number(value: object, digits: int = 4) -> str:
    return f"{value:.{digits}f}" if isinstance(value, int | float) else "-"
