"""Policies whose choice does not learn: fixed, uniform and rules. Their predictions still do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from banditd.bandit.policies.base import Scores
from banditd.bandit.policies.exploration import onehot
from banditd.bandit.policies.view import PolicyView
from banditd.bandit.posterior.posterior import Posterior
from banditd.core.contexts import Contexts
from banditd.core.errors import ConfigurationError
from banditd.core.types import BoolArray, FloatArray, IntArray

_COMPARISONS = ("below", "at_least", "equals")


def _predicted(posterior: Posterior, contexts: Contexts, probability: FloatArray) -> Scores:
    mean, deviation = posterior.predict(contexts.x)
    return Scores(mean, deviation, probability)


@dataclass(frozen=True, slots=True, kw_only=True)
class UniformOptions:
    """No options."""


class Uniform:
    """Every eligible arm with the same probability."""

    kind = "uniform"

    def __init__(self, view: PolicyView, options: UniformOptions) -> None:
        self._posterior = view.posterior
        self._options = options

    def scores(self, contexts: Contexts, penalty: FloatArray, allowed: BoolArray) -> Scores:
        return _predicted(self._posterior, contexts, allowed / allowed.sum(1, keepdims=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedOptions:
    """arm : answers everything; if it is not eligible, the arm with the smallest penalty does."""

    arm: str = ""


class Fixed:
    kind = "fixed"

    def __init__(self, view: PolicyView, options: FixedOptions) -> None:
        self._posterior = view.posterior
        self._arm = view.arms.index(options.arm) if options.arm in view.arms else -1

    def scores(self, contexts: Contexts, penalty: FloatArray, allowed: BoolArray) -> Scores:
        wanted = np.full(len(contexts), self._arm, dtype=np.intp)
        return _predicted(self._posterior, contexts, _serving(wanted, penalty, allowed))


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

    def holds(self, cluster: int, facts: Mapping[str, float]) -> bool:
        if self.clusters and cluster not in self.clusters:
            return False
        if self.fact is None:
            return True
        value = facts.get(self.fact)
        return (
            value is not None
            and (self.below is None or value < self.below)
            and (self.at_least is None or value >= self.at_least)
            and (self.equals is None or value == self.equals)
        )


class Rules:
    """Static, readable routing: as a baseline, or as a start until there are rewards."""

    kind = "rules"

    def __init__(self, view: PolicyView, options: RulesOptions) -> None:
        self._posterior = view.posterior
        self._rules = [_parse_rule(rule, view.arms) for rule in options.rules]
        self._default = view.arms.index(options.default) if options.default in view.arms else -1

    def scores(self, contexts: Contexts, penalty: FloatArray, allowed: BoolArray) -> Scores:
        wanted = np.array(
            [self._wanted(*row) for row in zip(contexts.cluster.tolist(), contexts.facts, allowed, strict=True)],
            dtype=np.intp,
        )
        return _predicted(self._posterior, contexts, _serving(wanted, penalty, allowed))

    def _wanted(self, cluster: int, facts: Mapping[str, float], allowed: BoolArray) -> int:
        named = next((rule.arm for rule in self._rules if rule.holds(cluster, facts)), self._default)
        return named if named >= 0 and allowed[named] else self._default


def check_rule(rule: Mapping[str, object]) -> None:
    """Refuse an invalid rule.

    Raises
    ------
    ConfigurationError : unknown or missing keys, wrong types.
    """
    unknown = set(rule) - {"arm", "cluster", "fact", *_COMPARISONS}
    if unknown or not isinstance(rule.get("arm"), str):
        raise ConfigurationError(
            f"A rule may have arm, cluster, fact, {', '.join(_COMPARISONS)}; arm is required. Got {dict(rule)!r}."
        )
    compares = [name for name in _COMPARISONS if name in rule]
    if ("fact" in rule) != bool(compares):
        raise ConfigurationError(f"A rule on a fact needs one of {', '.join(_COMPARISONS)}: {dict(rule)!r}.")
    if any(not isinstance(rule[name], int | float) for name in compares):
        raise ConfigurationError(f"A rule compares with numbers: {dict(rule)!r}.")
    clusters = rule.get("cluster", [])
    wanted = clusters if isinstance(clusters, list | tuple) else [clusters]
    if any(not isinstance(cluster, int) for cluster in wanted):
        raise ConfigurationError(f"A rule's cluster must be an index or a list of them: {dict(rule)!r}.")


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


def _serving(wanted: IntArray, penalty: FloatArray, allowed: BoolArray) -> FloatArray:
    """Probability 1 for the ``wanted`` arms (n_queries,), or for the smallest penalty where those are not allowed."""
    may = (wanted >= 0) & allowed[np.arange(wanted.shape[0]), wanted]
    cheapest = np.where(allowed, penalty, np.inf).argmin(1)
    return onehot(np.where(may, wanted, cheapest), allowed.shape[1])
