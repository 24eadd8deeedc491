"""Policies by name: options are checked once, and a policy is bound to a posterior at every snapshot."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from banditd.bandit.policies.base import Policy, PolicySettings
from banditd.bandit.policies.cluster_table import ClusterTable, ClusterTableOptions
from banditd.bandit.policies.fixed import (
    Fixed,
    FixedOptions,
    Rules,
    RulesOptions,
    Uniform,
    UniformOptions,
    check_rule,
)
from banditd.bandit.policies.greedy import EpsilonGreedy, EpsilonGreedyOptions, SquareCB, SquareCBOptions
from banditd.bandit.policies.linucb import LinUCB, LinUCBOptions
from banditd.bandit.policies.thompson import EXPLORATIONS, Thompson, ThompsonOptions
from banditd.bandit.policies.view import PolicyView
from banditd.core.errors import ConfigurationError
from banditd.core.nearest import nearest_names

# A policy's class, its options and its models ("" where it has no choice); the first is the default.
_Entry = tuple[Callable[..., Policy], type, tuple[str, ...]]

POLICIES: Final[Mapping[str, _Entry]] = {
    "thompson": (Thompson, ThompsonOptions, ("pooled", "disjoint")),
    "linucb": (LinUCB, LinUCBOptions, ("disjoint", "hybrid")),
    "squarecb": (SquareCB, SquareCBOptions, ("pooled", "disjoint")),
    "epsilon_greedy": (EpsilonGreedy, EpsilonGreedyOptions, ("pooled", "disjoint")),
    "cluster_table": (ClusterTable, ClusterTableOptions, ()),
    "rules": (Rules, RulesOptions, ()),
    "fixed": (Fixed, FixedOptions, ()),
    "uniform": (Uniform, UniformOptions, ()),
}

MOST: Final = 1e9
"""Largest value of an option; its square still fits into a float easily."""
_UNIT_INTERVAL: Final = frozenset({"epsilon"})
_POSITIVE: Final = frozenset({"scale", "gamma_scale", "gamma_cap", "prior_worth"})


@dataclass(frozen=True, slots=True)
class PolicyFactory:
    """A policy kind with checked options.

    pooled : whether the model has a part that all arms share. needs_clusters : whether ``bind`` needs cluster sums.
    """

    kind: str
    pooled: bool
    needs_clusters: bool
    _make: Callable[..., Policy]
    _options: Any

    def bind(self, view: PolicyView) -> Policy:
        return self._make(view, self._options)


def policy_factory(settings: PolicySettings) -> PolicyFactory:
    """Check ``settings.kind`` and ``settings.options``.

    Raises
    ------
    ConfigurationError : unknown policy or option, or a value out of range; names the known ones.
    """
    if settings.kind not in POLICIES:
        raise ConfigurationError(
            f"Unknown policy kind {settings.kind!r}{_meant(settings.kind, POLICIES)}; "
            f"known: {', '.join(sorted(POLICIES))}.",
            field="/kind",
        )
    make, options_type, models = POLICIES[settings.kind]
    known = {field.name: field.default for field in fields(options_type)}
    unknown = sorted(set(settings.options) - set(known))
    if unknown:
        names = sorted(known)
        raise ConfigurationError(
            f"Policy {settings.kind} has no option {unknown[0]!r}{_meant(unknown[0], names)}; "
            f"its options: {', '.join(names) or 'none'}.",
            field=f"/options/{unknown[0]}",
        )
    values = {name: _checked(name, value, known[name], models) for name, value in settings.options.items()}
    options = options_type(**values)
    model = getattr(options, "model", "pooled")
    return PolicyFactory(settings.kind, model != "disjoint", settings.kind == "cluster_table", make, options)


def _meant(unknown: str, known: Collection[str]) -> str:
    near = nearest_names(unknown, sorted(known))
    return f" (did you mean {near[0]!r}?)" if near else ""


def _checked(name: str, value: object, default: object, models: tuple[str, ...]) -> object:
    where = f"/options/{name}"
    if name == "rules":
        if not isinstance(value, list | tuple) or not all(isinstance(rule, Mapping) for rule in value):
            raise ConfigurationError("rules must be a list of mappings.", field=where)
        for rule in value:
            check_rule(rule)
        return tuple(value)
    for choice, known in (("model", models), ("exploration", EXPLORATIONS)):
        if name == choice and value not in known:
            raise ConfigurationError(f"{name} must be one of {', '.join(known)}, got {value!r}.", field=where)
    if isinstance(default, str):
        if not isinstance(value, str):
            raise ConfigurationError(f"{name} must be a string, got {value!r}.", field=where)
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigurationError(f"{name} must be a number, got {value!r}.", field=where)
    number = float(value)
    low_ok = number > 0.0 if name in _POSITIVE else number >= 0.0
    if not low_ok or not number <= MOST or (name in _UNIT_INTERVAL and number > 1.0):
        raise ConfigurationError(f"{name} is out of range: {value!r}.", field=where)
    return number
