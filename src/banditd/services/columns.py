"""Decisions as columns: one call per column is cheaper than one call per decision."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from operator import attrgetter, itemgetter
from typing import Any, Final

import numpy as np

from banditd.core.ids import new_ids
from banditd.core.types import Decision, Query
from banditd.deciding.decide import Decided, Situation

Columns = Mapping[str, Iterable[Any]]
"""Decision fields by name, one value per decision; an endless iterable if all have the same value."""

_AS_IN_QUERY: Final = ("session_id", "session_key", "tags", "key_name", "request_key", "reference", "origin")
_KEPT: Final = (*_AS_IN_QUERY, "deferred")
_of_query: Final = attrgetter(*_AS_IN_QUERY, "defer_activation")
_in_order: Final = itemgetter(*Decision._fields)


def decisions_of(columns: Columns) -> Iterator[Decision]:
    """The decisions with these fields; all fields must be given."""
    return map(Decision._make, zip(*_in_order(columns), strict=False))


def query_columns(queries: Sequence[Query]) -> Columns:
    """What decisions copy from their queries."""
    return dict(zip(_KEPT, zip(*map(_of_query, queries), strict=True), strict=True))


def drawn_columns(situation: Situation, decided: Decided) -> dict[str, Any]:
    """The columns that a batch's arrays hold; vectors cover the arms that were drawn from."""
    view, draw, scores, priced = situation.view, decided.draw, decided.scores, decided.priced
    names, chosen = view.snapshot.arms, [view.arms[i] for i in draw.index.tolist()]
    vectors: dict[str, Any] = {
        "probability": draw.probability,
        "mean": scores.mean,
        "deviation": scores.deviation,
        "cost_usd": priced.cost_usd,
        "penalty": priced.penalty,
        "arms": repeat(names),
        "cache_loss_usd": repeat(None) if priced.cache_loss_usd is None else priced.cache_loss_usd,
    }
    if not draw.arms.all():
        vectors = {
            name: [row if row is None else row[here] for row, here in zip(rows, draw.arms, strict=False)]
            for name, rows in (vectors | {"arms": repeat(np.array(names, dtype=object))}).items()
        }
        vectors["arms"] = [tuple(arms.tolist()) for arms in vectors["arms"]]
    return vectors | {
        "decision_id": new_ids(situation.now_us, len(chosen)),
        "arm": [arm.arm for arm in chosen],
        "upstream_model": [arm.upstream_model for arm in chosen],
        "propensity": draw.propensity.tolist(),
        "uniform": draw.uniform.tolist(),
        "explored": draw.explored.tolist(),
        "reason": draw.reason,
        "exclusions": decided.exclusions,
        "cost_weight": priced.cost_weight[:, 0].tolist(),
    }
