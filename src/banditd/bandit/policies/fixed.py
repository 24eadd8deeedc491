"""Policies that do not learn whom to choose: fixed, uniform and rules. Their predictions still learn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from banditd.bandit.policies.base import Scores
from banditd.bandit.policies.exploration import onehot
from banditd.bandit.policies.view import PolicyView
from banditd.bandit.posterior.posterior import Posterior
from banditd.core.errors import ConfigurationError
from banditd.core.types import Context, FloatArray, IntArray

_COMPARISONS = ("below", "at_least", "equals")


def _predicted(posterior: Posterior, x: FloatArray, arms: IntArray) -> tuple[FloatArray, FloatArray]:
    moments = posterior.moments(x, arms, np.zeros(arms.shape[0]))
    return moments.mean, np.sqrt(moments.variance)


@dataclass(frozen=True, slots=True, kw_only=True)
class UniformOptions:
    """None."""


class Uniform:
    """Every eligible arm alike."""

    kind = "uniform"

    def __init__(self, view: PolicyView, options: UniformOptions) -> None:
        self._posterior = view.posterior
        self._options = options

    def scores(self, context: Context, arms: IntArray, penalty: FloatArray) -> Scores:
        mean, deviation = _predicted(self._posterior, context.x, arms)
        return Scores(mean, deviation, np.full(penalty.shape[0], 1.0 / arms.shape[0]))


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedOptions:
    """arm : the arm that serves everything; where it is not eligible, the cheapest penalty does."""

    arm: str = ""


class Fixed:
    kind = "fixed"

    def __init__(self, view: PolicyView, options: FixedOptions) -> None:
        self._posterior = view.posterior
        self._arm = view.arms.index(options.arm) if options.arm in view.arms else -1

    def scores(self, context: Context, arms: IntArray, penalty: FloatArray) -> Scores:
        mean, deviation = _predicted(self._posterior, context.x, arms)
        return Scores(mean, deviation, onehot(arms.shape[0], _serving(arms, self._arm, penalty)))


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesOptions:
    """rules : tried in order, the first that holds names the arm. default : the arm otherwise.

    A rule is a mapping with ``arm`` and either ``cluster`` (an index or a list of them), or ``fact`` (a
    name in the context's facts) with one or more of ``below``, ``at_least``, ``equals``, or both.
    """

    rules: tuple[Mapping[str, object], ...] = ()
    default: str = ""


@dataclass(frozen=True, slots=True)
class _Rule:
    arm: int
    clusters: frozenset[int]
    fact: str | None
    below: float | None
    at_least: float | None
    equals: float | None

    def holds(self, context: Context) -> bool:
        if self.clusters and context.cluster not in self.clusters:
            return False
        if self.fact is None:
            return True
        value = context.facts.get(self.fact)
        return (
            value is not None
            and (self.below is None or value < self.below)
            and (self.at_least is None or value >= self.at_least)
            and (self.equals is None or value == self.equals)
        )


class Rules:
    """A static, readable routing: a baseline, or a start until rewards have come."""

    kind = "rules"

    def __init__(self, view: PolicyView, options: RulesOptions) -> None:
        self._posterior = view.posterior
        self._rules = [_parse_rule(rule, view.arms) for rule in options.rules]
        self._default = view.arms.index(options.default) if options.default in view.arms else -1

    def scores(self, context: Context, arms: IntArray, penalty: FloatArray) -> Scores:
        mean, deviation = _predicted(self._posterior, context.x, arms)
        wanted = next((rule.arm for rule in self._rules if rule.holds(context)), self._default)
        if wanted not in arms:
            wanted = self._default
        return Scores(mean, deviation, onehot(arms.shape[0], _serving(arms, wanted, penalty)))


def check_rule(rule: Mapping[str, object]) -> None:
    """Refuse a rule that cannot be understood.

    Raises
    ------
    ConfigurationError : unknown or missing keys, wrong types.
    """
    unknown = set(rule) - {"arm", "cluster", "fact", *_COMPARISONS}
    if unknown or not isinstance(rule.get("arm"), str):
        raise ConfigurationError(
            f"A rule has arm, cluster, fact, {', '.join(_COMPARISONS)}; arm is needed. Got {dict(rule)!r}."
        )
    compares = [name for name in _COMPARISONS if name in rule]
    if ("fact" in rule) != bool(compares):
        raise ConfigurationError(f"A rule on a fact needs one of {', '.join(_COMPARISONS)}: {dict(rule)!r}.")
    if any(not isinstance(rule[name], int | float) for name in compares):
        raise ConfigurationError(f"A rule compares with numbers: {dict(rule)!r}.")
    clusters = rule.get("cluster", [])
    wanted = clusters if isinstance(clusters, list | tuple) else [clusters]
    if any(not isinstance(cluster, int) for cluster in wanted):
        raise ConfigurationError(f"A rule's cluster is an index or a list of them: {dict(rule)!r}.")


def _parse_rule(rule: Mapping[str, object], arms: tuple[str, ...]) -> _Rule:
    clusters = rule.get("cluster", ())
    wanted = clusters if isinstance(clusters, list | tuple) else (clusters,)
    fact = rule.get("fact")
    below, at_least, equals = (rule.get(name) for name in _COMPARISONS)
    return _Rule(
        arm=arms.index(str(rule["arm"])) if rule["arm"] in arms else -1,
        clusters=frozenset(int(str(cluster)) for cluster in wanted),
        fact=None if fact is None else str(fact),
        below=None if below is None else float(str(below)),
        at_least=None if at_least is None else float(str(at_least)),
        equals=None if equals is None else float(str(equals)),
    )


def _serving(arms: IntArray, wanted: int, penalty: FloatArray) -> int:
    """Position of the wanted arm among the eligible; where it is missing, of the smallest penalty."""
    found = np.flatnonzero(arms == wanted)
    return int(found[0]) if found.size else int(penalty.argmin())
