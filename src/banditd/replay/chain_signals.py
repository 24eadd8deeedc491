"""What a chain sees of the answers of a data set: free signals at once, costly ones when they are asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from banditd.core.errors import InvalidInputError
from banditd.core.types import BoolArray, FloatArray
from banditd.replay.plan import Plan
from banditd.replay.signals import ANSWER_CLASS, same_answers

LENGTH = "answer_chars"  # of the texts, where they are known and no signal has the name


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChainSignals:
    """Of all rows. names : of the S signals. free, full : float64 (n, K, S), NaN where missing; ``full`` has what is
    asked for apart, too. costs_usd : float64 (n, K), what asking costs, 0 where there is nothing to ask.
    same : bool (n, K, K), which answers are equal; None where the data set does not tell.
    """

    names: tuple[str, ...]
    costly_names: tuple[str, ...]
    free: FloatArray
    full: FloatArray
    costs_usd: FloatArray
    same: BoolArray | None

    @classmethod
    def of(cls, plan: Plan) -> ChainSignals:
        """Raises InvalidInputError where answers show nothing, nobody else can be called, or a cost is negative."""
        data, signals = plan.data, plan.data.signals
        if len(data.arms) < 2:
            raise InvalidInputError("A cascade needs two arms at least: there is nobody to call.", field="/pool")
        values = {} if signals is None else dict(signals.values)
        texts = {} if signals is None else signals.texts
        costs = {} if signals is None else signals.costs_usd
        same = None
        if signals is not None and (ANSWER_CLASS in values or set(data.arms) <= set(texts)):
            same = same_answers(signals, data.arms, plan.options.answers)
        values.pop(ANSWER_CLASS, None)
        if texts and LENGTH not in values:
            lengths = [
                [np.nan if text is None else float(len(text)) for text in texts[arm]]
                if arm in texts
                else [np.nan] * data.n_rows
                for arm in data.arms
            ]
            values[LENGTH] = np.array(lengths, dtype=np.float64).T
        values = {name: of for name, of in values.items() if np.isfinite(of).any()}
        if not values and same is None:
            raise InvalidInputError(
                "A cascade needs what answers show: columns <arm>|signal_NAME with numbers, or <arm>|answer with the "
                "answers themselves.",
                field="/cascade",
            )
        nothing = np.zeros((data.n_rows, len(data.arms), 0))
        full = np.stack(list(values.values()), axis=2) if values else nothing
        free = full.copy()
        usd = np.zeros(full.shape[:2])
        costly = [name for name in values if name.split("_", 1)[0] in costs]
        for stem, of in costs.items():
            if (of < 0.0).any():
                raise InvalidInputError(f"A cost of |{stem}_cost_usd is negative: costs are dollars spent.")
            usd += np.nan_to_num(of)
        for place, name in enumerate(values):
            if name in costly:
                free[:, :, place][costs[name.split("_", 1)[0]] > 0.0] = np.nan
        return cls(
            names=tuple(values),
            costly_names=tuple(costly),
            free=free,
            full=full,
            costs_usd=usd,
            same=same,
        )
