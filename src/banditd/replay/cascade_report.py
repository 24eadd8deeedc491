"""What chains brought in a replay, beside routing on the same shuffles and what hindsight could have had."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from banditd.core.types import FloatArray
from banditd.replay.chain_references import FullInformation, chain_references, ranked
from banditd.replay.chain_signals import ChainSignals
from banditd.replay.plan import ChainRun, Plan, SeedRun
from banditd.replay.recipe_report import routed
from banditd.replay.references import column_means, known_mean, phases


def cascade_report(plan: Plan, runs: Sequence[SeedRun], x: FloatArray | None) -> dict[str, object] | None:
    """``cascade`` of the report; None where none was played.

    x : contexts of all rows, float64 (n, d), or None where they are not known.
    """
    chains = [run.chains for run in runs if run.chains is not None]
    if not chains:
        return None
    signals = ChainSignals.of(plan)
    return {
        "max_calls": plan.options.max_calls,
        "signals": list(signals.names),
        "costly_signals": list(signals.costly_names),
        "agreement": signals.same is not None,
        "routing": _phases(plan, [one.routing for one in chains]),
        "gain": _gains(plan, runs, chains),
        "references": _references(plan, signals, x),
        "calls": _calls(runs, chains),
        "guard": [_guard(run, one) for run, one in zip(runs, chains, strict=True)],
    }


def _phases(plan: Plan, runs: Sequence[SeedRun]) -> dict[str, object]:
    """Mean utility over seeds, whole and by part."""
    earned = [plan.earned(run) for run in runs]
    means = [known_mean(one) for one in earned]
    known = [mean for mean in means if mean is not None]
    return {
        "mean": float(np.mean(known)) if known else None,
        "sd": float(np.std(known, ddof=1)) if len(known) > 1 else 0.0,
        **{
            name: float(np.mean([known_mean(one[part]) or 0.0 for one in earned]))
            for name, part in phases(earned[0].size)
            if name != "all"
        },
    }


def _gains(plan: Plan, runs: Sequence[SeedRun], chains: Sequence[ChainRun]) -> dict[str, object]:
    """Chains less routing on the same shuffle, whole and by part, with the standard error over seeds."""
    difference = [plan.earned(run) - plan.earned(one.routing) for run, one in zip(runs, chains, strict=True)]
    return {
        name: _mean_and_error([known_mean(one[part]) or 0.0 for one in difference])
        for name, part in phases(difference[0].size)
    }


def _mean_and_error(values: Sequence[float]) -> dict[str, object]:
    error = float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "standard_error": error, "worst_seed": float(min(values))}


def _references(plan: Plan, signals: ChainSignals, x: FloatArray | None) -> dict[str, object]:
    """In hindsight and with full information."""
    rows = plan.scored
    rows = rows[np.isfinite(plan.data.score[rows]).all(axis=1)]
    score = plan.data.score[rows]
    means = column_means(plan.data.score[plan.scored] - plan.penalty)
    found: dict[str, object] = {
        "best_fixed": {"arm": plan.data.arms[int(means.argmax())], "utility": float(means.max())}
    }
    if x is None or not rows.size:
        return {**found, "routed": None, "stop": None, "joint": None, "oracle": None}
    full = FullInformation(
        x=x[rows],
        score=score,
        signals=ranked(signals.full[rows]),
        same=None if signals.same is None else signals.same[rows],
        call=plan.penalty,
        ask=plan.price * signals.costs_usd[rows],
    )
    return {
        **found,
        "routed": routed(x[rows], score, plan.penalty),
        **chain_references(full, plan.options.max_calls),
    }


def _calls(runs: Sequence[SeedRun], chains: Sequence[ChainRun]) -> dict[str, object]:
    """Means over all decisions and their last third. ``changed`` : share of those whose first answer was not kept."""
    measures = {
        "mean": [one.called.sum(axis=1) for one in chains],
        "escalated": [one.called.sum(axis=1) > 1 for one in chains],
        "changed": [run.chosen != one.first for run, one in zip(runs, chains, strict=True)],
        "with_costly_signals": [one.signals_usd > 0.0 for one in chains],
    }
    return {
        name: {
            phase: float(np.mean([one[part].mean() for one in values]))
            for phase, part in phases(values[0].size)
            if phase != "first_500"
        }
        for name, values in measures.items()
    }


def _guard(run: SeedRun, chains: ChainRun) -> dict[str, object]:
    guard = chains.guard
    return {
        "seed": run.seed,
        "state": guard.state,
        "gain": guard.gain,
        "standard_error": guard.standard_error,
        "chains": guard.chains,
        "off_since": guard.off_since,
        "share_of_chains": {
            phase: float(chains.may_go_on[part].mean())
            for phase, part in phases(chains.may_go_on.size)
            if phase != "first_500"
        },
    }
