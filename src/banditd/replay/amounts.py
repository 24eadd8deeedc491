"""What answers take, query by query, as a replay learns it from their costs: the daemon's own fit."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from banditd.budget.amounts import Amounts
from banditd.core.types import Arm, FeatureSchema, FloatArray, Price
from banditd.ports import UsageOutcome
from banditd.services.money.amounts import REPORTS_OF_EACH_ARM, REPORTS_USED, fit_amounts, fit_is_due


class LearnedAmounts:
    """The models of one pass, in decisions as time. ``amounts`` : as fitted last, None before there is one."""

    def __init__(self, schema: FeatureSchema) -> None:
        self.amounts: Amounts | None = None
        self._schema = schema
        self._newest: deque[UsageOutcome] = deque(maxlen=REPORTS_USED)
        self._of_arm: dict[str, deque[UsageOutcome]] = {}  # older than those, a few of each arm
        self._reports = self._fitted = 0
        self._prices: dict[str, list[tuple[int, Price]]] = {}

    def follow_prices(self, arms: Sequence[Arm], now_us: int) -> None:
        """These prices are in force."""
        for arm in arms:
            history = self._prices.setdefault(arm.arm, [])
            if not history or history[-1][1] != arm.price:
                history.append((now_us, arm.price))

    def report(
        self,
        served: Arm,
        x: FloatArray,
        *,
        arms: Sequence[Arm],
        decided_at_us: int,
        input_tokens: float,
        cost_usd: float,
    ) -> bool:
        """What an answer has cost. True when the models have been fitted again."""
        self._note(
            UsageOutcome(
                arm=served.arm,
                x=x,
                decided_at_us=decided_at_us,
                input_tokens=round(input_tokens),
                output_tokens=None,
                cost_usd=cost_usd,
                latency_ms=None,
            )
        )
        self._reports += 1
        if not fit_is_due(self._reports, self._fitted):
            return False
        self._fitted = self._reports
        outcomes = [one for older in self._of_arm.values() for one in older] + list(self._newest)
        self.amounts = fit_amounts(outcomes, arms, self._schema, self._prices)
        return True

    def _note(self, outcome: UsageOutcome) -> None:
        if len(self._newest) == REPORTS_USED:
            oldest = self._newest[0]
            self._of_arm.setdefault(oldest.arm, deque(maxlen=REPORTS_OF_EACH_ARM)).append(oldest)
        self._newest.append(outcome)
