"""As much of PromQL as the alert rules of deploy/ are written in, over series that are straight lines. For tests."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import promql_parser

Labels = frozenset[tuple[str, str]]
Vector = dict[Labels, float]
_SERIES: Final = re.compile(r"(\w+)(?:\{(.*)\})?")
_LABEL: Final = re.compile(r'(\w+)="([^"]*)"')
_BY: Final = re.compile(r"(?:by|on) \(([^)]*)\)")
_TOGETHER: Final[Mapping[str, Callable[[Sequence[float]], float]]] = {
    "sum": sum, "max": max, "min": min, "count": len,
}  # fmt: skip
_COMPARED: Final = {">": operator.gt, "<": operator.lt, ">=": operator.ge, "==": operator.eq}
_MATCHED: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "Equal": operator.eq,
    "NotEqual": operator.ne,
    "Re": lambda found, wanted: re.fullmatch(wanted, found) is not None,
    "NotRe": lambda found, wanted: re.fullmatch(wanted, found) is None,
}


@dataclass(frozen=True)
class Line:
    """A series: ``start`` at minute 0, and so much more every minute."""

    name: str
    labels: Labels
    start: float
    a_minute: float = 0.0

    def at(self, minute: float) -> float:
        return self.start + self.a_minute * minute


def lines(story: Mapping[str, float | tuple[float, float]]) -> list[Line]:
    """Of ``name{label="value"}`` to a gauge's value, or to (start, increase a minute)."""
    found = []
    for text, told in story.items():
        name, labels = _SERIES.fullmatch(text).groups()  # type: ignore[union-attr]  # a wrong story fails its test
        start, a_minute = told if isinstance(told, tuple) else (told, 0.0)
        found.append(Line(name, frozenset(_LABEL.findall(labels or "")), start, a_minute))
    return found


def evaluate(node: Any, series: Iterable[Line], minute: float) -> Any:
    """A number, or a vector: labels to value. Raises NotImplementedError for what no rule was written in so far."""
    match node:
        case promql_parser.NumberLiteral():
            return node.val
        case promql_parser.ParenExpr():
            return evaluate(node.expr, series, minute)
        case promql_parser.VectorSelector():
            return {one.labels: one.at(minute) for one in _selected(node, series)}
        case promql_parser.AggregateExpr():
            return _aggregate(str(node.op), node.modifier, evaluate(node.expr, series, minute))
        case promql_parser.Call():
            return _call(node, series, minute)
        case promql_parser.BinaryExpr():
            return _binary(node, evaluate(node.lhs, series, minute), evaluate(node.rhs, series, minute))
    raise NotImplementedError(type(node).__name__)


def _selected(node: Any, series: Iterable[Line]) -> list[Line]:
    def fits(one: Line) -> bool:
        labels = dict(one.labels)
        return one.name == node.name and all(
            _MATCHED[str(matcher.op).removeprefix("MatchOp.")](labels.get(matcher.name, ""), matcher.value)
            for matcher in node.matchers.matchers
        )

    return [one for one in series if fits(one)]


def _names(modifier: Any) -> set[str]:
    found = _BY.search(str(modifier)) if modifier is not None else None
    return {name.strip() for name in found[1].split(",")} if found else set()


def _kept(labels: Labels, names: set[str]) -> Labels:
    return frozenset((name, value) for name, value in labels if name in names)


def _aggregate(op: str, modifier: Any, vector: Vector) -> Vector:
    groups: dict[Labels, list[float]] = {}
    for labels, value in vector.items():
        groups.setdefault(_kept(labels, _names(modifier)), []).append(value)
    return {labels: float(_TOGETHER[op](values)) for labels, values in groups.items()}


def _call(node: Any, series: Iterable[Line], minute: float) -> Vector:
    name, argument = node.func.name, node.args[-1]
    if name == "histogram_quantile":
        return _quantile(evaluate(node.args[0], series, minute), evaluate(argument, series, minute))
    minutes = argument.range.total_seconds() / 60.0
    began = max(0.0, minute - minutes)
    if name in {"rate", "increase"}:
        per = minutes if name == "increase" else 1.0 / 60.0
        return {one.labels: one.a_minute * per for one in _selected(argument.vector_selector, series)}
    inside = argument.expr if isinstance(argument, promql_parser.SubqueryExpr) else argument.vector_selector
    ends = [evaluate(inside, series, at) for at in (began, minute)]  # lines are highest and lowest at their ends
    over = {"max_over_time": max, "min_over_time": min}[name]
    return {labels: over(end[labels] for end in ends) for labels in ends[-1]}


def _quantile(q: float, buckets: Vector) -> Vector:
    bounds = sorted((float(dict(labels)["le"]), value) for labels, value in buckets.items())
    wanted, lower, below = q * bounds[-1][1], 0.0, 0.0
    for upper, value in bounds:
        if value >= wanted:
            within = (wanted - below) / (value - below) if value > below else 1.0
            return {frozenset(): lower if upper == float("inf") else lower + (upper - lower) * within}
        lower, below = upper, value
    return {}


def _binary(node: Any, left: Any, right: Any) -> Any:
    op = str(node.op)
    if op in {"and", "unless"}:
        return {labels: value for labels, value in left.items() if (labels in right) == (op == "and")}
    on = _names(node.modifier)
    found = {}
    for labels, value in left.items():
        other = right if isinstance(right, float) else right.get(_kept(labels, on) if on else labels)
        if other is None:
            continue
        if op == "/":
            found[labels] = value / other if other else float("nan")
        elif _COMPARED[op](value, other):
            found[labels] = value
    return found
